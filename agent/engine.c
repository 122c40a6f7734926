#include "agent/engine.h"

#include <stdlib.h>
#include <string.h>

#include "agent/engine_state.h"
#include "agent/log.h"

/* ---- verdicts ---- */

struct verdict engine_verdict(const struct engine *engine, enum endpoint endpoint)
{
	return engine->verdicts[endpoint];
}

/* What this probe adds to its role's tally. */
static struct tally tally_of(const struct engine_probe *probe)
{
	const struct probe_config *config = probe->config;

	if (config->role == ROLE_STARTUP && probe->engine->instance.started)
		return (struct tally){0};
	return (struct tally){
		.hindering = health_allows(config->role, probe->health.standing) ? 0 : 1,
		.stale = probe->stale ? 1 : 0,
		.degraded = probe->tried && probe->result.state == PROBE_WARN ? 1 : 0,
	};
}

void engine_tally_add(struct engine *engine, const struct engine_probe *probe)
{
	struct tally part = tally_of(probe);
	struct tally *tally = &engine->instance.tallies[probe->config->role];

	tally->hindering += part.hindering;
	tally->stale += part.stale;
	tally->degraded += part.degraded;
}

void engine_tally_remove(struct tally *tallies, const struct engine_probe *probe)
{
	struct tally part = tally_of(probe);
	struct tally *tally = &tallies[probe->config->role];

	tally->hindering -= part.hindering;
	tally->stale -= part.stale;
	tally->degraded -= part.degraded;
}

struct verdict engine_verdict_without(const struct engine *engine, enum endpoint endpoint,
				      char *const *names, size_t count)
{
	struct instance others = engine->instance;

	for (size_t i = 0; i < count; i++) {
		bool repeated = false;

		for (size_t j = 0; j < i; j++)
			repeated = repeated || strcmp(names[i], names[j]) == 0;
		for (int role = 0; role < ROLE_COUNT && !repeated; role++) {
			const struct engine_probe *probe =
				engine_find(engine, (enum role)role, names[i]);

			if (probe)
				engine_tally_remove(others.tallies, probe);
		}
	}
	others.started = others.started || others.tallies[ROLE_STARTUP].hindering == 0;
	return instance_verdict(&others, endpoint);
}

static void note_verdict(struct engine *engine, enum endpoint endpoint, struct verdict verdict)
{
	const struct transition transition = {.kind = TRANSITION_VERDICT,
					      .at_wall_ms = clock_wall_ms(),
					      .verdict = {endpoint, verdict}};
	struct log_field fields[] = {
		log_text("endpoint", endpoint_name(endpoint)),
		log_integer("status", verdict.ok ? 200 : 503),
		log_text("why", hindrance_text(verdict.hindrance)),
		{0},
	};

	log_event(verdict.ok ? LOG_INFO : LOG_WARNING, "verdict", fields);
	engine->verdicts_since_wall_ms[endpoint] = transition.at_wall_ms;
	history_add(&engine->history, &transition);
}

/* An observer may take itself off the list when it is called. */
static void tell_observers(struct engine *engine)
{
	struct engine_observer *next;

	for (struct engine_observer *observer = engine->observers; observer; observer = next) {
		next = observer->next;
		observer->on_change(observer);
	}
}

void engine_update_verdicts(struct engine *engine)
{
	bool changed = false;

	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = instance_verdict(&engine->instance, (enum endpoint)i);
		struct verdict *known = &engine->verdicts[i];

		if (verdict.ok == known->ok && verdict.hindrance == known->hindrance &&
		    verdict.degraded == known->degraded)
			continue;
		changed = true;
		if (verdict.ok != known->ok)
			note_verdict(engine, (enum endpoint)i, verdict);
		*known = verdict;
	}
	if (!changed)
		return;
	engine->generation++;
	if (engine->verdicts[ENDPOINT_READINESS].ok)
		engine->has_been_ready = true;
	tell_observers(engine);
}

const char *drain_source_name(enum drain_source source)
{
	switch (source) {
	case DRAIN_FILE:
		return "file";
	case DRAIN_STOPPING:
		return "stopping";
	case DRAIN_COMMAND:
		break;
	}
	return "command";
}

static void note_drain(struct engine *engine, const char *event, enum drain_source source,
		       bool draining)
{
	const struct transition transition = {.kind = TRANSITION_DRAIN,
					      .at_wall_ms = clock_wall_ms(),
					      .drain = {drain_source_name(source), draining}};
	struct log_field fields[] = {log_text("source", drain_source_name(source)),
				     log_boolean("draining", draining),
				     {0}};

	log_event(LOG_INFO, event, fields);
	history_add(&engine->history, &transition);
}

struct engine *engine_create(const struct probe_env *env, struct config *config,
			     unsigned drain_sources)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	struct config *nothing = calloc(1, sizeof(*nothing));

	if (!engine || !nothing) {
		free(engine);
		free(nothing);
		return NULL;
	}
	engine->env = env;
	engine->config = nothing;
	engine->last_queued = &engine->first_queued;
	engine->started_us = clock_monotonic_us();
	engine->started_wall_ms = clock_wall_ms();
	engine->life_began_us = engine->started_us;
	engine->drain_sources = drain_sources;
	engine->draining_since_us = engine->started_us;
	engine->draining_since_wall_ms = engine->started_wall_ms;
	engine->instance.draining = drain_sources != 0;
	engine->runs_max = runner_runs_allowed();
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		engine->verdicts[i] = (struct verdict){.ok = i == ENDPOINT_LIVENESS};
		engine->verdicts_since_wall_ms[i] = engine->started_wall_ms;
	}
	for (unsigned source = DRAIN_COMMAND; source <= DRAIN_STOPPING; source <<= 1) {
		if (drain_sources & source)
			note_drain(engine, "drain", (enum drain_source)source, true);
	}
	if (engine_reload(engine, config) < 0 || engine_watch_ages(engine) < 0) {
		config_free(nothing);
		history_free(&engine->history);
		free(engine);
		return NULL;
	}
	return engine;
}

