/* One HTTP request over a connected socket, spoken by libcurl on our loop. */
#ifndef READYD_PROBES_HTTP_TRANSFER_H
#define READYD_PROBES_HTTP_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/buffer.h"
#include "agent/error.h"
#include "agent/tls.h"
#include "probes/http_request.h"
#include "probes/http_verdict.h"
#include "probes/probe.h"

struct http_connection;
struct loop;

enum { HTTP_CURL_ERROR_SIZE = 256 };

enum http_stage {
	HTTP_STAGE_TLS,     /* the handshake is under way */
	HTTP_STAGE_WAITING, /* for the head of the answer */
	HTTP_STAGE_BODY,    /* the head is complete */
};

/* Embedded in its owner; zero-filled is valid and idle. */
struct http_transfer {
	/* The owner sets these before http_transfer_start(); they stay his. */
	struct http_request request;
	struct tls_context *tls_context; /* for https */
	/* PHASE_TLS or PHASE_FIRST_BYTE has just ended. */
	void (*on_phase)(struct http_transfer *transfer, enum probe_phase phase);
	/* The head of the answer is complete. */
	void (*on_head)(struct http_transfer *transfer);
	/* One of these ends the transfer, and may come before http_transfer_start() returns. After
	 * on_answer `answer` is complete; `error` has no secrets. They may stop the transfer. */
	void (*on_answer)(struct http_transfer *transfer);
	void (*on_failure)(struct http_transfer *transfer, enum probe_reason reason,
			   const struct error *error);
	void *owner;

	/* For the owner to read. */
	struct http_answer answer;
	struct tls_peer peer;

	/* http_transfer.c's own. */
	enum http_stage stage;
	bool first_byte_came;
	void *easy; /* libcurl's handle */
	void *headers;
	struct http_connection *connection;
	struct buffer body;
	bool ended;   /* the owner knows */
	bool cut_off; /* by us: there was too much body */
	char curl_error[HTTP_CURL_ERROR_SIZE];
};

/* Begins the request over `fd`, which is connected and passes on to the transfer in any case. */
void http_transfer_start(struct http_transfer *transfer, struct loop *loop, int fd);

/* Ends it whatever state it is in, without further callbacks, and gives everything back; harmless
 * when idle. Not to be called from on_phase and on_head. */
void http_transfer_stop(struct http_transfer *transfer);

/* Where the answer redirects, as a whole URL; NULL = nowhere. Valid until the transfer is stopped.
 */
const char *http_transfer_location(const struct http_transfer *transfer);

/* Writes "libcurl 8.14.1, nghttp2 1.64.0". */
void http_transfer_libraries(char *text, size_t size);

/* Gives back what all transfers share, at the end of the program. */
void http_transfer_shutdown(void);

#endif
