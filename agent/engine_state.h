/* What the parts of the engine share; for engine*.c only.
 *
 * engine.c knows the answers, engine_runs.c when each probe runs and what its results mean,
 * engine_reload.c goes over from one configuration to another. */
#ifndef READYD_AGENT_ENGINE_STATE_H
#define READYD_AGENT_ENGINE_STATE_H

#include "agent/engine.h"

struct engine {
	const struct probe_env *env;
	struct config *config;
	struct engine_probe **probes; /* in the order of the configuration */
	struct engine_probe **sorted; /* by role and name */
	size_t count;
	struct instance instance; /* kept up to date by tally_add() and tally_remove() */
	size_t waiting;           /* probes that have never passed */
	unsigned drain_sources;   /* of enum drain_source */
	int64_t draining_since_us, draining_since_wall_ms;
	bool has_been_ready;
	int64_t started_us, started_wall_ms;
	int64_t life_began_us; /* when what is watched was (re)started */
	uint64_t restarts;     /* of what is watched */
	uint64_t next_number;
	uint64_t generation, configuration_generation;
	struct verdict verdicts[ENDPOINT_COUNT];
	int64_t verdicts_since_wall_ms[ENDPOINT_COUNT];
	struct history history;

	size_t runs_max;
	struct engine_probe *first_queued, **last_queued;

	struct loop_timer sweep;
	int64_t swept_us;

	struct lateness lateness;
	uint64_t measured_dropped;

	struct engine_observer *observers;
};

/* ---- engine.c ---- */

/* A probe's part in the tally of its role: taken out before anything of it changes, put in again
 * afterwards. */
void engine_tally_add(struct engine *engine, const struct engine_probe *probe);
void engine_tally_remove(struct tally *tallies, const struct engine_probe *probe);

/* To be called after anything that may have changed an answer. */
void engine_update_verdicts(struct engine *engine);

/* ---- engine_runs.c ---- */

/* Ties the runs of a new probe to the engine. */
void engine_prepare_runs(struct engine_probe *probe);

/* The first try: as soon as initialDelaySeconds and the startup gate allow. */
void engine_schedule_first(struct engine_probe *probe);

/* Ends the run that may be under way, and plans none. */
void engine_stop_probe(struct engine_probe *probe);

/* The startup probes have passed: the others begin. */
void engine_open_gate(struct engine *engine);

/* Begins to look at the age of results. 0, or -1 when out of memory. */
int engine_watch_ages(struct engine *engine);
void engine_unwatch_ages(struct engine *engine);

/* ---- engine_reload.c ---- */

/* Counts the tallies from nothing, and opens the gate if no startup probe hinders it. */
void engine_recount(struct engine *engine);

void engine_probe_destroy(struct engine_probe *probe);

#endif
