#include "agent/health.h"

enum {
	RETRY_FLOOR_US = 10 * 1000,
	/* A dependency that took a second to come is noticed within 1 % of that second. */
	RETRY_SHARE = 100,
	/* All the probes that wait together try no more often than ten thousand times a second. */
	RETRY_SPACING_US = 100,
};

const char *standing_name(enum standing standing)
{
	static const char *const names[] = {[STANDING_UNKNOWN] = "unknown",
					    [STANDING_PASSING] = "passing",
					    [STANDING_FAILING] = "failing"};

	return names[standing];
}

static bool counts(const struct health *health, const struct probe_config *rules,
		   int64_t started_us)
{
	/* Once it has passed, a probe runs once a period and every result counts. */
	return health->failures == 0 || health->ever_passed ||
	       started_us - health->counted_us >= rules->period_us;
}

/* The moment from which the next period is counted: in whole periods, so that tries which fall
 * between them do not add up to a delay, but never so far back that quick tries would catch up in a
 * burst. */
static int64_t count_from(const struct health *health, const struct probe_config *rules,
			  int64_t started_us)
{
	int64_t next_us = health->counted_us + rules->period_us;

	if (health->failures == 0 || next_us < started_us - rules->period_us)
		return started_us;
	return next_us;
}

bool health_apply(struct health *health, const struct probe_config *rules, bool success,
		  int64_t started_us)
{
	enum standing before = health->standing;

	if (success) {
		health->failures = 0;
		health->passes++;
		health->ever_passed = true;
		if (health->passes >= rules->success_threshold)
			health->standing = STANDING_PASSING;
	} else {
		health->passes = 0;
		if (counts(health, rules, started_us)) {
			health->counted_us = count_from(health, rules, started_us);
			health->failures++;
		}
		if (health->failures >= rules->failure_threshold)
			health->standing = STANDING_FAILING;
	}
	return health->standing != before;
}

bool health_allows(enum role role, enum standing standing)
{
	if (role == ROLE_LIVENESS)
		return standing != STANDING_FAILING;
	return standing == STANDING_PASSING;
}

int64_t health_retry_delay_us(int64_t waited_us, int64_t run_us, int64_t period_us, size_t waiting)
{
	int64_t delay_us = RETRY_FLOOR_US;

	if ((int64_t)waiting * RETRY_SPACING_US > delay_us)
		delay_us = (int64_t)waiting * RETRY_SPACING_US;
	if (waited_us / RETRY_SHARE > delay_us)
		delay_us = waited_us / RETRY_SHARE;
	if (run_us > delay_us)
		delay_us = run_us;
	return delay_us < period_us ? delay_us : period_us;
}

int64_t health_next_slot_us(int64_t base_us, int64_t period_us, uint64_t number, int64_t now_us)
{
	/* Multiples of the golden ratio, modulo one, never crowd: 2^32 / 1.618… in fixed point. */
	uint64_t fraction = (number * 2654435769U) & 0xffffffffU;
	int64_t place_us = (int64_t)(((__uint128_t)(uint64_t)period_us * fraction) >> 32);
	int64_t first_us = base_us + place_us;

	if (first_us > now_us)
		return first_us;
	return first_us + ((now_us - first_us) / period_us + 1) * period_us;
}
