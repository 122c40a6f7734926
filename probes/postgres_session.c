#include "probes/postgres_session.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/tls.h"
#include "probes/postgres_text.h"

enum {
	QUERY_SIZE_MAX = 1024 * 1024,
	ANSWER_SIZE_MAX = 1024 * 1024,
	ROWS_MAX = 100, /* the first one decides; the rest is read only to leave the session idle */
	CANCEL_LIMIT_US = 1000 * 1000,
	CANCEL_EAGER_STEPS = 4,
};

/* ---- parameters ---- */

/* A struct postgres_parameters is libpq's array of options. */
static PQconninfoOption *options_of(const struct postgres_parameters *parameters)
{
	return (PQconninfoOption *)(uintptr_t)parameters;
}

static void add_all(struct postgres_keywords *list, const struct postgres_parameters *parameters)
{
	for (PQconninfoOption *option = options_of(parameters); option->keyword; option++)
		postgres_keyword_add(list, option->keyword, option->val);
}

/* NULL if this libpq does not know it. */
static PQconninfoOption *option_of(const struct postgres_parameters *parameters,
				   const char *keyword)
{
	for (PQconninfoOption *option = options_of(parameters); option->keyword; option++) {
		if (strcmp(option->keyword, keyword) == 0)
			return option;
	}
	return NULL;
}

const char *postgres_parameter(const struct postgres_parameters *parameters, const char *keyword)
{
	const PQconninfoOption *option = option_of(parameters, keyword);
	const char *value = option ? option->val : NULL;

	if (option && !value && option->envvar)
		value = getenv(option->envvar);
	if (option && !value)
		value = option->compiled;
	return value ? value : "";
}

bool postgres_parameter_is_given(const struct postgres_parameters *parameters, const char *keyword)
{
	const PQconninfoOption *option = option_of(parameters, keyword);

	return option && option->val;
}

void postgres_parameters_free(struct postgres_parameters *parameters)
{
	PQconninfoFree(options_of(parameters));
}

int postgres_parameter_set(struct postgres_parameters *parameters, const char *keyword,
			   const char *value)
{
	PQconninfoOption *option = option_of(parameters, keyword);
	char *copy;

	if (!option)
		return 0;
	copy = strdup(value);
	if (!copy)
		return -1;
	free(option->val);
	option->val = copy;
	return 0;
}

struct postgres_parameters *postgres_parameters_parse(const char *text, struct error *error)
{
	PQconninfoOption *options;
	char *message = NULL;

	options = PQconninfoParse(text, &message);
	if (!options) {
		char sentence[160];

		postgres_sentence_unquoted(message ? message : "out of memory", sentence,
					   sizeof(sentence));
		error_set(error, "the connection string cannot be read: %s", sentence);
	}
	PQfreemem(message);
	return (void *)options;
}

/* libpq reads the service file only in the call that begins to connect, so it is made to stop right
 * before that, by the value of a parameter that it looks at last: we try the hosts in their order
 * in any case. */
int postgres_parameters_add_service(struct postgres_parameters **parameters, struct error *error)
{
	static const char refused[] = "-", keyword[] = "load_balance_hosts";
	struct postgres_keywords list = {.count = 0};
	struct postgres_parameters *merged;
	char sentence[200];
	PGconn *conn;

	if (!*postgres_parameter(*parameters, "service") && !getenv("PGSERVICE"))
		return 0;
	add_all(&list, *parameters);
	postgres_keyword_add(&list, keyword, refused);
	conn = PQconnectStartParams(list.keywords, list.values, 0);
	postgres_sentence(conn ? PQerrorMessage(conn) : "out of memory", sentence,
			  sizeof(sentence));
	merged = (void *)PQconninfo(conn);
	PQfinish(conn);
	if (!merged || strcmp(postgres_parameter(merged, keyword), refused) != 0) {
		postgres_parameters_free(merged);
		return error_set(error, "%s", sentence);
	}
	free(option_of(merged, keyword)->val);
	option_of(merged, keyword)->val = NULL;
	postgres_parameters_free(*parameters);
	*parameters = merged;
	return 0;
}

