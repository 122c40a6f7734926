/* Nagios performance data: the grammar, several lines, limits, and bytes that are none of it. */
#include "probes/perfdata.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct perfdata_list list;

static void parse(const char *output)
{
	/* an exact copy, so that a sanitizer sees each byte read beyond the end */
	size_t len = strlen(output);
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, output, len);
	perfdata_parse(copy, len, &list);
	free(copy);
}

/* Both the same number, or both none. */
static void assert_number(double found, double expected)
{
	if (isnan(expected))
		assert_true(isnan(found));
	else
		assert_true(found == expected);
}

static void assert_item(size_t index, const char *label, double value, const char *unit)
{
	assert_true(index < list.count);
	assert_string_equal(list.items[index].label, label);
	assert_number(list.items[index].value, value);
	assert_string_equal(list.items[index].unit, unit);
}

static void test_one_value(void **state)
{
	static const struct {
		const char *text, *label;
		double value;
		const char *unit, *warning, *critical;
		double minimum, maximum;
	} rows[] = {
		{"time=0.5s", "time", 0.5, "s", "", "", NAN, NAN},
		{"time=0.5s;1;2;0;10", "time", 0.5, "s", "1", "2", 0, 10},
		{"/=2643MB;5948;5958;0;5968", "/", 2643, "MB", "5948", "5958", 0, 5968},
		{"'/var/lib'=1%;80;90", "/var/lib", 1, "%", "80", "90", NAN, NAN},
		{"'C:\\ Label:  Serial'=1", "C:\\ Label:  Serial", 1, "", "", "", NAN, NAN},
		{"'it''s'=1c", "it's", 1, "c", "", "", NAN, NAN},
		{"''''=1", "'", 1, "", "", "", NAN, NAN},
		{"'a=b'=1", "a=b", 1, "", "", "", NAN, NAN},
		{"load1=0.010;5.000;10.000;0;", "load1", 0.01, "", "5.000", "10.000", 0, NAN},
		{"x=1;;;;", "x", 1, "", "", "", NAN, NAN},
		{"x=1;;5", "x", 1, "", "", "5", NAN, NAN},
		{"x=1;@10:20;~:5;-3;1e3", "x", 1, "", "@10:20", "~:5", -3, 1000},
		{"x=-1.5e-3us", "x", -0.0015, "us", "", "", NAN, NAN},
		{"x=1e", "x", 1, "e", "", "", NAN, NAN},
		{"x=+.5", "x", 0.5, "", "", "", NAN, NAN},
		{"x=5.", "x", 5, "", "", "", NAN, NAN},
		{"x=U", "x", NAN, "", "", "", NAN, NAN},
		{"x=U;1;2", "x", NAN, "", "1", "2", NAN, NAN},
		{"x=3\xc2\xb5s", "x", 3, "\xc2\xb5s", "", "", NAN, NAN},
		{"x=1;;;low;1x", "x", 1, "", "", "", NAN, NAN},
		{"x=1;1234567890123456789012345678901;2", "x", 1, "",
		 "1234567890123456789012345678901", "2", NAN, NAN},
		/* a cut limit would be another one */
		{"x=1;12345678901234567890123456789012;2", "x", 1, "", "", "2", NAN, NAN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char output[128];

		snprintf(output, sizeof(output), "OK | %s\n", rows[i].text);
		parse(output);
		if (list.count != 1)
			fail_msg("%s: %zu values", rows[i].text, list.count);
		assert_item(0, rows[i].label, rows[i].value, rows[i].unit);
		assert_string_equal(list.items[0].warning, rows[i].warning);
		assert_string_equal(list.items[0].critical, rows[i].critical);
		assert_number(list.items[0].minimum, rows[i].minimum);
		assert_number(list.items[0].maximum, rows[i].maximum);
	}
}

static void test_garbage_is_left_out(void **state)
{
	static const char *const rows[] = {
		"=1",       "x",
		"x=",       "x=;1;2",
		"x=one",    "x=s1",
		"''=1",     "'open=1",
		"a'b=1",    "x=1,5",
		"x=1.2.3",  "x=1-2",
		"x=0x10",   "x=1s5",
		"x=inf",    "x=nan",
		"x=-",      "x=.",
		"x=1=2",    "x=Unknown",
		"x=1e999",  "x = 1",
		"\x01=1",   "x=1\x01",
		"'a\tb'=1", "x=1aaaaaaaaaaaaaaaa",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char output[128];

		snprintf(output, sizeof(output), "OK | first=1 %s last=2", rows[i]);
		parse(output);
		if (list.count != 2)
			fail_msg("%s: %zu values", rows[i], list.count);
		assert_item(0, "first", 1, "");
		assert_item(1, "last", 2, "");
	}
}

static void test_several_lines(void **state)
{
	(void)state;
	parse("DISK OK - free | /=1MB;2;3;4;5\n"
	      "/boot 68 MB\n"
	      "/home 69 MB (a=1)| /boot=6MB\n"
	      "/home=7MB | /var=8MB\n");
	assert_int_equal(list.count, 4);
	assert_item(0, "/", 1, "MB");
	assert_item(1, "/boot", 6, "MB");
	assert_item(2, "/home", 7, "MB");
	assert_item(3, "/var", 8, "MB");
	parse("OK\nlong text\n|a=1");
	assert_int_equal(list.count, 1);
	parse("OK a=1 b=2\nc=3");
	assert_int_equal(list.count, 0);
	parse("OK|a=1\r\n");
	assert_int_equal(list.count, 1);
	assert_item(0, "a", 1, "");
	parse("|");
	assert_int_equal(list.count, 0);
	parse("");
	assert_int_equal(list.count, 0);
}

static void test_real_plugins(void **state)
{
	(void)state;
	parse("LOAD OK - total load average: 0.13, 0.08, 0.02|load1=0.130;5.000;10.000;0; "
	      "load5=0.080;4.000;6.000;0; load15=0.020;3.000;4.000;0; \n");
	assert_int_equal(list.count, 3);
	assert_item(2, "load15", 0.02, "");
	parse("PING OK - Packet loss = 0%, RTA = 0.80 ms|rta=0.80ms;100;500;0 pl=0%;20;60;0\n");
	assert_int_equal(list.count, 2);
	assert_item(1, "pl", 0, "%");
	assert_number(list.items[1].minimum, 0);
	parse("TCP OK - 0.000 second response time on 127.0.0.1 port 22"
	      "|time=0.000262s;;;0.000000;10.000000");
	assert_item(0, "time", 0.000262, "s");
	assert_number(list.items[0].maximum, 10);
}

static void test_limits(void **state)
{
	char output[PERFDATA_MAX * 16 + 64] = "OK |";

	(void)state;
	for (int i = 0; i < PERFDATA_MAX + 8; i++)
		snprintf(output + strlen(output), sizeof(output) - strlen(output), " v%d=%d", i, i);
	parse(output);
	assert_int_equal(list.count, PERFDATA_MAX);
	assert_item(PERFDATA_MAX - 1, "v31", 31, "");
	parse("OK | a=1 a=2 b=3");
	assert_int_equal(list.count, 2);
	assert_item(0, "a", 1, "");
	assert_item(1, "b", 3, "");
}

static void test_long_labels_are_cut_between_characters(void **state)
{
	char output[256] = "OK | '";

	(void)state;
	memset(output + 6, 'a', 61);
	memcpy(output + 67, "\xe2\x82\xac\xe2\x82\xac'=7", 10);
	parse(output);
	assert_int_equal(list.count, 1);
	assert_int_equal(strlen(list.items[0].label), 61);
	assert_number(list.items[0].value, 7);
}

/* Bytes that are likely to lead somewhere, in any order. What comes out must at least be whole. */
static void test_any_bytes(void **state)
{
	static const char alphabet[] = "||==;;''  \n\n019.-+eEU%msa\0\xff\x01";
	uint32_t seed = 12345;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)(round % 97);
		char *text = malloc(len > 0 ? len : 1);

		assert_non_null(text);
		for (size_t i = 0; i < len; i++) {
			seed = seed * 1664525 + 1013904223;
			text[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		perfdata_parse(text, len, &list);
		free(text);
		assert_true(list.count <= PERFDATA_MAX);
		for (size_t i = 0; i < list.count; i++) {
			assert_true(list.items[i].label[0] != '\0');
			assert_true(fabs(list.items[i].value) < INFINITY ||
				    isnan(list.items[i].value));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_value),
		cmocka_unit_test(test_garbage_is_left_out),
		cmocka_unit_test(test_several_lines),
		cmocka_unit_test(test_real_plugins),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_long_labels_are_cut_between_characters),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
