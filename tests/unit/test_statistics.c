/* What is counted of runs. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/statistics.h"

static struct probe_result result_of(enum probe_state state, enum probe_reason reason,
				     int64_t duration_us)
{
	return (struct probe_result){.state = state,
				     .reason = reason,
				     .duration_us = duration_us,
				     .phase_us = {-1, -1, -1, -1}};
}

static void test_runs_and_reasons(void **state)
{
	static const enum probe_reason reasons[] = {REASON_TIMEOUT, REASON_OK, REASON_LOADING,
						    REASON_TIMEOUT};
	struct statistics statistics = {0};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		bool ok = reasons[i] == REASON_OK;
		struct probe_result result =
			result_of(ok ? PROBE_PASS : PROBE_FAIL, reasons[i], 100);

		statistics_note(&statistics, &result);
	}
	assert_int_equal(statistics.runs[PROBE_PASS], 1);
	assert_int_equal(statistics.runs[PROBE_FAIL], 3);
	assert_int_equal(statistics.ok_runs, 1);
	assert_int_equal(statistics.reason_count, 2);
	assert_int_equal(statistics.reasons[0].reason, REASON_TIMEOUT);
	assert_int_equal(statistics.reasons[0].runs, 2);
	assert_int_equal(statistics.reasons[1].reason, REASON_LOADING);
	statistics_release(&statistics);
}

static void test_every_reason_fits(void **state)
{
	struct statistics statistics = {0};

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int reason = 0; reason < PROBE_REASON_COUNT; reason++) {
			struct probe_result result =
				result_of(PROBE_FAIL, (enum probe_reason)reason, 1);

			statistics_note(&statistics, &result);
		}
	}
	assert_int_equal(statistics.reason_count, PROBE_REASON_COUNT - 1);
	for (size_t i = 0; i < statistics.reason_count; i++)
		assert_int_equal(statistics.reasons[i].runs, 2);
	statistics_release(&statistics);
}

/* A bucket takes what is as long as its bound, and what is longer than all bounds has one too. */
static void test_buckets(void **state)
{
	struct statistics statistics = {0};

	(void)state;
	for (int i = 0; i < DURATION_BUCKETS; i++) {
		struct probe_result result = result_of(PROBE_PASS, REASON_OK, 0);

		result.duration_us = i < DURATION_BUCKETS - 1 ? duration_bucket_us(i) : 3600000000;
		statistics_note(&statistics, &result);
		assert_int_equal(statistics.durations[i], 1);
		if (i > 0)
			assert_true(duration_bucket_us(i) > duration_bucket_us(i - 1));
	}
	assert_int_equal(statistics.duration_us, 14416000 + 3600000000);
}

static void test_phases_that_were_not_reached(void **state)
{
	struct statistics statistics = {0};
	struct probe_result result = result_of(PROBE_FAIL, REASON_TIMEOUT, 1000);

	(void)state;
	result.phase_us[PHASE_CONNECT] = 700;
	statistics_note(&statistics, &result);
	result.phase_us[PHASE_CONNECT] = 0;
	statistics_note(&statistics, &result);
	assert_int_equal(statistics.phase_runs[PHASE_CONNECT], 2);
	assert_int_equal(statistics.phase_us[PHASE_CONNECT], 700);
	assert_int_equal(statistics.phase_runs[PHASE_TLS], 0);
	assert_int_equal(statistics.phase_us[PHASE_TLS], 0);
	statistics_release(&statistics);
}

static void test_inheritance(void **state)
{
	struct statistics before = {0}, after = {0};
	struct probe_result result = result_of(PROBE_FAIL, REASON_TIMEOUT, 1000);

	(void)state;
	result.certificate_expires_s = 1234;
	statistics_note(&before, &result);
	assert_int_equal(before.certificate_expires_s, 1234);
	result.certificate_expires_s = 0;
	statistics_note(&before, &result);
	assert_int_equal(before.certificate_expires_s, 1234);
	statistics_inherit(&after, &before);
	assert_int_equal(after.runs[PROBE_FAIL], 2);
	assert_int_equal(after.reasons[0].runs, 2);
	assert_int_equal(after.certificate_expires_s, 0);
	assert_null(before.reasons);
	assert_int_equal(before.runs[PROBE_FAIL], 0);
	statistics_release(&after);
	statistics_release(&before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_and_reasons),
		cmocka_unit_test(test_every_reason_fits),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_phases_that_were_not_reached),
		cmocka_unit_test(test_inheritance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
