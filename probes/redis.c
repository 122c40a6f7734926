/* Redis, Valkey and whatever else speaks their protocol.
 *
 * hiredis' asynchronous interface formats the commands, keeps the queue of those that are not
 * answered yet and parses the answers. The descriptor stays ours: hiredis reads and writes through
 * the two functions of `transport`, so that it neither closes a descriptor behind our back nor
 * wants a TLS handshake of its own, and so that what a server may send is bounded where it comes
 * in.
 *
 * All commands go out at once. The first answer that settles the verdict ends the run. */
#include "probes/probe.h"

#include <errno.h>
#include <hiredis/async.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/connection.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/redis_settings.h"
#include "probes/redis_text.h"

enum { RECEIVED_MAX = 64 * 1024, STEPS_MAX = 7, FOUND_SIZE = 64 };

struct redis_kept {
	struct tls_context *tls_context;
};

struct redis_state;

/* A command and what becomes of its answer. */
struct step {
	const char *command;    /* for messages: "CLUSTER INFO" */
	const char *permission; /* what an access list must have for it: "+cluster|info" */
	/* Judges an answer that is no error. False after it has finished the run. */
	bool (*on_answer)(struct redis_state *state, const redisReply *reply);
};

struct redis_state {
	struct probe_run *run;
	int64_t started_us;
	struct redis_endpoint endpoint;
	struct connection connection;
	redisAsyncContext *session;
	const struct step *steps[STEPS_MAX]; /* in the order sent */
	size_t asked, answered;
	size_t received_len;
	unsigned char first_byte;
	bool wants_write;      /* hiredis has something to send */
	bool write_wants_read; /* TLS must read before it can go on writing */
	bool read_wants_write; /* TLS must write before it can go on reading */
	bool write_failed;     /* the peer takes no more; what it has sent is still to be read */
	bool array_refused;
};

/* ---- answers ---- */

/* An answer of a kind that the command never gets. */
static bool refuse_answer(struct redis_state *state, const char *expected, const redisReply *reply)
{
	char found[FOUND_SIZE] = "another type";

	if (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING)
		redis_quote(reply->str, state->endpoint.password, found, sizeof(found));
	else if (reply->type == REDIS_REPLY_INTEGER)
		snprintf(found, sizeof(found), "%lld", reply->integer);
	probe_finish(state->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
		     "expected %s as the answer to %s, found %s", expected,
		     state->steps[state->answered - 1]->command, found);
	return false;
}

static bool on_ok(struct redis_state *state, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "OK") != 0)
		return refuse_answer(state, "OK", reply);
	return true;
}

static bool on_pong(struct redis_state *state, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0)
		return refuse_answer(state, "PONG", reply);
	state->run->alive = true;
	return true;
}

static bool on_replication(struct redis_state *state, const redisReply *reply)
{
	const struct redis_settings *settings = state->run->conf;
	char sentence[REDIS_SENTENCE_SIZE];
	enum probe_reason reason;

	if (reply->type != REDIS_REPLY_STRING)
		return refuse_answer(state, "a text", reply);
	reason = redis_judge_replication(reply->str, (enum redis_role)settings->role, sentence);
	if (reason == REASON_OK)
		return true;
	probe_finish(state->run, PROBE_FAIL, reason, "%s", sentence);
	return false;
}

static bool on_cluster(struct redis_state *state, const redisReply *reply)
{
	char sentence[REDIS_SENTENCE_SIZE];
	enum probe_reason reason;

	if (reply->type != REDIS_REPLY_STRING)
		return refuse_answer(state, "a text", reply);
	reason = redis_judge_cluster(reply->str, sentence);
	if (reason == REASON_OK)
		return true;
	probe_finish(state->run, PROBE_FAIL, reason, "%s", sentence);
	return false;
}

static bool on_present(struct redis_state *state, const redisReply *reply)
{
	const struct redis_settings *settings = state->run->conf;

	if (reply->type != REDIS_REPLY_INTEGER)
		return refuse_answer(state, "a number", reply);
	if (reply->integer != 0)
		return true;
	probe_finish(state->run, PROBE_FAIL, REASON_KEY_MISSING,
		     "expected the key \"%s\", found none", settings->key_present);
	return false;
}

