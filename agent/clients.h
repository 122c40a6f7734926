/* The table of open connections: who has been there how long, and who must go. Knows sockets and
 * time, nothing of HTTP. */
#ifndef READYD_AGENT_CLIENTS_H
#define READYD_AGENT_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Where a connection stands; each state is a list ordered by age. */
enum client_state {
	CLIENT_FRESH, /* accepted, no whole request yet */
	CLIENT_BUSY,  /* a request is being answered */
	CLIENT_IDLE,  /* answered, kept alive */
	CLIENT_HELD,  /* its answer waits for something to happen, however long that takes */
	CLIENT_STATES,
};

struct client {
	int fd;             /* its closing is somebody else's business */
	bool admin;         /* came over the admin socket */
	bool is_unix;       /* over any unix socket */
	bool is_local;      /* over the loopback interface */
	bool trusted;       /* over a unix socket, from our own user or root */
	bool wait_over;     /* was held and is not to be held again */
	bool in_parts;      /* gets an answer whose end perhaps only the connection's end tells */
	int waits_for;      /* while it is held: its owner's */
	void *connection;   /* its owner's */
	uint64_t peer_hash; /* over the address without the port: the same asker has the same */
	enum client_state state;
	int64_t since_us;
	struct client *previous, *next;
};

struct client_list {
	struct client *oldest, *newest;
};

/* Zero-filled is valid and empty. */
struct clients {
	struct client_list lists[CLIENT_STATES];
	size_t count;
};

/* Adds a fresh connection. NULL when out of memory. */
struct client *clients_add(struct clients *clients, int fd, bool is_unix, bool admin,
			   const struct sockaddr_storage *peer, int64_t now_us);

/* Forgets and frees it. */
void clients_remove(struct clients *clients, struct client *client);

/* Notes that it has got to another state, now. */
void clients_move(struct clients *clients, struct client *client, enum client_state state,
		  int64_t now_us);

/* Hangs up on whoever has been silent longest, so that slow or silent clients can fill the table
 * but not keep it; the held are let be. Returns whether there was one. */
bool clients_make_room(struct clients *clients, int64_t now_us);

/* Resets the connection if an answer in parts is under way: an ordinary end would make it look
 * whole to who speaks HTTP/1.0. */
void client_cut_off(struct client *client);

/* Whether the other end has hung up: only a held client's owner does not see that by itself. */
bool client_is_gone(const struct client *client);

/* Has the system send full packets only, from now on, or all that there is. */
void client_gather(const struct client *client, bool full);

/* Hangs up on all that have been in the state for `allowed_us`. */
void clients_expire(struct clients *clients, enum client_state state, int64_t allowed_us,
		    int64_t now_us);

#endif
