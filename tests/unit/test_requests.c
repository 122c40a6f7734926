/* Who asks, by what their requests look like. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/requests.h"

static void test_askers(void **state)
{
	static const struct {
		const char *user_agent;
		enum asker_kind kind;
	} cases[] = {
		{"kube-probe/1.34", ASKER_KUBELET},
		{"Envoy/HC", ASKER_ENVOY},
		{"Prometheus/2.42.0", ASKER_PROMETHEUS},
		{"Go-http-client/1.1", ASKER_GO},
		{"Traefik", ASKER_TRAEFIK},
		{"HAProxy", ASKER_HAPROXY},
		{NULL, ASKER_HAPROXY},
		{"", ASKER_OTHER},
		{"curl/8.14.1", ASKER_OTHER},
		{"kube-prob", ASKER_OTHER},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(asker_kind_of(cases[i].user_agent), cases[i].kind);
}

static void test_names_and_statuses(void **state)
{
	struct requests requests = {0};
	const struct request_counts *counts = &requests.counts[SUBJECT_READINESS][ASKER_GO];

	(void)state;
	for (int i = 0; i < SUBJECT_COUNT; i++)
		assert_non_null(request_subject_name((enum request_subject)i));
	for (int i = 0; i < ASKER_KINDS; i++)
		assert_non_null(asker_kind_name((enum asker_kind)i));
	assert_string_equal(request_subject_name(SUBJECT_READINESS), "ready");
	requests_note(&requests, SUBJECT_READINESS, ASKER_GO, 503);
	requests_note(&requests, SUBJECT_READINESS, ASKER_GO, 418);
	requests_note(&requests, SUBJECT_READINESS, ASKER_GO, 503);
	for (int i = 0; i < REQUEST_STATUSES; i++) {
		unsigned status = request_status(i);

		assert_int_equal(counts->by_status[i], status == 503 ? 2 : status == 0 ? 1 : 0);
	}
	for (int i = 0; i < REQUEST_STATUSES; i++)
		assert_true(strlen(request_status_name(i)) > 0);
	assert_true(counts->last_wall_ms > 0);
	assert_int_equal(requests.counts[SUBJECT_READINESS][ASKER_OTHER].last_wall_ms, 0);
}

/* How many answers are to be expected of an asker. */
static int expected_count(enum request_subject subject, enum asker_kind kind)
{
	int count = 0;

	for (int i = 0; i < REQUEST_STATUSES; i++)
		count += request_is_expected(subject, kind, i);
	return count;
}

static void test_expected(void **state)
{
	(void)state;
	assert_int_equal(expected_count(SUBJECT_LIVENESS, ASKER_KUBELET), 4);
	assert_int_equal(expected_count(SUBJECT_READINESS, ASKER_KUBELET), 5);
	assert_int_equal(expected_count(SUBJECT_READINESS, ASKER_CHECK), 6);
	assert_int_equal(expected_count(SUBJECT_METRICS, ASKER_PROMETHEUS), 3);
	assert_int_equal(expected_count(SUBJECT_AGENT_CHECK, ASKER_HAPROXY), 3);
	assert_int_equal(expected_count(SUBJECT_AGENT_CHECK, ASKER_OTHER), 0);
	/* the last one stands for what is not expected */
	assert_false(request_is_expected(SUBJECT_OTHER, ASKER_OTHER, REQUEST_STATUSES - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_askers),
		cmocka_unit_test(test_names_and_statuses),
		cmocka_unit_test(test_expected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