static bool on_absent(struct redis_state *state, const redisReply *reply)
{
	const struct redis_settings *settings = state->run->conf;

	if (reply->type != REDIS_REPLY_INTEGER)
		return refuse_answer(state, "a number", reply);
	if (reply->integer == 0)
		return true;
	probe_finish(state->run, PROBE_FAIL, REASON_KEY_PRESENT,
		     "expected no key \"%s\", found one", settings->key_absent);
	return false;
}

static const struct step step_auth = {"AUTH", "+auth", on_ok};
static const struct step step_ping = {"PING", "+ping", on_pong};
static const struct step step_select = {"SELECT", "+select", on_ok};
static const struct step step_replication = {"INFO", "+info", on_replication};
static const struct step step_cluster = {"CLUSTER INFO", "+cluster|info", on_cluster};
static const struct step step_present = {"EXISTS", "+exists", on_present};
static const struct step step_absent = {"EXISTS", "+exists", on_absent};

static void finish_with_error(struct redis_state *state, const struct step *step, const char *text)
{
	const struct redis_settings *settings = state->run->conf;
	struct redis_question question = {
		.command = step->command,
		.permission = step->permission,
		.user = state->endpoint.user,
		.password = state->endpoint.password,
	};
	char sentence[REDIS_SENTENCE_SIZE];
	enum probe_reason reason;

	if (step == &step_present)
		question.key = settings->key_present;
	else if (step == &step_absent)
		question.key = settings->key_absent;
	reason = redis_judge_error(text, &question, sentence);
	probe_finish(state->run, PROBE_FAIL, reason, "%s", sentence);
}

/* ---- the session ---- */

static void close_session(struct redis_state *state)
{
	redisAsyncContext *session = state->session;

	state->session = NULL;
	/* Inside a callback of hiredis this takes effect when the callback returns. It calls the
	 * callbacks of unanswered commands, with no reply. */
	if (session)
		redisAsyncFree(session);
}

static void finish_well(struct redis_state *state)
{
	const struct redis_settings *settings = state->run->conf;
	int64_t took_us = clock_monotonic_us() - state->started_us;
	struct error error = {.text = ""};

	if (tls_judge_expiry(&settings->tls_settings, state->run->certificate_expires_s, &error) ==
	    TLS_LIFETIME_WARN)
		probe_finish(state->run, PROBE_WARN, REASON_TLS_EXPIRING, "%s", error.text);
	else if (settings->warn_above_us > 0 && took_us > settings->warn_above_us)
		probe_finish(state->run, PROBE_WARN, REASON_SLOW, "took %.3f s, more than %.3f s",
			     (double)took_us / 1e6, (double)settings->warn_above_us / 1e6);
	else
		probe_finish(state->run, PROBE_PASS, REASON_OK, "%s", "");
}

static void on_reply(redisAsyncContext *session, void *reply_pointer, void *owner)
{
	const redisReply *reply = reply_pointer;
	struct redis_state *state = owner;
	const struct step *step;

	(void)session;
	if (!reply)
		return; /* close_session() is at work */
	step = state->steps[state->answered++];
	if (reply->type == REDIS_REPLY_ERROR) {
		finish_with_error(state, step, reply->str);
	} else if (step->on_answer(state, reply)) {
		if (state->answered < state->asked)
			return;
		finish_well(state);
	}
	/* At once: hiredis aborts the program when it gets more answers than it has questions. */
	close_session(state);
}

/* Sends a command of up to three words; those that are NULL are left out. */
static void ask(struct redis_state *state, const struct step *step, const char *first,
		const char *second, const char *third)
{
	const char *words[] = {first, second, third};
	int count = 1;

	while (count < 3 && words[count])
		count++;
	if (redisAsyncCommandArgv(state->session, on_reply, state, count, words, NULL) == REDIS_OK)
		state->steps[state->asked++] = step;
	else
		state->session->c.err = REDIS_ERR_OOM;
}

/* The plain probe asks nothing but PING (after AUTH), so that it works for a user who may do no
 * more. PING comes before all that a sound server may refuse: who has answered it is alive. */
