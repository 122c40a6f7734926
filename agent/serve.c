#include "agent/serve.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/clients.h"
#include "agent/listen.h"
#include "agent/log.h"
#include "agent/negotiate.h"
#include "agent/report.h"

enum {
	ACCEPTS_PER_TURN = 64,
	/* Memory for a request's line and headers; a whole 8 KiB would take an eighth more, because
	 * malloc() adds its own. */
	CONNECTION_MEMORY = 8 * 1024 - 64,
	EXCLUDED_MAX = 64,
	SWEEP_US = 250 * 1000,
	/* So long nothing is accepted when there is neither room nor anybody to hang up on. */
	REST_US = 5 * 1000,
	/* Of the descriptors that the process may have, connections get this part: the rest is for
	 * probes. */
	DESCRIPTORS_PER_CONNECTION = 4,
	CONNECTIONS_MIN = 8,
	/* /status with more probes than this is sent in parts, made as the asker takes them. */
	STATUS_WHOLE_MAX = 100,
	STATUS_PART_CEILING = 64 * 1024,
	TABLE_CEILING = 4 * 1024 * 1024,
};

struct listener {
	struct server *server;
	struct listen_socket socket;
	struct loop_io io;
	bool admin;
};

/* An answer that is the same for everybody until the verdict changes. */
struct ready_answer {
	struct MHD_Response *response;
	unsigned status;
};

struct server {
	struct loop *loop;
	struct engine *engine;
	struct MHD_Daemon *daemon;
	struct loop_io daemon_io;
	struct loop_timer daemon_timer;
	struct loop_timer sweep;
	struct loop_timer rest; /* set while the listeners are not watched */
	size_t connections_max; /* whatever the configuration says */
	struct listener listeners[LISTEN_SOCKETS_MAX];
	size_t listener_count;
	struct clients clients;
	struct client *arriving; /* between accept() and libmicrohttpd's notification */
	struct ready_answer answers[ENDPOINT_COUNT];
	uint64_t answers_generation;
};

const char *server_library_version(void)
{
	return MHD_get_version();
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
		clients_remove(&server->clients, *context);
	*context = NULL;
}

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void adopt(struct listener *listener, int fd, const struct sockaddr_storage *peer,
		  socklen_t len)
{
	struct server *server = listener->server;

	server->arriving = clients_add(&server->clients, fd, listener->socket.is_unix,
				       listener->admin, peer, loop_now_us(server->loop));
	if (!server->arriving) {
		close(fd);
		return;
	}
	/* On failure libmicrohttpd has closed the descriptor, perhaps before it took the client. */
	if (MHD_add_connection(server->daemon, fd, (const struct sockaddr *)peer, len) != MHD_YES &&
	    server->arriving)
		clients_remove(&server->clients, server->arriving);
	server->arriving = NULL;
}

static void serve_pending(struct server *server);

static size_t connections_allowed(const struct server *server)
{
	size_t wanted = (size_t)engine_config(server->engine)->settings.connection_limit;

	return wanted < server->connections_max ? wanted : server->connections_max;
}

static size_t descriptors_for_connections(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	if (limit.rlim_cur / DESCRIPTORS_PER_CONNECTION < CONNECTIONS_MIN)
		return CONNECTIONS_MIN;
	return limit.rlim_cur / DESCRIPTORS_PER_CONNECTION;
}

