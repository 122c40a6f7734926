/* HTTP answers: their heads, and what they are worth. */
#include "probes/http_verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "probes/http_settings.h"

static bool take(struct http_head *head, const struct http_settings *settings, const char *line)
{
	return http_head_take(head, settings, line, strlen(line));
}

/* ---- heads ---- */

static void test_status_lines(void **state)
{
	static const struct {
		const char *line;
		int status; /* -1 = refused */
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n", 200}, {"HTTP/1.1 404\r\n", 404},  {"HTTP/2 503 \r\n", 503},
		{"HTTP/1.1 2000 OK\r\n", -1}, {"HTTP/1.1 20 OK\r\n", -1}, {"HTTP/1.1 OK\r\n", -1},
		{"HTTP/1.1\r\n", -1},         {"HTTP/1.1  200\r\n", -1},  {"", -1},
	};
	static const struct http_settings settings;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_head head = {0};

		assert_int_equal(take(&head, &settings, rows[i].line), rows[i].status != -1);
		if (rows[i].status == -1)
			assert_non_null(head.fault);
		else
			assert_int_equal(head.status, rows[i].status);
	}
}

static void test_lengths(void **state)
{
	static const struct {
		const char *first, *second;
		bool good;
	} rows[] = {
		{"Content-Length: 5\r\n", "content-length:5\n", true},
		{"Content-Length: 5\r\n", "X: y\r\n", true},
		{"Content-Length: 5\r\n", "Content-Length: 6\r\n", false},
		{"Content-Length: 5\r\n", "Content-Length: 55\r\n", false},
		{"Content-Length: 5, 5\r\n", "X: y\r\n", false},
		{"Content-Length: -5\r\n", "X: y\r\n", false},
		{"Content-Length:\r\n", "X: y\r\n", false},
		{"Content-Length: 111111111111111111111111111\r\n", "X: y\r\n", false},
	};
	static const struct http_settings settings;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_head head = {0};

		assert_true(take(&head, &settings, "HTTP/1.1 200 OK\r\n"));
		assert_int_equal(take(&head, &settings, rows[i].first) &&
					 take(&head, &settings, rows[i].second),
				 rows[i].good);
		assert_int_equal(!head.fault, rows[i].good);
	}
}

static void test_interim_heads(void **state)
{
	char name[] = "X-Own", value[] = "";
	struct pair rule = {name, value};
	struct http_settings settings = {.response_headers = {&rule, 1}};
	struct http_head head = {0};

	(void)state;
	assert_true(take(&head, &settings, "HTTP/1.1 103 Early Hints\r\n"));
	assert_true(take(&head, &settings, "X-Own: 1\r\n"));
	assert_true(take(&head, &settings, "Content-Length: 1\r\n"));
	assert_int_equal(head.met, 1);
	assert_false(head.complete);
	assert_true(take(&head, &settings, "\r\n"));
	assert_true(head.complete);
	/* nothing of it counts for the answer that follows */
	assert_true(take(&head, &settings, "HTTP/1.1 200 OK\r\n"));
	assert_false(head.complete);
	assert_int_equal(head.met, 0);
	assert_true(take(&head, &settings, "Content-Length: 2\r\n"));
}

static void test_endless_heads(void **state)
{
	static const struct http_settings settings;
	struct http_head head = {0};
	int lines = 0;

	(void)state;
	while (take(&head, &settings, "HTTP/1.1 100 Continue\r\n") &&
	       take(&head, &settings, "\r\n"))
		lines++;
	assert_non_null(head.fault);
	assert_in_range(lines, 1000, 10000);
}

