#include "agent/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/listeners.h"

enum {
	SWEEP_US = 250 * 1000,
	/* Of the descriptors that the process may have, connections get this part: the rest is for
	 * probes. */
	DESCRIPTORS_PER_CONNECTION = 4,
	CONNECTIONS_MIN = 8,
};

struct acceptor {
	struct loop *loop;
	struct acceptor_owner owner;
	struct loop_timer sweep;
	size_t connections_max; /* whatever the configuration says */
	struct listeners listeners;
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

static void proceed(void *owner)
{
	const struct acceptor *acceptor = owner;

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

/* Whoever is hung up on gives his descriptor back when the owner proceeds. */
static bool make_room(void *owner)
{
	struct acceptor *acceptor = owner;

	return clients_make_room(&acceptor->clients, loop_now_us(acceptor->loop));
}

static bool has_room(void *owner)
{
	struct acceptor *acceptor = owner;

	return acceptor->clients.count < acceptor_connection_limit(acceptor) || make_room(acceptor);
}

static void take(void *owner, const struct arrival *arrival)
{
	struct acceptor *acceptor = owner;
	const struct sockaddr *peer = (const struct sockaddr *)&arrival->peer;
	struct client *client =
		clients_add(&acceptor->clients, arrival->fd, arrival->is_unix, arrival->admin,
			    &arrival->peer, loop_now_us(acceptor->loop));
	int on = 1;

	if (!client) {
		close(arrival->fd);
		return;
	}
	if (!arrival->is_unix)
		setsockopt(arrival->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!acceptor->owner.take(acceptor->owner.owner, client, peer, arrival->peer_len))
		clients_remove(&acceptor->clients, client);
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

int acceptor_listen(struct acceptor *acceptor, struct error *error)
{
	const struct settings *settings = settings_of(acceptor);
	char notation[160];

	for (size_t i = 0; i < settings->listen.count; i++) {
		if (listeners_open(&acceptor->listeners, settings->listen.items[i], false, error) <
		    0)
			return -1;
	}
	if (!settings->socket || strcmp(settings->socket, "none") == 0)
		return 0;
	snprintf(notation, sizeof(notation), "unix:%s", settings->socket);
	return listeners_open(&acceptor->listeners, notation, true, error);
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
	acceptor->listeners.loop = loop;
	acceptor->listeners.side = "public";
	acceptor->listeners.addresses = "addresses to listen on";
	acceptor->listeners.has_room = has_room;
	acceptor->listeners.take = take;
	acceptor->listeners.give_back = make_room;
	acceptor->listeners.on_turn_over = proceed;
	acceptor->listeners.owner = acceptor;
	acceptor->connections_max = descriptors_for_connections();
	if (loop_timer_set(loop, &acceptor->sweep, loop_now_us(loop) + SWEEP_US) == 0)
		return acceptor;
	free(acceptor);
	return NULL;
}

void acceptor_stop(struct acceptor *acceptor)
{
	loop_timer_clear(acceptor->loop, &acceptor->sweep);
	listeners_close(&acceptor->listeners);
}

void acceptor_destroy(struct acceptor *acceptor)
{
	free(acceptor);
}
