/* URLs: parsing, masking, ports. */
#include "agent/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(const char *found, const char *expected)
{
	if (!expected) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, expected);
}

static void test_parts(void **state)
{
	static const struct {
		const char *text;
		const char *scheme, *user, *password, *host;
		unsigned short port;
		const char *path, *query;
	} rows[] = {
		{"http://db", "http", NULL, NULL, "db", 0, "", NULL},
		{"HTTPS://Db.example:8443/a/b?c=d#e", "https", NULL, NULL, "Db.example", 8443,
		 "/a/b", "c=d"},
		{"http://h?x#y?z", "http", NULL, NULL, "h", 0, "", "x"},
		{"http://h#y?z", "http", NULL, NULL, "h", 0, "", NULL},
		{"redis://:secret@cache:6379/3", "redis", "", "secret", "cache", 6379, "/3", NULL},
		{"postgres://a%40b:p%3Aw%2F@h/db", "postgres", "a@b", "p:w/", "h", 0, "/db", NULL},
		{"redis://u:p@ss@h", "redis", "u", "p@ss", "h", 0, "", NULL},
		{"redis://u:p:q@h", "redis", "u", "p:q", "h", 0, "", NULL},
		{"redis://u@h", "redis", "u", NULL, "h", 0, "", NULL},
		{"redis://u:@h", "redis", "u", "", "h", 0, "", NULL},
		{"http://[::1]:80/", "http", NULL, NULL, "::1", 80, "/", NULL},
		{"http://[::1]", "http", NULL, NULL, "::1", 0, "", NULL},
		{"http://u:p@[2001:db8::7]:1", "http", "u", "p", "2001:db8::7", 1, "", NULL},
		{"tcp://[fe80::1%25eth0]:22", "tcp", NULL, NULL, "fe80::1%eth0", 22, "", NULL},
		{"tcp://[fe80::1%eth0]:22", "tcp", NULL, NULL, "fe80::1%eth0", 22, "", NULL},
		{"tcp://[fe80::1%2525]:22", "tcp", NULL, NULL, "fe80::1%25", 22, "", NULL},
		{"tcp://:8080", "tcp", NULL, NULL, NULL, 8080, "", NULL},
		{"postgres://%2Frun%2Fpg/db", "postgres", NULL, NULL, "/run/pg", 0, "/db", NULL},
		{"unix:/run/app.sock", "unix", NULL, NULL, NULL, 0, "/run/app.sock", NULL},
		{"unix:@name", "unix", NULL, NULL, NULL, 0, "@name", NULL},
		{"unix:///run/app.sock", "unix", NULL, NULL, NULL, 0, "/run/app.sock", NULL},
		{"http+unix://x/", "http+unix", NULL, NULL, "x", 0, "/", NULL},
		{"tcp://h:65535", "tcp", NULL, NULL, "h", 65535, "", NULL},
		{"tcp://h:00080", "tcp", NULL, NULL, "h", 80, "", NULL},
		{"http://h/a%20b%zz", "http", NULL, NULL, "h", 0, "/a%20b%zz", NULL},
		{"http://h/\xc3\xa4", "http", NULL, NULL, "h", 0, "/\xc3\xa4", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {""};
		struct url url;

		if (url_parse(&url, rows[i].text, &error) < 0)
			fail_msg("%s: %s", rows[i].text, error.text);
		assert_text(url.scheme, rows[i].scheme);
		assert_text(url.user, rows[i].user);
		assert_text(url.password, rows[i].password);
		assert_text(url.host, rows[i].host);
		assert_int_equal(url.port, rows[i].port);
		assert_text(url.path, rows[i].path);
		assert_text(url.query, rows[i].query);
		url_free(&url);
		assert_null(url.host);
	}
}

static void test_refused(void **state)
{
	static const char *const rows[][2] = {
		{"", "scheme"},
		{"db:5432x//", NULL}, /* a scheme "db" and an odd path: fine */
		{"://h", "scheme"},
		{"1http://h", "scheme"},
		{"/run/x", "scheme"},
		{"http://h:0", "1 to 65535"},
		{"http://h:65536", "1 to 65535"},
		{"http://h:", "1 to 65535"},
		{"http://h:http", "1 to 65535"},
		{"http://h:+80", "1 to 65535"},
		{"http://h:-1", "1 to 65535"},
		{"http://h:000080", "1 to 65535"},
		{"http://h:99999999999999999999", "1 to 65535"},
		{"http://::1/", "\"[\" and \"]\""},
		{"http://a:1:2/", "more than one"},
		{"http://[::1", "no \"]\""},
		{"http://[::1]x", "after \"]\""},
		{"http://[::1]80", "after \"]\""},
		{"http://[db]", "IPv6"},
		{"http://[127.0.0.1]", "IPv6"},
		{"http://[]", "IPv6"},
		{"http://[::1%]", "IPv6"},
		{"http://a b/", "position 9"},
		{"http://h/\n", "position 10"},
		{"http://h/\x7f", "position 10"},
		{"http://h%00x/", "escape"},
		{"http://h%zz/", "escape"},
		{"http://h%20x/", "escape"},
		{"http://h\"x/", "character"},
		{"http://h\xc3\xa4/", "character"},
		{"redis://u%:p@h", "user"},
		{"redis://u:sEcReT%0@h", "password"},
		{"redis://u:sEcReT%00@h", "password"},
		{"redis://u:sEcReT/x@h", "%2F"},
		{"redis://:sEc/ReT@h", "%2F"},
		{"redis://u:sEc?ReT@h", "%2F"},
		{"redis://u:sEc#ReT@h", "%2F"},
		{"redis://u:sEcReT@h:x", "1 to 65535"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {""};
		struct url url;
		int result = url_parse(&url, rows[i][0], &error);

		if (!rows[i][1]) {
			assert_int_equal(result, 0);
			url_free(&url);
			continue;
		}
		if (result == 0)
			fail_msg("accepted: %s", rows[i][0]);
		if (!strstr(error.text, rows[i][1]))
			fail_msg("%s: \"%s\" lacks \"%s\"", rows[i][0], error.text, rows[i][1]);
		assert_null(strcasestr(error.text, "sec"));
		assert_null(url.scheme);
	}
}

static void test_mask(void **state)
{
	static const char *const rows[][2] = {
		{"http://h/x", "http://h/x"},
		{"postgres://app:pw@db:5432/users", "postgres://app:***@db:5432/users"},
		{"postgres://app@db:5432/users", "postgres://app@db:5432/users"},
		{"redis://:pw@h", "redis://:***@h"},
		{"redis://:@h", "redis://:@h"},
		/* several hosts, as libpq has them */
		{"postgres://u:p@h1:1,h2:2/db", "postgres://u:***@h1:1,h2:2/db"},
		{"postgres://u@h1:1,[::2]:2/db?a=b", "postgres://u@h1:1,[::2]:2/db?a=b"},
		/* not encoded */
		{"redis://u:p@w@h", "redis://u:***@h"},
		{"redis://u:p/w@h", "redis://u:***@h"},
		{"redis://u:1/w@h", "redis://u:***@h"},
		{"redis://u:p?w#x@h", "redis://u:***@h"},
		{"redis://u:p w@h", "redis://u:***@h"},
		{"http://u:p/w@h", "http://***@h"},
		{"http://u:p@w/x@h/", "http://***@h/"},
		/* a user alone: a token, but with a database */
		{"http://token@h/x", "http://***@h/x"},
		{"HTTPS://token@h:443/?mail=a@b", "HTTPS://***@b"},
		{"https://token:@h/", "https://***@h/"},
		{"https://token:x-oauth-basic@h/", "https://***@h/"},
		{"https://:token@h/", "https://***@h/"},
		{"http+unix://token@/run/x/", "http+unix://***@/run/x/"},
		{"http://@h/", "http://@h/"},
		{"redis://token@h", "redis://***@h"},
		{"tcp://token@h:1", "tcp://***@h:1"},
		{"mysql://token@h", "mysql://***@h"},
		{"postgresql://app@h/db", "postgresql://app@h/db"},
		{"POSTGRES://app@h/db", "POSTGRES://app@h/db"},
		{"http//token@h/", "http//***@h/"},
		{"http:/token@h/", "http:***@h/"},
		{"//token@h/", "//***@h/"},
		{"admin@h", "admin@h"},
		{"exec:/bin/mail a@h", "exec:***@h"},
		/* malformed */
		{"u:pw@h", "u:***@h"},
		{"redis:u:pw@h", "redis:***@h"},
		{"redis:/u:pw@h", "redis:***@h"},
		{"red is://u:pw@h", "red is:***@h"},
		{"://u:pw@h", ":***@h"},
		{"u:pw@h/d", "u:***@h/d"},
		{"postgres//u:pw@h", "postgres//u:***@h"},
		{"postgres//u:p/w@h/d", "postgres//u:***@h/d"},
		{"//u:pw@h/d", "//u:***@h/d"},
		{"http//u:pw@h/d", "http//u:***@h/d"},
		{"http:/u:pw@h/d", "http:***@h/d"},
		{"http:u:pw@h/d", "http:***@h/d"},
		{"redis://u:pw@", "redis://u:***@"},
		{"redis://u:pw@h:x:y", "redis://u:***@h:x:y"},
		/* an "@" that belongs to a web address */
		{"http://h:80/users/@me", "http://h:80/users/@me"},
		{"https://h:443/?mail=a@b", "https://h:443/?mail=a@b"},
		/* parameters */
		{"postgres://h/d?password=pw", "postgres://h/d?password=***"},
		{"postgres://h/d?user=u&password=pw&a=b", "postgres://h/d?user=u&password=***&a=b"},
		{"postgres://h/d?PassWord=pw", "postgres://h/d?PassWord=***"},
		{"postgres://h/d?pass%77ord=pw", "postgres://h/d?pass%77ord=***"},
		{"postgres://h/d?sslpassword=pw#x", "postgres://h/d?sslpassword=***"},
		{"http://h/?token=a&secret=b&key=c", "http://h/?token=***&secret=***&key=***"},
		{"http://h/?access_token=a&apikey=b", "http://h/?access_token=***&apikey=***"},
		{"http://h/?tokens=a&check=b", "http://h/?tokens=***&check=b"},
		{"http://h/?pass=a&passwd=b&auth=c", "http://h/?pass=***&passwd=***&auth=***"},
		{"http://h/?code=a&Credentials=b", "http://h/?code=***&Credentials=***"},
		{"http://h/?session_id=a&API_KEY=b", "http://h/?session_id=***&API_KEY=***"},
		{"http://h/?X-Amz-Signature=a&pwd2=b", "http://h/?X-Amz-Signature=***&pwd2=***"},
		{"http://h/?authuser=a&a=b", "http://h/?authuser=***&a=b"},
		/* fragments */
		{"http://h/x#token=a&b", "http://h/x#***"},
		{"http://h/x?a=b#c#d", "http://h/x?a=b#***"},
		{"http://h/x?token=a#b", "http://h/x?token=***"},
		{"http://h/#", "http://h/#"},
		{"http:#a", "http:#***"},
		{"http://h/?password=", "http://h/?password="},
		{"http://h/?password", "http://h/?password"},
		{"postgres://u@h:1/d?password=x@y", "postgres://u@h:***"},
		{"postgres://u:p@h/d?password=x&a=b", "postgres://u:***@h/d?password=***&a=b"},
		{"postgres://h/d?password=a b&c=d", "postgres://h/d?password=***&c=d"},
		/* conninfo */
		{"host=db password=pw user=u", "host=db password=*** user=u"},
		{"host=db password='a b' user=u", "host=db password='***' user=u"},
		{"host=db password = 'a\\'b c' user=u", "host=db password = '***' user=u"},
		{"password='a b", "password='***"},
		{"password=a\\ b user=u", "password=*** user=u"},
		{"password=a&b user=u", "password=*** user=u"},
		{"host=db\tsslpassword=\npw", "host=db?sslpassword=?***"},
		{"dbname=postgres://u:pw@h/d", "dbname=postgres:***@h/d"},
		{"password= user=u", "password= ***"},
		/* a command's options */
		{"exec:x --api-key=pw y", "exec:x --api-key=*** y"},
		{"-password 'pw'", "-password 'pw'"},
		/* control characters */
		{"http://h/\x1b[31m\r\n", "http://h/?[31m??"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char masked[256];

		url_mask(rows[i][0], masked, sizeof(masked));
		assert_string_equal(masked, rows[i][1]);
	}
}

/* Whatever the size, the copy is a beginning of the whole and ends with a NUL. */
static void test_mask_cut(void **state)
{
	static const char text[] = "postgres://u:secret@h/d?password=secret&a=b";
	char whole[64];

	(void)state;
	url_mask(text, whole, sizeof(whole));
	for (size_t size = 1; size < sizeof(whole); size++) {
		char cut[64];

		memset(cut, 'X', sizeof(cut));
		url_mask(text, cut, size);
		assert_true(strlen(cut) == (strlen(whole) < size ? strlen(whole) : size - 1));
		assert_memory_equal(cut, whole, strlen(cut));
	}
}

static void test_split(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned short port;
	} rows[] = {
		{"h:80", "h", 80},
		{"h", "h", 0},
		{":80", "", 80},
		{"", "", 0},
		{"[::]:80", "::", 80},
		{"[::1]", "::1", 0},
		{"::1", "::1", 0},
		{"::", "::", 0},
		{"10.0.0.1:1", "10.0.0.1", 1},
		{"fe80::1%eth0", "fe80::1%eth0", 0},
	};
	static const char *const refused[] = {"h:",  "h:0", "h:x",    "h:1:2", "[::1",
					      "[x]", ":",   "[::1]:", "a b:1", "h:80 "};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {""};
		unsigned short port = 1;
		char *host = NULL;

		if (url_split_host_port(rows[i].text, &host, &port, &error) < 0)
			fail_msg("%s: %s", rows[i].text, error.text);
		assert_string_equal(host, rows[i].host);
		assert_int_equal(port, rows[i].port);
		free(host);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct error error = {""};
		unsigned short port;
		char *host;

		if (url_split_host_port(refused[i], &host, &port, &error) == 0)
			fail_msg("accepted: %s", refused[i]);
		assert_true(error.text[0] != '\0');
	}
}

static void test_decode(void **state)
{
	char good[] = "a%41%2fz%25", bad[][8] = {"%", "%4", "%4g", "%00", "a%"};

	(void)state;
	assert_int_equal(url_decode(good), 0);
	assert_string_equal(good, "aA/z%");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(url_decode(bad[i]), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mask),  cmocka_unit_test(test_mask_cut),
		cmocka_unit_test(test_split), cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
