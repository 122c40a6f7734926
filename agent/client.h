/* Asks the running agent over its admin socket: for the commands that are gone again in an instant.
 * Waits, so it is never used by the agent itself. */
#ifndef READYD_AGENT_CLIENT_H
#define READYD_AGENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/buffer.h"
#include "agent/error.h"

/* Why there is no HTTP status. */
enum client_failure {
	CLIENT_NOBODY = -1, /* nobody listens there */
	CLIENT_SILENT = -2, /* no complete answer before the deadline */
	CLIENT_ERROR = -3,  /* anything else, such as an answer that was cut off or a stranger */
};

/* The admin socket's name: what the command line says, or READYD_SOCKET, or the default. */
const char *client_socket_name(const char *from_command_line);

struct client_request {
	const char *method; /* "GET", "POST" */
	const char *path;
	bool accept_json;
	const char *end; /* of an answer that comes without its length; NULL = that of JSON */
};

/* Asks the agent at `socket_name`, whose answer goes into `body`, which is empty (and has to have
 * room for the headers too, while they are read). Asks nobody but root's or our own user's agent,
 * unless we are root ourselves. Returns the HTTP status of a complete answer, whose body is not
 * empty if it is 200; or an enum client_failure with a sentence. `deadline_us` is on
 * clock_monotonic_us(). */
int client_ask(const char *socket_name, const struct client_request *request, int64_t deadline_us,
	       struct buffer *body, struct error *error);

#endif
