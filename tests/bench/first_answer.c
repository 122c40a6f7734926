/* Measures how long a server takes from its exec to its first answer with status 200.
 *
 * usage: first_answer OUR_CPU ITS_CPU PORT COMMAND...
 *
 * Starts the command, asks 127.0.0.1:PORT for /healthz in a tight loop until the answer is 200,
 * prints the microseconds since just before the exec, and ends the command. */

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { PATIENCE_US = 10 * 1000 * 1000 };

static bool answers(const struct sockaddr_in *address)
{
	static const char request[] = "GET /healthz HTTP/1.0\r\n\r\n";
	char answer[1024];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	if (fd < 0)
		exit(1);
	good = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
	       send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1 &&
	       recv(fd, answer, sizeof(answer), 0) >= 12 && memcmp(answer + 9, "200", 3) == 0;
	close(fd);
	return good;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	/* volatile: the child writes it, vfork() shares it */
	volatile long long started_us = 0;
	bool answered;
	pid_t pid;

	if (argc < 5)
		return 2;
	address = loopback(argv[3]);
	pid = vfork();
	if (pid == 0) {
		pin(argv[2]);
		started_us = now_us();
		execv(argv[4], argv + 4);
		_exit(127);
	}
	if (pid < 0)
		return 1;
	pin(argv[1]);
	do {
		answered = answers(&address);
	} while (!answered && now_us() - started_us < PATIENCE_US);
	if (answered)
		printf("%lld\n", now_us() - started_us);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return answered ? 0 : 1;
}
