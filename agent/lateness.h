/* How late things happened: a histogram of constant size. Pure. */
#ifndef READYD_AGENT_LATENESS_H
#define READYD_AGENT_LATENESS_H

#include <stdint.h>

enum { LATENESS_BUCKETS = 32 };

/* Zero-filled is valid and empty. Bucket 0 is below 64 µs, each next one reaches 1.4 times as far.
 */
struct lateness {
	uint64_t buckets[LATENESS_BUCKETS];
	uint64_t count;
	int64_t maximum_us;
	int64_t sum_us;
};

/* Notes one; being early counts as 0. */
void lateness_note(struct lateness *lateness, int64_t late_us);

/* What a bucket's values stay below. */
int64_t lateness_edge_us(int bucket);

/* The value below which `share` (0..1) of them stayed, to within a factor of 1.4; 0 when there were
 * none. The maximum is exact. */
int64_t lateness_below_us(const struct lateness *lateness, double share);

#endif
