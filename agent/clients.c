#include "agent/clients.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/hash.h"

enum {
	/* Even when there is no room, a connection is let be for this long after it was accepted or
	 * answered: enough for a client whose request is on its way. */
	GRACE_US = 5 * 1000,
};

static void unlink_client(struct clients *clients, struct client *client)
{
	struct client_list *list = &clients->lists[client->state];

	if (client->previous)
		client->previous->next = client->next;
	else
		list->oldest = client->next;
	if (client->next)
		client->next->previous = client->previous;
	else
		list->newest = client->previous;
}

static void link_client(struct clients *clients, struct client *client, enum client_state state,
			int64_t now_us)
{
	struct client_list *list = &clients->lists[state];

	client->state = state;
	client->since_us = now_us;
	client->next = NULL;
	client->previous = list->newest;
	if (list->newest)
		list->newest->next = client;
	else
		list->oldest = client;
	list->newest = client;
}

static bool is_loopback(const struct sockaddr_storage *peer)
{
	if (peer->ss_family == AF_INET) {
		const struct sockaddr_in *address = (const struct sockaddr_in *)peer;

		return ntohl(address->sin_addr.s_addr) >> 24 == 127;
	}
	if (peer->ss_family == AF_INET6) {
		const struct in6_addr *address = &((const struct sockaddr_in6 *)peer)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(address);
	}
	return false;
}

/* An abstract socket has no file permissions, so the kernel is asked who is at the other end. */
static bool is_own_user(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static uint64_t address_hash(const struct sockaddr_storage *peer)
{
	uint64_t hash = HASH_START;

	if (peer->ss_family == AF_INET)
		hash_bytes(&hash, &((const struct sockaddr_in *)peer)->sin_addr,
			   sizeof(struct in_addr));
	else if (peer->ss_family == AF_INET6)
		hash_bytes(&hash, &((const struct sockaddr_in6 *)peer)->sin6_addr,
			   sizeof(struct in6_addr));
	return hash;
}

struct client *clients_add(struct clients *clients, int fd, bool is_unix, bool admin,
			   const struct sockaddr_storage *peer, int64_t now_us)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->fd = fd;
	client->admin = admin;
	client->is_unix = is_unix;
	client->is_local = !is_unix && is_loopback(peer);
	client->trusted = is_unix && is_own_user(fd);
	client->peer_hash = address_hash(peer);
	link_client(clients, client, CLIENT_FRESH, now_us);
	clients->count++;
	return client;
}

void clients_remove(struct clients *clients, struct client *client)
{
	unlink_client(clients, client);
	clients->count--;
	free(client);
}

void clients_move(struct clients *clients, struct client *client, enum client_state state,
		  int64_t now_us)
{
	unlink_client(clients, client);
	link_client(clients, client, state, now_us);
}

void client_cut_off(struct client *client)
{
	/* Disconnects at once, and so with a reset; a shutdown() would have said goodbye. */
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (client->in_parts && !client->is_unix)
		(void)connect(client->fd, &nobody, sizeof(nobody));
	client->in_parts = false;
}

/* The owner of the descriptor sees the end of the connection and closes it. */
static void hang_up(struct clients *clients, struct client *client, int64_t now_us)
{
	client_cut_off(client);
	shutdown(client->fd, SHUT_RDWR);
	/* Busy ending: it is not hung up on twice while its owner gets round to it. */
	clients_move(clients, client, CLIENT_BUSY, now_us);
}

bool client_is_gone(const struct client *client)
{
	char byte;

	return recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void client_gather(const struct client *client, bool full)
{
	int on = full;

	if (!client->is_unix)
		setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

bool clients_make_room(struct clients *clients, int64_t now_us)
{
	static const enum client_state order[] = {CLIENT_FRESH, CLIENT_IDLE, CLIENT_BUSY};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		struct client *oldest = clients->lists[order[i]].oldest;

		if (!oldest || now_us - oldest->since_us < GRACE_US)
			continue;
		hang_up(clients, oldest, now_us);
		return true;
	}
	return false;
}

void clients_expire(struct clients *clients, enum client_state state, int64_t allowed_us,
		    int64_t now_us)
{
	for (;;) {
		struct client *oldest = clients->lists[state].oldest;

		if (!oldest || now_us - oldest->since_us < allowed_us)
			return;
		hang_up(clients, oldest, now_us);
	}
}