static void ask_everything(struct redis_state *state)
{
	const struct redis_settings *settings = state->run->conf;
	const char *user = state->endpoint.user;
	const char *password = state->endpoint.password ? state->endpoint.password : "";
	char database[24];

	if (user)
		ask(state, &step_auth, "AUTH", user, password);
	else if (password[0] != '\0')
		ask(state, &step_auth, "AUTH", password, NULL);
	ask(state, &step_ping, "PING", NULL, NULL);
	if (state->endpoint.database != 0) {
		snprintf(database, sizeof(database), "%" PRId64, state->endpoint.database);
		ask(state, &step_select, "SELECT", database, NULL);
	}
	if (settings->role != REDIS_ROLE_ANY || settings->require_replica_link)
		ask(state, &step_replication, "INFO", "replication", NULL);
	if (settings->cluster)
		ask(state, &step_cluster, "CLUSTER", "INFO", NULL);
	if (settings->key_present)
		ask(state, &step_present, "EXISTS", settings->key_present, NULL);
	if (settings->key_absent)
		ask(state, &step_absent, "EXISTS", settings->key_absent, NULL);
}

/* ---- the transport under hiredis ---- */

static void finish_closed(struct redis_state *state, enum probe_reason reason)
{
	probe_finish(state->run, PROBE_FAIL, reason,
		     "the server %s the connection before it answered %s",
		     reason == REASON_CONNECTION_RESET ? "reset" : "closed",
		     state->steps[state->answered]->command);
}

/* Returns the number of bytes, 0 when none are there yet, or -1 after finishing the run. */
static ssize_t receive_plain(struct redis_state *state, char *bytes, size_t size)
{
	ssize_t len = recv(state->connection.fd, bytes, size, 0);

	if (len > 0)
		return len;
	if (len == 0)
		finish_closed(state, state->write_failed ? REASON_CONNECTION_RESET
							 : REASON_CONNECTION_CLOSED);
	else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	else if (errno == ECONNRESET)
		finish_closed(state, REASON_CONNECTION_RESET);
	else
		probe_finish(state->run, PROBE_FAIL, probe_reason_from_errno(errno),
			     "reading the answer: %s", strerror(errno));
	return -1;
}

/* The same over TLS. */
static ssize_t receive_tls(struct redis_state *state, char *bytes, size_t size)
{
	struct error error = {.text = ""};
	size_t len = 0;
	enum tls_outcome outcome = tls_read(state->connection.tls, bytes, size, &len, &error);

	state->read_wants_write = outcome == TLS_WANT_WRITE;
	if (outcome == TLS_OK)
		return (ssize_t)len;
	if (outcome == TLS_WANT_READ || outcome == TLS_WANT_WRITE)
		return 0;
	if (outcome == TLS_CLOSED || outcome == TLS_RESET)
		finish_closed(state, tls_reason(outcome));
	else
		probe_finish(state->run, PROBE_FAIL, tls_reason(outcome), "%s", error.text);
	return -1;
}

static ssize_t transport_read(struct redisContext *context, char *bytes, size_t size)
{
	struct redis_state *state = context->privdata;
	ssize_t len = state->connection.tls ? receive_tls(state, bytes, size)
					    : receive_plain(state, bytes, size);

	if (len > 0 && state->received_len == 0) {
		probe_phase_end(state->run, PHASE_FIRST_BYTE);
		state->first_byte = (unsigned char)bytes[0];
	}
	if (len > 0)
		state->received_len += (size_t)len;
	if (state->received_len > RECEIVED_MAX) {
		probe_finish(state->run, PROBE_FAIL, REASON_BODY_TOO_LARGE,
			     "the server sent more than %d KiB", RECEIVED_MAX / 1024);
		len = -1;
	}
	if (len < 0)
		context->err = REDIS_ERR_IO;
	return len;
}

/* A failure to write is no verdict: a server that has no room for us says so and closes without
 * having read what we ask, and its answer is still to be read. */