/* ---- connecting ---- */

/* Looks at what has come before libpq reads it: how much it is; whether it is an end, since libpq
 * keeps to itself which one; and whether OpenSSL is needed for it. Starting OpenSSL costs more than
 * the rest of a session does, so that is put off until a server offers TLS or wants a password
 * hashed. */
static void look_at_input(struct postgres_session *session)
{
	int fd = PQsocket(session->conn), available = 0;
	ConnStatusType status = PQstatus(session->conn);
	unsigned char head[AUTHENTICATION_HEAD_SIZE] = {0};
	ssize_t got = recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	if (got == 0)
		session->peer_closed = true;
	else if (got < 0 && errno != EAGAIN && errno != EINTR)
		session->peer_errno = errno;
	else if (ioctl(fd, FIONREAD, &available) == 0 && available > 0)
		session->received += (size_t)available;
	if ((status == CONNECTION_SSL_STARTUP && head[0] != 'N') ||
	    (status == CONNECTION_AWAITING_RESPONSE && postgres_wants_password(head)))
		tls_library_prepare();
}

/* Notes phases and signs of life by how far libpq has come. */
static void note_progress(struct postgres_session *session, ConnStatusType before)
{
	struct probe_run *run = session->run;
	PGconn *conn = session->conn;
	ConnStatusType after = PQstatus(conn);

	if (!session->connected && after != CONNECTION_STARTED && after != CONNECTION_BAD) {
		session->connected = true;
		probe_phase_end(run, PHASE_CONNECT);
	}
	if (before == CONNECTION_SSL_STARTUP && after == CONNECTION_MADE && PQsslInUse(conn)) {
		probe_phase_end(run, PHASE_TLS);
		run->certificate_expires_s = tls_peer_expiry(session->ssl);
	}
	if (before == CONNECTION_AWAITING_RESPONSE && !session->answered && !session->peer_closed &&
	    session->peer_errno == 0) {
		session->answered = true;
		probe_phase_end(run, PHASE_FIRST_BYTE);
	}
	/* A server lives that asks for authentication, or needs none any more. */
	if (after == CONNECTION_AUTH_OK || after == CONNECTION_OK || PQconnectionUsedPassword(conn))
		run->alive = true;
}

static void explain_no_session(struct postgres_session *session, ConnStatusType before,
			       struct postgres_failure *failure)
{
	PGconn *conn = session->conn;
	struct postgres_end end = {
		.message = PQerrorMessage(conn),
		.user = PQuser(conn),
		.ssl = session->ssl,
		.peer_errno = session->peer_errno,
		.peer_closed = session->peer_closed,
		.in_handshake = before == CONNECTION_SSL_STARTUP,
		.needs_password = PQconnectionNeedsPassword(conn),
		.used_password = PQconnectionUsedPassword(conn),
		.ignores_passfile = session->ignores_passfile,
	};

	if (postgres_explain_end(&end, failure))
		session->run->alive = true;
}

static void explain_no_connection(PGconn *conn, const char *address,
				  struct postgres_failure *failure)
{
	struct postgres_attempt attempt = {
		.message = PQerrorMessage(conn),
		.host = PQhost(conn),
		.address = address,
		.port = PQport(conn),
	};

	postgres_explain_attempt(&attempt, failure);
}

