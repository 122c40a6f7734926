/* The settings of the HTTP probe: targets, conflicts, defaults. */
#include "probes/http_settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct setting {
	const char *name, *value;
};

/* Settings with their defaults and these values, of kinds that are a text. */
static void fill(struct http_settings *settings, const struct setting *values, size_t count)
{
	*settings = (struct http_settings){0};
	fields_set_defaults(http_fields, settings);
	for (size_t i = 0; i < count && values[i].name; i++) {
		const struct field *field = field_find(http_fields, values[i].name, NULL);
		void *place = (char *)settings + field->offset;

		if (field->kind == FIELD_SECRET)
			((struct secret *)place)->value = strdup(values[i].value);
		else if (field->kind == FIELD_TEXT)
			*(char **)place = strdup(values[i].value);
		else
			fail_msg("%s is no text", values[i].name);
	}
}

static void drop(struct http_settings *settings)
{
	http_settings_release(settings);
	fields_free(http_fields, settings);
}

static void test_targets(void **state)
{
	static const struct {
		const char *url;
		bool tls;
		const char *host;
		unsigned short port;
		const char *path, *sent;
	} rows[] = {
		{"http://h", false, "h", 80, "/", "http://h/"},
		{"https://h", true, "h", 443, "/", "https://h/"},
		{"HTTPS://h:443/x", true, "h", 443, "/x", "https://h/x"},
		{"http://h:443/x", false, "h", 443, "/x", "http://h:443/x"},
		{"http://h?a#b", false, "h", 80, "/?a", "http://h/?a"},
		{"http://h/a?b?c#d?e", false, "h", 80, "/a?b?c", "http://h/a?b?c"},
		{"http://h/\xc3\xbc", false, "h", 80, "/%C3%BC", "http://h/%C3%BC"},
		{"http://h/%zz%41", false, "h", 80, "/%zz%41", "http://h/%zz%41"},
		{"http://[::1]:81/", false, "::1", 81, "/", "http://[::1]:81/"},
		{"http://[fe80::1%25eth0]/", false, "fe80::1%eth0", 80, "/", "http://[fe80::1]/"},
		{"http://me:you@h/", false, "h", 80, "/", "http://h/"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_target target;
		struct error error;
		char *sent;

		assert_int_equal(http_target_parse(&target, rows[i].url, &error), 0);
		assert_int_equal(target.tls, rows[i].tls);
		assert_string_equal(target.host, rows[i].host);
		assert_int_equal(target.port, rows[i].port);
		assert_string_equal(target.path, rows[i].path);
		sent = http_target_url(&target, NULL);
		assert_string_equal(sent, rows[i].sent);
		free(sent);
		http_target_free(&target);
	}
}

static void test_refused_urls(void **state)
{
	static const char *const urls[] = {"",           "h",       "ftp://h/",   "http://",
					   "http:///x",  "http:/x", "http://h:0", "http://h:x",
					   "http://h h", "//h/path"};

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct http_target target;
		struct error error = {""};

		if (http_target_parse(&target, urls[i], &error) == 0)
			fail_msg("accepted: %s", urls[i]);
		assert_true(error.text[0] != '\0');
		assert_null(target.host);
	}
}

