/* How metrics are written. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/exposition.h"

static struct buffer buffer;

static int set_up(void **state)
{
	(void)state;
	buffer_init(&buffer, 4096);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	buffer_free(&buffer);
	return 0;
}

static void test_family(void **state)
{
	static const struct metric_family counter = {"x_runs", METRIC_COUNTER, NULL, "Runs."};
	static const struct metric_family info = {"x", METRIC_INFO, NULL, "It."};
	static const struct metric_family sizes = {"x_bytes", METRIC_GAUGE, "bytes", "Size."};

	(void)state;
	exposition_family(&buffer, &counter, false);
	exposition_family(&buffer, &info, false);
	exposition_family(&buffer, &sizes, false);
	exposition_end(&buffer, false);
	assert_string_equal(buffer.data, "# HELP x_runs_total Runs.\n"
					 "# TYPE x_runs_total counter\n"
					 "# HELP x_info It.\n"
					 "# TYPE x_info gauge\n"
					 "# HELP x_bytes Size.\n"
					 "# TYPE x_bytes gauge\n");
	buffer_clear(&buffer);
	exposition_family(&buffer, &counter, true);
	exposition_family(&buffer, &info, true);
	exposition_family(&buffer, &sizes, true);
	exposition_end(&buffer, true);
	assert_string_equal(buffer.data, "# HELP x_runs Runs.\n"
					 "# TYPE x_runs counter\n"
					 "# HELP x It.\n"
					 "# TYPE x info\n"
					 "# HELP x_bytes Size.\n"
					 "# TYPE x_bytes gauge\n"
					 "# UNIT x_bytes bytes\n"
					 "# EOF\n");
}

static void test_label(void **state)
{
	(void)state;
	exposition_label(&buffer, true, "a", "plain \xc3\xa9");
	exposition_label(&buffer, false, "b", "\"\\\n");
	exposition_label(&buffer, false, "c", "\xff.");
	assert_string_equal(buffer.data,
			    "a=\"plain \xc3\xa9\",b=\"\\\"\\\\\\n\",c=\"\xef\xbf\xbd.\"");
}

static void test_integers(void **state)
{
	(void)state;
	exposition_integer(&buffer, 0);
	exposition_integer(&buffer, 10);
	exposition_integer(&buffer, UINT64_MAX);
	assert_string_equal(buffer.data, " 0\n 10\n 18446744073709551615\n");
}

static void test_seconds(void **state)
{
	(void)state;
	exposition_microseconds(&buffer, 0);
	exposition_microseconds(&buffer, 1);
	exposition_microseconds(&buffer, 50000);
	exposition_microseconds(&buffer, 2000000);
	exposition_microseconds(&buffer, UINT64_MAX);
	exposition_milliseconds(&buffer, 1700000000123);
	assert_string_equal(buffer.data, " 0\n 0.000001\n 0.05\n 2\n 18446744073709.551615\n"
					 " 1700000000.123\n");
}

static void test_numbers(void **state)
{
	(void)state;
	exposition_number(&buffer, -1.5);
	exposition_number(&buffer, NAN);
	exposition_number(&buffer, INFINITY);
	exposition_number(&buffer, -INFINITY);
	exposition_number(&buffer, 1e300);
	assert_string_equal(buffer.data, " -1.5\n NaN\n +Inf\n -Inf\n 1e+300\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_family, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_label, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_integers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_seconds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