static void on_connecting(struct loop_io *io, unsigned events)
{
	struct postgres_session *session = io->owner;
	struct postgres_failure failure;
	PGconn *conn = session->conn;
	ConnStatusType before = PQstatus(conn);
	bool was_connected = session->connected;
	PostgresPollingStatusType wants;

	if (events & LOOP_READ && before != CONNECTION_STARTED)
		look_at_input(session);
	tls_catch(&session->ssl);
	wants = PQconnectPoll(conn);
	tls_catch(NULL);
	/* It may have closed its socket and opened another one, which nobody else has done since.
	 */
	if (wants == PGRES_POLLING_READING || wants == PGRES_POLLING_WRITING)
		loop_io_set(session->run->env->loop, io, PQsocket(conn),
			    wants == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE);
	note_progress(session, before);
	if (wants == PGRES_POLLING_OK) {
		tls_release(session->ssl);
		session->ssl = NULL;
		session->on_open(session);
	} else if (wants == PGRES_POLLING_FAILED) {
		if (before == CONNECTION_STARTED)
			explain_no_connection(conn, PQhostaddr(conn), &failure);
		else
			explain_no_session(session, before, &failure);
		session->on_failed(session, &failure);
	} else if (session->received > ANSWER_SIZE_MAX) {
		postgres_failure_set(&failure, POSTGRES_NO_SESSION, REASON_PROTOCOL_ERROR,
				     "the server sent 1 MiB and opened no session");
		session->on_failed(session, &failure);
	} else if (session->connected && !was_connected) {
		session->on_connected(session);
	}
}

static void drop_notice(void *owner, const PGresult *notice)
{
	(void)owner;
	(void)notice;
}

int postgres_session_open(struct postgres_session *session,
			  const struct postgres_parameters *parameters,
			  const struct postgres_place *place, struct postgres_failure *failure)
{
	struct postgres_keywords list = {.count = 0};

	session->connected = session->answered = session->peer_closed = false;
	session->ignores_passfile = place->ignores_passfile;
	session->peer_errno = 0;
	session->received = 0;
	session->io.owner = session;
	session->io.on_ready = on_connecting;
	PQinitOpenSSL(0, 0); /* tls_library_prepare() does that */
	if (strcmp(postgres_parameter(parameters, "sslnegotiation"), "direct") == 0)
		tls_library_prepare();
	add_all(&list, parameters);
	postgres_place_add(&list, place);
	session->conn = PQconnectStartParams(list.keywords, list.values, 0);
	if (!session->conn) {
		postgres_failure_set(failure, POSTGRES_NO_CONNECTION, REASON_RESOURCES,
				     "out of memory");
		return -1;
	}
	if (PQstatus(session->conn) == CONNECTION_BAD) {
		explain_no_connection(session->conn, place->address, failure);
		postgres_session_close(session);
		return -1;
	}
	/* From here on libpq never waits, not even to say goodbye. */
	PQsetnonblocking(session->conn, 1);
	PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(session->conn, drop_notice, NULL);
	note_progress(session, CONNECTION_NEEDED);
	if (loop_io_set(session->run->env->loop, &session->io, PQsocket(session->conn),
			LOOP_WRITE) < 0) {
		postgres_failure_set(failure, POSTGRES_NO_CONNECTION, REASON_RESOURCES,
				     "cannot watch a socket: %s", strerror(errno));
		postgres_session_close(session);
		return -1;
	}
	return 0;
}

const char *postgres_session_report(const struct postgres_session *session, const char *name)
{
	return PQparameterStatus(session->conn, name);
}

/* ---- queries ---- */

static const char answer_too_large[] = "the answer is larger than 1 MiB";

static void fail_lost(struct postgres_session *session)
{
	session->query_open = false;
	/* Before it closes a session a server says why. */
	if (session->has_failed)
		session->failure.kind = POSTGRES_LOST;
	else
		postgres_explain_loss(session->peer_errno, &session->failure);
	session->on_failed(session, &session->failure);
}

/* Gives up an answer of which we want no more. */
static void fail_unwanted(struct postgres_session *session, const char *sentence)
{
	postgres_failure_set(&session->failure, POSTGRES_QUERY_FAILED, REASON_QUERY_FAILED, "%s",
			     sentence);
	session->on_failed(session, &session->failure);
}

/* Remembers the first error, which is reported once the whole answer has been read. Returns false
 * when there is no more to read. */
