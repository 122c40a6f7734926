/* Names to addresses, without ever blocking: c-ares on our loop, the only user of its header.
 *
 * No library that readyd links may resolve a name itself: they all block when they do, and one
 * stalled name server would then freeze every answer. They are handed literal addresses. */
#ifndef READYD_AGENT_RESOLVE_H
#define READYD_AGENT_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "agent/error.h"

struct loop;
struct resolver;

enum { ADDRESSES_MAX = 16 };

/* An IPv4 or IPv6 address with its port. */
struct address {
	socklen_t len;
	struct sockaddr_storage storage;
};

/* One lookup, embedded in its owner; zero-filled is valid and idle. */
struct lookup {
	/* Called once, with at least one address, or with count 0 and `error` set. It may come
	 * before resolve_start() returns (literals and localhost). It may free the owner. */
	void (*on_done)(struct lookup *lookup, const struct address *addresses, size_t count,
			const struct error *error);
	void *owner;
	void *query; /* the resolver's own; NULL = idle */
};

/* One for the process; opens nothing until a name really has to be looked up. NULL = no memory. */
struct resolver *resolver_create(struct loop *loop);
void resolver_destroy(struct resolver *resolver);

/* Resolves `host` (a name, or a literal IPv4 or IPv6 address, brackets and zone allowed) for
 * `port`. IPv6 and IPv4 are both asked for; the answer is in the order in which to try them (RFC
 * 6724 as c-ares sorts it). Each call asks anew: nothing is cached here. */
void resolve_start(struct resolver *resolver, struct lookup *lookup, const char *host,
		   unsigned short port);

/* Forgets the lookup; on_done will not be called. Harmless when idle. */
void resolve_cancel(struct resolver *resolver, struct lookup *lookup);

/* Writes the numeric host (no port, no brackets) of an address. */
void address_host(const struct address *address, char *text, size_t size);

/* The c-ares version that is linked. */
const char *resolver_library_version(void);

#endif
