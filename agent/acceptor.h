/* Listens where the settings say, and keeps the number of connections and the time that each may
 * take within their limits. What is said over a connection is its owner's business. */
#ifndef READYD_AGENT_ACCEPTOR_H
#define READYD_AGENT_ACCEPTOR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "agent/clients.h"
#include "agent/config.h"
#include "agent/error.h"
#include "agent/loop.h"

struct acceptor;

/* What the acceptor asks of its owner. */
struct acceptor_owner {
	/* Takes a connection, whose descriptor is the callee's from now on, and calls
	 * clients_remove() when it ends. Returns false if it has not taken the client; the
	 * descriptor is closed then all the same. */
	bool (*take)(void *owner, struct client *client, const struct sockaddr *peer,
		     socklen_t len);
	/* Lets connections go on, those that were just taken or hung up on above all. */
	void (*proceed)(void *owner);
	/* The present settings: limits can change with a reload. */
	const struct settings *(*settings)(void *owner);
	void *owner;
};

/* One without listeners. NULL when out of memory. */
struct acceptor *acceptor_create(struct loop *loop, const struct acceptor_owner *owner);

/* Opens the listeners of the settings, the admin socket too, and begins to accept. 0, or -1 with a
 * sentence. */
int acceptor_listen(struct acceptor *acceptor, struct error *error);

/* Closes the listeners; the clients are left to their owner. */
void acceptor_stop(struct acceptor *acceptor);

/* Frees it; no client may be left. Harmless on NULL. */
void acceptor_destroy(struct acceptor *acceptor);

/* The table of clients, for clients_move() and clients_remove(). */
struct clients *acceptor_clients(struct acceptor *acceptor);

/* How many connections there may be at present. */
size_t acceptor_connection_limit(const struct acceptor *acceptor);

#endif
