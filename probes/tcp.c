/* TCP and unix stream sockets: does it accept a connection and, on request, speak TLS and give the
 * expected answer? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/buffer.h"
#include "agent/connection.h"
#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/probe.h"
#include "probes/tcp_settings.h"

enum {
	READ_SIZE = 16 * 1024,
	WAITING_FOR_SIZE = 160,
	EXCERPT_SIZE = 48,
	SEARCH_PAUSE_US = 100 * 1000, /* the longest time for which a piece is not looked at */
};

struct tcp_state {
	struct probe_run *run;
	struct tcp_endpoint file_endpoint; /* of a URL that stands in a file */
	struct connection connection;
	bool resolved;
	bool starting; /* start() is not over yet, so nothing was waited for */
	int64_t started_us;
	size_t sent_len;
	struct buffer answer;
	size_t searched_len;
	struct loop_timer search; /* what came is looked at then, if not before */
	char waiting_for[WAITING_FOR_SIZE];
};

struct tcp_kept {
	struct tls_context *tls_context;
};

/* How moving bytes went. */
enum progress { MOVED, WAIT_READ, WAIT_WRITE, CLOSED, BROKEN };

/* Why it is BROKEN. */
struct trouble {
	enum probe_reason reason;
	struct error error;
};

/* ---- texts ---- */

/* The beginning of a text for people: printable, and with "..." where it was cut. */
static void excerpt(char *out, size_t size, const char *text, size_t len)
{
	size_t shown = len < size ? len : size - sizeof("...");

	for (size_t i = 0; i < shown; i++)
		out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '.';
	snprintf(out + shown, size - shown, "%s", shown < len ? "..." : "");
}

static void expected_excerpt(const struct tcp_state *state, char *out, size_t size)
{
	const char *expected = tcp_expected_text(state->run->conf);

	excerpt(out, size, expected, strlen(expected));
}

/* Tells the runner what it means if the deadline comes from now on. */
static void wait_for(struct tcp_state *state, enum probe_reason reason, const char *what,
		     const char *detail)
{
	char shown[EXCERPT_SIZE];

	excerpt(shown, sizeof(shown), detail, strlen(detail));
	snprintf(state->waiting_for, sizeof(state->waiting_for), "%s%s", what, shown);
	state->run->waiting_for = state->waiting_for;
	state->run->deadline_reason = reason;
}

static void wait_for_answer(struct tcp_state *state)
{
	char expected[EXCERPT_SIZE], found[EXCERPT_SIZE];

	expected_excerpt(state, expected, sizeof(expected));
	if (state->answer.len == 0) {
		snprintf(state->waiting_for, sizeof(state->waiting_for), "answer with \"%s\"",
			 expected);
	} else {
		excerpt(found, sizeof(found), state->answer.data, state->answer.len);
		snprintf(state->waiting_for, sizeof(state->waiting_for),
			 "\"%s\" in the answer \"%s\"", expected, found);
	}
	state->run->waiting_for = state->waiting_for;
	state->run->deadline_reason = REASON_TIMEOUT;
}

/* ---- verdicts ---- */

static void succeed(struct tcp_state *state)
{
	struct probe_run *run = state->run;
	const struct tcp_settings *settings = run->conf;
	struct error error = {""};
	enum tls_lifetime lifetime =
		tls_judge_expiry(&settings->tls_settings, run->certificate_expires_s, &error);
	int64_t took_us = 0;

	if (settings->warn_above_us > 0)
		took_us = clock_monotonic_us() - state->started_us;
	if (lifetime == TLS_LIFETIME_FAIL)
		probe_finish(run, PROBE_FAIL, REASON_TLS_EXPIRING, "%s", error.text);
	else if (took_us > settings->warn_above_us)
		probe_finish(run, PROBE_WARN, REASON_SLOW, "took %.3g s, more than %g s",
			     (double)took_us / 1e6, (double)settings->warn_above_us / 1e6);
	else if (lifetime == TLS_LIFETIME_WARN)
		probe_finish(run, PROBE_WARN, REASON_TLS_EXPIRING, "%s", error.text);
	else
		probe_finish(run, PROBE_PASS, REASON_OK, "%s", "");
}

