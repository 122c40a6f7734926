#include "agent/serve.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "agent/acceptor.h"
#include "agent/answer.h"
#include "agent/stream.h"

enum {
	/* Memory for a request's line and headers; a whole 8 KiB would take an eighth more, because
	 * malloc() adds its own. */
	CONNECTION_MEMORY = 8 * 1024 - 64,
	/* The acceptor keeps the configured limit; libmicrohttpd's own only must not be lower. */
	CONNECTIONS_MAX = 65536 + 64,
	/* Of the connections that may be, held ones get this part: the rest is for askers. */
	CONNECTIONS_PER_HELD = 4,
	/* Of a stream, what is sent in one go. */
	PART_MAX = 64 * 1024,
	GATHERED_PARTS = 2,
	/* In one turn of the loop: a long answer needs many, and others wait meanwhile. */
	ROUNDS_MAX = 4,
};

/* An answer that is the same for everybody until the verdict changes. */
struct kept_answer {
	struct MHD_Response *response;
	unsigned status;
};

struct server {
	struct loop *loop;
	struct engine *engine;
	struct answer_source source;
	struct engine_observer observer;
	struct acceptor *acceptor;
	struct clients *clients;
	struct client *arriving; /* between accept() and libmicrohttpd's notification */
	size_t held;
	struct MHD_Daemon *daemon;
	struct loop_io daemon_io;
	struct loop_timer daemon_timer;
	struct loop_task going_on; /* connections that were released */
	struct kept_answer answers[ENDPOINT_COUNT];
	uint64_t answers_generation;
};

const char *server_library_version(void)
{
	return MHD_get_version();
}

/* ---- responses ---- */

static struct MHD_Response *with_headers(struct MHD_Response *response, const struct answer *answer)
{
	if (!response)
		return NULL;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (answer->nosniff)
		MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (answer->policy) {
		MHD_add_response_header(response, "Content-Security-Policy", answer->policy);
		MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	}
	if (answer->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
	if (answer->close) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
		MHD_add_response_header(response, "x-envoy-immediate-health-check-fail", "true");
	}
	if (answer->degraded)
		MHD_add_response_header(response, "x-envoy-degraded", "true");
	return response;
}

/* A response that takes the buffer's memory; NULL when out of memory, the buffer is gone then too.
 */
static struct MHD_Response *response_from(struct answer *answer)
{
	struct buffer *body = &answer->body;
	struct MHD_Response *response;

	if (!body->data)
		return NULL;
	response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		buffer_free(body);
		return NULL;
	}
	buffer_init(body, body->ceiling);
	return with_headers(response, answer);
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
				     struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, const struct answer *answer)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_static(answer->text_len, answer->text);

	return send_response(connection, answer->status, with_headers(response, answer));
}

static void forget_answers(struct server *server)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		if (server->answers[i].response)
			MHD_destroy_response(server->answers[i].response);
		server->answers[i].response = NULL;
	}
}

/* The bare answer of an endpoint: made once for each verdict, so that it costs the same however
 * many probes and askers there are. */
static enum MHD_Result send_bare(struct server *server, struct MHD_Connection *connection,
				 enum endpoint endpoint)
{
	struct kept_answer *kept = &server->answers[endpoint];

	if (server->answers_generation != engine_generation(server->engine)) {
		forget_answers(server);
		server->answers_generation = engine_generation(server->engine);
	}
	if (!kept->response) {
		struct answer answer;

		answer_bare(server->engine, endpoint, false, &answer);
		kept->status = answer.status;
		kept->response = response_from(&answer);
	}
	if (!kept->response)
		return MHD_NO;
	return MHD_queue_response(connection, kept->status, kept->response);
}

/* ---- streams ---- */

/* One on its way. */
struct sending {
	struct server *server;
	struct client *client;
	struct stream *stream;
	uint64_t parts;
};

static ssize_t sending_read(void *owner, uint64_t position, char *bytes, size_t max)
{
	struct sending *sending = owner;
	ssize_t len = stream_read(sending->stream, bytes, max);

	(void)position;
	sending->client->in_parts = len != 0;
	/* libmicrohttpd takes only some kilobytes at a time and would have each of them sent on its
	 * own, which costs more than what it is about; it undoes this after the first part. */
	if (sending->parts < GATHERED_PARTS || len <= 0)
		client_gather(sending->client, len > 0);
	sending->parts++;
	/* More is asked for when what went before is sent: the reader takes it, so it may stay. */
	clients_move(sending->server->clients, sending->client, CLIENT_BUSY,
		     loop_now_us(sending->server->loop));
	if (len < 0) {
		client_cut_off(sending->client);
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return len > 0 ? len : MHD_CONTENT_READER_END_OF_STREAM;
}

static void sending_free(void *owner)
{
	struct sending *sending = owner;

	stream_destroy(sending->stream);
	free(sending);
}

static struct MHD_Response *response_in_parts(struct server *server, struct client *client,
					      const struct answer *answer)
{
	struct sending *sending = malloc(sizeof(*sending));
	struct MHD_Response *response;

	if (!sending) {
		stream_destroy(answer->stream);
		return NULL;
	}
	*sending = (struct sending){.server = server, .client = client, .stream = answer->stream};
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PART_MAX, sending_read,
						     sending, sending_free);
	if (!response)
		sending_free(sending);
	return with_headers(response, answer);
}