static void test_header_rules(void **state)
{
	static const struct {
		const char *name, *value, *line;
		bool met, seen;
		const char *found;
	} rows[] = {
		{"X-Own", "a", "X-Own: a\r\n", true, true, ""},
		{"X-Own", "a", "x-OWN:\t a \r\n", true, true, ""},
		{"X-Own", "", "X-Own: b\r\n", true, true, ""},
		{"X-Own", "", "X-Own:\r\n", true, true, ""},
		{"X-Own", "a", "X-Own: A\r\n", false, true, "A"},
		{"X-Own", "a", "X-Own: a:b\001\r\n", false, true, "a:b?"},
		{"X-Own", "a", "X-Ow: a\r\n", false, false, ""},
		{"X-Own", "a", "X-Owns: a\r\n", false, false, ""},
		{"X-Own", "a", "no header\r\n", false, false, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[20], value[20];
		struct pair rule = {name, value};
		struct http_settings settings = {.response_headers = {&rule, 1}};
		struct http_head head = {.status = 200};

		snprintf(name, sizeof(name), "%s", rows[i].name);
		snprintf(value, sizeof(value), "%s", rows[i].value);
		assert_true(take(&head, &settings, rows[i].line));
		assert_int_equal(head.met, rows[i].met);
		assert_int_equal(head.seen, rows[i].seen);
		assert_string_equal(head.found, rows[i].found);
	}
}

/* ---- redirects ---- */

static void test_redirected_methods(void **state)
{
	static const struct {
		int status;
		const char *method, *next;
	} rows[] = {
		{301, "POST", "GET"},  {302, "POST", "GET"},  {303, "POST", "GET"},
		{307, "POST", "POST"}, {308, "POST", "POST"}, {302, "PUT", "PUT"},
		{303, "PUT", "GET"},   {303, "HEAD", "HEAD"}, {302, "HEAD", "HEAD"},
		{302, "GET", "GET"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(http_redirected_method(rows[i].status, rows[i].method),
				    rows[i].next);
	assert_false(http_status_redirects(300));
	assert_false(http_status_redirects(304));
	assert_true(http_status_redirects(308));
}

/* ---- verdicts ---- */

struct judged {
	struct http_settings settings;
	struct http_answer answer;
	struct http_verdict verdict;
	struct status_range range;
	char body[64], body_rule[32], path[32], value[32];
};

/* A good answer to the default settings. */
static void set_up(struct judged *judged)
{
	*judged = (struct judged){.range = {200, 399}};
	judged->settings.status = (struct status_ranges){&judged->range, 1};
	judged->settings.follow_redirects = true;
	judged->answer.head.status = 200;
}

static void set_body(struct judged *judged, const char *body)
{
	snprintf(judged->body, sizeof(judged->body), "%s", body);
	judged->answer.body = judged->body;
	judged->answer.body_len = strlen(body);
}

static void expect(struct judged *judged, enum probe_state state, enum probe_reason reason)
{
	http_judge(&judged->settings, &judged->answer, &judged->verdict);
	if (judged->verdict.state != state || judged->verdict.reason != reason)
		fail_msg("%s %s: %s", probe_state_name(judged->verdict.state),
			 probe_reason_name(judged->verdict.reason), judged->verdict.sentence);
}

static void test_kubelet_statuses(void **state)
{
	static const struct {
		int status;
		enum probe_state state;
		enum probe_reason reason;
	} rows[] = {
		{199, PROBE_FAIL, REASON_HTTP_STATUS}, {200, PROBE_PASS, REASON_OK},
		{299, PROBE_PASS, REASON_OK},          {300, PROBE_WARN, REASON_REDIRECT},
		{304, PROBE_WARN, REASON_REDIRECT},    {399, PROBE_WARN, REASON_REDIRECT},
		{400, PROBE_FAIL, REASON_HTTP_STATUS}, {503, PROBE_FAIL, REASON_HTTP_STATUS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct judged judged;

		set_up(&judged);
		judged.answer.head.status = rows[i].status;
		expect(&judged, rows[i].state, rows[i].reason);
	}
}

static void test_body_ends(void **state)
{
	struct judged judged;

	(void)state;
	set_up(&judged);
	judged.answer.body_end = HTTP_BODY_CUT;
	expect(&judged, PROBE_PASS, REASON_OK);
	judged.answer.body_end = HTTP_BODY_ENDLESS;
	expect(&judged, PROBE_FAIL, REASON_BODY_TOO_LARGE);
	judged.answer.body_end = HTTP_BODY_BROKEN;
	judged.answer.body_received = 7;
	expect(&judged, PROBE_FAIL, REASON_BODY_TRUNCATED);
	assert_string_equal(judged.verdict.sentence,
			    "status 200, but the body broke off after 7 bytes");
	judged.answer.head.status = 500;
	expect(&judged, PROBE_FAIL, REASON_HTTP_STATUS);
	judged.answer.redirects = 2;
	expect(&judged, PROBE_FAIL, REASON_HTTP_STATUS);
	assert_string_equal(judged.verdict.sentence,
			    "status 500 after 2 redirects, expected 200-399");
}

static void test_texts(void **state)
{
	struct judged judged;

	(void)state;
	set_up(&judged);
	set_body(&judged, "all is well");
	snprintf(judged.body_rule, sizeof(judged.body_rule), "is well");
	judged.settings.body = judged.body_rule;
	expect(&judged, PROBE_PASS, REASON_OK);
	set_body(&judged, "all is swell");
	expect(&judged, PROBE_FAIL, REASON_BODY_MISMATCH);
	judged.answer.body_end = HTTP_BODY_CUT;
	expect(&judged, PROBE_FAIL, REASON_BODY_TOO_LARGE);
	set_body(&judged, "all is well, and more");
	expect(&judged, PROBE_PASS, REASON_OK);
	/* what failed is said, what came is not */
	assert_null(strstr(judged.verdict.sentence, "more"));
}

static void test_members(void **state)
{
	struct judged judged;

	(void)state;
	set_up(&judged);
	snprintf(judged.path, sizeof(judged.path), "a.b");
	snprintf(judged.value, sizeof(judged.value), "1");
	judged.settings.json_path = judged.path;
	judged.settings.json_value = judged.value;
	set_body(&judged, "{\"a\":{\"b\":1}}");
	expect(&judged, PROBE_PASS, REASON_OK);
	judged.answer.body_end = HTTP_BODY_CUT;
	expect(&judged, PROBE_FAIL, REASON_BODY_TOO_LARGE);
	judged.answer.body_end = HTTP_BODY_WHOLE;
	set_body(&judged, "{\"a\":{\"b\":2}}");
	expect(&judged, PROBE_FAIL, REASON_JSON_MISMATCH);
	set_body(&judged, "{\"a\":2}");
	expect(&judged, PROBE_FAIL, REASON_JSON_MISMATCH);
	set_body(&judged, "");
	expect(&judged, PROBE_FAIL, REASON_JSON_MISMATCH);
}

static void test_warnings(void **state)
{
	struct judged judged;

	(void)state;
	set_up(&judged);
	judged.settings.warn_above_us = 100;
	judged.answer.duration_us = 100;
	expect(&judged, PROBE_PASS, REASON_OK);
	judged.answer.duration_us = 101;
	expect(&judged, PROBE_WARN, REASON_SLOW);
	judged.settings.tls.warn_days = 10;
	judged.answer.certificate_expires_s = (int64_t)time(NULL) + 5 * 86400;
	expect(&judged, PROBE_WARN, REASON_TLS_EXPIRING);
	judged.answer.head.status = 302;
	expect(&judged, PROBE_WARN, REASON_REDIRECT);
	judged.settings.tls.fail_days = 6;
	expect(&judged, PROBE_FAIL, REASON_TLS_EXPIRING);
	judged.settings.follow_redirects = false;
	judged.settings.tls.fail_days = 4;
	judged.settings.tls.warn_days = 0;
	judged.settings.warn_above_us = 0;
	expect(&judged, PROBE_PASS, REASON_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_lines),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_interim_heads),
		cmocka_unit_test(test_endless_heads),
		cmocka_unit_test(test_header_rules),
		cmocka_unit_test(test_redirected_methods),
		cmocka_unit_test(test_kubelet_statuses),
		cmocka_unit_test(test_body_ends),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_warnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
