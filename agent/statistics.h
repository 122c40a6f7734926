/* What became of a probe's runs, in numbers that only go up: for /metrics. Pure, and small: there
 * may be ten thousand of them. */
#ifndef READYD_AGENT_STATISTICS_H
#define READYD_AGENT_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

#include "agent/health.h"
#include "agent/runner.h"

enum { DURATION_BUCKETS = 11 };

struct reason_count {
	uint64_t runs;
	enum probe_reason reason;
};

/* Zero-filled is valid and empty. */
struct statistics {
	uint64_t runs[PROBE_FAIL + 1];              /* by enum probe_state */
	uint64_t ok_runs;                           /* those whose reason was REASON_OK */
	uint64_t durations[DURATION_BUCKETS];       /* runs by how long they took */
	uint64_t duration_us;                       /* of all runs together */
	uint64_t phase_runs[PHASE_COUNT];           /* runs that got as far */
	uint64_t phase_us[PHASE_COUNT];             /* of all runs together */
	uint64_t transitions[STANDING_FAILING + 1]; /* by the standing that they led to */
	int64_t certificate_expires_s; /* of the last certificate that was seen; 0 = none ever */
	struct reason_count *reasons;  /* the other reasons that were seen, in that order */
	size_t reason_count;
};

/* Takes the result of one run. When memory lacks, its reason is not counted. */
void statistics_note(struct statistics *statistics, const struct probe_result *result);

/* Takes what a probe of the same name had before a reload changed it, so that its numbers go on;
 * `before` is empty afterwards. A certificate seen before is not taken: it may be another's. */
void statistics_inherit(struct statistics *statistics, struct statistics *before);

/* Frees what belongs to it. */
void statistics_release(struct statistics *statistics);

/* The longest duration that a bucket takes, in microseconds; the last one takes any: INT64_MAX. */
int64_t duration_bucket_us(int bucket);

#endif