static void fail_on_close(struct tcp_state *state)
{
	char expected[EXCERPT_SIZE], found[EXCERPT_SIZE];

	expected_excerpt(state, expected, sizeof(expected));
	if (state->answer.len == 0) {
		probe_finish(state->run, PROBE_FAIL, REASON_CONNECTION_CLOSED,
			     "the peer closed the connection without an answer, \"%s\" was "
			     "expected",
			     expected);
		return;
	}
	excerpt(found, sizeof(found), state->answer.data, state->answer.len);
	probe_finish(state->run, PROBE_FAIL, REASON_BODY_MISMATCH,
		     "the answer was \"%s\", without \"%s\"", found, expected);
}

/* Ends the run or watches the socket, whatever is due when no more bytes can be moved now. */
static void wait_or_fail(struct tcp_state *state, enum progress progress,
			 const struct trouble *trouble)
{
	struct connection *connection = &state->connection;
	unsigned interest = progress == WAIT_WRITE ? LOOP_WRITE : LOOP_READ;

	if (progress == CLOSED)
		fail_on_close(state);
	else if (progress == BROKEN)
		probe_finish(state->run, PROBE_FAIL, trouble->reason, "%s", trouble->error.text);
	else if (connection->io.interest != interest &&
		 loop_io_set(state->run->env->loop, &connection->io, connection->fd, interest) < 0)
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "cannot watch a socket: %s",
			     strerror(errno));
}

/* ---- moving bytes ---- */

static enum progress broken_by_errno(int error_number, const char *doing, struct trouble *trouble)
{
	trouble->reason = probe_reason_from_errno(error_number);
	error_set(&trouble->error, "%s: %s", doing, dial_error_text(error_number));
	return BROKEN;
}

static enum progress progress_of_tls(enum tls_outcome outcome, struct trouble *trouble)
{
	switch (outcome) {
	case TLS_OK:
		return MOVED;
	case TLS_WANT_READ:
		return WAIT_READ;
	case TLS_WANT_WRITE:
		return WAIT_WRITE;
	default:
		trouble->reason = tls_reason(outcome);
		return BROKEN;
	}
}

static enum progress send_some(struct tcp_state *state, const char *bytes, size_t len,
			       size_t *ret_len, struct trouble *trouble)
{
	struct connection *connection = &state->connection;
	ssize_t result;

	if (connection->tls)
		return progress_of_tls(tls_write(connection->tls, bytes, len, ret_len,
						 &trouble->error),
				       trouble);
	result = send(connection->fd, bytes, len, MSG_NOSIGNAL);
	if (result >= 0) {
		*ret_len = (size_t)result;
		return MOVED;
	}
	if (errno == EAGAIN || errno == EINTR)
		return WAIT_WRITE;
	return broken_by_errno(errno, "sending", trouble);
}

static enum progress receive_some(struct tcp_state *state, char *bytes, size_t size,
				  size_t *ret_len, struct trouble *trouble)
{
	struct connection *connection = &state->connection;
	ssize_t result;

	if (connection->tls) {
		enum tls_outcome outcome =
			tls_read(connection->tls, bytes, size, ret_len, &trouble->error);

		return outcome == TLS_CLOSED ? CLOSED : progress_of_tls(outcome, trouble);
	}
	result = recv(connection->fd, bytes, size, 0);
	if (result > 0) {
		*ret_len = (size_t)result;
		return MOVED;
	}
	if (result == 0)
		return CLOSED;
	if (errno == EAGAIN || errno == EINTR)
		return WAIT_READ;
	return broken_by_errno(errno, "waiting for the answer", trouble);
}

/* ---- the exchange ---- */

static void take_answer(struct tcp_state *state, char *bytes, size_t len)
{
	const struct tcp_settings *settings = state->run->conf;

	if (state->answer.len == 0)
		probe_phase_end(state->run, PHASE_FIRST_BYTE);
	/* regexec() would take the first NUL for the end. */
	for (size_t i = 0; settings->regex && i < len; i++) {
		if (bytes[i] == '\0')
			bytes[i] = ' ';
	}
	if (buffer_append(&state->answer, bytes, len) < 0 && state->answer.len < TCP_ANSWER_MAX)
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
}

/* Looks for the expected. Returns whether the run is over. */
static bool judge_answer(struct tcp_state *state)
{
	const struct tcp_settings *settings = state->run->conf;
	char expected[EXCERPT_SIZE];

	if (tcp_answer_matches(settings, state->answer.data, state->answer.len,
			       state->searched_len)) {
		succeed(state);
		return true;
	}
	state->searched_len = state->answer.len;
	loop_timer_clear(state->run->env->loop, &state->search);
	if (state->answer.len < TCP_ANSWER_MAX)
		return false;
	expected_excerpt(state, expected, sizeof(expected));
	probe_finish(state->run, PROBE_FAIL, REASON_BODY_TOO_LARGE,
		     "\"%s\" is not in the first %d bytes of the answer", expected, TCP_ANSWER_MAX);
	return true;
}