static bool take_error(struct postgres_session *session, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	/* Words without a code are libpq's own, about the connection. */
	if (!sqlstate) {
		fail_lost(session);
		return false;
	}
	if (session->has_failed)
		return true;
	session->has_failed = true;
	postgres_explain_error(sqlstate, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
			       &session->failure);
	return true;
}

/* The value of a column of the only row, NULL for null and when there is none. */
static const char *column(const PGresult *result, int index)
{
	if (index >= PQnfields(result) || PQgetisnull(result, 0, index))
		return NULL;
	return PQgetvalue(result, 0, index);
}

/* Takes one result of an answer. Returns false when the callbacks have been told the end. */
static bool take_result(struct postgres_session *session, const PGresult *result)
{
	switch (PQresultStatus(result)) {
	case PGRES_SINGLE_TUPLE:
		if (PQresultMemorySize(result) > ANSWER_SIZE_MAX)
			break;
		if (session->row_count++ == 0)
			session->on_row(session, column(result, 0), column(result, 1));
		if (session->row_count < ROWS_MAX)
			return true;
		session->on_answer(session);
		return false;
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_EMPTY_QUERY:
		return true;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		fail_unwanted(session, "the query is a COPY, which returns no rows");
		return false;
	default:
		return take_error(session, result);
	}
	fail_unwanted(session, answer_too_large);
	return false;
}

