/* What an HTTP answer is worth, once it is there: pure, no I/O. */
#ifndef READYD_PROBES_HTTP_VERDICT_H
#define READYD_PROBES_HTTP_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probes/http_head.h"
#include "probes/probe.h"

struct http_settings;

enum { HTTP_VERDICT_SIZE = 240 };

/* How the reading of the body ended. */
enum http_body_end {
	HTTP_BODY_WHOLE,
	HTTP_BODY_CUT,     /* by us: longer than HTTP_BODY_MAX, as announced by Content-Length */
	HTTP_BODY_ENDLESS, /* by us: longer than HTTP_BODY_MAX, and nobody knows how long */
	HTTP_BODY_BROKEN,  /* by the server, before its end */
};

/* One answer, and what the verdict needs to know besides. */
struct http_answer {
	struct http_head head;
	unsigned redirects;        /* followed to get here */
	const char *redirect_host; /* of a redirect that was not followed; NULL = none */
	enum http_body_end body_end;
	char *body; /* NUL-terminated; NULL when no rule is about it. Its NUL bytes are changed. */
	size_t body_len;
	uint64_t body_received; /* bytes, kept or not */
	int64_t duration_us;
	int64_t certificate_expires_s; /* 0 = there is none */
};

struct http_verdict {
	enum probe_state state;
	enum probe_reason reason;
	char sentence[HTTP_VERDICT_SIZE];
};

/* Whether the status is one of the accepted ones. */
bool http_status_accepted(const struct http_settings *settings, int status);

/* Whether this status asks for another request when a Location comes with it. */
bool http_status_redirects(int status);

/* The method of the request that a redirect asks for: GET in place of POST, and after 303 in place
 * of everything but HEAD, as browsers do (RFC 9110, 15.4). */
const char *http_redirected_method(int status, const char *method);

/* Judges an answer whose headers have all come. */
void http_judge(const struct http_settings *settings, struct http_answer *answer,
		struct http_verdict *verdict);

#endif
