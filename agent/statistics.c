#include "agent/statistics.h"

#include <stdlib.h>

int64_t duration_bucket_us(int bucket)
{
	static const int64_t longest_us[DURATION_BUCKETS] = {
		1000,   5000,    10000,   50000,    100000,    250000,
		500000, 1000000, 2500000, 10000000, INT64_MAX,
	};

	return longest_us[bucket];
}

static void note_reason(struct statistics *statistics, enum probe_reason reason)
{
	struct reason_count *reasons = statistics->reasons;

	if (reason == REASON_OK) {
		statistics->ok_runs++;
		return;
	}
	for (size_t i = 0; i < statistics->reason_count; i++) {
		if (reasons[i].reason == reason) {
			reasons[i].runs++;
			return;
		}
	}
	reasons = realloc(reasons, (statistics->reason_count + 1) * sizeof(*reasons));
	if (!reasons)
		return;
	reasons[statistics->reason_count++] = (struct reason_count){.runs = 1, .reason = reason};
	statistics->reasons = reasons;
}

void statistics_note(struct statistics *statistics, const struct probe_result *result)
{
	int bucket = 0;

	while (result->duration_us > duration_bucket_us(bucket))
		bucket++;
	statistics->runs[result->state]++;
	statistics->durations[bucket]++;
	statistics->duration_us += (uint64_t)result->duration_us;
	for (int i = 0; i < PHASE_COUNT; i++) {
		if (result->phase_us[i] < 0)
			continue;
		statistics->phase_runs[i]++;
		statistics->phase_us[i] += (uint64_t)result->phase_us[i];
	}
	if (result->certificate_expires_s != 0)
		statistics->certificate_expires_s = result->certificate_expires_s;
	note_reason(statistics, result->reason);
}

void statistics_inherit(struct statistics *statistics, struct statistics *before)
{
	statistics_release(statistics);
	*statistics = *before;
	statistics->certificate_expires_s = 0;
	*before = (struct statistics){0};
}

void statistics_release(struct statistics *statistics)
{
	free(statistics->reasons);
	statistics->reasons = NULL;
	statistics->reason_count = 0;
}
