#include "probes/http_failure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The connection ended, one way or another. */
static enum probe_reason explain_connection(const struct http_end *end, struct error *error)
{
	const char *when = end->in_handshake      ? "during the TLS handshake"
			   : end->first_byte_came ? "in the middle of the headers"
						  : "before it answered";
	bool reset = end->error_number == ECONNRESET || end->error_number == EPIPE;

	error_set(error, "the server %s the connection %s", reset ? "reset" : "closed", when);
	return reset ? REASON_CONNECTION_RESET : REASON_CONNECTION_CLOSED;
}

/* OpenSSL's code in libcurl's "TLS connect error: error:0A00010B:SSL routines::text"; 0 = none. */
static unsigned long tls_error_code(const char *message)
{
	static const char mark[] = "error:";

	for (const char *at = message; (at = strstr(at, mark));) {
		at += sizeof(mark) - 1;
		if (strspn(at, "0123456789ABCDEF") == 8)
			return strtoul(at, NULL, 16);
	}
	return 0;
}

static enum probe_reason explain_handshake(const struct http_end *end, struct error *error)
{
	unsigned long code = tls_error_code(end->message);

	if (code == 0)
		return explain_connection(end, error);
	return tls_reason(tls_outcome_of_error_code(code, error));
}

enum probe_reason http_explain_end(const struct http_end *end, struct error *error)
{
	if (end->peer->outcome != TLS_OK) {
		*error = end->peer->error;
		return tls_reason(end->peer->outcome);
	}
	if (end->fault) {
		error_set(error, "%s", end->fault);
		return REASON_PROTOCOL_ERROR;
	}
	switch (end->kind) {
	case HTTP_END_CONNECTION:
		return explain_connection(end, error);
	case HTTP_END_HANDSHAKE:
		return explain_handshake(end, error);
	case HTTP_END_HEADERS:
		error_set(error, "the headers of the answer do not end");
		return REASON_PROTOCOL_ERROR;
	case HTTP_END_HTTP2:
		/* Without a complaint the connection has just ended. */
		if (end->message[0] == '\0')
			return explain_connection(end, error);
		error_set(error, "the server does not take the request in HTTP/2");
		return REASON_PROTOCOL_ERROR;
	case HTTP_END_MEMORY:
		error_set(error, "out of memory");
		return REASON_RESOURCES;
	case HTTP_END_OTHER:
		break;
	}
	error_set(error, "the answer is not HTTP");
	return REASON_PROTOCOL_ERROR;
}