static ssize_t transport_write(struct redisContext *context)
{
	struct redis_state *state = context->privdata;
	const struct connection *connection = &state->connection;
	size_t size = sdslen(context->obuf);

	if (connection->tls) {
		size_t len = 0;
		enum tls_outcome outcome =
			tls_write(connection->tls, context->obuf, size, &len, NULL);

		state->write_wants_read = outcome == TLS_WANT_READ;
		state->write_failed =
			outcome != TLS_OK && outcome != TLS_WANT_READ && outcome != TLS_WANT_WRITE;
		return (ssize_t)len;
	} else {
		ssize_t len = send(connection->fd, context->obuf, size, MSG_NOSIGNAL);

		state->write_failed =
			len < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
		return len < 0 ? 0 : len;
	}
}

/* Without functions to close and free: the descriptor and the TLS connection are ours. */
static const redisContextFuncs transport = {
	.async_read = redisAsyncRead,
	.async_write = redisAsyncWrite,
	.read = transport_read,
	.write = transport_write,
};

static void on_write_wanted(void *owner)
{
	struct redis_state *state = owner;

	state->wants_write = true;
}

static void on_write_done(void *owner)
{
	struct redis_state *state = owner;

	state->wants_write = false;
}

/* None of our commands is answered by an array. Refusing them where they begin bounds the memory,
 * which nested and announced arrays would multiply. */
static void *refuse_array(const redisReadTask *task, size_t len)
{
	struct redis_state *state = task->privdata;

	(void)len;
	state->array_refused = true;
	return NULL; /* which hiredis takes for a lack of memory */
}

static void finish_session_error(struct redis_state *state)
{
	const char *hint = "";

	if (state->session->c.err == REDIS_ERR_OOM && !state->array_refused) {
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		return;
	}
	if (state->first_byte == 'H')
		hint = ", perhaps HTTP";
	else if (state->first_byte == 0x15) /* the record type of an alert, RFC 8446 section 5.1 */
		hint = ", perhaps TLS: try rediss://";
	/* Ignored if the transport has finished the run already. */
	probe_finish(state->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
		     "expected Redis' protocol, found another%s", hint);
}

/* After each call into hiredis: ends the run if that failed, or says what to wait for. */
static void settle(struct redis_state *state)
{
	struct loop *loop = state->run->env->loop;
	struct connection *connection = &state->connection;
	unsigned interest = LOOP_READ;

	if (state->session && state->session->c.err != 0) {
		finish_session_error(state);
		close_session(state);
	}
	if (!state->session) {
		loop_io_clear(loop, &connection->io);
		return;
	}
	if ((state->wants_write && !state->write_wants_read && !state->write_failed) ||
	    state->read_wants_write)
		interest |= LOOP_WRITE;
	if (loop_io_set(loop, &connection->io, connection->fd, interest) < 0)
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "cannot watch a socket: %s",
			     strerror(errno));
}

static void on_session_ready(struct loop_io *io, unsigned events)
{
	struct redis_state *state = io->owner;

	/* TLS may have to read before it can write and the other way round, and to try what is not
	 * possible yet does no harm. */
	(void)events;
	if (state->wants_write && !state->write_failed)
		redisAsyncHandleWrite(state->session);
	if (state->session->c.err == 0)
		redisAsyncHandleRead(state->session);
	settle(state);
}

static void open_session(struct redis_state *state)
{
	static redisReplyObjectFunctions reply_functions;
	redisOptions options = {
		.type = REDIS_CONN_USERFD,
		.options = REDIS_OPT_NOAUTOFREE,
		.endpoint.fd = REDIS_INVALID_FD,
		.privdata = state,
	};
	redisAsyncContext *session = redisAsyncConnectWithOptions(&options);

	if (!session) {
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		return;
	}
	state->session = session;
	session->c.funcs = &transport;
	session->c.flags |= REDIS_CONNECTED; /* or else hiredis would connect */
	reply_functions = *session->c.reader->fn;
	reply_functions.createArray = refuse_array;
	session->c.reader->fn = &reply_functions;
	session->c.reader->privdata = state;
	session->ev.data = state;
	session->ev.addWrite = on_write_wanted;
	session->ev.delWrite = on_write_done;
	state->connection.io.on_ready = on_session_ready;
	state->connection.io.owner = state;
	ask_everything(state);
	redisAsyncHandleWrite(session);
	settle(state);
}

