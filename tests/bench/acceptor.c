/* A target for many cheap probes: accepts every connection and closes it.
 *
 * It looks for connections every other millisecond instead of waiting for them, because to wake it
 * for each would be work of whoever connects, which with a target on another machine it is not.
 *
 * usage: acceptor PORT (on all addresses, so that 127.0.0.0/8 are as many targets as one likes) */

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (argc != 2 || listener < 0)
		return 2;
	address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 4096) < 0)
		return 1;
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			close(fd);
		else
			nanosleep(&pause, NULL);
	}
}
