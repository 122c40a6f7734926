#include "agent/listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "agent/log.h"

enum {
	ACCEPTS_PER_TURN = 64,
	/* So long nothing is accepted when something is lacking. */
	REST_US = 5 * 1000,
};

/* ---- resting ---- */

static int watch_all(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->items[i];

		if (loop_io_set(listeners->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return -1;
	}
	return 0;
}

/* Connections that wait would wake us over and over while they cannot be accepted. */
static void rest(struct listeners *listeners)
{
	struct loop *loop = listeners->loop;

	if (loop_timer_set(loop, &listeners->rest, loop_now_us(loop) + REST_US) < 0)
		return;
	for (size_t i = 0; i < listeners->count; i++)
		loop_io_clear(loop, &listeners->items[i].io);
}

static void on_rest_over(struct loop_timer *timer)
{
	struct listeners *listeners = timer->owner;

	if (watch_all(listeners) < 0)
		rest(listeners);
}

/* ---- accepting ---- */

static bool lacks_resources(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS;
}

static void accept_batch(const struct listener *listener)
{
	struct listeners *listeners = listener->listeners;

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct arrival arrival = {.is_unix = listener->socket.is_unix,
					  .admin = listener->admin,
					  .peer_len = sizeof(arrival.peer)};

		if (listeners->has_room && !listeners->has_room(listeners->owner)) {
			rest(listeners);
			return;
		}
		arrival.fd = accept4(listener->socket.fd, (struct sockaddr *)&arrival.peer,
				     &arrival.peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (arrival.fd < 0) {
			if (lacks_resources(errno) && !listeners->give_back(listeners->owner))
				rest(listeners);
			return;
		}
		listeners->take(listeners->owner, &arrival);
	}
}

static void on_accept(struct loop_io *io, unsigned events)
{
	const struct listener *listener = io->owner;
	const struct listeners *listeners = listener->listeners;

	(void)events;
	accept_batch(listener);
	if (listeners->on_turn_over)
		listeners->on_turn_over(listeners->owner);
}

/* ---- listening ---- */

static void log_note(const struct error *note)
{
	struct log_field fields[] = {log_text("message", note->text), {0}};

	if (note->text[0] != '\0')
		log_event(LOG_WARNING, "listen", fields);
}

static void log_listener(const struct listener *listener)
{
	struct log_field fields[] = {
		log_text("address", listener->socket.address),
		log_text("side", listener->admin ? "admin" : listener->listeners->side),
		{0},
	};

	log_event(LOG_INFO, "listen", fields);
}

/* The socket is ours from now on, whatever is returned. */
static int add(struct listeners *listeners, struct listen_socket *socket, bool admin,
	       struct error *error)
{
	struct listener *listener = &listeners->items[listeners->count];
	int off = 0;

	if (listeners->count == LISTEN_SOCKETS_MAX) {
		listen_close(socket);
		return error_set(error, "more than %d %s", LISTEN_SOCKETS_MAX,
				 listeners->addresses);
	}
	*listener = (struct listener){
		.listeners = listeners,
		.socket = *socket,
		.admin = admin,
		.io = {.on_ready = on_accept, .owner = listener},
	};
	listeners->count++;
	if (listeners->we_speak_first && !socket->is_unix)
		setsockopt(socket->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof(off));
	if (loop_io_set(listeners->loop, &listener->io, socket->fd, LOOP_READ) < 0)
		return error_set(error, "cannot watch a listener: %s", strerror(errno));
	log_listener(listener);
	return 0;
}

int listeners_open(struct listeners *listeners, const char *notation, bool admin,
		   struct error *error)
{
	struct listen_socket sockets[LISTEN_SOCKETS_MAX];
	struct error note;
	size_t count = 0;
	int result;

	if (strcmp(notation, "none") == 0)
		return 0;
	listeners->rest.on_expire = on_rest_over;
	listeners->rest.owner = listeners;
	result = listen_open(notation, admin, sockets, &count, &note, error);
	log_note(&note);
	/* After an error too: of two sockets the first may be open. */
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			result = add(listeners, &sockets[i], admin, error);
		else
			listen_close(&sockets[i]);
	}
	return result;
}

void listeners_close(struct listeners *listeners)
{
	loop_timer_clear(listeners->loop, &listeners->rest);
	for (size_t i = 0; i < listeners->count; i++) {
		loop_io_clear(listeners->loop, &listeners->items[i].io);
		listen_close(&listeners->items[i].socket);
	}
	listeners->count = 0;
}
