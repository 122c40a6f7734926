#include "agent/verdict.h"

const char *endpoint_name(enum endpoint endpoint)
{
	static const char *const names[] = {[ENDPOINT_LIVENESS] = "healthz",
					    [ENDPOINT_READINESS] = "ready",
					    [ENDPOINT_STARTUP] = "startup"};

	return names[endpoint];
}

const char *hindrance_name(enum hindrance hindrance)
{
	static const char *const names[HINDRANCE_COUNT] = {
		[HINDRANCE_NONE] = "none",           [HINDRANCE_COMMAND] = "command",
		[HINDRANCE_STARTUP] = "startup",     [HINDRANCE_DRAINING] = "draining",
		[HINDRANCE_STALE] = "stale",         [HINDRANCE_LIVENESS] = "liveness",
		[HINDRANCE_READINESS] = "readiness",
	};

	return names[hindrance];
}

const char *hindrance_text(enum hindrance hindrance)
{
	static const char *const texts[] = {
		[HINDRANCE_NONE] = "",
		[HINDRANCE_COMMAND] = "the command is down, and will be started again",
		[HINDRANCE_STARTUP] = "startup probes have not passed yet",
		[HINDRANCE_DRAINING] = "draining",
		[HINDRANCE_STALE] = "stale: results are older than they may be",
		[HINDRANCE_LIVENESS] = "a liveness probe fails",
		[HINDRANCE_READINESS] = "a readiness probe does not pass",
	};

	return texts[hindrance];
}

static enum hindrance hindrance_of(const struct instance *instance, enum endpoint endpoint)
{
	const struct tally *liveness = &instance->tallies[ROLE_LIVENESS];
	const struct tally *readiness = &instance->tallies[ROLE_READINESS];

	if (instance->paused && endpoint != ENDPOINT_LIVENESS)
		return HINDRANCE_COMMAND;
	switch (endpoint) {
	case ENDPOINT_STARTUP:
		return instance->started ? HINDRANCE_NONE : HINDRANCE_STARTUP;
	case ENDPOINT_READINESS:
		if (!instance->started)
			return HINDRANCE_STARTUP;
		if (instance->draining)
			return HINDRANCE_DRAINING;
		if (liveness->hindering > 0)
			return HINDRANCE_LIVENESS;
		if (readiness->hindering > 0)
			return HINDRANCE_READINESS;
		return liveness->stale + readiness->stale > 0 ? HINDRANCE_STALE : HINDRANCE_NONE;
	case ENDPOINT_LIVENESS:
	case ENDPOINT_COUNT:
		break;
	}
	/* What is told to end may cease to answer, and a restart would not help it. The kubelet
	 * stops its liveness probes then too; Docker goes on. */
	if (instance->stopping)
		return HINDRANCE_NONE;
	if (liveness->hindering > 0)
		return HINDRANCE_LIVENESS;
	return liveness->stale > 0 ? HINDRANCE_STALE : HINDRANCE_NONE;
}

static bool is_degraded(const struct instance *instance, enum endpoint endpoint)
{
	const struct tally *tallies = instance->tallies;

	if (endpoint == ENDPOINT_STARTUP)
		return false;
	return tallies[ROLE_LIVENESS].degraded > 0 ||
	       (endpoint == ENDPOINT_READINESS && tallies[ROLE_READINESS].degraded > 0);
}

struct verdict instance_verdict(const struct instance *instance, enum endpoint endpoint)
{
	enum hindrance hindrance = hindrance_of(instance, endpoint);

	return (struct verdict){
		.ok = hindrance == HINDRANCE_NONE,
		.degraded = hindrance == HINDRANCE_NONE && is_degraded(instance, endpoint),
		.hindrance = hindrance,
	};
}
