// The smallest application: answers every request on port 8080 with "hello", until SIGTERM.

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void stop(int number)
{
	(void)number;
	_exit(0);
}

int main(void)
{
	static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
	char request[4096];
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	signal(SIGTERM, stop);
	signal(SIGPIPE, SIG_IGN);
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 ||
	    listen(listener, 16) != 0) {
		return EXIT_FAILURE;
	}
	for (;;) {
		int connection = accept(listener, NULL, NULL);
		if (recv(connection, request, sizeof(request), 0) > 0) {
			send(connection, answer, strlen(answer), 0);
		}
		close(connection);
	}
}
