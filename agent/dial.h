/* Connects a stream socket to a host or a unix socket without blocking: resolves, then tries all
 * addresses, starting the next one when the one before fails or is slow (RFC 8305, "happy
 * eyeballs"), and keeps the first that connects. */
#ifndef READYD_AGENT_DIAL_H
#define READYD_AGENT_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/loop.h"
#include "agent/resolve.h"

enum { DIAL_ATTEMPTS_MAX = 4 }; /* connections under way at the same time */

struct dial_attempt {
	struct loop_io io;
	int fd; /* -1 = unused */
	size_t address_index;
};

/* One dial, embedded in its owner (about 2 KiB: keep it in a run's state, not in a conf).
 * Zero-filled is valid and idle. */
struct dial {
	/* Called once; may come before dial_start() returns. fd >= 0: connected, non-blocking,
	 * close-on-exec, now the callee's to close. fd -1: failed; `error_number` is the errno of
	 * the most telling attempt (0 = the name did not resolve; ECONNRESET = the connection stood
	 * and the peer reset it at once) and `error` the sentence. It may free the owner. */
	void (*on_done)(struct dial *dial, int fd, int error_number, const struct error *error);
	/* Called when the name is resolved, before the first attempt; may be NULL. */
	void (*on_resolved)(struct dial *dial);
	void *owner;

	/* dial.c's own */
	struct loop *loop;
	struct resolver *resolver;
	struct lookup lookup;
	struct loop_timer next_attempt;
	struct address addresses[ADDRESSES_MAX];
	size_t address_count, next_address;
	struct dial_attempt attempts[DIAL_ATTEMPTS_MAX];
	int error_number;
	struct error error;
	bool active;
};

/* Begins to connect to `host` (name or literal) and `port`. */
void dial_start(struct dial *dial, struct loop *loop, struct resolver *resolver, const char *host,
		unsigned short port);

/* Begins to connect to the unix socket `path`; "@name" is an abstract one. */
void dial_start_unix(struct dial *dial, struct loop *loop, const char *path);

/* Gives up: closes everything; on_done will not be called. Harmless when idle or done. */
void dial_cancel(struct dial *dial);

/* What went wrong with a socket, as a phrase: "connection refused". */
const char *dial_error_text(int error_number);

#endif
