/* Listening sockets from their notation: "0.0.0.0:8086", "[::]:8086", ":8086", "unix:/path",
 * "unix:@name". */
#ifndef READYD_AGENT_LISTEN_H
#define READYD_AGENT_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/error.h"

enum { LISTEN_SOCKETS_MAX = 16 };

struct listen_socket {
	int fd; /* non-blocking, close-on-exec */
	bool is_unix;
	char address[128]; /* as bound, for people: port 0 has become a number */
	char path[108]; /* of a socket in the file system, to be removed at the end; "" otherwise */
	dev_t device;   /* which file that was, for a later process may have put its own there */
	ino_t inode;
};

/* Opens the sockets of one notation (":8086" is two, IPv4 and IPv6) and adds them to `sockets`, of
 * which *count are in use. `private_to_user`: a unix socket's file is for its owner alone. A host
 * without IPv6 is no error for a wildcard address: *ret_note then says so ("" otherwise).
 * Returns 0, or -1 with a sentence. */
int listen_open(const char *notation, bool private_to_user, struct listen_socket *sockets,
		size_t *count, struct error *ret_note, struct error *error);

/* Closes and removes what listen_open() made; a file that somebody else has put in its place stays.
 */
void listen_close(struct listen_socket *socket);

#endif
