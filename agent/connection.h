/* A stream to what is probed: dialled and, where wanted, TLS on it. Notes the phases of the run and
 * the end of the certificate. What goes over the connection is the probe's business, from on_open()
 * on. */
#ifndef READYD_AGENT_CONNECTION_H
#define READYD_AGENT_CONNECTION_H

#include "agent/dial.h"
#include "agent/error.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/probe.h"

/* Embedded in its owner, a run's state. */
struct connection {
	/* The owner sets these between connection_init() and connection_start(). */
	const char *host; /* a name or literal; for a unix socket what TLS expects, or NULL */
	unsigned short port;
	const char *unix_path;                   /* instead of the host; may be NULL */
	const struct tls_settings *tls_settings; /* NULL = no TLS */
	struct tls_context **tls_context;        /* kept by the owner between runs */
	/* The name is resolved; may be NULL. PHASE_RESOLVE is the owner's to end. */
	void (*on_resolved)(struct connection *connection);
	/* The connection stands, and TLS, if wanted, begins; may be NULL. */
	void (*on_connected)(struct connection *connection);
	/* One of these comes, and may before connection_start() returns. While `fd` is -1 there was
	 * no connection, and else TLS has failed. */
	void (*on_open)(struct connection *connection);
	void (*on_failure)(struct connection *connection, enum probe_reason reason,
			   const struct error *error);
	void *owner;

	/* For the owner from on_open() on; they stay the connection's. */
	int fd;
	struct tls *tls;   /* NULL = plain */
	struct loop_io io; /* the owner sets its callback */

	/* connection.c's own */
	struct probe_run *run;
	struct dial dial;
};

/* Makes of zero-filled memory a connection that may be started and closed. */
void connection_init(struct connection *connection, struct probe_run *run);

void connection_start(struct connection *connection);

/* Whether the dial is under way. */
bool connection_is_dialling(const struct connection *connection);

/* Gives up or closes, without further callbacks; harmless when closed. */
void connection_close(struct connection *connection);

#endif