static int watch_listeners(struct server *server)
{
	for (size_t i = 0; i < server->listener_count; i++) {
		struct listener *listener = &server->listeners[i];

		if (loop_io_set(server->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return -1;
	}
	return 0;
}

/* Connections that wait would wake us over and over while they cannot be accepted. */
static void rest_listeners(struct server *server)
{
	if (loop_timer_set(server->loop, &server->rest, loop_now_us(server->loop) + REST_US) < 0)
		return;
	for (size_t i = 0; i < server->listener_count; i++)
		loop_io_clear(server->loop, &server->listeners[i].io);
}

static void on_rest_over(struct loop_timer *timer)
{
	struct server *server = timer->owner;

	if (watch_listeners(server) < 0)
		rest_listeners(server);
}

static bool lacks_resources(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS;
}

static void on_accept(struct loop_io *io, unsigned events)
{
	struct listener *listener = io->owner;
	struct server *server = listener->server;
	size_t limit = connections_allowed(server);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd, on = 1;

		if (server->clients.count >= limit &&
		    !clients_make_room(&server->clients, loop_now_us(server->loop))) {
			rest_listeners(server);
			break;
		}
		fd = accept4(listener->socket.fd, (struct sockaddr *)&peer, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* Who is hung up on gives the descriptor back in serve_pending(). */
			if (lacks_resources(errno) &&
			    !clients_make_room(&server->clients, loop_now_us(server->loop)))
				rest_listeners(server);
			break;
		}
		if (!listener->socket.is_unix)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		adopt(listener, fd, &peer, len);
	}
	serve_pending(server);
}

static void on_sweep(struct loop_timer *timer)
{
	struct server *server = timer->owner;
	const struct settings *settings = &engine_config(server->engine)->settings;
	int64_t now_us = loop_now_us(server->loop);

	clients_expire(&server->clients, CLIENT_FRESH, settings->request_timeout_us, now_us);
	clients_expire(&server->clients, CLIENT_BUSY, settings->request_timeout_us * 2, now_us);
	clients_expire(&server->clients, CLIENT_IDLE, settings->idle_timeout_us, now_us);
	serve_pending(server);
	loop_timer_set(server->loop, timer, loop_now_us(server->loop) + SWEEP_US);
}

/* ---- answers ---- */

static bool may_see_details(const struct server *server, const struct client *client)
{
	int details = engine_config(server->engine)->settings.details;

	if (client->is_unix)
		return client->trusted;
	return details == DETAILS_ALWAYS || (details == DETAILS_LOCAL && client->is_local);
}

static void add_headers(struct MHD_Response *response, const char *content_type)
{
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* A response that takes the buffer's memory; NULL when out of memory, the buffer is gone then too.
 */
static struct MHD_Response *response_from(struct buffer *buffer, const char *content_type)
{
	struct MHD_Response *response;

	if (!buffer->data)
		return NULL;
	response =
		MHD_create_response_from_buffer(buffer->len, buffer->data, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		buffer_free(buffer);
		return NULL;
	}
	buffer_init(buffer, buffer->ceiling);
	add_headers(response, content_type);
	return response;
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

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
				 const char *text)
{
	struct MHD_Response *response = MHD_create_response_from_buffer_static(strlen(text), text);

	if (!response)
		return MHD_NO;
	add_headers(response, format_content_type(FORMAT_TEXT));
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, OPTIONS");
	return send_response(connection, status, response);
}

static unsigned status_of(struct verdict verdict)
{
	return verdict.ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
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
	struct ready_answer *answer = &server->answers[endpoint];

	if (server->answers_generation != engine_generation(server->engine)) {
		forget_answers(server);
		server->answers_generation = engine_generation(server->engine);
	}
	if (!answer->response) {
		struct verdict verdict = engine_verdict(server->engine, endpoint);
		struct buffer text;

		buffer_init(&text, 256);
		buffer_text(&text, verdict.ok ? "ok" : hindrance_text(verdict.hindrance));
		buffer_text(&text, "\n");
		answer->response = response_from(&text, format_content_type(FORMAT_TEXT));
		answer->status = status_of(verdict);
		if (answer->response)
			MHD_add_response_header(answer->response, MHD_HTTP_HEADER_ALLOW,
						"GET, HEAD, OPTIONS");
	}
	if (!answer->response)
		return MHD_NO;
	return MHD_queue_response(connection, answer->status, answer->response);
}

/* ---- routes ---- */

struct excluded {
	char *names[EXCLUDED_MAX];
	size_t count;
	bool too_many;
};

static enum MHD_Result collect_excluded(void *context, enum MHD_ValueKind kind, const char *key,
					const char *value)
{
	struct excluded *excluded = context;

	(void)kind;
	if (strcmp(key, "exclude") != 0 || !value)
		return MHD_YES;
	if (excluded->count == EXCLUDED_MAX)
		excluded->too_many = true;
	else
		excluded->names[excluded->count++] = (char *)(uintptr_t)value;
	return MHD_YES;
}

static bool has_argument(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name),
					     NULL, NULL) == MHD_YES;
}

