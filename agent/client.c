#include "agent/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/unix_socket.h"

enum { PIECE_SIZE = 16 * 1024, HEADERS_MAX = 8 * 1024, RETRY_MS = 5 };

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

	if (left_us <= 0)
		return 0;
	return left_us < (int64_t)INT_MAX * 1000 ? (int)((left_us + 999) / 1000) : INT_MAX;
}

/* Anybody may take an abstract name, or a path in a directory for all, and give the answers. */
static int check_peer(int fd, const char *socket_name, struct error *error)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return error_set(error, "cannot tell who listens on %s: %s", socket_name,
				 strerror(errno));
	if (peer.uid == 0 || peer.uid == geteuid() || geteuid() == 0)
		return 0;
	return error_set(error, "user %u listens on %s, who is neither root nor the user asking",
			 (unsigned)peer.uid, socket_name);
}

/* A unix socket connects at once or not at all; only a full queue is worth another try. */
static int connect_to(const char *socket_name, int64_t deadline_us, struct error *error,
		      int *ret_failure)
{
	struct sockaddr_un address;
	socklen_t len;
	int fd;

	*ret_failure = CLIENT_ERROR;
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
		if (errno == ECONNREFUSED || errno == ENOENT) {
			*ret_failure = CLIENT_NOBODY;
			error_set(error,
				  "no readyd listens on %s; is `readyd serve` or `readyd run` "
				  "running?",
				  socket_name);
		} else if (errno == EAGAIN) {
			*ret_failure = CLIENT_SILENT;
			error_set(error,
				  "cannot connect to %s: the agent takes no more connections",
				  socket_name);
		} else {
			error_set(error, "cannot connect to %s: %s", socket_name, strerror(errno));
		}
		close(fd);
		return -1;
	}
	if (check_peer(fd, socket_name, error) == 0)
		return fd;
	close(fd);
	return -1;
}

static int send_request(int fd, const struct client_request *request, char *piece,
			struct error *error)
{
	int len =
		snprintf(piece, PIECE_SIZE, "%s %s HTTP/1.0\r\n%s\r\n", request->method,
			 request->path, request->accept_json ? "Accept: application/json\r\n" : "");

	if (len < 0 || len >= PIECE_SIZE)
		return error_set(error, "the name is too long");
	/* An empty socket buffer takes the whole of it. */
	if (send(fd, piece, (size_t)len, MSG_NOSIGNAL) != len)
		return error_set(error, "cannot ask the agent: %s", strerror(errno));
	return 0;
}

/* What has come so far. */
struct answer {
	struct buffer *text;
	size_t body_start; /* 0 = the headers are incomplete */
	size_t body_len;   /* as announced */
	bool has_len;      /* if not, the end of the connection is the end of the body */
	const char *end;   /* of the body then */
	int status;
};

/* Looks at the headers once they are complete. */
static int take_headers(struct answer *answer, struct error *error)
{
	char *text = answer->text->data;
	size_t len = answer->text->len < HEADERS_MAX ? answer->text->len : HEADERS_MAX;
	const char *end = memmem(text, len, "\r\n\r\n", 4);
	const char *announced;

	if (!end && len < HEADERS_MAX)
		return 0;
	if (!end || strncmp(text, "HTTP/1.", 7) != 0)
		return error_set(error, "what listens there does not answer as readyd does");
	answer->body_start = (size_t)(end + 4 - text);
	text[answer->body_start - 1] = '\0';
	answer->status = (int)strtol(text + 9, NULL, 10);
	announced = strcasestr(text, "\r\ncontent-length:");
	if (announced) {
		answer->has_len = true;
		answer->body_len = strtoul(announced + 17, NULL, 10);
	}
	return 0;
}

static bool is_complete(const struct answer *answer)
{
	return answer->body_start > 0 && answer->has_len &&
	       answer->text->len - answer->body_start >= answer->body_len;
}

/* When the connection has ended: only what is about many probes comes without a length. */
static int check_end(const struct answer *answer, struct error *error)
{
	const struct buffer *text = answer->text;
	size_t end_len = strlen(answer->end);

	if (answer->body_start == 0)
		return error_set(error, "what listens there does not answer as readyd does");
	if (answer->has_len || text->len < answer->body_start + end_len ||
	    memcmp(text->data + text->len - end_len, answer->end, end_len) != 0)
		return error_set(error, "the agent's answer was cut off");
	return 0;
}

/* Returns 0 or the failure. */
static int read_answer(int fd, int64_t deadline_us, char *piece, struct answer *answer,
		       struct error *error)
{
	while (!is_complete(answer)) {
		int left_ms = remaining_ms(deadline_us);
		ssize_t len;

		if (left_ms == 0) {
			error_set(error, answer->text->len == 0
						 ? "the agent does not answer"
						 : "the agent's answer did not end in time");
			return CLIENT_SILENT;
		}
		len = recv(fd, piece, PIECE_SIZE, 0);
		if (len < 0 && (errno == EINTR || errno == EAGAIN)) {
			struct pollfd descriptor = {.fd = fd, .events = POLLIN};

			poll(&descriptor, 1, left_ms);
			continue;
		}
		if (len < 0) {
			error_set(error, "the agent's answer was cut off: %s", strerror(errno));
			return CLIENT_ERROR;
		}
		if (len == 0)
			return check_end(answer, error) == 0 ? 0 : CLIENT_ERROR;
		if (buffer_append(answer->text, piece, (size_t)len) < 0) {
			error_set(error, "the agent's answer is too long");
			return CLIENT_ERROR;
		}
		if (answer->body_start == 0 && take_headers(answer, error) < 0)
			return CLIENT_ERROR;
	}
	return 0;
}

int client_ask(const char *socket_name, const struct client_request *request, int64_t deadline_us,
	       struct buffer *body, struct error *error)
{
	/* For the request and then for what comes of the answer: on as few pages as possible. */
	char piece[PIECE_SIZE];
	struct answer answer = {.text = body, .end = request->end ? request->end : "}\n"};
	int failure = CLIENT_ERROR;
	int fd = connect_to(socket_name, deadline_us, error, &failure);

	if (fd < 0)
		return failure;
	failure = CLIENT_ERROR;
	if (send_request(fd, request, piece, error) == 0)
		failure = read_answer(fd, deadline_us, piece, &answer, error);
	close(fd);
	if (failure != 0)
		return failure;
	body->len -= answer.body_start;
	if (answer.has_len)
		body->len = answer.body_len;
	memmove(body->data, body->data + answer.body_start, body->len);
	body->data[body->len] = '\0';
	if (answer.status == 200 && body->len == 0) {
		error_set(error, "the agent's answer is empty");
		return CLIENT_ERROR;
	}
	/* What is no status is no answer of ours either. */
	if (answer.status >= 100)
		return answer.status;
	error_set(error, "what listens there does not answer as readyd does");
	return CLIENT_ERROR;
}
