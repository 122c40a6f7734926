/* Streaks, standings, back-off and the spread of schedules: all pure. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/health.h"

enum { SECOND_US = 1000 * 1000 };

static struct probe_config rules(enum role role, int64_t passes, int64_t failures)
{
	return (struct probe_config){.role = role,
				     .period_us = 10 * SECOND_US,
				     .success_threshold = passes,
				     .failure_threshold = failures};
}

/* Feeds results ("+-" for pass and fail) one period apart; returns the standings after each. */
static const char *feed(struct health *health, const struct probe_config *config,
			const char *results)
{
	static char standings[64];
	size_t i;

	for (i = 0; results[i] != '\0'; i++) {
		health_apply(health, config, results[i] == '+', (int64_t)i * config->period_us);
		standings[i] = standing_name(health->standing)[0];
	}
	standings[i] = '\0';
	return standings;
}

static void test_thresholds_of_the_kubelet(void **unused)
{
	struct probe_config config = rules(ROLE_READINESS, 1, 3);
	struct health health = {0};

	(void)unused;
	assert_string_equal(feed(&health, &config, "+--+---+"), "ppppppfp");
}

static void test_success_threshold(void **unused)
{
	struct probe_config config = rules(ROLE_READINESS, 3, 1);
	struct health health = {0};

	(void)unused;
	assert_string_equal(feed(&health, &config, "++-+++-"), "uufffpf");
}

static void test_a_result_of_the_other_kind_breaks_the_streak(void **unused)
{
	struct probe_config config = rules(ROLE_LIVENESS, 1, 2);
	struct health health = {0};

	(void)unused;
	assert_string_equal(feed(&health, &config, "-+-+-+--"), "uppppppf");
}

static void test_change_is_told_once(void **unused)
{
	struct probe_config config = rules(ROLE_READINESS, 1, 1);
	struct health health = {0};

	(void)unused;
	assert_true(health_apply(&health, &config, true, 0));
	assert_false(health_apply(&health, &config, true, 10 * SECOND_US));
	assert_true(health_apply(&health, &config, false, 20 * SECOND_US));
	assert_false(health_apply(&health, &config, false, 30 * SECOND_US));
	assert_int_equal(health.failures, 2);
	assert_true(health.ever_passed);
}

static void test_quick_tries_count_once_a_period(void **unused)
{
	struct probe_config config = rules(ROLE_STARTUP, 1, 3);
	struct health health = {0};
	int64_t now_us = 0;

	(void)unused;
	for (; now_us < 19 * SECOND_US; now_us += SECOND_US / 50)
		health_apply(&health, &config, false, now_us);
	assert_int_equal(health.standing, STANDING_UNKNOWN);
	for (; now_us < 31 * SECOND_US; now_us += SECOND_US / 50)
		health_apply(&health, &config, false, now_us);
	assert_int_equal(health.standing, STANDING_FAILING);
}

static void test_tries_between_periods_delay_nothing(void **unused)
{
	struct probe_config config = rules(ROLE_STARTUP, 1, 10);
	struct health health = {0};
	int64_t now_us = 0;

	(void)unused;
	/* Tries seven tenths of a period apart: the tenth failure counts after nine periods. */
	while (health.standing != STANDING_FAILING) {
		health_apply(&health, &config, false, now_us);
		now_us += 7 * SECOND_US;
	}
	assert_in_range(now_us - 7 * SECOND_US, 90LL * SECOND_US, 97LL * SECOND_US);
}

static void test_what_an_unknown_standing_allows(void **unused)
{
	(void)unused;
	assert_true(health_allows(ROLE_LIVENESS, STANDING_UNKNOWN));
	assert_false(health_allows(ROLE_READINESS, STANDING_UNKNOWN));
	assert_false(health_allows(ROLE_STARTUP, STANDING_UNKNOWN));
	for (int role = 0; role < ROLE_COUNT; role++) {
		assert_true(health_allows((enum role)role, STANDING_PASSING));
		assert_false(health_allows((enum role)role, STANDING_FAILING));
	}
}

static void test_retries_back_off_to_the_period(void **unused)
{
	int64_t before_us = 0;

	(void)unused;
	assert_in_range(health_retry_delay_us(0, 0, 10 * SECOND_US, 1), 1000, 50 * 1000);
	for (int64_t waited_us = 0; waited_us < 3600LL * SECOND_US; waited_us += SECOND_US) {
		int64_t delay_us = health_retry_delay_us(waited_us, 100, 10 * SECOND_US, 1);

		assert_true(delay_us >= before_us);
		assert_true(delay_us <= 10 * SECOND_US);
		before_us = delay_us;
	}
	assert_int_equal(before_us, 10 * SECOND_US);
	assert_int_equal(health_retry_delay_us(0, 0, 5000, 1), 5000);
	/* Ten thousand together leave the loop time for other things. */
	assert_true(health_retry_delay_us(0, 0, 10 * SECOND_US, 10000) >= SECOND_US / 2);
	/* What is costly is not tried more than half of the time. */
	assert_int_equal(health_retry_delay_us(0, 300 * 1000, 10 * SECOND_US, 1), 300 * 1000);
}

static void test_slots_keep_the_period(void **unused)
{
	int64_t base_us = 123456789, period_us = 10 * SECOND_US;

	(void)unused;
	for (uint64_t number = 0; number < 100; number++) {
		int64_t first_us = health_next_slot_us(base_us, period_us, number, base_us);
		int64_t second_us = health_next_slot_us(base_us, period_us, number, first_us);

		assert_true(first_us > base_us || number == 0);
		assert_true(first_us <= base_us + period_us);
		assert_int_equal(second_us - first_us, period_us);
		/* A late run does not shift the schedule, and missed slots are left out. */
		assert_int_equal(health_next_slot_us(base_us, period_us, number,
						     first_us + period_us / 2),
				 second_us);
		assert_int_equal(health_next_slot_us(base_us, period_us, number,
						     first_us + period_us * 7 / 2),
				 first_us + 4 * period_us);
	}
}

static int ascending(const void *left, const void *right)
{
	int64_t difference = *(const int64_t *)left - *(const int64_t *)right;

	return difference < 0 ? -1 : difference > 0;
}

static void test_probes_are_spread_whatever_their_number(void **unused)
{
	static int64_t places_us[10000];

	(void)unused;
	for (size_t count = 2; count <= 10000; count = count * 3 + 1) {
		int64_t widest_us = 0;

		for (size_t i = 0; i < count; i++)
			places_us[i] = health_next_slot_us(0, SECOND_US, i, 0);
		qsort(places_us, count, sizeof(places_us[0]), ascending);
		for (size_t i = 1; i < count; i++) {
			int64_t gap_us = places_us[i] - places_us[i - 1];

			if (gap_us > widest_us)
				widest_us = gap_us;
		}
		/* No gap is wider than a few times what an even spread would leave. */
		assert_true(widest_us <= 3 * SECOND_US / (int64_t)count + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thresholds_of_the_kubelet),
		cmocka_unit_test(test_success_threshold),
		cmocka_unit_test(test_a_result_of_the_other_kind_breaks_the_streak),
		cmocka_unit_test(test_change_is_told_once),
		cmocka_unit_test(test_quick_tries_count_once_a_period),
		cmocka_unit_test(test_tries_between_periods_delay_nothing),
		cmocka_unit_test(test_what_an_unknown_standing_allows),
		cmocka_unit_test(test_retries_back_off_to_the_period),
		cmocka_unit_test(test_slots_keep_the_period),
		cmocka_unit_test(test_probes_are_spread_whatever_their_number),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
