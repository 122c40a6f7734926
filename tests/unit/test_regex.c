/* Which regular expressions are taken, and that those are quick. */
#include "agent/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { TEXT_LEN = 64 * 1024, PATIENCE_SECONDS = 5 };

/* Compiles, and searches a text that goes on as long as the match may. */
static void assert_quick(const char *pattern)
{
	static char text[TEXT_LEN + 1];
	struct error error = {""};
	clock_t begin = clock();
	regex_t *regex = regex_compile(pattern, "expectRegex", &error);

	if (!regex)
		fail_msg("%s: %s", pattern, error.text);
	memset(text, 'a', TEXT_LEN);
	assert_int_equal(regexec(regex, text, 0, NULL, 0), REG_NOMATCH);
	regex_free(regex);
	if ((clock() - begin) / CLOCKS_PER_SEC >= PATIENCE_SECONDS)
		fail_msg("%s takes too long", pattern);
	if (getenv("REGEX_TIMES"))
		printf("%ld ms %s\n", (clock() - begin) * 1000 / CLOCKS_PER_SEC, pattern);
}

static void test_taken(void **state)
{
	static const char *const patterns[] = {
		"a{1,60}b",
		"(a{1,60}){1,10}b",
		"((a{1,8}){1,8}){1,8}b",
		"(a?){60}b",
		"(a*)*b",
		"(a|a|a|a|a|a|a|a|a|a)*b",
		"[a-z0-9._-]{1,63}(\\.[a-z0-9-]{1,30}){1,4}b",
		"^\\{\"status\": *\"(up|ok)\"\\}$",
		"\"[^\"]*\\[[]{]+\"",
		"[[:alpha:]]{255}[[:digit:]]",
		"\\({9}\\)",
		"[({[1,255}]{200}b",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		assert_quick(patterns[i]);
}

static void test_refused(void **state)
{
	static const struct {
		const char *pattern, *why;
	} rows[] = {
		{"((a{1,60}){1,60}){1,60}", "repeats so much"},
		{"(((a{30}){30}){30}){30}", "repeats so much"},
		{"a{99}{99}{99}", "repeats so much"},
		{"(a{1,200}){200,}", "repeats so much"},
		{"x|(y|[)]{255}){255}", "repeats so much"},
		{"[]{]{255}[^]a]{255}([[:alpha:]]{255}){255}", "repeats so much"},
		{"\\\\({255}(a{255}){255})", "repeats so much"},
		{"((){255}){255}", "repeats so much"},
		{"((^){255}){255}", "repeats so much"},
		{"(a?){255}b", "repeats so much"},
		{"a)(a{255}){255}", "repeats so much"},
		{"(a", "no POSIX extended regular expression: "},
		{"a{2,1}", "no POSIX extended regular expression: "},
		{"[a", "no POSIX extended regular expression: "},
		{"a\\", "no POSIX extended regular expression: "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {""};

		if (regex_compile(rows[i].pattern, "bodyRegex", &error))
			fail_msg("accepted: %s", rows[i].pattern);
		if (strncmp(error.text, "bodyRegex ", 10) != 0 || !strstr(error.text, rows[i].why))
			fail_msg("%s: %s", rows[i].pattern, error.text);
	}
}

static void test_length(void **state)
{
	char pattern[REGEX_PATTERN_MAX + 2];
	struct error error = {""};
	regex_t *regex;

	(void)state;
	memset(pattern, 'x', sizeof(pattern));
	pattern[REGEX_PATTERN_MAX + 1] = '\0';
	assert_null(regex_compile(pattern, "bodyRegex", &error));
	assert_string_equal(error.text, "bodyRegex has 1001 bytes, expected at most 1000");
	pattern[REGEX_PATTERN_MAX] = '\0';
	regex = regex_compile(pattern, "bodyRegex", &error);
	assert_non_null(regex);
	regex_free(regex);
	/* Nothing but brackets, which are read within each other. */
	memset(pattern, '(', REGEX_PATTERN_MAX);
	assert_null(regex_compile(pattern, "bodyRegex", &error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
