/* Measures how long a long answer takes, from the connect to its last byte.
 *
 * usage: scrape CPU PORT PATH COUNT PAUSE_MS
 *
 * Asks 127.0.0.1:PORT for PATH so often (0 = until it is killed), with a pause before each time,
 * and prints the microseconds and the bytes of each answer. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

static char bytes[1 << 20];

/* The bytes of an answer that is whole: 200, and the last of its chunks or as long as announced. */
static long long ask(const struct sockaddr_in *address, const char *request)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *announced;
	long long total = 0, head = 0, length = -1;
	ssize_t len;
	char last = 0;

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		exit(1);
	while ((len = recv(fd, bytes, sizeof(bytes) - 1, 0)) > 0) {
		if (total == 0) {
			bytes[len] = '\0';
			if (len < 12 || memcmp(bytes + 9, "200", 3) != 0 ||
			    !strstr(bytes, "\r\n\r\n"))
				exit(1);
			head = strstr(bytes, "\r\n\r\n") + 4 - bytes;
			announced = strstr(bytes, "Content-Length: ");
			if (announced)
				length = strtoll(announced + 16, NULL, 10);
		}
		total += len;
		last = bytes[len - 1];
	}
	close(fd);
	if (len < 0 || (length >= 0 ? total != head + length : last != '\n'))
		exit(1);
	return total;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	struct timespec pause;
	char request[512];
	unsigned long count, pause_ms;

	if (argc != 6)
		return 2;
	pin(argv[1]);
	address = loopback(argv[2]);
	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: Prometheus/2.42.0\r\n"
		 "Connection: close\r\n\r\n",
		 argv[3]);
	count = strtoul(argv[4], NULL, 10);
	pause_ms = strtoul(argv[5], NULL, 10);
	pause.tv_sec = (time_t)(pause_ms / 1000);
	pause.tv_nsec = (long)(pause_ms % 1000 * 1000000);
	for (unsigned long i = 0; count == 0 || i < count; i++) {
		long long began_us, size;

		nanosleep(&pause, NULL);
		began_us = now_us();
		size = ask(&address, request);
		printf("%lld %lld\n", now_us() - began_us, size);
	}
	return 0;
}
