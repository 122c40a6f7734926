/* Which form of an answer an Accept header or a name chooses. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/negotiate.h"

static const unsigned offered =
	FORMAT_BIT(FORMAT_TEXT) | FORMAT_BIT(FORMAT_JSON) | FORMAT_BIT(FORMAT_HEALTH_JSON);

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
		assert_int_equal(negotiate_format(rows[i].accept, offered, FORMAT_TEXT),
				 rows[i].format);
}

/* What is not offered is as good as unknown; what takes in anything is the usual. */
static void test_offers(void **unused)
{
	static const char browser[] =
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
	const unsigned page = FORMAT_BIT(FORMAT_HTML) | FORMAT_BIT(FORMAT_TEXT);

	(void)unused;
	assert_int_equal(negotiate_format(browser, page, FORMAT_TEXT), FORMAT_HTML);
	assert_int_equal(negotiate_format(browser, offered, FORMAT_TEXT), FORMAT_TEXT);
	assert_int_equal(negotiate_format("*/*", page, FORMAT_TEXT), FORMAT_TEXT);
	assert_int_equal(negotiate_format("text/*", page, FORMAT_TEXT), FORMAT_TEXT);
	assert_int_equal(negotiate_format("text/html;q=0", page, FORMAT_TEXT), FORMAT_TEXT);
	assert_int_equal(negotiate_format("application/json", page, FORMAT_TEXT), FORMAT_TEXT);
	assert_int_equal(negotiate_format("*/*", FORMAT_BIT(FORMAT_JSON), FORMAT_JSON),
			 FORMAT_JSON);
}

static void test_names(void **unused)
{
	enum format format = FORMAT_TEXT;
	struct buffer names;

	(void)unused;
	assert_true(format_by_name("health", offered, &format));
	assert_int_equal(format, FORMAT_HEALTH_JSON);
	assert_false(format_by_name("html", offered, &format));
	assert_false(format_by_name("", offered, &format));
	assert_false(format_by_name("Health", offered, &format));
	buffer_init(&names, 200);
	format_write_names(offered, &names);
	assert_string_equal(names.data, "text, json, health");
	buffer_free(&names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choices),
					   cmocka_unit_test(test_offers),
					   cmocka_unit_test(test_names)};

	return cmocka_run_group_tests_name("negotiate", tests, NULL, NULL);
}
