/* The exec probe's command line: the child's environment and arguments, and what people see of it.
 */
#include "probes/exec_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WORDS_MAX = 8 };

/* Texts that may be written to, as an argv is: the parts of `text` between bars. */
struct words {
	char text[700];
	char *items[WORDS_MAX + 1];
	size_t count;
};

static char *const *split(struct words *words, const char *text)
{
	char *rest = words->text;

	assert_true(strlen(text) < sizeof(words->text));
	memcpy(words->text, text, strlen(text) + 1);
	words->count = 0;
	while (rest) {
		assert_true(words->count < WORDS_MAX);
		words->items[words->count++] = strsep(&rest, "|");
	}
	words->items[words->count] = NULL;
	return words->items;
}

static void assert_texts(char **found, const char *expected)
{
	struct words words;
	size_t i = 0;

	assert_non_null(found);
	for (split(&words, expected); words.items[i]; i++) {
		assert_non_null(found[i]);
		assert_string_equal(found[i], words.items[i]);
	}
	assert_null(found[i]);
	free(found);
}

static void test_environment(void **state)
{
	struct words ours, more;
	struct pair_list none = {0}, list;
	struct pair pairs[4];

	(void)state;
	split(&ours, "PATH=/bin|READYD_READINESS_DB=postgres://a:b@c|A=1|AB=2|READYD_LISTEN=:80");
	assert_texts(exec_environment(ours.items, &none), "PATH=/bin|A=1|AB=2");
	split(&more, "A|3|NEW|x y|READYD_MODE|on|NEW|");
	for (size_t i = 0; i < COUNT(pairs); i++)
		pairs[i] = (struct pair){more.items[2 * i], more.items[2 * i + 1]};
	list = (struct pair_list){pairs, COUNT(pairs)};
	assert_texts(exec_environment(ours.items, &list), "PATH=/bin|AB=2|A=3|READYD_MODE=on|NEW=");
}

static void test_arguments(void **state)
{
	static const struct {
		const char *arguments, *expected;
	} rows[] = {
		{"x|--host=$(HOST):5432", "x|--host=db:5432"},
		{"$(HOST)$(EMPTY)$(HOSTNAME)|y", "dbx|y"},
		{"$(date) $(UNKNOWN) $(", "$(date) $(UNKNOWN) $("},
		{"$()", "$()"},
		{"$HOST ${HOST} $$ $", "$HOST ${HOST} $$ $"},
		{"$$(HOST) $$$(HOST)", "$(HOST) $$(HOST)"},
		{"x||y", "x||y"},
	};
	struct words environment;

	(void)state;
	split(&environment, "HOST=db|EMPTY=|HOSTNAME=x");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct words words;
		struct text_list command;

		split(&words, rows[i].arguments);
		command = (struct text_list){words.items, words.count};
		assert_texts(exec_arguments(&command, environment.items), rows[i].expected);
	}
}

static void describe(const char *arguments, char *text, size_t size)
{
	struct words words;
	struct text_list command;

	split(&words, arguments);
	command = (struct text_list){words.items, words.count};
	exec_describe(&command, text, size);
}

static void test_describe(void **state)
{
	static const struct {
		const char *arguments, *expected;
	} rows[] = {
		{"/app/check", "/app/check"},
		{"/app/check|--fast|a=b|10%", "/app/check --fast a=b 10%"},
		{"sh|-c|test -f /tmp/x && exit 0", "sh -c 'test -f /tmp/x && exit 0'"},
		{"echo||it's|a?", "echo '' 'it'\\''s' 'a?'"},
		{"x|--password=hunter2|y", "x --password=*** y"},
		{"x|--password|hunter2|y", "x --password *** y"},
		{"x|--api-token=hunter2", "x --api-token=***"},
		{"env|PGPASSWORD=hunter2|psql", "env PGPASSWORD=*** psql"},
		{"sh|-c|PGPASSWORD=hunter2 psql", "sh -c 'PGPASSWORD=*** psql'"},
		{"curl|https://u:hunter2@h/", "curl https://***@h/"},
		{"curl|-H|Authorization: Bearer hunter2", "curl -H Authorization:***"},
		{"curl|--header=authorization: hunter2", "curl --header=authorization:***"},
		{"curl|-H|X-Api-Key: hunter2|h", "curl -H X-Api-Key:*** h"},
		{"curl|-H|x-api-key:hunter2|h", "curl -H x-api-key:*** h"},
		{"curl|-H|Set-Cookie: a=b; c=d", "curl -H Set-Cookie:***"},
		{"curl|--header=Private-Token: hunter2", "curl --header=Private-Token:***"},
		{"sh|-c|curl -H 'X-Secret: hunter2' h", "sh -c 'curl -H '\\''X-Secret:***'"},
		{"curl|-HAuthorization: Bearer hunter2", "curl -HAuthorization:***"},
		{"x|{Authorization:hunter2}", "x '{Authorization:***'"},
		{"curl|-H|Accept: text/plain", "curl -H 'Accept: text/plain'"},
		{"nc|token-server:8080", "nc token-server:8080"},
		{"curl|http://token-server:8080/x", "curl http://token-server:8080/x"},
		{"curl|redis://u:a=key:b@h", "curl redis://u:***@h"},
		{"curl|u:secretkey:b@h", "curl u:***@h"},
		{"curl|-u|user:hunter2|h", "curl -u user:*** h"},
		{"curl|--user|user:hunt@er:2|h", "curl --user user:*** h"},
		{"curl|--user=user:hunter2|h", "curl --user=user:*** h"},
		{"curl|-u|--|user:hunter2|a:b", "curl -u -- user:*** a:b"},
		{"sudo|-u|app|a:b", "sudo -u app a:b"},
		{"check_snmp|--community|hunter2|x", "check_snmp --community *** x"},
		{"check_snmp|--community=hunter2|x", "check_snmp --community=*** x"},
		{"echo|--no-password|--token|hunter2", "echo --no-password --token ***"},
		{"echo|--no-password|shown", "echo --no-password shown"},
		{"x|--password|--token|hunter2|y", "x --password --token *** y"},
		{"x|--password|-hunter2|y", "x --password *** y"},
		{"x|--password|--hunter2|y", "x --password *** y"},
		{"x|--password|-u|user:hunter2|y", "x --password -u user:*** y"},
		{"x|--password|--|hunter2|y", "x --password -- *** y"},
		{"x|--password||y", "x --password *** y"},
		{"x|--password|*|y", "x --password *** y"},
		{"x|line\nline\x1b[31m", "x 'line?line?[31m'"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[256];

		describe(rows[i].arguments, text, sizeof(text));
		assert_string_equal(text, rows[i].expected);
	}
}

static void test_describe_cuts_without_showing_secrets(void **state)
{
	char text[40], arguments[600] = "psql|postgres://user:";

	(void)state;
	memset(arguments + strlen(arguments), 'p', 500);
	memcpy(arguments + strlen(arguments), "@host/db", 9);
	describe(arguments, text, sizeof(text));
	assert_string_equal(text, "psql postgres://user:***@host/db");
	describe(arguments, text, 10);
	assert_string_equal(text, "psql post");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_describe_cuts_without_showing_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