/* Puts the search of a piece off, to do it together with the pieces that follow, but not beyond the
 * deadline. Returns whether it is put off. */
static bool put_off_search(struct tcp_state *state)
{
	struct loop *loop = state->run->env->loop;
	int64_t at_us = loop_now_us(loop) + SEARCH_PAUSE_US;

	if (tcp_answer_is_due(state->run->conf, state->answer.len, state->searched_len))
		return false;
	if (state->search.position != 0)
		return true;
	if (at_us >= state->run->deadline_us)
		at_us = state->run->deadline_us - 1;
	return loop_timer_set(loop, &state->search, at_us) == 0;
}

static void on_search(struct loop_timer *timer)
{
	judge_answer(timer->owner);
}

/* Reads all there is before it searches, so that an answer in many pieces costs few searches. What
 * came before the end of the connection counts, whatever that end is. */
static void receive_answer(struct tcp_state *state)
{
	enum progress progress = MOVED;
	struct trouble trouble;
	char bytes[READ_SIZE];
	bool more_may_come;
	size_t len;

	while (progress == MOVED && state->answer.len < TCP_ANSWER_MAX) {
		progress = receive_some(state, bytes, sizeof(bytes), &len, &trouble);
		if (progress == MOVED)
			take_answer(state, bytes, len);
	}
	more_may_come = progress == WAIT_READ || progress == WAIT_WRITE;
	if (state->answer.len > state->searched_len && !(more_may_come && put_off_search(state)) &&
	    judge_answer(state))
		return;
	wait_for_answer(state);
	wait_or_fail(state, progress, &trouble);
}

static bool expects_answer(const struct tcp_settings *settings)
{
	return settings->regex || settings->expected.len > 0;
}

static void send_request(struct tcp_state *state)
{
	const struct tcp_settings *settings = state->run->conf;
	const struct tcp_bytes *request = &settings->to_send;
	struct trouble trouble;

	while (state->sent_len < request->len) {
		size_t len = 0;
		enum progress progress = send_some(state, request->data + state->sent_len,
						   request->len - state->sent_len, &len, &trouble);

		if (progress != MOVED) {
			wait_for(state, REASON_TIMEOUT, "progress in sending", "");
			wait_or_fail(state, progress, &trouble);
			return;
		}
		state->sent_len += len;
	}
	if (!expects_answer(settings)) {
		succeed(state);
		return;
	}
	buffer_init(&state->answer, TCP_ANSWER_MAX);
	wait_for_answer(state);
	/* TLS may have decrypted the answer already, and then no event tells of it. */
	if (state->connection.tls)
		receive_answer(state);
	else
		wait_or_fail(state, WAIT_READ, NULL);
}

static void on_socket_ready(struct loop_io *io, unsigned events)
{
	struct tcp_state *state = io->owner;
	const struct tcp_settings *settings = state->run->conf;

	(void)events;
	if (state->sent_len < settings->to_send.len)
		send_request(state);
	else
		receive_answer(state);
}

/* ---- connecting ---- */

static const struct tcp_endpoint *endpoint_of(const struct tcp_state *state)
{
	const struct tcp_settings *settings = state->run->conf;

	return settings->url.file ? &state->file_endpoint : &settings->endpoint;
}

static void wait_for_connection(struct tcp_state *state)
{
	const struct tcp_endpoint *endpoint = endpoint_of(state);
	char target[EXCERPT_SIZE];

	if (endpoint->unix_path) {
		wait_for(state, REASON_CONNECT_TIMEOUT, "connection to ", endpoint->unix_path);
	} else if (state->resolved) {
		snprintf(target, sizeof(target), "%s port %u", endpoint->host, endpoint->port);
		wait_for(state, REASON_CONNECT_TIMEOUT, "connection to ", target);
	} else {
		wait_for(state, REASON_DNS_FAILURE, "address of ", endpoint->host);
	}
}

static void on_resolved(struct connection *connection)
{
	struct tcp_state *state = connection->owner;

	state->resolved = true;
	if (state->starting)
		return;
	probe_phase_end(state->run, PHASE_RESOLVE);
	wait_for_connection(state);
}

