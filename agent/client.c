#include "agent/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/unix_socket.h"

enum { PIECE_SIZE = 1024, RETRY_MS = 5 };

const char *client_socket_name(const char *from_command_line)
{
	const char *from_environment = getenv("READYD_SOCKET");

	if (from_command_line)
		return from_command_line;
	if (from_environment && from_environment[0] != '\0')
		return from_environment;
	return "@readyd";
}

static int remaining_ms(int64_t deadline_us)
{
	int64_t left_us = deadline_us - clock_monotonic_once_us();

	return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

/* A unix socket connects at once or not at all; only a full queue is worth another try. */
static int connect_to(const char *socket_name, int64_t deadline_us, struct error *error,
		      bool *ret_nobody)
{
	struct sockaddr_un address;
	socklen_t len;
	int fd;

	if (unix_socket_address(socket_name, &address, &len, error) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, "cannot open a socket: %s", strerror(errno));
	while (connect(fd, (const struct sockaddr *)&address, len) < 0) {
		if (errno == EAGAIN && remaining_ms(deadline_us) > 0) {
			poll(NULL, 0, RETRY_MS);
			continue;
		}
		*ret_nobody = errno == ECONNREFUSED || errno == ENOENT;
		if (*ret_nobody)
			error_set(error, "no readyd listens on %s; is `readyd serve` running?",
				  socket_name);
		else
			error_set(error, "cannot connect to %s: %s", socket_name,
				  errno == EAGAIN ? "the agent takes no more connections"
						  : strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static int send_request(int fd, const char *path, bool accept_json, char *piece,
			struct error *error)
{
	int len = snprintf(piece, PIECE_SIZE, "GET %s HTTP/1.0\r\n%s\r\n", path,
			   accept_json ? "Accept: application/json\r\n" : "");

	if (len < 0 || len >= PIECE_SIZE)
		return error_set(error, "the name is too long");
	/* An empty socket buffer takes the whole of it. */
	if (send(fd, piece, (size_t)len, MSG_NOSIGNAL) != len)
		return error_set(error, "cannot ask the agent: %s", strerror(errno));
	return 0;
}

/* Where the body begins, or 0 while the headers are incomplete. */
static size_t body_start(const struct buffer *answer)
{
	const char *end = answer->data ? strstr(answer->data, "\r\n\r\n") : NULL;

	return end ? (size_t)(end + 4 - answer->data) : 0;
}

static bool is_complete(const struct buffer *answer)
{
	size_t start = body_start(answer);
	const char *length;

	if (start == 0)
		return false;
	length = strcasestr(answer->data, "\r\ncontent-length:");
	if (!length || length >= answer->data + start)
		return false; /* its end is the end of the connection */
	return answer->len - start >= strtoul(length + 17, NULL, 10);
}

static int read_answer(int fd, int64_t deadline_us, char *piece, struct buffer *answer,
		       struct error *error)
{
	for (;;) {
		struct pollfd descriptor = {.fd = fd, .events = POLLIN};
		ssize_t len;

		if (poll(&descriptor, 1, remaining_ms(deadline_us)) == 0)
			return error_set(error, "the agent does not answer");
		len = recv(fd, piece, PIECE_SIZE, 0);
		if (len < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (len < 0)
			return error_set(error, "the agent's answer was cut off: %s",
					 strerror(errno));
		if (len == 0)
			return 0;
		if (buffer_append(answer, piece, (size_t)len) < 0)
			return error_set(error, "the agent's answer is too long");
		if (is_complete(answer))
			return 0;
	}
}

int client_get(const char *socket_name, const char *path, bool accept_json, int64_t deadline_us,
	       struct buffer *body, struct error *error)
{
	/* For the request and then for what comes of the answer: on as few pages as possible. */
	char piece[PIECE_SIZE];
	bool nobody = false;
	int status = -1;
	int fd = connect_to(socket_name, deadline_us, error, &nobody);

	if (fd < 0)
		return nobody ? 0 : -1;
	if (send_request(fd, path, accept_json, piece, error) == 0 &&
	    read_answer(fd, deadline_us, piece, body, error) == 0) {
		size_t start = body_start(body);

		if (start == 0 || strncmp(body->data, "HTTP/1.", 7) != 0) {
			error_set(error, "what listens on %s does not answer as readyd does",
				  socket_name);
		} else {
			status = (int)strtol(body->data + 9, NULL, 10);
			body->len -= start;
			memmove(body->data, body->data + start, body->len + 1);
		}
	}
	close(fd);
	return status;
}
