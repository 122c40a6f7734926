#include "agent/lateness.h"

#include <math.h>

enum { FIRST_EDGE_US = 64 };

void lateness_note(struct lateness *lateness, int64_t late_us)
{
	int bucket = 0;

	if (late_us < 0)
		late_us = 0;
	if (late_us > lateness->maximum_us)
		lateness->maximum_us = late_us;
	if (late_us >= FIRST_EDGE_US)
		bucket = (int)(2.0 * log2((double)late_us / FIRST_EDGE_US)) + 1;
	if (bucket >= LATENESS_BUCKETS)
		bucket = LATENESS_BUCKETS - 1;
	lateness->buckets[bucket]++;
	lateness->count++;
	lateness->sum_us += late_us;
}

int64_t lateness_edge_us(int bucket)
{
	return (int64_t)(FIRST_EDGE_US * exp2(bucket / 2.0));
}

int64_t lateness_below_us(const struct lateness *lateness, double share)
{
	uint64_t wanted = (uint64_t)ceil(share * (double)lateness->count);
	uint64_t seen = 0;

	for (int i = 0; i < LATENESS_BUCKETS && lateness->count > 0; i++) {
		int64_t edge_us = lateness_edge_us(i);

		seen += lateness->buckets[i];
		if (seen >= wanted)
			return edge_us < lateness->maximum_us ? edge_us : lateness->maximum_us;
	}
	return lateness->maximum_us;
}
