#include "probes/postgres_session.h"

#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/tls.h"
#include "probes/postgres_text.h"

enum {
	PARAMETERS_MAX = 80, /* libpq 17 knows 48 */
	ADDRESS_SIZE = 128,
	QUERY_SIZE_MAX = 1024 * 1024,
	ANSWER_SIZE_MAX = 1024 * 1024,
	ROWS_MAX = 100, /* the first one decides; the rest is read only to leave the session idle */
	CANCEL_LIMIT_US = 1000 * 1000,
	CANCEL_EAGER_STEPS = 4,
};

/* ---- parameters ---- */

/* Parameters as libpq takes them: the last value of a keyword counts, unless it is empty. */
struct keyword_list {
	const char *keywords[PARAMETERS_MAX + 1];
	const char *values[PARAMETERS_MAX + 1];
	size_t count;
};

static void list_add(struct keyword_list *list, const char *keyword, const char *value)
{
	if (!value || list->count == PARAMETERS_MAX)
		return;
	list->keywords[list->count] = keyword;
	list->values[list->count++] = value;
	list->keywords[list->count] = NULL;
	list->values[list->count] = NULL;
}

/* A struct postgres_parameters is libpq's array of options. */
static PQconninfoOption *options_of(const struct postgres_parameters *parameters)
{
	return (PQconninfoOption *)(uintptr_t)parameters;
}

