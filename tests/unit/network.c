#include "tests/unit/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

size_t open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

int listen_on(const char *host, int queue, unsigned short *ret_port)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	socklen_t len = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, host, &name.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	if (queue >= 0)
		assert_int_equal(listen(fd, queue), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	*ret_port = ntohs(name.sin_port);
	return fd;
}

void listen_full(const char *host, int fds[FULL_SOCKETS], unsigned short *ret_port)
{
	struct sockaddr_in name = {.sin_family = AF_INET};

	fds[0] = listen_on(host, 0, ret_port);
	assert_int_equal(inet_pton(AF_INET, host, &name.sin_addr), 1);
	name.sin_port = htons(*ret_port);
	for (size_t i = 1; i < FULL_SOCKETS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], (struct sockaddr *)&name, sizeof(name));
	}
}

void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void on_done(struct dial *dial, int fd, int error_number, const struct error *error)
{
	struct call *call = dial->owner;

	call->done++;
	call->fd = fd;
	call->error_number = error_number;
	call->error = *error;
}

static void on_resolved(struct dial *dial)
{
	struct call *call = dial->owner;

	call->resolved++;
}

void call_prepare(struct call *call)
{
	*call = (struct call){.dial = {.on_done = on_done,
				       .on_resolved = on_resolved,
				       .owner = call},
			      .fd = -1};
}

void call_wait(struct call *call, struct loop *loop)
{
	for (int i = 0; i < 1000 && call->done == 0; i++)
		loop_turn(loop, 20 * 1000);
	assert_int_equal(call->done, 1);
}
