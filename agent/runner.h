/* Runs probes, one run at a time each: start, deadline, finish, stop, result. Knows the contract of
 * probe types (probes/probe.h) and nothing of schedules and thresholds. */
#ifndef READYD_AGENT_RUNNER_H
#define READYD_AGENT_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop.h"
#include "probes/probe.h"

struct probe_config;

/* What a run yielded. Texts belong to the result; a zero-filled result is valid and empty. */
struct probe_result {
	enum probe_state state;
	enum probe_reason reason;
	bool alive, ready;
	int64_t duration_us;
	int64_t phase_us[PHASE_COUNT]; /* -1 = does not apply */
	int64_t finished_us;           /* monotonic */
	int64_t finished_wall_ms;      /* for people */
	int64_t certificate_expires_s; /* 0 = none */
	char *message;                 /* NULL when there is nothing to say */
	char *output;                  /* NULL when there is none */
	size_t output_len;
	struct perfdata_list *perfdata; /* NULL when there is none */
};

void probe_result_free(struct probe_result *result);

struct run_slot; /* a run under way */

/* One probe that can be run; embedded in its owner, who sets `config`, `env`, `on_done` and `owner`
 * before the first run. */
struct runner {
	const struct probe_config *config;
	const struct probe_env *env;
	/* Called from the loop once a run is over and stopped. The texts of `result` may be taken
	 * by copying the structure and zeroing the original. It may start the next run, or free
	 * the owner after runner_release(). */
	void (*on_done)(struct runner *runner, struct probe_result *result);
	void *owner;
	/* Whether a run that a stall of the loop has made late gets its time once more. */
	bool forgives_stalls;
	/* When its time began to count, for who had to prepare for it; 0 = when it starts. */
	int64_t since_us;

	struct run_slot *slot; /* NULL = not running */
	void *kept;            /* the type's memory between runs */
};

/* Starts a run; the runner must be idle. When memory is lacking the run ends with
 * REASON_RESOURCES like any other. */
void runner_start(struct runner *runner);

/* Abandons a run under way; on_done will not be called. Harmless when idle. Not to be called from
 * inside a callback of the probe type. */
void runner_cancel(struct runner *runner);

/* Cancels and gives back everything, what is kept between runs too. */
void runner_release(struct runner *runner);

/* How many runs are under way in the whole process. */
size_t runner_running_count(void);

/* How many may be under way at the same time, by the descriptors that there are. */
size_t runner_runs_allowed(void);

/* Frees the pools and tells all types that the process ends. */
void runner_shutdown(void);

#endif
