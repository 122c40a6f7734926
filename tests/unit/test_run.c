/* What of `run` is pure: the back-off, and the environment that its command gets. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/run_environment.h"
#include "agent/run_liveness.h"

enum { SECOND_US = 1000 * 1000 };

static void test_the_back_off_doubles_up_to_a_limit(void **unused)
{
	static const int64_t expected_s[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct settings settings = {
		.restart_delay_us = SECOND_US,
		.restart_delay_max_us = 60LL * SECOND_US,
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(expected_s) / sizeof(expected_s[0]); i++)
		assert_int_equal(restart_delay_us(&settings, (int64_t)i),
				 expected_s[i] * SECOND_US);
	assert_int_equal(restart_delay_us(&settings, INT64_MAX), 60LL * SECOND_US);
	settings.restart_delay_us = 0;
	assert_int_equal(restart_delay_us(&settings, INT64_MAX), 0);
	settings.restart_delay_us = 5LL * SECOND_US;
	settings.restart_delay_max_us = SECOND_US;
	assert_int_equal(restart_delay_us(&settings, 0), SECOND_US);
}

static void test_the_environment_is_clean(void **unused)
{
	static const char *const names[] = {"PATH",           "READYD_CONFIG",  "READYD",
					    "NOTIFY_SOCKET",  "NOTIFY_SOCKETS", "WATCHDOG_USEC",
					    "WATCHDOG_PID",   "LISTEN_FDS",     "LISTEN_PID",
					    "LISTEN_FDNAMES", "READYD_SERVICE", "READYD_SERVICES",
					    "MY_READYD_X"};
	static const char *const expected[] = {"PATH=x",           "READYD=x",
					       "NOTIFY_SOCKETS=x", "READYD_SERVICE=x",
					       "MY_READYD_X=x",    "NOTIFY_SOCKET=@y"};
	char own[] = "NOTIFY_SOCKET=@y", service[] = "READYD_SERVICE", nowhere[] = "READYD_NOWHERE";
	char *added[] = {own, NULL}, *passed[] = {service, nowhere};
	struct text_list pass = {.items = passed, .count = 2};
	char **environment;
	size_t i;

	(void)unused;
	clearenv();
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		setenv(names[i], "x", 1);
	environment = run_environment(&pass, added);
	assert_non_null(environment);
	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_non_null(environment[i]);
		assert_string_equal(environment[i], expected[i]);
	}
	assert_null(environment[i]);
	free(environment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_back_off_doubles_up_to_a_limit),
		cmocka_unit_test(test_the_environment_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
