/* What the endpoints answer, out of how many probes stand in the way. Pure: no clock, no I/O. */
#ifndef READYD_AGENT_VERDICT_H
#define READYD_AGENT_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/config.h"

enum endpoint { ENDPOINT_LIVENESS, ENDPOINT_READINESS, ENDPOINT_STARTUP, ENDPOINT_COUNT };

/* "healthz", "ready", "startup". */
const char *endpoint_name(enum endpoint endpoint);

/* What holds an endpoint back, the first that applies. */
enum hindrance {
	HINDRANCE_NONE,
	HINDRANCE_COMMAND,
	HINDRANCE_STARTUP,
	HINDRANCE_DRAINING,
	HINDRANCE_STALE,
	HINDRANCE_LIVENESS,
	HINDRANCE_READINESS,
	HINDRANCE_COUNT,
};

/* For machines: "none", "startup", "draining", "stale", "liveness", "readiness". */
const char *hindrance_name(enum hindrance hindrance);

/* For people: "startup probes have not passed" and so on; "" for none. */
const char *hindrance_text(enum hindrance hindrance);

struct verdict {
	bool ok;
	bool degraded; /* ok, but some probe that counts passes with a warning */
	enum hindrance hindrance;
};

/* How many probes of a role do not let their endpoint pass, and why; how many pass with a warning.
 */
struct tally {
	size_t hindering;
	size_t stale;
	size_t degraded;
};

/* The instance as a whole, as far as verdicts go by it. */
struct instance {
	struct tally tallies[ROLE_COUNT];
	bool started; /* all startup probes have passed */
	bool draining;
	bool paused;   /* what is watched does not run, but will again */
	bool stopping; /* the end has begun: a failing liveness probe says nothing any more */
};

struct verdict instance_verdict(const struct instance *instance, enum endpoint endpoint);

#endif
