#include <stdlib.h>
#include <string.h>

#include "agent/engine_state.h"

/* ---- finding ---- */

static int compare_probes(enum role role, const char *name, const struct engine_probe *other)
{
	if (role != other->config->role)
		return role < other->config->role ? -1 : 1;
	return strcmp(name, other->config->name);
}

static int by_role_and_name(const void *left, const void *right)
{
	const struct engine_probe *const *probe = left;
	const struct engine_probe *const *other = right;

	return compare_probes((*probe)->config->role, (*probe)->config->name, *other);
}

static struct engine_probe *find_sorted(struct engine_probe *const *sorted, size_t count,
					enum role role, const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_probes(role, name, sorted[middle]);

		if (order == 0)
			return sorted[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct engine_probe *engine_find(const struct engine *engine, enum role role,
				       const char *name)
{
	return find_sorted(engine->sorted, engine->count, role, name);
}

static struct engine_probe *probe_create(struct engine *engine, struct probe_config *config)
{
	struct engine_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->engine = engine;
	probe->config = config;
	engine_prepare_runs(probe);
	probe->since_us = clock_monotonic_us();
	probe->since_wall_ms = clock_wall_ms();
	probe->number = engine->next_number++;
	return probe;
}

void engine_probe_destroy(struct engine_probe *probe)
{
	engine_stop_probe(probe);
	runner_release(&probe->runner);
	probe_result_free(&probe->result);
	statistics_release(&probe->statistics);
	free(probe->measured);
	free(probe);
}

/* The probes of a new configuration: those that are unchanged as they are, the others new. Changes
 * nothing of the old ones but their `kept`. */
static struct engine_probe **make_probes(struct engine *engine, const struct config *config)
{
	struct engine_probe **probes =
		calloc(config->probe_count + 1, sizeof(struct engine_probe *));

	for (size_t i = 0; probes && i < config->probe_count; i++) {
		struct probe_config *wanted = config->probes[i];
		struct engine_probe *old =
			(struct engine_probe *)(uintptr_t)engine_find(engine, wanted->role,
								      wanted->name);

		if (old && old->config->identity == wanted->identity) {
			old->kept = true;
			probes[i] = old;
			continue;
		}
		probes[i] = probe_create(engine, wanted);
		if (probes[i])
			continue;
		while (i-- > 0) {
			if (!probes[i]->kept)
				free(probes[i]);
			else
				probes[i]->kept = false;
		}
		free(probes);
		return NULL;
	}
	return probes;
}

/* A kept probe goes on with the settings that it points at, so the two configurations swap them. */
static void swap_kept_configs(struct engine *engine, struct config *config,
			      struct engine_probe **probes)
{
	for (size_t i = 0; i < engine->count; i++) {
		if (engine->probes[i]->kept)
			engine->config->probes[i] = NULL;
	}
	for (size_t i = 0; i < config->probe_count; i++) {
		if (!probes[i]->kept)
			continue;
		probe_config_free(config->probes[i]);
		config->probes[i] = probes[i]->config;
	}
}

/* Ends a probe that the new configuration has no more, or another one in place of. */
static void bequeath(struct engine_probe *probe, struct engine_probe *const *sorted, size_t count)
{
	struct engine_probe *heir =
		find_sorted(sorted, count, probe->config->role, probe->config->name);

	if (heir)
		statistics_inherit(&heir->statistics, &probe->statistics);
	engine_probe_destroy(probe);
}

void engine_recount(struct engine *engine)
{
	memset(engine->instance.tallies, 0, sizeof(engine->instance.tallies));
	engine->waiting = 0;
	for (size_t i = 0; i < engine->count; i++) {
		engine_tally_add(engine, engine->probes[i]);
		if (!engine->probes[i]->health.ever_passed)
			engine->waiting++;
	}
	if (!engine->instance.paused && !engine->instance.started &&
	    engine->instance.tallies[ROLE_STARTUP].hindering == 0)
		engine_open_gate(engine);
}

static void note_reload(struct engine *engine)
{
	const struct transition transition = {.kind = TRANSITION_RELOAD,
					      .at_wall_ms = clock_wall_ms(),
					      .probe_count = engine->count};

	history_add(&engine->history, &transition);
}

int engine_reload(struct engine *engine, struct config *config)
{
	struct engine_probe **probes, **sorted;
	size_t timers = config->probe_count * 2 + engine->count + 64;

	sorted = calloc(config->probe_count + 1, sizeof(struct engine_probe *));
	probes = make_probes(engine, config);
	if (!sorted || !probes || loop_reserve_timers(engine->env->loop, timers) < 0) {
		for (size_t i = 0; probes && i < config->probe_count; i++) {
			if (!probes[i]->kept)
				free(probes[i]);
			else
				probes[i]->kept = false;
		}
		free(probes);
		free(sorted);
		return -1;
	}
	swap_kept_configs(engine, config, probes);
	memcpy(sorted, probes, config->probe_count * sizeof(*probes));
	qsort(sorted, config->probe_count, sizeof(struct engine_probe *), by_role_and_name);
	for (size_t i = 0; i < engine->count; i++) {
		if (!engine->probes[i]->kept)
			bequeath(engine->probes[i], sorted, config->probe_count);
	}
	config_free(engine->config);
	free(engine->probes);
	free(engine->sorted);
	engine->config = config;
	engine->probes = probes;
	engine->sorted = sorted;
	engine->count = config->probe_count;
	for (size_t i = 0; i < engine->count; i++) {
		/* make_probes() leaves none out. */
		if (!probes[i]->kept) /* NOLINT(clang-analyzer-core.NullDereference) */
			engine_schedule_first(probes[i]);
		probes[i]->kept = false;
	}
	engine_recount(engine);
	if (engine->configuration_generation > 0)
		note_reload(engine);
	engine->configuration_generation++;
	engine->generation++;
	engine_update_verdicts(engine);
	return 0;
}