static enum format wanted_format(struct MHD_Connection *connection)
{
	return negotiate_format(
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
}

static enum MHD_Result send_endpoint(struct server *server, const struct client *client,
				     struct MHD_Connection *connection, enum endpoint endpoint)
{
	struct report_request request = {.endpoint = endpoint};
	enum format format = wanted_format(connection);
	struct excluded excluded = {.count = 0};
	struct verdict verdict;
	struct buffer buffer;

	if (format == FORMAT_TEXT &&
	    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) == 0)
		return send_bare(server, connection, endpoint);
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect_excluded, &excluded);
	if (excluded.too_many)
		return send_text(connection, MHD_HTTP_BAD_REQUEST, "too many exclude arguments\n");
	request.excluded = excluded.names;
	request.excluded_count = excluded.count;
	request.details = may_see_details(server, client);
	verdict = engine_verdict_without(server->engine, endpoint, excluded.names, excluded.count);
	if (format == FORMAT_TEXT && !has_argument(connection, "verbose") && excluded.count == 0)
		return send_bare(server, connection, endpoint);
	buffer_init(&buffer, REPORT_ANSWER_MAX * 2);
	if (format == FORMAT_JSON)
		report_json(server->engine, &request, &buffer);
	else if (format == FORMAT_HEALTH_JSON)
		report_health_json(server->engine, &request, &buffer);
	else if (has_argument(connection, "verbose"))
		report_verbose(server->engine, &request, &buffer);
	else
		buffer_format(&buffer, "%s\n",
			      verdict.ok ? "ok" : hindrance_text(verdict.hindrance));
	return send_response(connection, status_of(verdict),
			     response_from(&buffer, format_content_type(format)));
}

static enum MHD_Result send_probe(struct server *server, const struct client *client,
				  struct MHD_Connection *connection,
				  const struct engine_probe *probe)
{
	bool details = may_see_details(server, client);
	unsigned status = engine_probe_ok(probe) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
	struct json_writer json;
	struct buffer buffer;

	buffer_init(&buffer, STATUS_PART_CEILING);
	if (wanted_format(connection) == FORMAT_TEXT) {
		report_probe_line(probe, details, &buffer);
		return send_response(connection, status,
				     response_from(&buffer, format_content_type(FORMAT_TEXT)));
	}
	json_begin(&json, &buffer);
	report_probe(&json, probe, details);
	buffer_text(&buffer, "\n");
	return send_response(connection, status,
			     response_from(&buffer, format_content_type(FORMAT_JSON)));
}

/* /status in the making: which part comes next, and what of the present part is still to be sent.
 */
struct status_stream {
	struct server *server;
	struct client *client;
	struct json_writer json;
	struct buffer part;
	size_t sent, next_probe;
	uint64_t generation;
	bool details, begun, ended;
};

static void status_next_part(struct status_stream *stream)
{
	const struct engine *engine = stream->server->engine;

	if (!stream->begun) {
		report_status_begin(&stream->json, engine);
		stream->begun = true;
	} else if (stream->next_probe < engine_probe_count(engine)) {
		report_probe(&stream->json, engine_probe_at(engine, stream->next_probe++),
			     stream->details);
	} else if (!stream->ended) {
		report_status_end(&stream->json);
		stream->ended = true;
	}
}

static ssize_t status_read(void *owner, uint64_t position, char *bytes, size_t max)
{
	struct status_stream *stream = owner;
	struct server *server = stream->server;
	size_t filled = 0;

	(void)position;
	if (stream->generation != engine_configuration_generation(server->engine))
		return MHD_CONTENT_READER_END_WITH_ERROR; /* a reload: what was sent is void */
	/* More is asked for when what went before is sent: the reader takes it, so it may stay. */
	clients_move(&server->clients, stream->client, CLIENT_BUSY, loop_now_us(server->loop));
	while (filled < max) {
		size_t len = stream->part.len - stream->sent;

		if (len == 0) {
			buffer_clear(&stream->part);
			stream->sent = 0;
			status_next_part(stream);
			if (stream->part.len == 0)
				break;
			continue;
		}
		if (len > max - filled)
			len = max - filled;
		memcpy(bytes + filled, stream->part.data + stream->sent, len);
		stream->sent += len;
		filled += len;
	}
	return filled > 0 ? (ssize_t)filled : MHD_CONTENT_READER_END_OF_STREAM;
}