/* ---- held answers ---- */

static bool may_hold(const struct server *server)
{
	size_t limit = acceptor_connection_limit(server->acceptor);

	return server->held < limit / CONNECTIONS_PER_HELD;
}

static enum MHD_Result hold(struct server *server, struct client *client,
			    struct MHD_Connection *connection, enum answer_wait wait)
{
	client->waits_for = (int)wait;
	client->connection = connection;
	clients_move(server->clients, client, CLIENT_HELD, loop_now_us(server->loop));
	server->held++;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void release(struct server *server, struct client *client)
{
	server->held--;
	client->wait_over = true;
	clients_move(server->clients, client, CLIENT_BUSY, loop_now_us(server->loop));
	MHD_resume_connection(client->connection);
	/* Not at once: libmicrohttpd itself may be what led here. */
	loop_defer(server->loop, &server->going_on);
}

/* Lets those go on whose answer is due, or who have hung up. */
static void release_due(struct server *server)
{
	int64_t now_us = loop_now_us(server->loop);
	struct client *next;

	for (struct client *client = server->clients->lists[CLIENT_HELD].oldest; client;
	     client = next) {
		next = client->next;
		if (server->source.stopping || client_is_gone(client) ||
		    answer_is_due(&server->source, (enum answer_wait)client->waits_for, now_us))
			release(server, client);
	}
}

/* ---- requests ---- */

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static bool may_see_details(const struct server *server, const struct client *client)
{
	int details = engine_config(server->engine)->settings.details;

	if (client->is_unix)
		return client->trusted;
	return details == DETAILS_ALWAYS || (details == DETAILS_LOCAL && client->is_local);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result take_argument(void *question, enum MHD_ValueKind kind, const char *key,
				     const char *value)
{
	(void)kind;
	question_take_argument(question, key, value);
	return MHD_YES;
}

static enum MHD_Result reply(struct server *server, struct client *client,
			     struct MHD_Connection *connection, const char *method,
			     const char *target)
{
	struct question question = {
		.method = method,
		.target = target,
		.user_agent = header(connection, MHD_HTTP_HEADER_USER_AGENT),
		.peer_hash = client->peer_hash,
		.now_us = loop_now_us(server->loop),
		.accept = header(connection, MHD_HTTP_HEADER_ACCEPT),
		.admin = client->admin,
		.trusted = client->trusted,
		.details = may_see_details(server, client),
		.wait_over = client->wait_over,
		.may_be_held = may_hold(server),
		.limit = SIZE_MAX,
		.columns = SIZE_MAX,
	};
	struct answer answer;

	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_argument, &question);
	answer_question(&server->source, &question, &answer);
	switch (answer.kind) {
	case ANSWER_BARE:
		return send_bare(server, connection, answer.endpoint);
	case ANSWER_TEXT:
		return send_text(connection, &answer);
	case ANSWER_BODY:
		return send_response(connection, answer.status, response_from(&answer));
	case ANSWER_STREAM:
		return send_response(connection, answer.status,
				     response_in_parts(server, client, &answer));
	case ANSWER_NONE:
		break;
	case ANSWER_HELD:
		return hold(server, client, connection, answer.wait);
	}
	return MHD_NO;
}

static bool reads_to_its_end(const struct client *client, const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0 ||
	       (client->admin && strcmp(method, MHD_HTTP_METHOD_POST) == 0);
}

static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection,
				  const char *target, const char *method, const char *version,
				  const char *upload, size_t *upload_len, void **context)
{
	struct server *server = owner;
	struct client *client = client_of(connection);

	(void)version;
	(void)upload;
	if (!client)
		return MHD_NO;
	if (!*context) {
		*context = client;
		client->wait_over = false;
		clients_move(server->clients, client, CLIENT_BUSY, loop_now_us(server->loop));
		/* Answering at the first call makes libmicrohttpd close the connection: right for
		 * methods that bring a body which nobody wants. */
		if (reads_to_its_end(client, method))
			return MHD_YES;
	} else if (*upload_len > 0) {
		*upload_len = 0; /* a body means nothing here; requestTimeoutSeconds bounds it */
		return MHD_YES;
	}
	return reply(server, client, connection, method, target);
}

/* A later request of a kept-alive connection has begun: from here on it has no more time than the
 * first one had. */
static void *on_request_line(void *owner, const char *target, struct MHD_Connection *connection)
{
	struct server *server = owner;
	struct client *client = client_of(connection);

	(void)target;
	if (client && client->state == CLIENT_IDLE)
		clients_move(server->clients, client, CLIENT_FRESH, loop_now_us(server->loop));
	return NULL;
}

static void on_completed(void *owner, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct server *server = owner;

	(void)connection;
	if (*context && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		clients_move(server->clients, *context, CLIENT_IDLE, loop_now_us(server->loop));
	*context = NULL;
}

/* ---- connections ---- */

static void on_connection(void *owner, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct server *server = owner;

	(void)connection;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = server->arriving;
		server->arriving = NULL;
		return;
	}
	if (*context)
		clients_remove(server->clients, *context);
	*context = NULL;
}

