/* What reports have in common; for report_*.c only. */
#ifndef READYD_AGENT_REPORT_SELECT_H
#define READYD_AGENT_REPORT_SELECT_H

#include "agent/report.h"

/* Whether probes of this role decide over the endpoint. */
bool report_concerns(enum role role, enum endpoint endpoint);

/* The probes called as this one that the report is about, at most one of each role; how many. */
size_t report_same_name(const struct report_request *request, const struct engine_probe *probe,
			const struct engine_probe *ret_probes[ROLE_COUNT]);

bool report_is_excluded(const struct report_request *request, const char *name);

/* Whether the report is about this probe. */
bool report_includes(const struct report_request *request, const struct engine_probe *probe);

/* The endpoint's verdict without what is excluded, or that of the only probe. */
struct verdict report_verdict(const struct engine *engine, const struct report_request *request);

/* Why a probe is not as it should be, in a word that needs no further knowledge. */
const char *report_trouble(const struct engine_probe *probe);

/* "pass", "warn" when something warns although nothing hinders, or "fail". */
const char *report_overall(const struct engine *engine, const struct report_request *request,
			   bool ok);

/* Of an answer in JSON the probes get so much; the rest is for what stands around them. */
enum { REPORT_PROBES_MAX = REPORT_ANSWER_MAX - 2048 };

/* What an `add` that writes JSON needs to know. */
struct report_context {
	struct json_writer *json;
	const struct report_request *request;
};

/* Calls `add` for the probes of an endpoint, those in trouble first, as long as the buffer holds no
 * more than `limit` bytes then; returns how many were left out. */
size_t report_each_probe(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer, size_t limit,
			 void (*add)(const struct engine_probe *probe, void *context),
			 void *context);

/* Writes an array of the transitions of number `first` and later, the oldest first. */
void report_transitions(struct json_writer *json, const char *name, const struct history *history,
			uint64_t first, bool details);

/* Writes an array of the probe's past runs, the oldest first. */
void report_runs(struct json_writer *json, const char *name, const struct engine_probe *probe);

/* At most `limit` probes, those in trouble first; all in their order if there are no more. */
struct probe_selection {
	const struct engine_probe **probes;
	size_t count, left_out;
};

/* Returns 0, or -1 when out of memory. */
int report_select_probes(const struct engine *engine, size_t limit,
			 struct probe_selection *selection);

#endif
