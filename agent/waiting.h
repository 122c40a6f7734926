/* Waits for targets: tries all of them at the same time, each until it has passed. Knows neither
 * the command line nor how it is shown. */
#ifndef READYD_AGENT_WAITING_H
#define READYD_AGENT_WAITING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/runner.h"

struct waiting;

/* One target. The owner sets `config`, which stays his, and reads the rest. */
struct waiting_target {
	struct probe_config *config;

	bool tried;                 /* whether `result` is one */
	struct probe_result result; /* of the last try */
	int64_t in_a_row;           /* the last so many tries were as wanted */
	int64_t needed;             /* how many must be */
	int64_t done_us;            /* when they were, monotonic; 0 = not yet */

	/* waiting.c's own */
	struct waiting *waiting;
	struct runner runner;
	struct loop_timer retry;
	int64_t timeout_us; /* as configured */
};

enum waiting_outcome { WAITING_UNDER_WAY, WAITING_DONE, WAITING_TIMED_OUT };

/* The owner sets the first part before waiting_start(), and reads the second. */
struct waiting {
	const struct probe_env *env;
	struct waiting_target *targets;
	size_t count;
	bool any;            /* one target is enough */
	bool invert;         /* wanted is that they do not pass */
	int64_t successes;   /* in a row; 0 = each target's own successThreshold */
	int64_t interval_us; /* the longest pause between two tries, and that between successes */
	int64_t timeout_us;  /* 0 = for ever */
	/* Called after each try that counts, and once when all is over. */
	void (*on_result)(struct waiting *waiting, struct waiting_target *target);
	void (*on_end)(struct waiting *waiting);
	void *owner;

	enum waiting_outcome outcome;
	int64_t started_us;
	size_t done_count;

	/* waiting.c's own */
	int64_t deadline_us;
	struct loop_timer deadline;
	struct loop_task end;
	size_t runs_max;
	int64_t cpu_before_us; /* the processor time that had been used when it began */
};

/* Begins with the first tries. 0, or -1 when out of memory. */
int waiting_start(struct waiting *waiting);

/* Abandons what is under way and gives back everything but the results. */
void waiting_stop(struct waiting *waiting);

/* Frees the results. */
void waiting_free(struct waiting *waiting);

#endif