static void list_add_all(struct keyword_list *list, const struct postgres_parameters *parameters)
{
	for (PQconninfoOption *option = options_of(parameters); option->keyword; option++)
		list_add(list, option->keyword, option->val);
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

void postgres_parameters_free(struct postgres_parameters *parameters)
{
	PQconninfoFree(options_of(parameters));
}

/* Sets a parameter, unless the value is NULL or empty. Returns 0, or -1 for want of memory. */
static int set_parameter(struct postgres_parameters *parameters, const char *keyword,
			 const char *value)
{
	PQconninfoOption *option = option_of(parameters, keyword);
	char *copy;

	if (!value || !*value || !option)
		return 0;
	copy = strdup(value);
	if (!copy)
		return -1;
	free(option->val);
	option->val = copy;
	return 0;
}

static int set_parameters(struct postgres_parameters *parameters,
			  const struct postgres_overrides *overrides)
{
	const char *encoding = option_of(parameters, "client_encoding")->val;

	if (set_parameter(parameters, "host", overrides->host) < 0 ||
	    set_parameter(parameters, "port", overrides->port) < 0 ||
	    set_parameter(parameters, "user", overrides->user) < 0 ||
	    set_parameter(parameters, "dbname", overrides->database) < 0 ||
	    set_parameter(parameters, "sslmode", overrides->sslmode) < 0 ||
	    set_parameter(parameters, "fallback_application_name", "readyd") < 0)
		return -1;
	return set_parameter(parameters, "client_encoding", encoding ? encoding : "UTF8");
}

/* Replaces the parameters by what they are together with the service file that they name. libpq
 * reads that only in the call that begins to connect, so it is made to stop right before that, by
 * the value of a parameter that it looks at last: we try the hosts in their order in any case. */
static int add_service(struct postgres_parameters **parameters, struct error *error)
{
	static const char refused[] = "-", keyword[] = "load_balance_hosts";
	struct keyword_list list = {.count = 0};
	struct postgres_parameters *merged;
	char sentence[200];
	PGconn *conn;

	if (!*postgres_parameter(*parameters, "service") && !getenv("PGSERVICE"))
		return 0;
	list_add_all(&list, *parameters);
	list_add(&list, keyword, refused);
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

static int check_word(const struct postgres_parameters *parameters, const char *keyword,
		      const char *words, struct error *error)
{
	const char *value = postgres_parameter(parameters, keyword);

	if (postgres_has_word(words, value))
		return 0;
	return error_set(error, "%s is \"%.50s\", possible are: %s", keyword, value, words);
}

static int check_parameters(const struct postgres_parameters *parameters,
			    enum probe_reason *ret_reason, struct error *error)
{
	const char *mode = postgres_parameter(parameters, "sslmode");
	bool system = strcmp(postgres_parameter(parameters, "sslrootcert"), "system") == 0;
	bool direct = strcmp(postgres_parameter(parameters, "sslnegotiation"), "direct") == 0;

	if (check_word(parameters, "sslmode",
		       "disable, allow, prefer, require, verify-ca, verify-full", error) < 0 ||
	    check_word(parameters, "target_session_attrs",
		       "any, primary, standby, read-write, read-only, prefer-standby", error) < 0)
		return -1;
	if ((mode[0] == 'r' || mode[0] == 'v' || system || direct) && !tls_library_version()) {
		*ret_reason = REASON_TLS_UNAVAILABLE;
		return error_set(error, "%s", TLS_UNAVAILABLE_SENTENCE);
	}
	return postgres_check_hosts(postgres_parameter(parameters, "host"),
				    postgres_parameter(parameters, "hostaddr"),
				    postgres_parameter(parameters, "port"), error);
}

static struct postgres_parameters *parse(const char *url, struct error *error)
{
	PQconninfoOption *options;
	char *message = NULL;

	if (url && strncmp(url, "postgres://", 11) != 0 && strncmp(url, "postgresql://", 13) != 0 &&
	    !strchr(url, '=')) {
		error_set(error, "url is neither a URL (postgres://app@db/users) nor a connection "
				 "string (host=db user=app dbname=users)");
		return NULL;
	}
	options = PQconninfoParse(url ? url : "", &message);
	if (!options) {
		char sentence[160];

		postgres_sentence_unquoted(message ? message : "out of memory", sentence,
					   sizeof(sentence));
		error_set(error, "the connection string cannot be read: %s", sentence);
	}
	PQfreemem(message);
	return (void *)options;
}

struct postgres_parameters *postgres_parameters_create(const char *url,
						       const struct postgres_overrides *overrides,
						       enum probe_reason *ret_reason,
						       struct error *error)
{
	struct postgres_parameters *parameters = parse(url, error);

	*ret_reason = REASON_CANNOT_START;
	if (!parameters)
		return NULL;
	if (set_parameters(parameters, overrides) < 0)
		error_set(error, "out of memory");
	else if (add_service(&parameters, error) == 0 &&
		 check_parameters(parameters, ret_reason, error) == 0)
		return parameters;
	postgres_parameters_free(parameters);
	return NULL;
}

/* ---- connecting ---- */

static void set_failure(struct postgres_failure *failure, enum postgres_failure_kind kind,
			enum probe_reason reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void set_failure(struct postgres_failure *failure, enum postgres_failure_kind kind,
			enum probe_reason reason, const char *format, ...)
{
	va_list arguments;

	failure->kind = kind;
	failure->reason = reason;
	va_start(arguments, format);
	vsnprintf(failure->sentence, sizeof(failure->sentence), format, arguments);
	va_end(arguments);
}

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

static void explain_tls(struct postgres_session *session, const char *text,
			struct postgres_failure *failure)
{
	struct error error = {0};
	enum tls_outcome outcome = session->ssl ? tls_verify_outcome(session->ssl, &error) : TLS_OK;
	enum probe_reason reason = REASON_TLS_FAILED;
	char sentence[160];

	if (outcome != TLS_OK) {
		set_failure(failure, POSTGRES_NO_SESSION, tls_reason(outcome), "%.199s",
			    error.text);
		return;
	}
	if (strstr(text, "server does not support SSL")) {
		set_failure(failure, POSTGRES_NO_SESSION, reason,
			    "the server offers no TLS, and sslmode demands it");
		return;
	}
	if (strstr(text, "does not match host name") || strstr(text, "server's host name"))
		reason = REASON_TLS_HOSTNAME;
	else if (postgres_is_garbage(text))
		reason = REASON_PROTOCOL_ERROR;
	postgres_sentence(text, sentence, sizeof(sentence));
	set_failure(failure, POSTGRES_NO_SESSION, reason, "%s", sentence);
}

/* Says why a connection did not become a session when the server has not said it. */
static void explain_loss(struct postgres_session *session, ConnStatusType before, const char *text,
			 struct postgres_failure *failure)
{
	bool handshake = before == CONNECTION_SSL_STARTUP;
	enum probe_reason reason = REASON_PROTOCOL_ERROR;
	char sentence[160];

	if (session->peer_errno != 0) {
		set_failure(failure, POSTGRES_NO_SESSION,
			    probe_reason_from_errno(session->peer_errno),
			    "the connection broke %s: %s",
			    handshake ? "during the TLS handshake" : "before there was a session",
			    strerror(session->peer_errno));
	} else if (session->peer_closed) {
		set_failure(failure, POSTGRES_NO_SESSION, REASON_CONNECTION_CLOSED,
			    "the server closed the connection %s",
			    handshake ? "during the TLS handshake" : "before there was a session");
	} else if (handshake) {
		explain_tls(session, text, failure);
	} else if (PQconnectionNeedsPassword(session->conn)) {
		set_failure(failure, POSTGRES_NO_SESSION, REASON_AUTH_FAILED,
			    "the server wants a password for user \"%.60s\", and there is none%s",
			    PQuser(session->conn),
			    session->ignores_passfile
				    ? " (the password file must be readable by its owner alone)"
				    : "");
	} else {
		if (!postgres_is_garbage(text)) {
			if (PQconnectionUsedPassword(session->conn) ||
			    strstr(text, "authentication"))
				reason = REASON_AUTH_FAILED;
			else if (postgres_errno_of(text) != 0)
				reason = probe_reason_from_errno(postgres_errno_of(text));
		}
		postgres_sentence(text, sentence, sizeof(sentence));
		set_failure(failure, POSTGRES_NO_SESSION, reason, "%s", sentence);
	}
}

static void explain_no_session(struct postgres_session *session, ConnStatusType before,
			       struct postgres_failure *failure)
{
	const char *text = PQerrorMessage(session->conn);
	char sqlstate[SQLSTATE_SIZE], message[160];
	enum probe_reason reason;

	if (!postgres_server_error(text, sqlstate, message, sizeof(message))) {
		explain_loss(session, before, text, failure);
		return;
	}
	session->run->alive = true;
	reason = postgres_reason_of_sqlstate(sqlstate);
	set_failure(failure, reason == REASON_REJECTING ? POSTGRES_REJECTED : POSTGRES_NO_SESSION,
		    reason, "%s (SQLSTATE %s)", message, sqlstate);
}

static void explain_no_connection(PGconn *conn, const char *address,
				  struct postgres_failure *failure)
{
	const char *text = PQerrorMessage(conn);
	int error_number = postgres_errno_of(text);
	enum probe_reason reason;

	/* libpq keeps quiet about a socket that it could not create, so it is done again. */
	if (text[0] == '\0') {
		int fd = socket(strchr(address, ':') ? AF_INET6 : AF_INET,
				SOCK_STREAM | SOCK_CLOEXEC, 0);

		error_number = fd < 0 ? errno : EMFILE;
		if (fd >= 0)
			close(fd);
	}
	reason = probe_reason_from_errno(error_number);
	if (error_number == 0) {
		/* It has not come to connecting: a parameter is of no use. */
		set_failure(failure, POSTGRES_NO_CONNECTION, REASON_CANNOT_START, "%s", "");
		postgres_sentence(text, failure->sentence, sizeof(failure->sentence));
	} else if (*address) {
		set_failure(failure, POSTGRES_NO_CONNECTION, reason,
			    strchr(address, ':') ? "cannot connect to [%s]:%s: %s"
						 : "cannot connect to %s:%s: %s",
			    address, PQport(conn), strerror(error_number));
	} else {
		set_failure(failure, POSTGRES_NO_CONNECTION, reason,
			    "cannot connect to %.120s/.s.PGSQL.%s: %s", PQhost(conn), PQport(conn),
			    strerror(error_number));
	}
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
		set_failure(&failure, POSTGRES_NO_SESSION, REASON_PROTOCOL_ERROR,
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

/* libpq does not read a password file that is for others as well, or is no file, and complains
 * about it on stderr each time. It keeps quiet about one that is not there. */
static bool ignores_passfile(const struct postgres_parameters *parameters,
			     const struct postgres_place *place)
{
	const char *path = postgres_parameter(parameters, "passfile"), *home = getenv("HOME");
	char at_home[PATH_MAX];
	struct stat status;

	if (place->password || *postgres_parameter(parameters, "password"))
		return false;
	if (!*path && home) {
		snprintf(at_home, sizeof(at_home), "%s/.pgpass", home);
		path = at_home;
	}
	return stat(path, &status) == 0 &&
	       (!S_ISREG(status.st_mode) || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0);
}

/* Begins to connect. `bundle` is instead of "system", by which libpq means where OpenSSL looks that
 * it was built with. */
static PGconn *begin(struct postgres_session *session, const struct postgres_parameters *parameters,
		     const struct postgres_place *place, const char *bundle)
{
	struct keyword_list list = {.count = 0};

	list_add_all(&list, parameters);
	list_add(&list, "host", place->host);
	list_add(&list, "hostaddr", place->address);
	list_add(&list, "port", place->port);
	list_add(&list, "password", place->password);
	list_add(&list, "target_session_attrs", "any");
	session->ignores_passfile = ignores_passfile(parameters, place);
	if (session->ignores_passfile)
		list_add(&list, "passfile", "/dev/null/none");
	if (bundle) {
		list_add(&list, "sslrootcert", bundle);
		list_add(&list, "sslmode", "verify-full");
	}
	return PQconnectStartParams(list.keywords, list.values, 0);
}

int postgres_session_open(struct postgres_session *session,
			  const struct postgres_parameters *parameters,
			  const struct postgres_place *place, struct postgres_failure *failure)
{
	const char *bundle = NULL;

	session->connected = session->answered = session->peer_closed = false;
	session->peer_errno = 0;
	session->received = 0;
	session->io.owner = session;
	session->io.on_ready = on_connecting;
	PQinitOpenSSL(0, 0); /* tls_library_prepare() does that */
	if (strcmp(postgres_parameter(parameters, "sslnegotiation"), "direct") == 0)
		tls_library_prepare();
	if (strcmp(postgres_parameter(parameters, "sslrootcert"), "system") == 0) {
		bundle = tls_system_bundle();
		if (!bundle) {
			set_failure(failure, POSTGRES_NO_SESSION, REASON_TLS_FAILED,
				    "sslrootcert is \"system\", and this system has no bundle of "
				    "certificate authorities");
			return -1;
		}
	}
	session->conn = begin(session, parameters, place, bundle);
	if (!session->conn) {
		set_failure(failure, POSTGRES_NO_CONNECTION, REASON_RESOURCES, "out of memory");
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
		set_failure(failure, POSTGRES_NO_CONNECTION, REASON_RESOURCES,
			    "cannot watch a socket: %s", strerror(errno));
		postgres_session_close(session);
		return -1;
	}
	return 0;
}

bool postgres_session_role(const struct postgres_session *session, bool *ret_standby,
			   bool *ret_read_only)
{
	const char *standby = PQparameterStatus(session->conn, "in_hot_standby");
	const char *read_only = PQparameterStatus(session->conn, "default_transaction_read_only");

	if (!standby || !read_only)
		return false;
	*ret_standby = strcmp(standby, "on") == 0;
	*ret_read_only = strcmp(read_only, "on") == 0;
	return true;
}

/* ---- queries ---- */

static const char answer_too_large[] = "the answer is larger than 1 MiB";

static void fail_lost(struct postgres_session *session)
{
	struct postgres_failure *failure = &session->failure;

	session->query_open = false;
	/* Before it closes a session a server says why. */
	if (session->has_failed)
		failure->kind = POSTGRES_LOST;
	else if (session->peer_errno != 0)
		set_failure(failure, POSTGRES_LOST, probe_reason_from_errno(session->peer_errno),
			    "the connection broke during a query: %s",
			    strerror(session->peer_errno));
	else
		set_failure(failure, POSTGRES_LOST, REASON_CONNECTION_CLOSED,
			    "the server closed the connection during a query");
	session->on_failed(session, failure);
}

/* Gives up an answer of which we want no more. */
static void fail_unwanted(struct postgres_session *session, const char *sentence)
{
	set_failure(&session->failure, POSTGRES_QUERY_FAILED, REASON_QUERY_FAILED, "%s", sentence);
	session->on_failed(session, &session->failure);
}

/* Remembers the first error, which is reported once the whole answer has been read. Returns false
 * when there is no more to read. */
static bool take_error(struct postgres_session *session, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	enum probe_reason reason = REASON_QUERY_FAILED;
	char sentence[160];

	/* Words without a code are libpq's own, about the connection. */
	if (!sqlstate) {
		fail_lost(session);
		return false;
	}
	if (session->has_failed)
		return true;
	session->has_failed = true;
	if (postgres_reason_of_sqlstate(sqlstate) == REASON_REJECTING)
		reason = REASON_REJECTING;
	postgres_sentence(message ? message : "the query failed", sentence, sizeof(sentence));
	set_failure(&session->failure, POSTGRES_QUERY_FAILED, reason, "%s (SQLSTATE %s)", sentence,
		    sqlstate);
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

#if READYD_TLS
enum { SCRAM_KEY_LEN = 32 };

/* Hi() of RFC 5802, which is PBKDF2. The linker leads libpq's call here (--wrap). */
int __wrap_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error);
int __real_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error);

int __wrap_scram_SaltedPassword(const char *password, int hash_type, int key_len, const char *salt,
				int salt_len, int rounds, unsigned char *result,
				const char **ret_error)
{
	/* SCRAM-SHA-256 is the only kind there is; a later one is libpq's own business. */
	if (key_len != SCRAM_KEY_LEN || salt_len < 0 || rounds < 1)
		return __real_scram_SaltedPassword(password, hash_type, key_len, salt, salt_len,
						   rounds, result, ret_error);
	if (tls_derive_key(password, (const unsigned char *)salt, (size_t)salt_len, rounds,
			   result) == 0)
		return 0;
	*ret_error = "the key cannot be derived";
	return -1;
}
#endif
