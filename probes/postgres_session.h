/* Sessions of PostgreSQL on our loop; behind it is libpq, whose only user it is.
 *
 * libpq is given one literal address at a time: it resolves no name, since that would block, and
 * walks no list of hosts, since it would stay with the first one that keeps silent. What is left to
 * it is parameters, encryption, authentication and the protocol. */
#ifndef READYD_PROBES_POSTGRES_SESSION_H
#define READYD_PROBES_POSTGRES_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/loop.h"
#include "probes/probe.h"

struct pg_conn;

/* ---- parameters ---- */

/* What the user has set beside the URL, and what counts instead of the URL's; all may be NULL. */
struct postgres_overrides {
	char *host;
	char *port;
	char *user;
	char *database;
	char *sslmode;
};

/* The parameters of a connection by libpq's names. What is not set is in libpq's environment, or
 * has a default of libpq's. */
struct postgres_parameters;

/* Of a URL or a connection string, which may be NULL. Returns NULL with a sentence, which contains
 * nothing secret, and with the reason that it is for a run. */
struct postgres_parameters *postgres_parameters_create(const char *url,
						       const struct postgres_overrides *overrides,
						       enum probe_reason *ret_reason,
						       struct error *error);
void postgres_parameters_free(struct postgres_parameters *parameters);

/* What a parameter is, however it is set; "" when it is nothing. */
const char *postgres_parameter(const struct postgres_parameters *parameters, const char *keyword);

/* ---- sessions ---- */

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

/* One session, embedded in its owner; zero-filled is valid and closed. The owner sets `run` (whose
 * phases and sign of life it notes) and the callbacks, each of which may close the session. */
struct postgres_session {
	struct probe_run *run;
	void (*on_connected)(struct postgres_session *session); /* not a session yet */
	void (*on_open)(struct postgres_session *session);
	void (*on_failed)(struct postgres_session *session, const struct postgres_failure *failure);
	/* Of the first row of an answer the first two columns, NULL for SQL's null and when absent.
	 */
	void (*on_row)(struct postgres_session *session, const char *first, const char *second);
	void (*on_answer)(struct postgres_session *session); /* the whole answer has been read */
	void *owner;

	bool connected; /* for the owner to look at */

	/* postgres_session.c's own */
	struct pg_conn *conn; /* NULL = closed */
	struct loop_io io;
	bool answered;
	bool ignores_passfile;
	bool query_open;  /* the server has been sent a query and is not done with it */
	bool cancellable; /* it is more than a sign of life */
	bool peer_closed;
	int peer_errno;
	size_t received, row_count;
	bool has_failed; /* the query under way */
	struct postgres_failure failure;
	void *ssl; /* kept alive during the handshake, for libpq frees it on a failure */
};

/* Where a session is to be opened. */
struct postgres_place {
	const char *host; /* the name that a certificate must have, or a unix socket's directory */
	const char *address; /* a literal IP address; "" = the unix socket for `port` in `host` */
	const char *port;
	const char *password; /* instead of the parameters'; may be NULL */
};

/* Begins to open a session. Returns 0, or -1 with the failure. */
int postgres_session_open(struct postgres_session *session,
			  const struct postgres_parameters *parameters,
			  const struct postgres_place *place, struct postgres_failure *failure);

/* What the server has reported of itself; false if it has not (before PostgreSQL 14, or a pooler).
 * It is as old as the last answer. */
bool postgres_session_role(const struct postgres_session *session, bool *ret_standby,
			   bool *ret_read_only);

/* Sends a query, one at a time. `limit_ms` is after how long the server itself ends it. NULL asks
 * for nothing but a sign of life. Fails by on_failed, but not before it returns. */
void postgres_session_query(struct postgres_session *session, const char *query, int64_t limit_ms);

/* Closes the session, whatever it is doing; a query under way is cancelled on the server, which is
 * seen to in the background for at most a second. Harmless when closed. */
void postgres_session_close(struct postgres_session *session);

/* Takes the connection out of the session for later use; NULL if it is not an idle session. */
struct pg_conn *postgres_session_take(struct postgres_session *session);

/* Puts a connection into the closed session that postgres_session_take() has returned. */
void postgres_session_give(struct postgres_session *session, struct pg_conn *conn);

/* Closes a taken connection; harmless on NULL. */
void postgres_connection_close(struct pg_conn *conn);

/* Drops the cancel requests that are under way. */
void postgres_sessions_shutdown(void);

/* Writes "libpq 17.6". */
void postgres_session_library(char *text, size_t size);

#endif
