/* What is known, put into words, in the forms of agent/negotiate.h: from the engine's state into a
 * bounded buffer. No I/O. */
#ifndef READYD_AGENT_REPORT_H
#define READYD_AGENT_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/buffer.h"
#include "agent/engine.h"
#include "agent/json.h"
#include "agent/requests.h"
#include "agent/stream.h"

enum {
	/* The kubelet reads no more than 10 KiB of an answer. */
	REPORT_ANSWER_MAX = 9 * 1024,
	/* Podman keeps no more than 500 characters of what a health check prints. */
	REPORT_LINE_MAX = 480,
};

/* Which of the probes that concern an endpoint are told about. */
enum report_choice {
	REPORT_ALL,
	REPORT_TROUBLED, /* those that hinder it or warn */
	REPORT_HINDERING,
};

/* What an asker of an endpoint wants to see and may see. */
struct report_request {
	enum endpoint endpoint;
	enum report_choice choice;
	const struct engine_probe *only; /* the one probe that it is about; NULL = all */
	char *const *excluded;           /* names of probes to leave out of the verdict */
	size_t excluded_count;
	bool details; /* targets, sentences and what plugins have measured may be shown */
};

/* The lines of ?verbose, as the Kubernetes API server writes them: "[+]name ok" and so on. */
void report_verbose(const struct engine *engine, const struct report_request *request,
		    struct buffer *buffer);

/* The endpoint as application/json. */
void report_json(const struct engine *engine, const struct report_request *request,
		 struct buffer *buffer);

/* The endpoint as application/health+json (draft-inadarei-api-health-check-06). */
void report_health_json(const struct engine *engine, const struct report_request *request,
			struct buffer *buffer);

/* The endpoint as MicroProfile Health 4.0 has it: the verdict is what the checks come to together,
 * so what hinders and is no probe becomes a check of its own, "readyd". */
void report_microprofile(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer);

/* The endpoint as Spring Boot's actuator has it: the status is the worst of the components'. */
void report_spring(const struct engine *engine, const struct report_request *request,
		   struct buffer *buffer);

/* The endpoint as a Nagios plugin prints it: one line, what was measured behind a "|". */
void report_nagios(const struct engine *engine, const struct report_request *request,
		   struct buffer *buffer);

/* One line for `readyd check`: "pass WHAT" or "fail WHAT: the first probes that hinder it". */
void report_line(const struct engine *engine, enum endpoint endpoint, const char *what,
		 bool details, struct buffer *buffer);

/* One line about one probe's present standing. */
void report_probe_line(const struct engine_probe *probe, bool details, struct buffer *buffer);

/* The same, and then a line for each probe, those that hinder it first, at most 4,000 bytes in all:
 * Docker keeps no more than 4,096 bytes of what a health check prints. */
void report_lines(const struct engine *engine, enum endpoint endpoint, const char *what,
		  bool details, struct buffer *buffer);

struct report_table_form {
	bool details;   /* targets and sentences may be shown */
	bool colour;    /* with escape sequences */
	bool unicode;   /* past runs as blocks of different height */
	size_t columns; /* lines are cut there; SIZE_MAX = nowhere */
	size_t limit;   /* at most so many probes, those in trouble first; SIZE_MAX = all */
};

/* What a table ends with: that it is there shows that nothing was cut off. */
#define REPORT_TABLE_END " in all\n"

/* Everything as a table for a terminal, a line for each probe. It becomes void at a reload. NULL
 * when out of memory. */
struct stream *report_table(const struct engine *engine, const struct report_table_form *form);

/* One result as text: "pass NAME 1.2 ms", "fail NAME REASON: sentence". */
void report_result_line(const char *name, const struct probe_result *result, bool details,
			struct buffer *buffer);

/* The members of the result object, the same wherever one appears. */
void report_result_members(struct json_writer *json, const struct probe_config *config,
			   const struct probe_result *result, bool details);

/* One probe as a whole object: the result's members, and its standing, streaks, age and history. */
void report_probe(struct json_writer *json, const struct engine_probe *probe, bool details);

/* /metrics; what plugins have measured is a detail. It becomes void at a reload. NULL when out of
 * memory. */
struct stream *report_metrics(const struct engine *engine, const struct requests *requests,
			      bool openmetrics, bool details);

/* Everything, as JSON (conf/readyd-status.schema.json), of at most `limit` probes. It becomes void
 * at a reload. NULL when out of memory. */
struct stream *report_status(const struct engine *engine, size_t limit, bool details);

/* What has happened lately, as JSON: the transitions, and the past runs of at most `limit` probes.
 * It becomes void at a reload. NULL when out of memory. */
struct stream *report_history(const struct engine *engine, size_t limit, bool details);

#endif
