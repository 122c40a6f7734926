/* What the parts of the answering share; for answer*.c only.
 *
 * answer.c knows which answer belongs to which path, answer_endpoint.c what is said of endpoints
 * and single probes, answer_admin.c what our own commands ask for over the admin socket. */
#ifndef READYD_AGENT_ANSWER_PARTS_H
#define READYD_AGENT_ANSWER_PARTS_H

#include "agent/answer.h"

enum {
	STATUS_OK = 200,
	STATUS_BAD_REQUEST = 400,
	STATUS_FORBIDDEN = 403,
	STATUS_NOT_FOUND = 404,
	STATUS_METHOD_NOT_ALLOWED = 405,
	STATUS_CONFLICT = 409,
	STATUS_TOO_MANY = 429,
	STATUS_UNAVAILABLE = 503,
};

enum {
	ENDPOINT_FORMATS = FORMAT_BIT(FORMAT_TEXT) | FORMAT_BIT(FORMAT_KUBERNETES) |
			   FORMAT_BIT(FORMAT_JSON) | FORMAT_BIT(FORMAT_HEALTH_JSON) |
			   FORMAT_BIT(FORMAT_MICROPROFILE) | FORMAT_BIT(FORMAT_SPRING) |
			   FORMAT_BIT(FORMAT_NAGIOS),
};

/* ---- answer_endpoint.c ---- */

/* For Allow. */
extern const char answer_readable_methods[];

/* Answers with a text that lasts. */
void answer_say(struct answer *answer, unsigned status, const char *text);

/* Answers with what the caller then writes into the buffer that is returned. */
struct buffer *answer_begin_body(struct answer *answer, unsigned status, enum format format,
				 size_t ceiling);

/* Answers with a stream, which is taken: what is about many probes is sent as it is made, what is
 * about few in one go. NULL = out of memory. */
void answer_begin_stream(const struct answer_source *source, struct stream *stream,
			 const char *content_type, struct answer *answer);

/* Which of the formats that are offered is asked for. Returns false if it is another, which
 * `answer` says then. */
bool answer_choose_format(const struct question *question, unsigned offered, enum format usual,
			  enum format *ret_format, struct answer *answer);

/* The HTTP status that stands for a verdict. The admin side is for our own commands, which know 404
 * as "no such probe". */
unsigned answer_status_of(const struct engine *engine, struct verdict verdict, bool admin);

void answer_endpoint(const struct answer_source *source, const struct question *question,
		     enum endpoint endpoint, struct answer *answer);

void answer_probe(const struct answer_source *source, const struct question *question,
		  const struct engine_probe *probe, struct answer *answer);

/* ---- answer_admin.c ---- */

/* What changes something. Returns false if the path is none of these. */
bool answer_command(struct answer_source *source, const struct question *question, const char *path,
		    struct answer *answer);

/* What is only read: what `readyd status` and `readyd check` ask for. Returns false if the path is
 * none of these. */
bool answer_own(const struct answer_source *source, const struct question *question,
		const char *path, struct answer *answer);

/* The endpoint that `readyd check` asks for at this path; returns false if it is none. */
bool answer_checked_endpoint(const char *path, enum endpoint *ret_endpoint);

#endif
