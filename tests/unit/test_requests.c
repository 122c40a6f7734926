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
		const char *method, *user_agent;
		bool has_host;
		enum asker_kind kind;
	} cases[] = {
		{"GET", "kube-probe/1.34", true, ASKER_KUBELET},
		{"GET", "Envoy/HC", true, ASKER_ENVOY},
		{"GET", "Prometheus/2.42.0", true, ASKER_PROMETHEUS},
		{"GET", "Go-http-client/1.1", true, ASKER_GO},
		{"GET", "Traefik", true, ASKER_TRAEFIK},
		{"GET", "HAProxy", true, ASKER_HAPROXY},
		{"OPTIONS", NULL, false, ASKER_HAPROXY}, /* option httpchk */
		{"GET", NULL, false, ASKER_HAPROXY},     /* option httpchk GET /ready */
		{"OPTIONS", NULL, true, ASKER_HAPROXY},
		{"GET", NULL, true, ASKER_OTHER},
		{"GET", "", false, ASKER_OTHER},
		{"GET", "curl/8.14.1", true, ASKER_OTHER},
		{"OPTIONS", "Mozilla/5.0", true, ASKER_OTHER},
		{"GET", "kube-prob", true, ASKER_OTHER},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(asker_kind_of(cases[i].method, cases[i].user_agent,
					       cases[i].has_host),
				 cases[i].kind);
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
	assert_true(counts->last_wall_ms > 0);
	assert_int_equal(requests.counts[SUBJECT_READINESS][ASKER_OTHER].last_wall_ms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_askers),
		cmocka_unit_test(test_names_and_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