/* ---- connecting ---- */

static void on_resolved(struct connection *connection)
{
	struct redis_state *state = connection->owner;

	probe_phase_end(state->run, PHASE_RESOLVE);
}

static void on_open(struct connection *connection)
{
	struct redis_state *state = connection->owner;
	const struct redis_settings *settings = state->run->conf;
	struct error error = {.text = ""};

	if (tls_judge_expiry(&settings->tls_settings, state->run->certificate_expires_s, &error) ==
	    TLS_LIFETIME_FAIL)
		probe_finish(state->run, PROBE_FAIL, REASON_TLS_EXPIRING, "%s", error.text);
	else
		open_session(state);
}

static void on_failure(struct connection *connection, enum probe_reason reason,
		       const struct error *error)
{
	struct redis_state *state = connection->owner;

	probe_finish(state->run, PROBE_FAIL, reason, "%s", error->text);
}

/* ---- hooks ---- */

static void redis_start(struct probe_run *run)
{
	struct redis_state *state = run->state;
	struct redis_kept *kept = run->kept;
	const struct redis_settings *settings = run->conf;
	struct redis_endpoint *endpoint = &state->endpoint;
	struct connection *connection = &state->connection;
	struct error error = {.text = ""};

	state->run = run;
	state->started_us = clock_monotonic_us();
	connection_init(connection, run);
	if (redis_endpoint_read(endpoint, settings, &error) < 0) {
		probe_finish(run, PROBE_FAIL,
			     endpoint->tls && !READYD_TLS ? REASON_TLS_UNAVAILABLE
							  : REASON_SECRET_UNAVAILABLE,
			     "%s", error.text);
		return;
	}
	connection->host = endpoint->host;
	connection->port = endpoint->port;
	connection->unix_path = endpoint->unix_socket;
	connection->tls_settings = endpoint->tls ? &settings->tls_settings : NULL;
	connection->tls_context = &kept->tls_context;
	connection->on_resolved = on_resolved;
	connection->on_open = on_open;
	connection->on_failure = on_failure;
	connection->owner = state;
	connection_start(connection);
}

static void redis_stop(struct probe_run *run)
{
	struct redis_state *state = run->state;

	close_session(state);
	connection_close(&state->connection);
	redis_endpoint_clear(&state->endpoint);
}

static void redis_forget(const struct probe_env *env, const void *conf, void *kept_pointer)
{
	struct redis_kept *kept = kept_pointer;

	(void)env;
	(void)conf;
	tls_context_destroy(kept->tls_context);
	kept->tls_context = NULL;
}

static void redis_libraries(char *text, size_t size)
{
	snprintf(text, size, "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}

const struct probe_type probe_redis = {
	.name = "redis",
	.schemes = redis_schemes,
	.component = "datastore",
	.summary = "Redis or Valkey: PONG and, on request, role, replication, cluster and keys",
	.example = "redis://app:secret@cache:6379/0",
	.fields = redis_fields,
	.reasons =
		PROBE_REASON_LIST(PROBE_NETWORK_REASONS, PROBE_TLS_REASONS, REASON_PROTOCOL_ERROR,
				  REASON_SLOW, REASON_BODY_TOO_LARGE, REASON_WRONG_ROLE,
				  REASON_LOADING, REASON_MASTER_DOWN, REASON_BUSY, REASON_NOAUTH,
				  REASON_WRONGPASS, REASON_NOPERM, REASON_MISCONF,
				  REASON_MAX_CLIENTS, REASON_DENIED, REASON_ERROR_REPLY,
				  REASON_REPLICA_LINK_DOWN, REASON_REPLICA_SYNCING,
				  REASON_CLUSTER_DOWN, REASON_KEY_MISSING, REASON_KEY_PRESENT),
	.phases = PROBE_ALL_PHASES,
	.conf_size = sizeof(struct redis_settings),
	.state_size = sizeof(struct redis_state),
	.kept_size = sizeof(struct redis_kept),
	.check = redis_settings_check,
	.describe = redis_settings_describe,
	.start = redis_start,
	.stop = redis_stop,
	.forget = redis_forget,
	.libraries = redis_libraries,
};