static void status_free(void *owner)
{
	struct status_stream *stream = owner;

	buffer_free(&stream->part);
	free(stream);
}

static struct MHD_Response *status_whole(struct server *server, bool details)
{
	struct json_writer json;
	struct buffer buffer;

	buffer_init(&buffer, (size_t)STATUS_PART_CEILING * (STATUS_WHOLE_MAX + 1));
	json_begin(&json, &buffer);
	report_status_begin(&json, server->engine);
	for (size_t i = 0; i < engine_probe_count(server->engine); i++)
		report_probe(&json, engine_probe_at(server->engine, i), details);
	report_status_end(&json);
	return response_from(&buffer, format_content_type(FORMAT_JSON));
}

static struct MHD_Response *status_in_parts(struct server *server, struct client *client,
					    bool details)
{
	struct status_stream *stream = calloc(1, sizeof(*stream));
	struct MHD_Response *response;

	if (!stream)
		return NULL;
	stream->server = server;
	stream->client = client;
	stream->details = details;
	stream->generation = engine_configuration_generation(server->engine);
	buffer_init(&stream->part, STATUS_PART_CEILING);
	json_begin(&stream->json, &stream->part);
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STATUS_PART_CEILING,
						     status_read, stream, status_free);
	if (!response) {
		status_free(stream);
		return NULL;
	}
	add_headers(response, format_content_type(FORMAT_JSON));
	return response;
}

static enum MHD_Result send_status(struct server *server, struct client *client,
				   struct MHD_Connection *connection)
{
	bool details = may_see_details(server, client);
	bool whole = engine_probe_count(server->engine) <= STATUS_WHOLE_MAX;

	return send_response(connection, MHD_HTTP_OK,
			     whole ? status_whole(server, details)
				   : status_in_parts(server, client, details));
}

/* What `readyd status` shows. */
static enum MHD_Result send_table(struct server *server, const struct client *client,
				  struct MHD_Connection *connection)
{
	struct buffer buffer;

	buffer_init(&buffer, TABLE_CEILING);
	report_table(server->engine, may_see_details(server, client),
		     has_argument(connection, "colour"), &buffer);
	return send_response(connection, MHD_HTTP_OK,
			     response_from(&buffer, format_content_type(FORMAT_TEXT)));
}

/* What `readyd check` asks for: one line, or JSON by Accept. */
static enum MHD_Result send_check(struct server *server, const struct client *client,
				  struct MHD_Connection *connection, const char *what)
{
	static const enum role order[] = {ROLE_READINESS, ROLE_LIVENESS, ROLE_STARTUP};
	bool details = may_see_details(server, client);
	struct buffer buffer;

	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		static const char *const names[] = {[ENDPOINT_LIVENESS] = "liveness",
						    [ENDPOINT_READINESS] = "readiness",
						    [ENDPOINT_STARTUP] = "startup"};

		if (strcmp(what, names[i]) != 0)
			continue;
		if (wanted_format(connection) != FORMAT_TEXT)
			return send_endpoint(server, client, connection, (enum endpoint)i);
		buffer_init(&buffer, REPORT_ANSWER_MAX);
		report_line(server->engine, (enum endpoint)i, what, details, &buffer);
		return send_response(connection,
				     status_of(engine_verdict(server->engine, (enum endpoint)i)),
				     response_from(&buffer, format_content_type(FORMAT_TEXT)));
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct engine_probe *probe = engine_find(server->engine, order[i], what);

		if (probe)
			return send_probe(server, client, connection, probe);
	}
	return send_text(connection, MHD_HTTP_NOT_FOUND, "there is no such probe\n");
}

