/* Dialling a name with many addresses, which a resolver of the test's own makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "tests/unit/network.h"

static struct loop *loop;

/* What the name resolves to. */
static struct address addresses[ADDRESSES_MAX];
static size_t address_count;

/* Stand in for agent/resolve.c. */
void resolve_start(struct resolver *resolver, struct lookup *lookup, const char *host,
		   unsigned short port)
{
	const struct error error = {""};

	(void)resolver;
	(void)host;
	(void)port;
	lookup->on_done(lookup, addresses, address_count, &error);
}

void resolve_cancel(struct resolver *resolver, struct lookup *lookup)
{
	(void)resolver;
	(void)lookup;
}

void address_host(const struct address *address, char *text, size_t size)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->storage;

	snprintf(text, size, "%s",
		 address->storage.ss_family == AF_INET ? inet_ntoa(four->sin_addr) : "six");
}

static void add_address(const char *host, unsigned short port)
{
	struct address *address = &addresses[address_count++];
	struct sockaddr_in *four = (struct sockaddr_in *)&address->storage;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->storage;

	memset(address, 0, sizeof(*address));
	if (strchr(host, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, host, &six->sin6_addr), 1);
		address->len = sizeof(*six);
	} else {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, host, &four->sin_addr), 1);
		address->len = sizeof(*four);
	}
}

static void start(struct call *call)
{
	call_prepare(call);
	dial_start(&call->dial, loop, NULL, "name", 0);
}

static size_t attempt_count(const struct call *call)
{
	size_t count = 0;

	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++)
		count += call->dial.attempts[i].fd >= 0;
	return count;
}

/* Adds an address of this machine where connections get no answer. */
static void add_dead(int number, int fds[FULL_SOCKETS])
{
	unsigned short port;
	char host[32];

	snprintf(host, sizeof(host), "127.0.1.%d", number);
	listen_full(host, fds, &port);
	add_address(host, port);
}

static int setup(void **state)
{
	(void)state;
	loop = loop_create();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_destroy(loop);
	return 0;
}

/* The families take turns, each keeps its order. */
static void test_order(void **state)
{
	static const char *const given[] = {"::1", "::1", "::1", "127.0.1.1", "127.0.1.2"};
	static const unsigned short ports[] = {1, 2, 3, 4, 5};
	static const unsigned short tried[] = {1, 4, 2, 5, 3};
	struct call call;

	(void)state;
	address_count = 0;
	for (size_t i = 0; i < 5; i++)
		add_address(given[i], ports[i]);
	start(&call);
	call_wait(&call, loop);
	assert_int_equal(call.fd, -1);
	assert_int_equal(call.dial.address_count, 5);
	for (size_t i = 0; i < 5; i++) {
		const struct sockaddr_in *name =
			(const struct sockaddr_in *)&call.dial.addresses[i].storage;

		assert_int_equal(ntohs(name->sin_port), tried[i]);
	}
	assert_int_equal(call.error_number, ECONNREFUSED);
}

/* More addresses without an answer than are tried at a time: the oldest attempt makes room. */
static void test_many_dead(void **state)
{
	enum { DEAD = 10 };
	int fds[DEAD][FULL_SOCKETS];
	unsigned short port;
	int listener = listen_on("127.0.0.1", 4, &port);
	struct call call;
	size_t before;

	(void)state;
	address_count = 0;
	for (int i = 0; i < DEAD; i++)
		add_dead(i + 1, fds[i]);
	add_address("127.0.0.1", port);
	before = open_descriptors();

	start(&call);
	while (call.done == 0) {
		/* each descriptor belongs to an attempt, and those are few */
		assert_int_equal(open_descriptors(), before + attempt_count(&call));
		assert_true(attempt_count(&call) <= DIAL_ATTEMPTS_MAX);
		loop_turn(loop, 300 * 1000);
	}
	assert_true(call.fd >= 0);
	assert_int_equal(open_descriptors(), before + 1);
	close(call.fd);

	/* given up in the middle */
	start(&call);
	while (call.dial.next_address < DIAL_ATTEMPTS_MAX + 2)
		loop_turn(loop, 300 * 1000);
	dial_cancel(&call.dial);
	assert_int_equal(call.done, 0);
	assert_int_equal(open_descriptors(), before);
	close(listener);
	for (int i = 0; i < DEAD; i++)
		close_all(fds[i], FULL_SOCKETS);
}

/* An attempt that fails makes room for the next at once. */
static void test_failures_do_not_wait(void **state)
{
	int64_t started_us = clock_monotonic_us();
	struct call call;

	(void)state;
	address_count = 0;
	for (int i = 1; i <= ADDRESSES_MAX; i++) {
		char host[32];

		snprintf(host, sizeof(host), "127.0.2.%d", i);
		add_address(host, 1);
	}
	start(&call);
	call_wait(&call, loop);
	assert_int_equal(call.error_number, ECONNREFUSED);
	assert_string_equal(call.error.text, "cannot connect to 127.0.2.1:1 or 15 other addresses: "
					     "connection refused");
	assert_true(clock_monotonic_us() - started_us < 2 * 1000 * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_many_dead),
		cmocka_unit_test(test_failures_do_not_wait),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