static void test_same_host(void **state)
{
	static const struct {
		const char *a, *b;
		bool host, origin;
	} rows[] = {
		{"http://h/", "http://H/x", true, true},
		{"http://h/", "http://h:80/x", true, true},
		{"http://h/", "http://h:81/", true, false},
		{"http://h/", "https://h/", true, false},
		{"http://h:1/", "https://h:1/", true, false},
		{"http://h/", "http://i/", false, false},
		{"http://127.0.0.1/", "http://localhost/", false, false},
		{"http://[::1]/", "http://[::1]/", true, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_target a, b;
		struct error error;

		assert_int_equal(http_target_parse(&a, rows[i].a, &error), 0);
		assert_int_equal(http_target_parse(&b, rows[i].b, &error), 0);
		assert_int_equal(http_target_same_host(&a, &b), rows[i].host);
		assert_int_equal(http_target_same_origin(&a, &b), rows[i].origin);
		http_target_free(&a);
		http_target_free(&b);
	}
}

static void test_parts(void **state)
{
	static const struct {
		struct setting values[5];
		const char *shown;
	} rows[] = {
		{{{"port", "8080"}}, "http://127.0.0.1:8080/"},
		{{{"port", "8080"}, {"path", "healthz"}}, "http://127.0.0.1:8080/healthz"},
		{{{"port", "443"}, {"scheme", "hTTpS"}, {"host", "app"}}, "https://app/"},
		{{{"scheme", "HTTP"}, {"host", "::1"}, {"path", "/a b?c=d e#f"}},
		 "http://[::1]/a%20b?c=d%20e"},
		{{{"path", "/x?token=abc"}}, "http://127.0.0.1/x?token=***"},
		{{{"path", "/x"}, {"unixSocket", "/run/a"}}, "http://127.0.0.1/x over /run/a"},
		{{{"url", "http://me:you@h/x"}}, "http://***@h/x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_settings settings;
		struct error error = {""};
		char shown[200];

		fill(&settings, rows[i].values, 5);
		if (http_settings_check(&settings, false, &error) < 0)
			fail_msg("%s: %s", rows[i].shown, error.text);
		http_settings_describe(&settings, shown, sizeof(shown));
		assert_string_equal(shown, rows[i].shown);
		drop(&settings);
	}
}

static void test_refused(void **state)
{
	static const struct {
		struct setting values[5];
		bool kubernetes;
		const char *says;
	} rows[] = {
		{{{"url", "http://h/"}, {"host", "h"}}, false, "host and url"},
		{{{"url", "http://h/"}, {"port", "1"}}, false, "port and url"},
		{{{"url", "http://h/"}, {"path", "/"}}, false, "path and url"},
		{{{"url", "http://h/"}, {"scheme", "HTTP"}}, false, "scheme and url"},
		{{{"path", "/"}}, true, "port is missing"},
		{{{"port", "web"}}, true, "names of ports"},
		{{{"port", "0"}}, false, "from 1 to 65535"},
		{{{"port", "65536"}}, false, "from 1 to 65535"},
		{{{"port", "4294967297"}}, false, "from 1 to 65535"},
		{{{"port", "-1"}}, false, "port"},
		{{{"host", "h:80"}}, false, "host is"},
		{{{"host", "http://h"}}, false, "port"},
		{{{"scheme", "ftp"}}, false, "HTTP or HTTPS"},
		{{{"method", "GET /x"}}, false, "method"},
		{{{"method", "CONNECT"}}, false, "method"},
		{{{"requestBody", "x"}, {"method", "HEAD"}}, false, "requestBody"},
		{{{"user", "a:b"}}, false, "\":\""},
		{{{"password", "hidden"}}, false, "user is not"},
		{{{"user", "u"}, {"bearerToken", "hidden"}}, false, "expected one"},
		{{{"bodyRegex", "["}}, false, "regular expression"},
		{{{"json", "a"}}, false, "jsonValue"},
		{{{"jsonValue", "a"}}, false, "json"},
		{{{"method", "HEAD"}, {"bodyRegex", "x"}}, false, "bodyRegex"},
		{{{"keyFile", "k"}}, false, "certFile"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_settings settings;
		struct error error = {""};

		fill(&settings, rows[i].values, 5);
		if (http_settings_check(&settings, rows[i].kubernetes, &error) == 0)
			fail_msg("accepted: %s", rows[i].says);
		if (!strstr(error.text, rows[i].says))
			fail_msg("\"%s\" says nothing of \"%s\"", error.text, rows[i].says);
		assert_null(strstr(error.text, "hidden"));
		drop(&settings);
	}
}

static void test_headers(void **state)
{
	static const struct {
		const char *name, *value;
		bool good;
	} rows[] = {
		{"X-Own", "a b\tc", true}, {"X-Own", "", true},           {"X Own", "a", false},
		{"", "a", false},          {"X-Own", "a\r\nB: c", false}, {"X:", "a", false},
		{"X-Own", "a\nb", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[20], value[20];
		struct pair pair = {name, value};
		struct http_settings settings;
		struct error error;
		int result;

		snprintf(name, sizeof(name), "%s", rows[i].name);
		snprintf(value, sizeof(value), "%s", rows[i].value);
		fill(&settings, NULL, 0);
		settings.headers = (struct pair_list){&pair, 1};
		result = http_settings_check(&settings, false, &error);
		settings.headers = (struct pair_list){0};
		drop(&settings);
		assert_int_equal(result, rows[i].good ? 0 : -1);
	}
}

static void test_kubernetes_does_not_verify(void **state)
{
	static const struct {
		struct setting values[3];
		bool kubernetes, skips;
	} rows[] = {
		{{{"port", "1"}, {"scheme", "HTTPS"}}, true, true},
		{{{"port", "1"}}, true, true}, /* a redirect may lead to https */
		{{{"port", "1"}, {"scheme", "HTTPS"}}, false, false},
		{{{"port", "1"}, {"caFile", "f"}}, true, false},
		{{{"port", "1"}, {"serverName", "n"}}, true, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_settings settings;
		struct error error;

		fill(&settings, rows[i].values, 3);
		assert_int_equal(http_settings_check(&settings, rows[i].kubernetes, &error), 0);
		assert_int_equal(settings.tls.insecure_skip_verify, rows[i].skips);
		drop(&settings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_refused_urls),
		cmocka_unit_test(test_same_host),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_kubernetes_does_not_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