static bool take_connection(void *owner, struct client *client, const struct sockaddr *peer,
			    socklen_t len)
{
	struct server *server = owner;
	bool taken;

	server->arriving = client;
	/* On failure libmicrohttpd has closed the descriptor, perhaps before it took the client. */
	taken = MHD_add_connection(server->daemon, client->fd, peer, len) == MHD_YES ||
		!server->arriving;
	server->arriving = NULL;
	return taken;
}

static const struct settings *present_settings(void *owner)
{
	const struct server *server = owner;

	return &engine_config(server->engine)->settings;
}

/* ---- libmicrohttpd on our loop ---- */

/* Lets libmicrohttpd do what is due, and asks when it wants to be called again at the latest. */
static void proceed(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	bool wants_time = true;

	for (int i = 0; i < ROUNDS_MAX && wants_time && timeout_ms == 0; i++) {
		MHD_run(server->daemon);
		wants_time = MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES;
	}
	if (wants_time)
		loop_timer_set(server->loop, &server->daemon_timer,
			       clock_monotonic_us() + (int64_t)timeout_ms * 1000);
	else
		loop_timer_clear(server->loop, &server->daemon_timer);
}

static void on_acceptor(void *owner)
{
	struct server *server = owner;

	release_due(server);
	proceed(server);
}

static void on_going_on(struct loop_task *task)
{
	proceed(task->owner);
}

static void on_engine_change(struct engine_observer *observer)
{
	release_due(observer->owner);
}

static void on_daemon_io(struct loop_io *io, unsigned events)
{
	(void)events;
	proceed(io->owner);
}

static void on_daemon_timer(struct loop_timer *timer)
{
	proceed(timer->owner);
}

static void log_to_us(void *owner, const char *format, va_list arguments)
{
	/* libmicrohttpd's remarks are about single connections, which are no events of ours. */
	(void)owner;
	(void)format;
	(void)arguments;
}

static int start_daemon(struct server *server, struct error *error)
{
	const union MHD_DaemonInfo *info;

	server->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
					 MHD_USE_NO_THREAD_SAFETY | MHD_ALLOW_SUSPEND_RESUME,
				 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER,
				 log_to_us, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
				 server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
				 MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				 MHD_OPTION_CONNECTION_TIMEOUT, 0U,
				 MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (!server->daemon)
		return error_set(error, "the HTTP server does not start: %s", strerror(errno));
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return error_set(error, "the HTTP server has no epoll descriptor");
	server->daemon_io.on_ready = on_daemon_io;
	server->daemon_io.owner = server;
	server->daemon_timer.on_expire = on_daemon_timer;
	server->daemon_timer.owner = server;
	if (loop_io_set(server->loop, &server->daemon_io, info->epoll_fd, LOOP_READ) < 0)
		return error_set(error, "cannot watch the HTTP server: %s", strerror(errno));
	return 0;
}

struct server *server_create(struct loop *loop, struct engine *engine, struct error *error)
{
	struct server *server = calloc(1, sizeof(*server));
	const struct acceptor_owner owner = {.take = take_connection,
					     .proceed = on_acceptor,
					     .settings = present_settings,
					     .owner = server};

	if (!server) {
		error_set(error, "out of memory");
		return NULL;
	}
	server->loop = loop;
	server->engine = engine;
	server->source.engine = engine;
	server->going_on.on_run = on_going_on;
	server->going_on.owner = server;
	server->observer.on_change = on_engine_change;
	server->observer.owner = server;
	engine_observe(engine, &server->observer);
	server->acceptor = acceptor_create(loop, &owner);
	if (!server->acceptor)
		error_set(error, "out of memory");
	else
		server->clients = acceptor_clients(server->acceptor);
	if (!server->acceptor || start_daemon(server, error) < 0 ||
	    acceptor_listen(server->acceptor, error) < 0) {
		server_destroy(server);
		return NULL;
	}
	return server;
}

void server_set_stop(struct server *server, void (*stop)(void *owner), void *owner)
{
	server->source.stop = stop;
	server->source.stop_owner = owner;
}

struct requests *server_requests(struct server *server)
{
	return &server->source.requests;
}

void server_destroy(struct server *server)
{
	if (!server)
		return;
	engine_unobserve(server->engine, &server->observer);
	if (server->acceptor)
		acceptor_stop(server->acceptor);
	if (server->daemon) {
		/* libmicrohttpd takes no end while connections are suspended. */
		server->source.stopping = true;
		release_due(server);
		for (struct client *client = server->clients->lists[CLIENT_BUSY].oldest; client;
		     client = client->next)
			client_cut_off(client);
		MHD_run(server->daemon);
		MHD_stop_daemon(server->daemon);
	}
	loop_task_clear(server->loop, &server->going_on);
	loop_timer_clear(server->loop, &server->daemon_timer);
	loop_io_clear(server->loop, &server->daemon_io);
	acceptor_destroy(server->acceptor);
	forget_answers(server);
	free(server);
}
