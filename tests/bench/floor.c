/* The least that a health check over the network costs: connect to an address, ask, read one
 * answer.
 *
 * usage: floor ADDRESS PORT (asks for /ready) */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char request[] = "GET /ready HTTP/1.0\r\n\r\n";
	struct sockaddr_in address = {.sin_family = AF_INET};
	char answer[1024];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3 || fd < 0)
		return 2;
	address.sin_addr.s_addr = inet_addr(argv[1]);
	address.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return 1;
	if (write(fd, request, sizeof(request) - 1) != sizeof(request) - 1)
		return 1;
	if (read(fd, answer, sizeof(answer)) < 12)
		return 1;
	return memcmp(answer + 9, "200", 3) == 0 ? 0 : 1;
}
