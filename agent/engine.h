/* Keeps every probe running on its schedule and knows, at any moment and without looking further,
 * what /healthz, /ready and /startup answer. */
#ifndef READYD_AGENT_ENGINE_H
#define READYD_AGENT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/health.h"
#include "agent/history.h"
#include "agent/lateness.h"
#include "agent/loop.h"
#include "agent/measured.h"
#include "agent/runner.h"
#include "agent/statistics.h"
#include "agent/verdict.h"

enum { HISTORY_LEN = 16 };

/* One past run, as small as it goes: there may be ten thousand times HISTORY_LEN of them. */
struct past_run {
	int64_t finished_wall_ms;
	uint32_t duration_us;
	uint8_t state;  /* enum probe_state */
	uint8_t reason; /* enum probe_reason */
};

/* A probe at work. Others read it, only engine.c writes it. */
struct engine_probe {
	struct engine *engine;
	struct probe_config *config;
	struct runner runner;
	struct health health;
	struct probe_result result; /* the last one; valid when runs > 0 */
	struct loop_timer timer;
	int64_t due_us;     /* when the next (or present) run was to start */
	int64_t started_us; /* when the present or last run started */
	int64_t since_us;   /* when the standing last changed */
	int64_t since_wall_ms;
	int64_t waiting_since_us; /* when it was first tried: for the back-off */
	uint64_t number;          /* its place in the spread */
	uint64_t runs;
	bool tried; /* since what is watched began: the last result is about it */
	bool stale; /* the last result is older than it may be */
	bool kept;  /* reload: goes on in the new configuration */
	bool queued;
	struct engine_probe *next_queued;     /* due, but too many runs are under way */
	struct past_run history[HISTORY_LEN]; /* a ring: run N is at N % HISTORY_LEN */
	struct statistics statistics;
	struct measured *measured; /* NULL = nothing yet */
};

struct engine;

/* Who wants the instance to be out of service. It drains while anybody does. */
enum drain_source {
	DRAIN_COMMAND = 1,  /* `readyd drain` */
	DRAIN_FILE = 2,     /* drain.file exists */
	DRAIN_STOPPING = 4, /* the end has begun: not to be taken back */
};

/* "command", "file", "stopping". */
const char *drain_source_name(enum drain_source source);

/* Starts running the configuration, which becomes the engine's; `drain_sources` (of enum
 * drain_source) are those that have it drain from the beginning. NULL when out of memory. */
struct engine *engine_create(const struct probe_env *env, struct config *config,
			     unsigned drain_sources);
void engine_destroy(struct engine *engine);

/* Goes over to another configuration, which becomes the engine's: probes whose identity is the same
 * keep their state, the others end or begin. Returns 0, or -1 when out of memory (nothing changes,
 * and `config` stays the caller's). */
int engine_reload(struct engine *engine, struct config *config);

const struct config *engine_config(const struct engine *engine);

/* The present answer of an endpoint; constant time. */
struct verdict engine_verdict(const struct engine *engine, enum endpoint endpoint);

/* The same as if the probes called `names` were not there. */
struct verdict engine_verdict_without(const struct engine *engine, enum endpoint endpoint,
				      char *const *names, size_t count);

/* Goes up each time any answer of an endpoint changes. */
uint64_t engine_generation(const struct engine *engine);

/* Goes up at each reload: probes seen before it may be gone. */
uint64_t engine_configuration_generation(const struct engine *engine);

size_t engine_probe_count(const struct engine *engine);
const struct engine_probe *engine_probe_at(const struct engine *engine, size_t index);

/* By role and name; NULL if there is none. */
const struct engine_probe *engine_find(const struct engine *engine, enum role role,
				       const char *name);

/* Whether this probe on its own is as its endpoint wants it. */
bool engine_probe_ok(const struct engine_probe *probe);

/* Takes the instance out of service, or back, as far as this source is concerned. */
void engine_drain(struct engine *engine, enum drain_source source);
void engine_undrain(struct engine *engine, enum drain_source source);

bool engine_is_draining(const struct engine *engine);
unsigned engine_drain_sources(const struct engine *engine);

/* When it began to drain, on the monotonic clock; 0 = it does not. */
int64_t engine_draining_since_us(const struct engine *engine);

/* The same for people, in milliseconds since 1970. */
int64_t engine_draining_since_wall_ms(const struct engine *engine);

/* What is watched does not run: nothing is probed and startup has not passed, until
 * engine_begin_again(). */
void engine_pause(struct engine *engine);

/* What is watched has been started anew: every probe begins again with no streak, and the startup
 * probes are asked first. What was seen before stays in the history. */
void engine_begin_again(struct engine *engine);

/* The command of `readyd run` has said something new: the probes that go by it run at once. */
void engine_hear(struct engine *engine);

/* How often engine_begin_again() was called. */
uint64_t engine_restarts(const struct engine *engine);

/* Whether /ready has ever been 200. */
bool engine_has_been_ready(const struct engine *engine);

/* Is told whenever an answer of an endpoint, or who drains the instance, has changed. Embedded in
 * its owner, who sets on_change and owner. It may unobserve itself when called. */
struct engine_observer {
	void (*on_change)(struct engine_observer *observer);
	void *owner;
	struct engine_observer *next; /* the engine's */
};

void engine_observe(struct engine *engine, struct engine_observer *observer);
void engine_unobserve(struct engine *engine, struct engine_observer *observer);

int64_t engine_started_wall_ms(const struct engine *engine);
int64_t engine_started_us(const struct engine *engine);

/* When the endpoint last went from 200 to 503 or back. */
int64_t engine_verdict_since_wall_ms(const struct engine *engine, enum endpoint endpoint);

/* What has happened lately. */
const struct history *engine_history(const struct engine *engine);

/* How many values of plugins had no place in struct measured. */
uint64_t engine_measured_dropped(const struct engine *engine);

/* How late runs started. */
const struct lateness *engine_lateness(const struct engine *engine);

#endif
