/* Accept headers, and which form of an answer they choose. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/negotiate.h"

static void test_choices(void **unused)
{
	static const struct {
		const char *accept;
		enum format format;
	} rows[] = {
		{NULL, FORMAT_TEXT},
		{"", FORMAT_TEXT},
		{"*/*", FORMAT_TEXT},
		{"text/html", FORMAT_TEXT},
		{"application/json", FORMAT_JSON},
		{"APPLICATION/JSON", FORMAT_JSON},
		{"application/json; charset=utf-8", FORMAT_JSON},
		{"application/health+json", FORMAT_HEALTH_JSON},
		{"application/health+json, application/json", FORMAT_HEALTH_JSON},
		{"application/json, application/health+json", FORMAT_JSON},
		{"application/json;q=0.2, application/health+json;q=0.3", FORMAT_HEALTH_JSON},
		{"application/json;q=0.5, */*", FORMAT_TEXT},
		{"application/json;q=0", FORMAT_TEXT},
		{"application/json ; q=0.001,text/plain;q=0", FORMAT_JSON},
		{"text/html, application/json", FORMAT_JSON},
		{"application/jsonlines", FORMAT_TEXT},
		{"application/json;q", FORMAT_JSON},
		{"application/json;q=", FORMAT_JSON},
		{",,,;;;q=,application/json", FORMAT_JSON},
		{"application/json;version=2;q=0.1, text/plain;q=0.2", FORMAT_TEXT},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(negotiate_format(rows[i].accept), rows[i].format);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choices)};

	return cmocka_run_group_tests_name("negotiate", tests, NULL, NULL);
}
