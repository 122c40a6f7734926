/* Why no complete head of an answer came: as a reason and as a sentence. Pure. */
#ifndef READYD_PROBES_HTTP_FAILURE_H
#define READYD_PROBES_HTTP_FAILURE_H

#include <stdbool.h>

#include "agent/error.h"
#include "agent/tls.h"
#include "probes/probe.h"

/* How libcurl says that it ended. */
enum http_end_kind {
	HTTP_END_CONNECTION, /* the connection did */
	HTTP_END_HANDSHAKE,
	HTTP_END_HEADERS, /* there were too many */
	HTTP_END_HTTP2,
	HTTP_END_MEMORY,
	HTTP_END_OTHER,
};

struct http_end {
	enum http_end_kind kind;
	const char *message; /* libcurl's, or "" */
	int error_number;    /* of the connection; 0 = it was closed */
	bool in_handshake;
	bool first_byte_came;
	const char *fault;           /* what is wrong with the head, or NULL */
	const struct tls_peer *peer; /* what was found out about it */
};

/* Says why, and returns the reason. */
enum probe_reason http_explain_end(const struct http_end *end, struct error *error);

#endif
