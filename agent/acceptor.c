#include "agent/acceptor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/listen.h"
#include "agent/log.h"

enum {
	ACCEPTS_PER_TURN = 64,
	SWEEP_US = 250 * 1000,
	/* So long nothing is accepted when there is neither room nor anybody to hang up on. */
	REST_US = 5 * 1000,
	/* Of the descriptors that the process may have, connections get this part: the rest is for
	 * probes. */
	DESCRIPTORS_PER_CONNECTION = 4,
	CONNECTIONS_MIN = 8,
};

struct listener {
	struct acceptor *acceptor;
	struct listen_socket socket;
	struct loop_io io;
	bool admin;
};

struct acceptor {
	struct loop *loop;
	struct acceptor_owner owner;
	struct loop_timer sweep;
	struct loop_timer rest; /* set while the listeners are not watched */
	size_t connections_max; /* whatever the configuration says */
	struct listener listeners[LISTEN_SOCKETS_MAX];
	size_t listener_count;
	struct clients clients;
};

struct clients *acceptor_clients(struct acceptor *acceptor)
{
	return &acceptor->clients;
}

static const struct settings *settings_of(const struct acceptor *acceptor)
{
	return acceptor->owner.settings(acceptor->owner.owner);
}

static void proceed(const struct acceptor *acceptor)
{
	acceptor->owner.proceed(acceptor->owner.owner);
}

/* ---- accepting ---- */

size_t acceptor_connection_limit(const struct acceptor *acceptor)
{
	size_t wanted = (size_t)settings_of(acceptor)->connection_limit;

	return wanted < acceptor->connections_max ? wanted : acceptor->connections_max;
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

static int watch_listeners(struct acceptor *acceptor)
{
	for (size_t i = 0; i < acceptor->listener_count; i++) {
		struct listener *listener = &acceptor->listeners[i];

		if (loop_io_set(acceptor->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return -1;
	}
	return 0;
}

/* Connections that wait would wake us over and over while they cannot be accepted. */
static void rest_listeners(struct acceptor *acceptor)
{
	if (loop_timer_set(acceptor->loop, &acceptor->rest, loop_now_us(acceptor->loop) + REST_US) <
	    0)
		return;
	for (size_t i = 0; i < acceptor->listener_count; i++)
		loop_io_clear(acceptor->loop, &acceptor->listeners[i].io);
}

static void on_rest_over(struct loop_timer *timer)
{
	struct acceptor *acceptor = timer->owner;

	if (watch_listeners(acceptor) < 0)
		rest_listeners(acceptor);
}

static bool lacks_resources(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS;
}

/* Whoever is hung up on gives his descriptor back when the owner proceeds. */
static bool make_room(struct acceptor *acceptor)
{
	return clients_make_room(&acceptor->clients, loop_now_us(acceptor->loop));
}

static void adopt(struct listener *listener, int fd, const struct sockaddr_storage *peer,
		  socklen_t len)
{
	struct acceptor *acceptor = listener->acceptor;
	struct client *client = clients_add(&acceptor->clients, fd, listener->socket.is_unix,
					    listener->admin, peer, loop_now_us(acceptor->loop));

	if (!client) {
		close(fd);
		return;
	}
	if (!acceptor->owner.take(acceptor->owner.owner, client, (const struct sockaddr *)peer,
				  len))
		clients_remove(&acceptor->clients, client);
}

static void on_accept(struct loop_io *io, unsigned events)
{
	struct listener *listener = io->owner;
	struct acceptor *acceptor = listener->acceptor;
	size_t limit = acceptor_connection_limit(acceptor);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd, on = 1;

		if (acceptor->clients.count >= limit && !make_room(acceptor)) {
			rest_listeners(acceptor);
			break;
		}
		fd = accept4(listener->socket.fd, (struct sockaddr *)&peer, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (lacks_resources(errno) && !make_room(acceptor))
				rest_listeners(acceptor);
			break;
		}
		if (!listener->socket.is_unix)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		adopt(listener, fd, &peer, len);
	}
	proceed(acceptor);
}

static void on_sweep(struct loop_timer *timer)
{
	struct acceptor *acceptor = timer->owner;
	const struct settings *settings = settings_of(acceptor);
	int64_t now_us = loop_now_us(acceptor->loop);

	clients_expire(&acceptor->clients, CLIENT_FRESH, settings->request_timeout_us, now_us);
	clients_expire(&acceptor->clients, CLIENT_BUSY, settings->request_timeout_us * 2, now_us);
	clients_expire(&acceptor->clients, CLIENT_IDLE, settings->idle_timeout_us, now_us);
	proceed(acceptor);
	loop_timer_set(acceptor->loop, timer, loop_now_us(acceptor->loop) + SWEEP_US);
}

/* ---- listening ---- */

static void log_listener(const struct listener *listener)
{
	struct log_field fields[] = {
		log_text("address", listener->socket.address),
		log_text("side", listener->admin ? "admin" : listener->acceptor->owner.side),
		{0},
	};

	log_event(LOG_INFO, "listen", fields);
}

int acceptor_listen(struct acceptor *acceptor, const char *notation, bool admin,
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
		struct listener *listener = &acceptor->listeners[acceptor->listener_count];

		if (acceptor->listener_count == LISTEN_SOCKETS_MAX) {
			for (size_t rest = i; rest < count; rest++)
				listen_close(&sockets[rest]);
			return error_set(error, "more than %d addresses to listen on",
					 LISTEN_SOCKETS_MAX);
		}
		*listener = (struct listener){
			.acceptor = acceptor,
			.socket = sockets[i],
			.admin = admin,
			.io = {.on_ready = on_accept, .owner = listener},
		};
		acceptor->listener_count++;
		if (loop_io_set(acceptor->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return error_set(error, "cannot watch a listener: %s", strerror(errno));
		log_listener(listener);
	}
	return 0;
}

struct acceptor *acceptor_create(struct loop *loop, const struct acceptor_owner *owner)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));

	if (!acceptor)
		return NULL;
	acceptor->loop = loop;
	acceptor->owner = *owner;
	acceptor->sweep.on_expire = on_sweep;
	acceptor->sweep.owner = acceptor;
	acceptor->rest.on_expire = on_rest_over;
	acceptor->rest.owner = acceptor;
	acceptor->connections_max = descriptors_for_connections();
	if (loop_timer_set(loop, &acceptor->sweep, loop_now_us(loop) + SWEEP_US) == 0)
		return acceptor;
	free(acceptor);
	return NULL;
}

void acceptor_stop(struct acceptor *acceptor)
{
	loop_timer_clear(acceptor->loop, &acceptor->sweep);
	loop_timer_clear(acceptor->loop, &acceptor->rest);
	for (size_t i = 0; i < acceptor->listener_count; i++) {
		loop_io_clear(acceptor->loop, &acceptor->listeners[i].io);
		listen_close(&acceptor->listeners[i].socket);
	}
	acceptor->listener_count = 0;
}

void acceptor_destroy(struct acceptor *acceptor)
{
	free(acceptor);
}
