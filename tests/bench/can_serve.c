/* Finds the moment from which a server can serve.
 *
 * usage: can_serve CPU KIND PORT
 *
 * Asks the server on 127.0.0.1:PORT over and over, a fifth of a millisecond apart, and prints the
 * moment of the first good answer in microseconds of CLOCK_MONOTONIC. KIND: http (status 200),
 * redis (PONG) or postgres (a session of the user "trusted" in the database "app"). */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum { PAUSE_NS = 200 * 1000, PATIENCE_S = 60, PROTOCOL_3 = 3 << 16 };

struct kind {
	const char *name;
	bool (*answers)(int fd);
};

static bool ask(int fd, const char *request, size_t len)
{
	return send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool http_answers(int fd)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	char answer[12];

	return ask(fd, request, sizeof(request) - 1) &&
	       recv(fd, answer, sizeof(answer), MSG_WAITALL) == sizeof(answer) &&
	       memcmp(answer + 9, "200", 3) == 0;
}

static bool redis_answers(int fd)
{
	static const char request[] = "PING\r\n";
	char answer[5];

	return ask(fd, request, sizeof(request) - 1) &&
	       recv(fd, answer, sizeof(answer), MSG_WAITALL) == sizeof(answer) &&
	       memcmp(answer, "+PONG", 5) == 0;
}

/* Reads messages up to ReadyForQuery, or to the end of the connection. */
static bool postgres_is_ready(int fd)
{
	unsigned char head[5];
	char body[1024];

	while (recv(fd, head, sizeof(head), MSG_WAITALL) == sizeof(head)) {
		uint32_t len;

		memcpy(&len, head + 1, sizeof(len));
		len = ntohl(len) - 4;
		if (head[0] == 'Z')
			return true;
		if (len > sizeof(body) || recv(fd, body, len, MSG_WAITALL) != (ssize_t)len)
			return false;
	}
	return false;
}

static bool postgres_answers(int fd)
{
	static const char names[] = "user\0trusted\0database\0app\0";
	uint32_t head[2] = {htonl(sizeof(head) + sizeof(names)), htonl(PROTOCOL_3)};
	char request[sizeof(head) + sizeof(names)];

	memcpy(request, head, sizeof(head));
	memcpy(request + sizeof(head), names, sizeof(names));
	return ask(fd, request, sizeof(request)) && postgres_is_ready(fd);
}

static const struct kind kinds[] = {
	{"http", http_answers},
	{"redis", redis_answers},
	{"postgres", postgres_answers},
};

static bool answers(const struct kind *kind, const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	if (fd < 0)
		exit(1);
	good = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
	       kind->answers(fd);
	close(fd);
	return good;
}

static void watch(const struct kind *kind, const struct sockaddr_in *address)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS};

	while (!answers(kind, address))
		nanosleep(&pause, NULL);
	printf("%lld\n", now_us());
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;

	if (argc != 4)
		return 2;
	pin(argv[1]);
	alarm(PATIENCE_S);
	address = loopback(argv[3]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[2], kinds[i].name) == 0) {
			watch(&kinds[i], &address);
			return 0;
		}
	}
	return 2;
}
