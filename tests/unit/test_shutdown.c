/* How the grace period is divided: pure. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/shutdown.h"

enum { MS = 1000 };

/* All in milliseconds, as the plan is. */
struct division {
	int64_t grace, delay, stop; /* the settings */
	bool has_command;
	int64_t drained;
	int64_t planned_delay, lacking, planned_stop;
};

static void check(const struct division *division)
{
	struct settings settings = {
		.grace_period_us = division->grace * MS,
		.drain_delay_us = division->delay * MS,
		.stop_timeout_us = division->stop * MS,
	};
	struct shutdown_plan plan =
		shutdown_plan(&settings, division->has_command, division->drained * MS);

	assert_int_equal(plan.delay_us, division->planned_delay * MS);
	assert_int_equal(plan.lacking_us, division->lacking * MS);
	assert_int_equal(plan.stop_timeout_us, division->planned_stop * MS);
}

static void test_divides_the_grace_period(void **unused)
{
	static const struct division divisions[] = {
		/* The defaults fit Docker's ten seconds. */
		{10000, 5000, 4000, true, 0, 5000, 0, 4000},
		{30000, 15000, 10000, true, 0, 15000, 0, 10000},
		/* The command's share comes first, half a second is kept for what follows. */
		{10000, 15000, 4000, true, 0, 5500, 9500, 4000},
		{10000, 5000, 8000, true, 0, 1500, 3500, 8000},
		{10000, 5000, 60000, true, 0, 0, 5000, 9500},
		{1000, 5000, 4000, true, 0, 0, 5000, 500},
		/* Nothing is cut that nobody wanted. */
		{1000, 0, 4000, true, 0, 0, 0, 500},
		/* Without a command the delay has all. */
		{10000, 9000, 4000, false, 0, 9000, 0, 0},
		{10000, 15000, 4000, false, 0, 9500, 5500, 0},
		/* Who has been out of service already has been seen so. */
		{10000, 5000, 4000, true, 2000, 3000, 0, 4000},
		{10000, 5000, 4000, true, 60000, 0, 0, 4000},
		{10000, 15000, 4000, true, 10000, 5000, 0, 4000},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(divisions) / sizeof(divisions[0]); i++)
		check(&divisions[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_divides_the_grace_period),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
