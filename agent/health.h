/* From single results to a standing, by the kubelet's streak rules. Pure: no clock, no I/O. */
#ifndef READYD_AGENT_HEALTH_H
#define READYD_AGENT_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"

/* What a probe counts as. Unknown until enough results of one kind have come: for liveness that is
 * as good as passing, for readiness and startup as bad as failing. */
enum standing { STANDING_UNKNOWN, STANDING_PASSING, STANDING_FAILING };

/* "unknown", "passing", "failing". */
const char *standing_name(enum standing standing);

struct health {
	enum standing standing;
	int64_t passes;     /* successive results that passed */
	int64_t failures;   /* successive counted failures */
	int64_t counted_us; /* when the run of the last counted failure began */
	bool ever_passed;
};

/* Takes one result. `success` is the verdict that the probe's role picked; `started_us` is when the
 * run began. Before the first pass a failure counts at most once a period, so that the quick tries
 * do not use up failureThreshold in an instant. Returns whether the standing has changed. */
bool health_apply(struct health *health, const struct probe_config *rules, bool success,
		  int64_t started_us);

/* Whether a probe of this role and standing lets its endpoint say 200. */
bool health_allows(enum role role, enum standing standing);

/* How long after the end of a run the next try comes while a probe has never passed: ten
 * milliseconds at first, backing off with the time already spent waiting, with what a run costs
 * and with how many probes are `waiting` in all, never longer than the period. All in microseconds.
 */
int64_t health_retry_delay_us(int64_t waited_us, int64_t run_us, int64_t period_us, size_t waiting);

/* The first moment after `now_us` that is a whole number of periods after `base_us` plus the
 * probe's place in the period. The places of probes number 0, 1, 2, … are spread evenly over it,
 * whatever their number. */
int64_t health_next_slot_us(int64_t base_us, int64_t period_us, uint64_t number, int64_t now_us);

#endif