void engine_destroy(struct engine *engine)
{
	if (!engine)
		return;
	engine_unwatch_ages(engine);
	for (size_t i = 0; i < engine->count; i++)
		engine_probe_destroy(engine->probes[i]);
	free(engine->probes);
	free(engine->sorted);
	config_free(engine->config);
	history_free(&engine->history);
	free(engine);
}

const struct config *engine_config(const struct engine *engine)
{
	return engine->config;
}

uint64_t engine_generation(const struct engine *engine)
{
	return engine->generation;
}

uint64_t engine_configuration_generation(const struct engine *engine)
{
	return engine->configuration_generation;
}

size_t engine_probe_count(const struct engine *engine)
{
	return engine->count;
}

const struct engine_probe *engine_probe_at(const struct engine *engine, size_t index)
{
	return engine->probes[index];
}

bool engine_probe_ok(const struct engine_probe *probe)
{
	struct tally part = tally_of(probe);

	return part.hindering == 0 && part.stale == 0;
}

/* ---- draining ---- */

static void set_drain_sources(struct engine *engine, unsigned sources)
{
	if (engine->drain_sources == 0) {
		engine->draining_since_us = clock_monotonic_us();
		engine->draining_since_wall_ms = clock_wall_ms();
	}
	engine->drain_sources = sources;
	engine->instance.draining = sources != 0;
	engine->instance.stopping = (sources & DRAIN_STOPPING) != 0;
	engine_update_verdicts(engine);
	/* Who drains it is news even where no answer changes. */
	engine->generation++;
	tell_observers(engine);
}

void engine_drain(struct engine *engine, enum drain_source source)
{
	if (engine->drain_sources & source)
		return;
	note_drain(engine, "drain", source, true);
	set_drain_sources(engine, engine->drain_sources | source);
}

void engine_undrain(struct engine *engine, enum drain_source source)
{
	unsigned rest = engine->drain_sources & ~(unsigned)source;

	if (!(engine->drain_sources & source))
		return;
	note_drain(engine, "undrain", source, rest != 0);
	set_drain_sources(engine, rest);
}

unsigned engine_drain_sources(const struct engine *engine)
{
	return engine->drain_sources;
}

int64_t engine_draining_since_us(const struct engine *engine)
{
	return engine->drain_sources ? engine->draining_since_us : 0;
}

int64_t engine_draining_since_wall_ms(const struct engine *engine)
{
	return engine->drain_sources ? engine->draining_since_wall_ms : 0;
}

/* ---- a new life of what is watched ---- */

static void begin_again(struct engine_probe *probe)
{
	engine_stop_probe(probe);
	probe->health = (struct health){0};
	probe->waiting_since_us = 0;
	probe->tried = false;
	probe->stale = false;
	probe->since_us = probe->engine->life_began_us;
	probe->since_wall_ms = clock_wall_ms();
}

static void forget_results(struct engine *engine)
{
	engine->life_began_us = clock_monotonic_us();
	engine->instance.started = false;
	for (size_t i = 0; i < engine->count; i++)
		begin_again(engine->probes[i]);
	engine_recount(engine);
}

void engine_pause(struct engine *engine)
{
	engine->instance.paused = true;
	forget_results(engine);
	engine_update_verdicts(engine);
}

void engine_begin_again(struct engine *engine)
{
	const struct transition transition = {.kind = TRANSITION_RESTART,
					      .at_wall_ms = clock_wall_ms()};

	engine->instance.paused = false;
	engine->restarts++;
	history_add(&engine->history, &transition);
	forget_results(engine);
	if (!engine->instance.started) {
		for (size_t i = 0; i < engine->count; i++)
			engine_schedule_first(engine->probes[i]);
	}
	engine_update_verdicts(engine);
}

/* ---- for readers ---- */

uint64_t engine_restarts(const struct engine *engine)
{
	return engine->restarts;
}

bool engine_has_been_ready(const struct engine *engine)
{
	return engine->has_been_ready;
}

void engine_observe(struct engine *engine, struct engine_observer *observer)
{
	observer->next = engine->observers;
	engine->observers = observer;
}

void engine_unobserve(struct engine *engine, struct engine_observer *observer)
{
	struct engine_observer **link = &engine->observers;

	while (*link && *link != observer)
		link = &(*link)->next;
	if (*link)
		*link = observer->next;
}

bool engine_is_draining(const struct engine *engine)
{
	return engine->drain_sources != 0;
}

int64_t engine_started_wall_ms(const struct engine *engine)
{
	return engine->started_wall_ms;
}

int64_t engine_started_us(const struct engine *engine)
{
	return engine->started_us;
}

int64_t engine_verdict_since_wall_ms(const struct engine *engine, enum endpoint endpoint)
{
	return engine->verdicts_since_wall_ms[endpoint];
}

const struct history *engine_history(const struct engine *engine)
{
	return &engine->history;
}

uint64_t engine_measured_dropped(const struct engine *engine)
{
	return engine->measured_dropped;
}

const struct lateness *engine_lateness(const struct engine *engine)
{
	return &engine->lateness;
}
