/* Names of unix sockets: a path, or "@name" for an abstract one, which needs no file system. */
#ifndef READYD_AGENT_UNIX_SOCKET_H
#define READYD_AGENT_UNIX_SOCKET_H

#include <sys/socket.h>
#include <sys/un.h>

#include "agent/error.h"

/* Fills in the address. Returns 0, or -1 with a sentence when the name is empty or too long. */
int unix_socket_address(const char *name, struct sockaddr_un *ret_address, socklen_t *ret_len,
			struct error *error);

#endif
