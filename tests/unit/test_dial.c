/* Connecting, giving up at every stage, and that nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "tests/unit/network.h"

static struct loop *loop;
static struct resolver *resolver;

static void connect_to(struct call *call, const char *host, unsigned short port)
{
	call_prepare(call);
	dial_start(&call->dial, loop, resolver, host, port);
	call_wait(call, loop);
}

static int setup(void **state)
{
	(void)state;
	loop = loop_create();
	resolver = resolver_create(loop);
	return loop && resolver ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	resolver_destroy(resolver);
	loop_destroy(loop);
	return 0;
}

static void test_connects(void **state)
{
	unsigned short port;
	int listener = listen_on("127.0.0.1", 8, &port);
	static const char *const hosts[] = {"127.0.0.1", "localhost", "::ffff:127.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct call call;

		connect_to(&call, hosts[i], port);
		assert_true(call.fd >= 0);
		assert_int_equal(call.resolved, 1);
		assert_false(call.dial.active);
		assert_true(fcntl(call.fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(call.fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(send(call.fd, "x", 1, MSG_NOSIGNAL), 1);
		dial_cancel(&call.dial);
		close(call.fd);
	}
	close(listener);
}

static void test_refused(void **state)
{
	unsigned short port;
	int bound = listen_on("127.0.0.1", -1, &port);
	struct call call;
	char expected[100];

	(void)state;
	connect_to(&call, "127.0.0.1", port);
	assert_int_equal(call.fd, -1);
	assert_int_equal(call.error_number, ECONNREFUSED);
	snprintf(expected, sizeof(expected), "cannot connect to 127.0.0.1:%u: connection refused",
		 port);
	assert_string_equal(call.error.text, expected);
	close(bound);
}

static void test_not_resolved(void **state)
{
	struct call call;

	(void)state;
	connect_to(&call, "fe80::1%nothere", 80);
	assert_int_equal(call.fd, -1);
	assert_int_equal(call.error_number, 0);
	assert_int_equal(call.resolved, 0);
	assert_non_null(strstr(call.error.text, "nothere"));
}

static void test_unix_sockets(void **state)
{
	char directory[] = "/tmp/test-dial-XXXXXX";
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char long_path[sizeof(name.sun_path) + 1];
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct call call;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/socket", directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
	call_prepare(&call);
	dial_start_unix(&call.dial, loop, name.sun_path);
	call_wait(&call, loop);
	assert_int_equal(call.error_number, ECONNREFUSED);

	assert_int_equal(listen(listener, 4), 0);
	call_prepare(&call);
	dial_start_unix(&call.dial, loop, name.sun_path);
	call_wait(&call, loop);
	assert_true(call.fd >= 0);
	close(call.fd);
	unlink(name.sun_path);

	call_prepare(&call);
	dial_start_unix(&call.dial, loop, name.sun_path);
	call_wait(&call, loop);
	assert_int_equal(call.error_number, ENOENT);

	assert_int_equal(bind(datagrams, (struct sockaddr *)&name, sizeof(name)), 0);
	call_prepare(&call);
	dial_start_unix(&call.dial, loop, name.sun_path);
	call_wait(&call, loop);
	assert_int_equal(call.error_number, EPROTOTYPE);
	unlink(name.sun_path);

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	call_prepare(&call);
	dial_start_unix(&call.dial, loop, long_path);
	assert_int_equal(call.done, 1);
	assert_int_equal(call.fd, -1);

	close(listener);
	close(datagrams);
	rmdir(directory);
}

/* A unix socket whose queue is full gives no event when it no longer is. */
static void test_full_unix_queue(void **state)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fds[4] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
	socklen_t len;
	char text[40];
	struct call call;

	(void)state;
	snprintf(text, sizeof(text), "@test-dial-%d", (int)getpid());
	memcpy(name.sun_path, text, strlen(text));
	name.sun_path[0] = '\0';
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text));
	assert_int_equal(bind(fds[0], (struct sockaddr *)&name, len), 0);
	assert_int_equal(listen(fds[0], 0), 0);
	for (size_t i = 1; i < 4; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(fds[i], (struct sockaddr *)&name, len);
	}
	call_prepare(&call);
	dial_start_unix(&call.dial, loop, text);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 20 * 1000);
	assert_int_equal(call.done, 0);
	for (int fd = 0; fd >= 0;) {
		fd = accept(fds[0], NULL, NULL);
		if (fd >= 0)
			close(fd);
	}
	call_wait(&call, loop);
	assert_true(call.fd >= 0);
	close(call.fd);
	close_all(fds, 4);
}

static void test_giving_up(void **state)
{
	enum { ROUNDS = 2000 };
	unsigned short port;
	size_t before;
	int fds[FULL_SOCKETS];

	(void)state;
	listen_full("127.0.0.1", fds, &port);
	before = open_descriptors();
	for (int i = 0; i < ROUNDS; i++) {
		struct call *call = malloc(sizeof(*call));

		assert_non_null(call);
		call_prepare(call);
		dial_start(&call->dial, loop, resolver, "127.0.0.1", port);
		assert_true(call->dial.active);
		if (i % 100 == 0)
			loop_turn(loop, 0);
		dial_cancel(&call->dial);
		dial_cancel(&call->dial);
		assert_int_equal(call->done, 0);
		free(call); /* the sanitizer tells if the loop still knows it */
	}
	loop_turn(loop, 0);
	assert_int_equal(open_descriptors(), before);
	close_all(fds, FULL_SOCKETS);
}

static void free_owner(struct dial *dial, int fd, int error_number, const struct error *error)
{
	struct call *call = dial->owner;

	(void)error_number;
	(void)error;
	if (fd >= 0)
		close(fd);
	free(call);
}

/* on_done may free its owner, whether it comes at once or by an event. */
static void test_owner_frees_itself(void **state)
{
	unsigned short open_port, closed_port;
	int listener = listen_on("127.0.0.1", 8, &open_port);
	int bound = listen_on("127.0.0.1", -1, &closed_port);
	const unsigned short ports[] = {open_port, closed_port};
	size_t before = open_descriptors();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct call *call = malloc(sizeof(*call));

		assert_non_null(call);
		call_prepare(call);
		call->dial.on_done = free_owner;
		dial_start(&call->dial, loop, resolver, "localhost", ports[i]);
	}
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 1000);
	assert_int_equal(open_descriptors(), before);
	close(listener);
	close(bound);
}

/* Our own lack of descriptors is told as that. */
static void test_no_descriptor_left(void **state)
{
	struct rlimit before, few;
	struct call call;
	int fds[64];
	size_t count = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 32;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < sizeof(fds) / sizeof(fds[0])) {
		fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fds[count] < 0)
			break;
		count++;
	}
	connect_to(&call, "localhost", 1);
	close_all(fds, count);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(call.error_number, EMFILE);
	assert_non_null(strstr(call.error.text, "no file descriptor left"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_not_resolved),
		cmocka_unit_test(test_unix_sockets),
		cmocka_unit_test(test_full_unix_queue),
		cmocka_unit_test(test_giving_up),
		cmocka_unit_test(test_owner_frees_itself),
		cmocka_unit_test(test_no_descriptor_left),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
