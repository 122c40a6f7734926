/* Listening sockets on the event loop: accepts connections in batches, and rests for a moment when
 * there is no room for more, or the system has no descriptors or memory left. What becomes of a
 * connection is its owner's business. */
#ifndef READYD_AGENT_LISTENERS_H
#define READYD_AGENT_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "agent/error.h"
#include "agent/listen.h"
#include "agent/loop.h"

/* A connection that was just accepted. */
struct arrival {
	int fd; /* non-blocking, close-on-exec */
	bool is_unix;
	bool admin; /* over the admin socket */
	struct sockaddr_storage peer;
	socklen_t peer_len;
};

struct listener {
	struct listeners *listeners;
	struct listen_socket socket;
	struct loop_io io;
	bool admin;
};

struct listeners {
	/* Set by the owner before the first listeners_open(). */
	struct loop *loop;
	const char *side;      /* what they are for, in the log: "public" */
	const char *addresses; /* what there can be too many of: "addresses to listen on" */
	/* Connections are accepted before their peers have said anything. Otherwise those over TCP
	 * stay with the kernel until then, or for some seconds, and cost us nothing. */
	bool we_speak_first;
	/* Whether one more may be accepted; if not, all listeners rest. NULL = always. */
	bool (*has_room)(void *owner);
	/* Takes a connection; its descriptor is the callee's from now on. */
	void (*take)(void *owner, const struct arrival *arrival);
	/* The system has no descriptors or memory left: gives something back. Returns whether it is
	 * worth while to go on; if not, all listeners rest. */
	bool (*give_back)(void *owner);
	/* After each batch, however many have been taken. NULL = nothing to do. */
	void (*on_turn_over)(void *owner);
	void *owner;

	/* The rest belongs to listeners.c. */
	struct listener items[LISTEN_SOCKETS_MAX];
	size_t count;
	struct loop_timer rest; /* set while none of them is watched */
};

/* Listens at one notation ("0.0.0.0:8086", "unix:@readyd"; see agent/listen.h), or nowhere
 * ("none"), and begins to accept. `admin`: it is the admin socket, whose file is for its owner
 * alone. 0, or -1 with a sentence. */
int listeners_open(struct listeners *listeners, const char *notation, bool admin,
		   struct error *error);

/* Closes them all. */
void listeners_close(struct listeners *listeners);

#endif
