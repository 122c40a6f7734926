/* The TCP probe's settings: targets, escapes and matching. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probes/tcp_settings.h"

/* Points a text of the settings at a constant for as long as a test lasts. */
static char *text(const char *constant)
{
	union {
		const char *constant;
		char *variable;
	} both = {.constant = constant};

	return both.variable;
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *url;
		const char *host;
		unsigned short port;
		const char *unix_path;
	} rows[] = {
		{"tcp://db:5432", "db", 5432, NULL},
		{"tcp://db:5432/", "db", 5432, NULL},
		{"TCP://[::1]:1", "::1", 1, NULL},
		{"tcp://:80", "127.0.0.1", 80, NULL},
		{"unix:/run/a%20b", NULL, 0, "/run/a b"},
		{"unix:///run/a", NULL, 0, "/run/a"},
		{"unix:@a", NULL, 0, "@a"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tcp_endpoint endpoint;
		struct error error = {""};

		if (tcp_endpoint_parse(&endpoint, rows[i].url, &error) < 0)
			fail_msg("%s: %s", rows[i].url, error.text);
		if (rows[i].host)
			assert_string_equal(endpoint.host, rows[i].host);
		else
			assert_string_equal(endpoint.unix_path, rows[i].unix_path);
		assert_int_equal(endpoint.port, rows[i].port);
		tcp_endpoint_free(&endpoint);
	}
}

static void test_bytes(void **state)
{
	static const struct {
		const char *escaped, *hex, *bytes;
		size_t len;
	} rows[] = {
		{"a\\r\\n\\t\\\\b", NULL, "a\r\n\t\\b", 6},
		{"\\x00\\xfF\\x41", NULL, "\0\xff\x41", 3},
		{"\xc3\xa4", NULL, "\xc3\xa4", 2},
		{NULL, "00 fF:41", "\0\xff\x41", 3},
		{NULL, "", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tcp_settings settings = {.port = text("1"),
						.send = text(rows[i].escaped),
						.send_hex = text(rows[i].hex)};
		struct error error = {""};

		if (tcp_settings_check(&settings, false, &error) < 0)
			fail_msg("%zu: %s", i, error.text);
		assert_int_equal(settings.to_send.len, rows[i].len);
		assert_memory_equal(settings.to_send.data, rows[i].bytes, rows[i].len);
		tcp_settings_release(&settings);
	}
}

/* Feeds an answer in pieces of every size and tells after how many bytes it matched; 0 = never. */
static size_t matched_after(const struct tcp_settings *settings, const char *answer, size_t len,
			    size_t piece)
{
	char so_far[256] = "";

	for (size_t have = 0; have < len;) {
		size_t more = len - have < piece ? len - have : piece;

		memcpy(so_far + have, answer + have, more);
		so_far[have + more] = '\0';
		if (tcp_answer_matches(settings, so_far, have + more, have))
			return have + more;
		have += more;
	}
	return 0;
}

static void test_matching(void **state)
{
	struct tcp_settings settings = {.port = text("1"), .expect = text("abab\\x00c")};
	static const char answer[] = "xxababab\0cyy";
	const size_t end = sizeof("xxababab\0c") - 1;
	struct error error;

	(void)state;
	assert_int_equal(tcp_settings_check(&settings, false, &error), 0);
	for (size_t piece = 1; piece < sizeof(answer); piece++) {
		size_t after = matched_after(&settings, answer, sizeof(answer) - 1, piece);

		/* in the piece that completes it, not later */
		assert_true(after >= end && after - end < piece);
	}
	assert_int_equal(matched_after(&settings, answer, end - 1, 3), 0);
	tcp_settings_release(&settings);
}

static void test_regular_expression(void **state)
{
	struct tcp_settings settings = {.port = text("1"),
					.expect_regex = text("^[0-9]{3} (ready|ok)")};
	struct error error;

	(void)state;
	assert_int_equal(tcp_settings_check(&settings, false, &error), 0);
	assert_true(tcp_answer_matches(&settings, "220 ready\r\n", 11, 0));
	assert_false(tcp_answer_matches(&settings, "22 ready\r\n", 10, 0));
	assert_string_equal(tcp_expected_text(&settings), "^[0-9]{3} (ready|ok)");
	tcp_settings_release(&settings);
}

/* A peer that sends byte by byte. */
static void test_an_expression_costs_linear_time(void **state)
{
	struct tcp_settings settings = {.port = text("1"), .expect_regex = text("x+y")};
	struct tcp_settings plain = {.port = text("1"), .expect = text("xy")};
	size_t searched = 0, work = 0;
	struct error error;

	(void)state;
	assert_int_equal(tcp_settings_check(&settings, false, &error), 0);
	assert_int_equal(tcp_settings_check(&plain, false, &error), 0);
	for (size_t len = 1; len <= TCP_ANSWER_MAX; len++) {
		/* bytes that are sought take linear time in any case */
		assert_true(tcp_answer_is_due(&plain, len, len - 1));
		if (!tcp_answer_is_due(&settings, len, searched))
			continue;
		work += len;
		searched = len;
	}
	assert_true(work < (size_t)16 * TCP_ANSWER_MAX);
	assert_true(searched > TCP_ANSWER_MAX / 2);
	/* short answers are looked at with each byte */
	assert_true(tcp_answer_is_due(&settings, 200, 199));
	tcp_settings_release(&settings);
	tcp_settings_release(&plain);
}

static void test_description(void **state)
{
	struct tcp_settings settings = {.host = text("[::1]"), .port = text("80")};
	struct tcp_settings secret = {.url = {.value = text("tcp://u:pw@h:1")}};
	struct error error;
	char shown[64];

	(void)state;
	assert_int_equal(tcp_settings_check(&settings, true, &error), 0);
	tcp_settings_describe(&settings, shown, sizeof(shown));
	assert_string_equal(shown, "tcp://[::1]:80");
	tcp_settings_release(&settings);
	tcp_settings_describe(&secret, shown, sizeof(shown));
	assert_string_equal(shown, "tcp://u:***@h:1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_regular_expression),
		cmocka_unit_test(test_an_expression_costs_linear_time),
		cmocka_unit_test(test_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
