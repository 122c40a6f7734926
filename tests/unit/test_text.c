/* Texts from outside become printable; UTF-8. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/text.h"
#include "agent/utf8.h"

static void test_printable(void **unused)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{"", ""},
		{"plain text", "plain text"},
		{"größer 日本語 🙂", "größer 日本語 🙂"},
		{"a\nb\rc\td", "a b c d"},
		{"\033[31mred\177", " [31mred "},
		{"c1\xc2\x9b!", "c1  !"},
		{"next\xe2\x80\xa8line\xe2\x80\xa9", "next   line   "},
		{"\xe2\x80\xaereversed", "   reversed"},
		{"bad\xff\xc3", "bad??"},
		{"long\xc0\x80nul", "long??nul"},
		{"half\xe2\x82", "half??"},
		{"surrogate\xed\xa0\x80", "surrogate???"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", rows[i].text);
		text_make_printable(text);
		assert_string_equal(text, rows[i].expected);
	}
}

static void test_decoding(void **unused)
{
	unsigned code = 0;

	(void)unused;
	assert_int_equal(utf8_decode("A", 1, &code), 1);
	assert_int_equal(code, 'A');
	assert_int_equal(utf8_decode("\xf4\x8f\xbf\xbf", 4, &code), 4);
	assert_int_equal(code, 0x10ffff);
	assert_int_equal(utf8_decode("\xf4\x90\x80\x80", 4, &code), 0);
	assert_int_equal(utf8_decode("\xe2\x82\xac", 2, &code), 0);
	assert_int_equal(utf8_decode("\xe2\x82\xac", 3, &code), 3);
	assert_int_equal(code, 0x20ac);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_decoding),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