struct route {
	const char *path;
	enum endpoint endpoint;
	enum role role; /* of the probes under PATH/NAME */
};

static const struct route routes[] = {
	{"/ready", ENDPOINT_READINESS, ROLE_READINESS},
	{"/healthz", ENDPOINT_LIVENESS, ROLE_LIVENESS},
	{"/readyz", ENDPOINT_READINESS, ROLE_READINESS},
	{"/livez", ENDPOINT_LIVENESS, ROLE_LIVENESS},
	{"/startup", ENDPOINT_STARTUP, ROLE_STARTUP},
	{"/startupz", ENDPOINT_STARTUP, ROLE_STARTUP},
};

/* The path of a target in absolute form ("http://host/path", RFC 9112 section 3.2.2), and "/" for
 * "*", which means the server as a whole. */
static const char *path_of(const char *target)
{
	const char *authority = NULL;
	const char *path;

	if (strcmp(target, "*") == 0)
		return "/";
	if (strncasecmp(target, "http://", 7) == 0)
		authority = target + 7;
	else if (strncasecmp(target, "https://", 8) == 0)
		authority = target + 8;
	if (!authority)
		return target;
	path = strchr(authority, '/');
	return path ? path : "/";
}

static enum MHD_Result route(struct server *server, struct client *client,
			     struct MHD_Connection *connection, const char *path)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t len = strlen(routes[i].path);
		const struct engine_probe *probe;

		if (strncmp(path, routes[i].path, len) != 0)
			continue;
		if (path[len] == '\0' || strcmp(path + len, "/") == 0)
			return send_endpoint(server, client, connection, routes[i].endpoint);
		if (path[len] != '/')
			continue;
		probe = engine_find(server->engine, routes[i].role, path + len + 1);
		if (probe)
			return send_probe(server, client, connection, probe);
		return send_text(connection, MHD_HTTP_NOT_FOUND, "there is no such probe\n");
	}
	if (strcmp(path, "/status") == 0)
		return send_status(server, client, connection);
	/* Load balancers that are told no path ask for "/" (HAProxy: OPTIONS /). */
	if (strcmp(path, "/") == 0)
		return send_endpoint(server, client, connection, ENDPOINT_READINESS);
	if (client->admin && strcmp(path, "/table") == 0)
		return send_table(server, client, connection);
	if (client->admin && strncmp(path, "/check/", 7) == 0)
		return send_check(server, client, connection, path + 7);
	return send_text(connection, MHD_HTTP_NOT_FOUND,
			 "not found; try /healthz, /ready, /startup or /status\n");
}

static bool is_readable_method(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0;
}

static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **context)
{
	struct server *server = owner;
	struct client *client = client_of(connection);

	(void)version;
	(void)upload;
	if (!client)
		return MHD_NO;
	if (!*context) {
		*context = client;
		clients_move(&server->clients, client, CLIENT_BUSY, loop_now_us(server->loop));
		if (!is_readable_method(method))
			return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
					 "only GET, HEAD and OPTIONS are served here\n");
		/* Answering at the first call would make libmicrohttpd close the connection. */
		return MHD_YES;
	}
	if (*upload_len > 0) {
		*upload_len = 0; /* a body means nothing here; requestTimeoutSeconds bounds it */
		return MHD_YES;
	}
	return route(server, client, connection, path_of(path));
}

/* A later request of a kept-alive connection has begun: from here on it has no more time than the
 * first one had. */
static void *on_request_line(void *owner, const char *target, struct MHD_Connection *connection)
{
	struct server *server = owner;
	struct client *client = client_of(connection);

	(void)target;
	if (client && client->state == CLIENT_IDLE)
		clients_move(&server->clients, client, CLIENT_FRESH, loop_now_us(server->loop));
	return NULL;
}