/* Whether the probe ends with the connection. */
static bool is_connect_only(const struct tcp_settings *settings)
{
	return !settings->tls && settings->to_send.len == 0 && !expects_answer(settings);
}

static void on_failure(struct connection *connection, enum probe_reason reason,
		       const struct error *error)
{
	struct tcp_state *state = connection->owner;

	/* Only a connection that stood can be reset: a refusal looks different. So this is a peer
	 * that closed in a hurry, before we came to look. */
	if (connection->fd < 0 && reason == REASON_CONNECTION_RESET) {
		state->run->alive = true;
		probe_phase_end(state->run, PHASE_CONNECT);
		if (is_connect_only(state->run->conf)) {
			succeed(state);
			return;
		}
	}
	probe_finish(state->run, PROBE_FAIL, reason, "%s", error->text);
}

static void on_connected(struct connection *connection)
{
	struct tcp_state *state = connection->owner;

	state->run->alive = true;
	if (connection->tls_settings)
		wait_for(state, REASON_TIMEOUT, "complete TLS handshake", "");
}

static void on_open(struct connection *connection)
{
	struct tcp_state *state = connection->owner;

	connection->io.on_ready = on_socket_ready;
	connection->io.owner = state;
	send_request(state);
}

/* A URL in a file is read for each run, because such files change. */
static int read_url_file(struct tcp_state *state, struct error *error)
{
	const struct tcp_settings *settings = state->run->conf;
	char *text = secret_read(&settings->url, error);
	int result;

	if (!text)
		return -1;
	result = tcp_endpoint_parse(&state->file_endpoint, text, error);
	secret_wipe(text);
	return result;
}

static void tcp_start(struct probe_run *run)
{
	struct tcp_state *state = run->state;
	struct tcp_kept *kept = run->kept;
	const struct tcp_settings *settings = run->conf;
	struct connection *connection = &state->connection;
	struct error error = {""};

	state->run = run;
	state->search.on_expire = on_search;
	state->search.owner = state;
	connection_init(connection, run);
	if (settings->warn_above_us > 0)
		state->started_us = clock_monotonic_us();
	if (settings->url.file && read_url_file(state, &error) < 0) {
		probe_finish(run, PROBE_FAIL, REASON_SECRET_UNAVAILABLE, "%s", error.text);
		return;
	}
	connection->host = endpoint_of(state)->host;
	connection->port = endpoint_of(state)->port;
	connection->unix_path = endpoint_of(state)->unix_path;
	connection->tls_settings = settings->tls ? &settings->tls_settings : NULL;
	connection->tls_context = &kept->tls_context;
	connection->on_resolved = on_resolved;
	connection->on_connected = on_connected;
	connection->on_open = on_open;
	connection->on_failure = on_failure;
	connection->owner = state;
	state->starting = true;
	connection_start(connection);
	state->starting = false;
	if (connection_is_dialling(connection))
		wait_for_connection(state);
}

static void tcp_stop(struct probe_run *run)
{
	struct tcp_state *state = run->state;

	connection_close(&state->connection);
	loop_timer_clear(run->env->loop, &state->search);
	buffer_free(&state->answer);
	tcp_endpoint_free(&state->file_endpoint);
}

static void tcp_forget(const struct probe_env *env, const void *conf, void *kept_pointer)
{
	struct tcp_kept *kept = kept_pointer;

	(void)env;
	(void)conf;
	tls_context_destroy(kept->tls_context);
	kept->tls_context = NULL;
}

const struct probe_type probe_tcp = {
	.name = "tcp",
	.kubernetes_name = "tcpSocket",
	.schemes = tcp_schemes,
	.summary = "TCP or unix socket: a connection and, on request, TLS and an expected answer",
	.example = "tcp://cache:6379",
	.fields = tcp_fields,
	.reasons = PROBE_REASON_LIST(PROBE_NETWORK_REASONS, PROBE_TLS_REASONS, REASON_SLOW,
				     REASON_BODY_MISMATCH, REASON_BODY_TOO_LARGE),
	.phases = PROBE_ALL_PHASES,
	.conf_size = sizeof(struct tcp_settings),
	.state_size = sizeof(struct tcp_state),
	.kept_size = sizeof(struct tcp_kept),
	.check = tcp_settings_check,
	.describe = tcp_settings_describe,
	.release = tcp_settings_release,
	.start = tcp_start,
	.stop = tcp_stop,
	.forget = tcp_forget,
};
