/* Why a connection did not become a session, and why a query has no answer: as a reason, as a
 * sentence, and as what another address or host can do about it. Knows libpq's texts, not libpq. */
#ifndef READYD_PROBES_POSTGRES_FAILURE_H
#define READYD_PROBES_POSTGRES_FAILURE_H

#include <stdbool.h>

#include "probes/probe.h"

enum postgres_failure_kind {
	POSTGRES_NO_CONNECTION, /* another address of the host may do */
	POSTGRES_REJECTED,      /* the server is there and takes nobody; another host may do */
	POSTGRES_NO_SESSION,    /* the connection did not become a session */
	POSTGRES_QUERY_FAILED,  /* the server answered the query with an error */
	POSTGRES_LOST,          /* the session is gone */
};

struct postgres_failure {
	enum postgres_failure_kind kind;
	enum probe_reason reason;
	char sentence[200];
};

void postgres_failure_set(struct postgres_failure *failure, enum postgres_failure_kind kind,
			  enum probe_reason reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* How much a failure tells: of a server which lives more than of one which is not there, and both
 * more than that there is no way to it. */
int postgres_failure_weight(const struct postgres_failure *failure);

/* An attempt to connect that failed. */
struct postgres_attempt {
	const char *message; /* libpq's */
	const char *host;    /* a unix socket's directory */
	const char *address; /* a literal IP address; "" = a unix socket */
	const char *port;
};

/* Says why there is no connection. */
void postgres_explain_attempt(const struct postgres_attempt *attempt,
			      struct postgres_failure *failure);

/* A connection that ended before it was a session. */
struct postgres_end {
	const char *message; /* libpq's */
	const char *user;
	void *ssl; /* for tls_verify_outcome(); may be NULL */
	int peer_errno;
	bool peer_closed;
	bool in_handshake; /* of TLS */
	bool needs_password, used_password, ignores_passfile;
};

/* Says why there is no session. Returns whether the server has said it itself, and so is alive. */
bool postgres_explain_end(const struct postgres_end *end, struct postgres_failure *failure);

/* Says why a session ended during a query; `peer_errno` is 0 when it was closed. */
void postgres_explain_loss(int peer_errno, struct postgres_failure *failure);

/* Says what an error means with which a server answers a query; `message` may be NULL. */
void postgres_explain_error(const char *sqlstate, const char *message,
			    struct postgres_failure *failure);

#endif