static void on_completed(void *owner, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct server *server = owner;

	(void)connection;
	if (*context && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		clients_move(&server->clients, *context, CLIENT_IDLE, loop_now_us(server->loop));
	*context = NULL;
}

/* ---- libmicrohttpd on our loop ---- */

/* Lets libmicrohttpd do what is due, and asks when it wants to be called again at the latest. */
static void serve_pending(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		loop_timer_set(server->loop, &server->daemon_timer,
			       clock_monotonic_us() + (int64_t)timeout_ms * 1000);
	else
		loop_timer_clear(server->loop, &server->daemon_timer);
}

static void on_daemon_io(struct loop_io *io, unsigned events)
{
	(void)events;
	serve_pending(io->owner);
}

static void on_daemon_timer(struct loop_timer *timer)
{
	serve_pending(timer->owner);
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
					 MHD_USE_NO_THREAD_SAFETY,
				 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER,
				 log_to_us, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
				 server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
				 MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				 /* clients_make_room() keeps the configured limit; this one only
				    must not be lower. */
				 MHD_OPTION_CONNECTION_LIMIT, 65536U + ACCEPTS_PER_TURN,
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

static int open_listeners(struct server *server, const char *notation, bool admin,
			  struct error *error)
{
	struct listen_socket sockets[LISTEN_SOCKETS_MAX];
	struct error note;
	size_t count = 0;

	if (listen_open(notation, admin, sockets, &count, &note, error) < 0)
		return -1;
	if (note.text[0] != '\0') {
		struct log_field fields[] = {log_text("message", note.text), {0}};

		log_event(LOG_WARNING, "listen", fields);
	}
	for (size_t i = 0; i < count; i++) {
		struct listener *listener = &server->listeners[server->listener_count];

		if (server->listener_count == LISTEN_SOCKETS_MAX) {
			for (size_t rest = i; rest < count; rest++)
				listen_close(&sockets[rest]);
			return error_set(error, "more than %d addresses to listen on",
					 LISTEN_SOCKETS_MAX);
		}
		*listener = (struct listener){
			.server = server,
			.socket = sockets[i],
			.admin = admin,
			.io = {.on_ready = on_accept, .owner = listener},
		};
		server->listener_count++;
		if (loop_io_set(server->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return error_set(error, "cannot watch a listener: %s", strerror(errno));
		struct log_field fields[] = {
			log_text("address", listener->socket.address),
			log_text("side", admin ? "admin" : "public"),
			{0},
		};
		log_event(LOG_INFO, "listen", fields);
	}
	return 0;
}

static int open_all_listeners(struct server *server, struct error *error)
{
	const struct settings *settings = &engine_config(server->engine)->settings;

	for (size_t i = 0; i < settings->listen.count; i++) {
		const char *notation = settings->listen.items[i];

		if (strcmp(notation, "none") == 0)
			continue;
		if (open_listeners(server, notation, false, error) < 0)
			return -1;
	}
	if (settings->socket && strcmp(settings->socket, "none") != 0) {
		char notation[160];

		snprintf(notation, sizeof(notation), "unix:%s", settings->socket);
		if (open_listeners(server, notation, true, error) < 0)
			return -1;
	}
	return 0;
}

struct server *server_create(struct loop *loop, struct engine *engine, struct error *error)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server) {
		error_set(error, "out of memory");
		return NULL;
	}
	server->loop = loop;
	server->engine = engine;
	server->sweep.on_expire = on_sweep;
	server->sweep.owner = server;
	server->rest.on_expire = on_rest_over;
	server->rest.owner = server;
	server->connections_max = descriptors_for_connections();
	if (start_daemon(server, error) < 0 || open_all_listeners(server, error) < 0 ||
	    loop_timer_set(loop, &server->sweep, loop_now_us(loop) + SWEEP_US) < 0) {
		server_destroy(server);
		return NULL;
	}
	return server;
}

void server_destroy(struct server *server)
{
	if (!server)
		return;
	loop_timer_clear(server->loop, &server->sweep);
	loop_timer_clear(server->loop, &server->rest);
	loop_timer_clear(server->loop, &server->daemon_timer);
	loop_io_clear(server->loop, &server->daemon_io);
	for (size_t i = 0; i < server->listener_count; i++) {
		loop_io_clear(server->loop, &server->listeners[i].io);
		listen_close(&server->listeners[i].socket);
	}
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	forget_answers(server);
	free(server);
}
