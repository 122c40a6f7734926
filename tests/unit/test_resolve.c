/* What needs no name server, and how lookups end that nobody waits for. The rest is tested against
 * a name server by tests/integration/test_dns.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/resolve.h"
#include "tests/unit/network.h"

static struct loop *loop;
static struct resolver *resolver;
static bool has_own_network;

/* One lookup and what became of it. */
struct question {
	struct lookup lookup;
	int calls;
	size_t count;
	struct address addresses[ADDRESSES_MAX];
	struct error error;
};

static void on_done(struct lookup *lookup, const struct address *addresses, size_t count,
		    const struct error *error)
{
	struct question *question = lookup->owner;

	question->calls++;
	question->count = count;
	if (count > 0)
		memcpy(question->addresses, addresses, count * sizeof(*addresses));
	question->error = *error;
}

static void ask(struct question *question, const char *host, unsigned short port)
{
	*question = (struct question){.lookup = {.on_done = on_done, .owner = question}};
	resolve_start(resolver, &question->lookup, host, port);
}

static int setup(void **state)
{
	(void)state;
	/* So that no question leaves this process: there is no way to any name server then. */
	has_own_network = unshare(CLONE_NEWNET) == 0;
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

static void test_literals(void **state)
{
	static const struct {
		const char *host;
		const char *text;
		sa_family_t family;
	} rows[] = {
		{"127.0.0.1", "127.0.0.1", AF_INET},
		{"255.255.255.255", "255.255.255.255", AF_INET},
		{"::1", "::1", AF_INET6},
		{"[::1]", "::1", AF_INET6},
		{"2001:DB8:0:0::7", "2001:db8::7", AF_INET6},
		{"::ffff:10.0.0.1", "::ffff:10.0.0.1", AF_INET6},
		{"fe80::1%lo", "fe80::1%lo", AF_INET6},
		{"[fe80::1%lo]", "fe80::1%lo", AF_INET6},
		{"fe80::1%1", "fe80::1%lo", AF_INET6},
		{"fe80::1%7654321", "fe80::1%7654321", AF_INET6},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct question question;
		char text[64];

		ask(&question, rows[i].host, 8080);
		assert_int_equal(question.calls, 1);
		assert_int_equal(question.count, 1);
		assert_null(question.lookup.query);
		assert_int_equal(question.addresses[0].storage.ss_family, rows[i].family);
		address_host(&question.addresses[0], text, sizeof(text));
		assert_string_equal(text, rows[i].text);
		/* the port stands at the same place in both */
		assert_int_equal(ntohs(((struct sockaddr_in *)&question.addresses[0].storage)
					       ->sin_port),
				 8080);
		assert_int_equal(question.addresses[0].len, rows[i].family == AF_INET
								    ? sizeof(struct sockaddr_in)
								    : sizeof(struct sockaddr_in6));
	}
}

static void test_no_addresses(void **state)
{
	static const char *const rows[][2] = {
		{"", "no host name"},
		{"::1::", "no host name and no address"},
		{"a:b", "no host name and no address"},
		{"[127.0.0.1]:1", "no host name and no address"},
		{"fe80::1%", "no network interface"},
		{"fe80::1%nothere", "no network interface \"nothere\""},
		{"fe80::1%0", "no network interface"},
		{"fe80::1%99999999999", "no network interface"},
	};
	char long_text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct question question;

		ask(&question, rows[i][0], 1);
		assert_int_equal(question.calls, 1);
		assert_int_equal(question.count, 0);
		if (!strstr(question.error.text, rows[i][1]))
			fail_msg("%s: %s", rows[i][0], question.error.text);
	}
	memset(long_text, ':', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	struct question question;

	ask(&question, long_text, 1);
	assert_int_equal(question.count, 0);
}

static void test_localhost(void **state)
{
	static const char *const names[] = {"localhost", "LOCALHOST", "localhost."};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct question question;
		char text[64];

		ask(&question, names[i], 443);
		assert_int_equal(question.count, 2);
		address_host(&question.addresses[0], text, sizeof(text));
		assert_string_equal(text, "127.0.0.1");
		address_host(&question.addresses[1], text, sizeof(text));
		assert_string_equal(text, "::1");
	}
}

/* None of the above may have cost more than memory. */
static void test_nothing_was_opened(void **state)
{
	size_t before = open_descriptors();
	struct question question;

	(void)state;
	ask(&question, "localhost", 1);
	ask(&question, "[::1]", 1);
	assert_int_equal(open_descriptors(), before);
}

static void test_no_way_to_a_server(void **state)
{
	struct question question;

	(void)state;
	if (!has_own_network)
		skip();
	ask(&question, "db.test", 1);
	for (int i = 0; i < 1000 && question.calls == 0; i++)
		loop_turn(loop, 20 * 1000);
	assert_int_equal(question.calls, 1);
	assert_int_equal(question.count, 0);
	assert_non_null(strstr(question.error.text, "cannot resolve \"db.test\": "));
	assert_null(question.lookup.query);
}

static void test_forgotten_lookups(void **state)
{
	enum { LOOKUPS = 500 };
	struct question *questions;
	size_t before;

	(void)state;
	if (!has_own_network)
		skip();
	before = open_descriptors();
	for (int round = 0; round < 4; round++) {
		/* Freed before any answer: the sanitizer tells if something still points there. */
		questions = calloc(LOOKUPS, sizeof(*questions));
		assert_non_null(questions);
		for (size_t i = 0; i < LOOKUPS; i++) {
			ask(&questions[i], "db.test", 1);
			resolve_cancel(resolver, &questions[i].lookup);
			resolve_cancel(resolver, &questions[i].lookup);
		}
		free(questions);
		loop_turn(loop, 0);
	}
	for (int i = 0; i < 50; i++)
		loop_turn(loop, 1000);
	assert_int_equal(open_descriptors(), before);
}

/* The end of the program with lookups under way. */
static void test_destroy_under_way(void **state)
{
	struct question question = {.lookup = {.on_done = on_done, .owner = &question}};
	size_t before = open_descriptors();
	struct resolver *other;

	(void)state;
	if (!has_own_network)
		skip();
	other = resolver_create(loop);
	assert_non_null(other);
	resolve_start(other, &question.lookup, "db.test", 1);
	resolver_destroy(other);
	if (question.calls == 0)
		assert_null(question.lookup.query);
	assert_int_equal(open_descriptors(), before);
	loop_turn(loop, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_no_addresses),
		cmocka_unit_test(test_localhost),
		cmocka_unit_test(test_nothing_was_opened),
		cmocka_unit_test(test_no_way_to_a_server),
		cmocka_unit_test(test_forgotten_lookups),
		cmocka_unit_test(test_destroy_under_way),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