static void on_query(struct loop_io *io, unsigned events)
{
	struct postgres_session *session = io->owner;
	PGconn *conn = session->conn;
	bool unsent;

	if (events & LOOP_READ)
		look_at_input(session);
	if (session->received > ANSWER_SIZE_MAX) {
		fail_unwanted(session, answer_too_large);
		return;
	}
	if (!PQconsumeInput(conn)) {
		fail_lost(session);
		return;
	}
	unsent = PQflush(conn) > 0;
	while (!PQisBusy(conn)) {
		PGresult *result = PQgetResult(conn);
		bool more;

		if (!result) {
			session->query_open = false;
			if (session->has_failed)
				session->on_failed(session, &session->failure);
			else
				session->on_answer(session);
			return;
		}
		more = take_result(session, result);
		PQclear(result);
		if (!more)
			return;
	}
	loop_io_set(session->run->env->loop, io, PQsocket(conn),
		    unsent ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

void postgres_session_query(struct postgres_session *session, const char *query, int64_t limit_ms)
{
	PGconn *conn = session->conn;
	struct buffer text;

	/* Two statements in one message are one transaction, so that the limit ends with it.
	 * Nothing stays behind in the session, which a pooler may lend to others next. */
	buffer_init(&text, QUERY_SIZE_MAX);
	if (query)
		buffer_format(&text, "SET LOCAL statement_timeout = %lld; %s", (long long)limit_ms,
			      query);
	session->row_count = session->received = 0;
	session->has_failed = false;
	session->peer_closed = false;
	session->peer_errno = 0;
	session->io.owner = session;
	session->io.on_ready = on_query;
	session->query_open = PQsendQuery(conn, text.data ? text.data : "") == 1;
	session->cancellable = query != NULL;
	buffer_free(&text);
	/* A row at a time, so that a large answer is never held as a whole. */
	PQsetSingleRowMode(conn);
	/* If it could not be sent the socket is at its end, and that is told as readable. */
	loop_io_set(session->run->env->loop, &session->io, PQsocket(conn),
		    PQflush(conn) > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

/* ---- cancelling ---- */

/* A cancel request on its way, which outlives its run. */
struct canceller {
	PGcancelConn *request;
	struct loop *loop;
	struct loop_io io;
	struct loop_timer limit;
	struct canceller *next, **link;
};

static struct canceller *cancellers;

static void canceller_free(struct canceller *canceller)
{
	loop_io_clear(canceller->loop, &canceller->io);
	loop_timer_clear(canceller->loop, &canceller->limit);
	PQcancelFinish(canceller->request);
	*canceller->link = canceller->next;
	if (canceller->next)
		canceller->next->link = canceller->link;
	free(canceller);
}

/* Goes on; returns false once it is over and freed. */
static bool canceller_step(struct canceller *canceller)
{
	PostgresPollingStatusType wants = PQcancelPoll(canceller->request);

	if (wants != PGRES_POLLING_READING && wants != PGRES_POLLING_WRITING) {
		canceller_free(canceller);
		return false;
	}
	loop_io_set(canceller->loop, &canceller->io, PQcancelSocket(canceller->request),
		    wants == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE);
	return true;
}

static void on_cancel_ready(struct loop_io *io, unsigned events)
{
	(void)events;
	canceller_step(io->owner);
}

static void on_cancel_limit(struct loop_timer *timer)
{
	canceller_free(timer->owner);
}

/* Asks the server to end the query that is under way on `conn`, which may be closed afterwards.
 * Should it not succeed, the statement's time limit does it a little later. */
static void cancel_query(struct loop *loop, PGconn *conn)
{
	struct canceller *canceller = calloc(1, sizeof(*canceller));
	PGcancelConn *request = canceller ? PQcancelCreate(conn) : NULL;

	if (!request) {
		free(canceller);
		return;
	}
	if (!PQcancelStart(request)) {
		PQcancelFinish(request);
		free(canceller);
		return;
	}
	*canceller = (struct canceller){
		.request = request,
		.loop = loop,
		.io = {.on_ready = on_cancel_ready, .owner = canceller},
		.limit = {.on_expire = on_cancel_limit, .owner = canceller},
		.next = cancellers,
		.link = &cancellers,
	};
	if (cancellers)
		cancellers->link = &canceller->next;
	cancellers = canceller;
	loop_timer_set(loop, &canceller->limit, loop_now_us(loop) + CANCEL_LIMIT_US);
	loop_io_set(loop, &canceller->io, PQcancelSocket(request), LOOP_WRITE);
	/* To a server nearby it goes out at once, even if the program ends right after this run. */
	for (int i = 0; i < CANCEL_EAGER_STEPS; i++) {
		short events = canceller->io.interest == LOOP_READ ? POLLIN : POLLOUT;
		struct pollfd ready = {.fd = canceller->io.fd, .events = events};

		if (poll(&ready, 1, 0) < 1 || !canceller_step(canceller))
			return;
	}
}

void postgres_sessions_shutdown(void)
{
	while (cancellers)
		canceller_free(cancellers);
}

/* ---- the end ---- */

void postgres_session_close(struct postgres_session *session)
{
	if (!session->conn)
		return;
	if (session->query_open && session->cancellable && PQstatus(session->conn) == CONNECTION_OK)
		cancel_query(session->run->env->loop, session->conn);
	session->query_open = false;
	loop_io_clear(session->run->env->loop, &session->io);
	tls_release(session->ssl);
	session->ssl = NULL;
	PQfinish(session->conn);
	session->conn = NULL;
}

struct pg_conn *postgres_session_take(struct postgres_session *session)
{
	PGconn *conn = session->conn;

	/* An error is remembered to the end of a session that libpq takes for open. */
	if (!conn || session->query_open || PQstatus(conn) != CONNECTION_OK ||
	    PQtransactionStatus(conn) != PQTRANS_IDLE)
		return NULL;
	loop_io_clear(session->run->env->loop, &session->io);
	session->conn = NULL;
	return conn;
}

void postgres_session_give(struct postgres_session *session, struct pg_conn *conn)
{
	session->conn = conn;
	session->connected = true;
}

void postgres_connection_close(struct pg_conn *conn)
{
	PQfinish(conn);
}

void postgres_session_library(char *text, size_t size)
{
	int version = PQlibVersion();

	snprintf(text, size, "libpq %d.%d", version / 10000, version % 10000);
}
