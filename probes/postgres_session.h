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
#include "probes/postgres_failure.h"
#include "probes/postgres_place.h"
#include "probes/probe.h"

struct pg_conn;

/* ---- parameters ---- */

/* The parameters of a connection by libpq's names. What is not set is in libpq's environment, or
 * has a default of libpq's. */
struct postgres_parameters;

/* Reads a URL or a connection string. Returns NULL with a sentence that has nothing secret. */
struct postgres_parameters *postgres_parameters_parse(const char *text, struct error *error);
void postgres_parameters_free(struct postgres_parameters *parameters);

/* Replaces the parameters by what they are together with those of the service file that they name,
 * if they do. Returns 0, or -1 with a sentence. */
int postgres_parameters_add_service(struct postgres_parameters **parameters, struct error *error);

/* Sets a parameter; one that this libpq does not know is left out. Returns 0, or -1 for want of
 * memory. */
int postgres_parameter_set(struct postgres_parameters *parameters, const char *keyword,
			   const char *value);

/* Whether the URL, the connection string or the service file has a parameter. */
bool postgres_parameter_is_given(const struct postgres_parameters *parameters, const char *keyword);

/* What a parameter is, however it is set; "" when it is nothing. */
const char *postgres_parameter(const struct postgres_parameters *parameters, const char *keyword);

/* ---- sessions ---- */

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

/* Begins to open a session. Returns 0, or -1 with the failure. */
int postgres_session_open(struct postgres_session *session,
			  const struct postgres_parameters *parameters,
			  const struct postgres_place *place, struct postgres_failure *failure);

/* What the server has reported of itself under this name, NULL if nothing. It is as old as the last
 * answer. */
const char *postgres_session_report(const struct postgres_session *session, const char *name);

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
