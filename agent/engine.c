#include "agent/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/log.h"

enum {
	SWEEP_US = 1000 * 1000,
	/* Descriptors that are not for probes: listeners, connections, logs. */
	DESCRIPTORS_KEPT_BACK = 600,
	DESCRIPTORS_PER_RUN = 3,
	RUNS_MAX = 1024,
	RUNS_MIN = 16,
};

/* How many probes of a role do not let their endpoint pass, kept up to date by tally_add() and
 * tally_remove(). */
struct tally {
	size_t hindering;
	size_t stale;
};

struct engine {
	const struct probe_env *env;
	struct config *config;
	struct engine_probe **probes; /* in the order of the configuration */
	struct engine_probe **sorted; /* by role and name */
	size_t count;
	struct tally tallies[ROLE_COUNT];
	size_t waiting; /* probes that have never passed */
	bool started;   /* all startup probes have passed; stays so */
	bool draining;
	int64_t started_us, started_wall_ms;
	int64_t gate_opened_us;
	uint64_t next_number;
	uint64_t generation, configuration_generation;
	struct verdict verdicts[ENDPOINT_COUNT];

	size_t runs_max;
	struct engine_probe *first_queued, **last_queued;

	struct loop_timer sweep;
	int64_t swept_us;

	struct lateness lateness;

	void (*on_change)(void *owner);
	void *owner;
};

const char *endpoint_name(enum endpoint endpoint)
{
	static const char *const names[] = {[ENDPOINT_LIVENESS] = "healthz",
					    [ENDPOINT_READINESS] = "ready",
					    [ENDPOINT_STARTUP] = "startup"};

	return names[endpoint];
}

const char *hindrance_text(enum hindrance hindrance)
{
	static const char *const texts[] = {
		[HINDRANCE_NONE] = "",
		[HINDRANCE_STARTUP] = "startup probes have not passed yet",
		[HINDRANCE_DRAINING] = "draining",
		[HINDRANCE_STALE] = "stale: results are older than they may be",
		[HINDRANCE_LIVENESS] = "a liveness probe fails",
		[HINDRANCE_READINESS] = "a readiness probe does not pass",
	};

	return texts[hindrance];
}

/* ---- verdicts ---- */

static struct verdict judge(const struct engine *engine, const struct tally *tallies, bool started,
			    enum endpoint endpoint)
{
	enum hindrance hindrance = HINDRANCE_NONE;

	switch (endpoint) {
	case ENDPOINT_STARTUP:
		if (!started)
			hindrance = HINDRANCE_STARTUP;
		break;
	case ENDPOINT_READINESS:
		if (!started)
			hindrance = HINDRANCE_STARTUP;
		else if (engine->draining)
			hindrance = HINDRANCE_DRAINING;
		else if (tallies[ROLE_LIVENESS].hindering > 0)
			hindrance = HINDRANCE_LIVENESS;
		else if (tallies[ROLE_READINESS].hindering > 0)
			hindrance = HINDRANCE_READINESS;
		else if (tallies[ROLE_LIVENESS].stale + tallies[ROLE_READINESS].stale > 0)
			hindrance = HINDRANCE_STALE;
		break;
	case ENDPOINT_LIVENESS:
	case ENDPOINT_COUNT:
		if (tallies[ROLE_LIVENESS].hindering > 0)
			hindrance = HINDRANCE_LIVENESS;
		else if (tallies[ROLE_LIVENESS].stale > 0)
			hindrance = HINDRANCE_STALE;
		break;
	}
	return (struct verdict){.ok = hindrance == HINDRANCE_NONE, .hindrance = hindrance};
}

struct verdict engine_verdict(const struct engine *engine, enum endpoint endpoint)
{
	return engine->verdicts[endpoint];
}

/* What this probe adds to its role's tally. */
static struct tally tally_of(const struct engine_probe *probe)
{
	const struct probe_config *config = probe->config;

	if (config->role == ROLE_STARTUP && probe->engine->started)
		return (struct tally){0};
	return (struct tally){
		.hindering = health_allows(config->role, probe->health.standing) ? 0 : 1,
		.stale = probe->stale ? 1 : 0,
	};
}

static void tally_add(struct engine *engine, const struct engine_probe *probe)
{
	struct tally part = tally_of(probe);
	struct tally *tally = &engine->tallies[probe->config->role];

	tally->hindering += part.hindering;
	tally->stale += part.stale;
}

static void tally_remove(struct tally *tallies, const struct engine_probe *probe)
{
	struct tally part = tally_of(probe);
	struct tally *tally = &tallies[probe->config->role];

	tally->hindering -= part.hindering;
	tally->stale -= part.stale;
}

struct verdict engine_verdict_without(const struct engine *engine, enum endpoint endpoint,
				      char *const *names, size_t count)
{
	struct tally tallies[ROLE_COUNT];
	bool started;

	memcpy(tallies, engine->tallies, sizeof(tallies));
	for (size_t i = 0; i < count; i++) {
		bool repeated = false;

		for (size_t j = 0; j < i; j++)
			repeated = repeated || strcmp(names[i], names[j]) == 0;
		for (int role = 0; role < ROLE_COUNT && !repeated; role++) {
			const struct engine_probe *probe =
				engine_find(engine, (enum role)role, names[i]);

			if (probe)
				tally_remove(tallies, probe);
		}
	}
	started = engine->started || tallies[ROLE_STARTUP].hindering == 0;
	return judge(engine, tallies, started, endpoint);
}

static void log_verdict(enum endpoint endpoint, struct verdict verdict)
{
	struct log_field fields[] = {
		log_text("endpoint", endpoint_name(endpoint)),
		log_integer("status", verdict.ok ? 200 : 503),
		log_text("why", hindrance_text(verdict.hindrance)),
		{0},
	};

	log_event(verdict.ok ? LOG_INFO : LOG_WARNING, "verdict", fields);
}

/* To be called after anything that may have changed an answer. */
static void update_verdicts(struct engine *engine)
{
	bool changed = false;

	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict =
			judge(engine, engine->tallies, engine->started, (enum endpoint)i);
		struct verdict *known = &engine->verdicts[i];

		if (verdict.ok == known->ok && verdict.hindrance == known->hindrance)
			continue;
		changed = true;
		if (verdict.ok != known->ok)
			log_verdict((enum endpoint)i, verdict);
		*known = verdict;
	}
	if (!changed)
		return;
	engine->generation++;
	if (engine->on_change)
		engine->on_change(engine->owner);
}

/* ---- runs ---- */

static bool may_run(const struct engine_probe *probe)
{
	/* While it starts, only startup probes run; afterwards, all the others. */
	return (probe->config->role == ROLE_STARTUP) != probe->engine->started;
}

static void start_run(struct engine_probe *probe)
{
	probe->started_us = clock_monotonic_us();
	if (probe->waiting_since_us == 0)
		probe->waiting_since_us = probe->started_us;
	lateness_note(&probe->engine->lateness, probe->started_us - probe->due_us);
	runner_start(&probe->runner);
}

static void enqueue(struct engine_probe *probe)
{
	struct engine *engine = probe->engine;

	probe->queued = true;
	probe->next_queued = NULL;
	*engine->last_queued = probe;
	engine->last_queued = &probe->next_queued;
}

static void dequeue(struct engine_probe *probe)
{
	struct engine *engine = probe->engine;
	struct engine_probe **link = &engine->first_queued;

	if (!probe->queued)
		return;
	while (*link != probe)
		link = &(*link)->next_queued;
	*link = probe->next_queued;
	if (engine->last_queued == &probe->next_queued)
		engine->last_queued = link;
	probe->queued = false;
}

static void on_due(struct loop_timer *timer)
{
	struct engine_probe *probe = timer->owner;

	if (runner_running_count() >= probe->engine->runs_max)
		enqueue(probe);
	else
		start_run(probe);
}

static void schedule(struct engine_probe *probe, int64_t due_us)
{
	probe->due_us = due_us;
	/* engine_reload() has reserved room for every probe's timers: this cannot fail. */
	loop_timer_set(probe->engine->env->loop, &probe->timer, due_us);
}

/* The first try: as soon as initialDelaySeconds and the startup gate allow. */
static void schedule_first(struct engine_probe *probe)
{
	struct engine *engine = probe->engine;
	int64_t now_us = loop_now_us(engine->env->loop);
	int64_t due_us = engine->started_us + probe->config->initial_delay_us;

	if (!may_run(probe))
		return;
	schedule(probe, due_us > now_us ? due_us : now_us);
}

static void schedule_next(struct engine_probe *probe)
{
	int64_t now_us = clock_monotonic_us();
	int64_t period_us = probe->config->period_us;

	if (probe->health.ever_passed) {
		schedule(probe, health_next_slot_us(probe->engine->started_us, period_us,
						    probe->number, now_us));
		return;
	}
	schedule(probe, now_us + health_retry_delay_us(now_us - probe->waiting_since_us,
						       probe->result.duration_us, period_us,
						       probe->engine->waiting));
}

static void stop_probe(struct engine_probe *probe)
{
	loop_timer_clear(probe->engine->env->loop, &probe->timer);
	dequeue(probe);
	runner_cancel(&probe->runner);
}

static void open_gate(struct engine *engine)
{
	engine->started = true;
	engine->tallies[ROLE_STARTUP] = (struct tally){0};
	engine->gate_opened_us = loop_now_us(engine->env->loop);
	for (size_t i = 0; i < engine->count; i++) {
		struct engine_probe *probe = engine->probes[i];

		probe->stale = false;
		if (probe->config->role == ROLE_STARTUP)
			stop_probe(probe);
		else if (probe->timer.position == 0 && !probe->queued && !probe->runner.slot)
			schedule_first(probe);
	}
}

/* ---- results ---- */

static void log_transition(const struct engine_probe *probe, enum standing before)
{
	const struct probe_result *result = &probe->result;
	struct log_field fields[] = {
		log_text("probe", probe->config->name),
		log_text("role", role_name(probe->config->role)),
		log_text("type", probe->config->type->name),
		log_text("target", probe->config->target),
		log_text("from", standing_name(before)),
		log_text("to", standing_name(probe->health.standing)),
		log_text("state", probe_state_name(result->state)),
		log_text("reason", probe_reason_name(result->reason)),
		log_text("message", result->message),
		log_milliseconds("durationMs", result->duration_us),
		log_integer("failures", probe->health.failures),
		{0},
	};
	bool good = probe->health.standing == STANDING_PASSING;

	log_event(good ? LOG_INFO : LOG_WARNING, "probe", fields);
}

/* The tries before the first pass are not logged one by one; the first says what is waited for. */
static void log_waiting(const struct engine_probe *probe)
{
	struct log_field fields[] = {
		log_text("probe", probe->config->name),
		log_text("role", role_name(probe->config->role)),
		log_text("type", probe->config->type->name),
		log_text("target", probe->config->target),
		log_text("reason", probe_reason_name(probe->result.reason)),
		log_text("message", probe->result.message),
		{0},
	};

	log_event(LOG_INFO, "waiting", fields);
}

static void remember(struct engine_probe *probe, struct probe_result *result)
{
	struct past_run *past = &probe->history[probe->runs % HISTORY_LEN];

	past->finished_wall_ms = result->finished_wall_ms;
	past->duration_us =
		result->duration_us > UINT32_MAX ? UINT32_MAX : (uint32_t)result->duration_us;
	past->state = (uint8_t)result->state;
	past->reason = (uint8_t)result->reason;
	probe->runs++;
	probe_result_free(&probe->result);
	probe->result = *result;
	*result = (struct probe_result){0};
}

static void start_queued(struct engine *engine)
{
	while (engine->first_queued && runner_running_count() < engine->runs_max) {
		struct engine_probe *probe = engine->first_queued;

		dequeue(probe);
		start_run(probe);
	}
}

static void on_result(struct runner *runner, struct probe_result *result)
{
	struct engine_probe *probe = runner->owner;
	struct engine *engine = probe->engine;
	enum standing before = probe->health.standing;
	bool success = probe->config->role == ROLE_LIVENESS ? result->alive : result->ready;

	tally_remove(engine->tallies, probe);
	remember(probe, result);
	probe->stale = false;
	if (success && !probe->health.ever_passed)
		engine->waiting--;
	if (health_apply(&probe->health, probe->config, success, probe->started_us)) {
		probe->since_us = probe->result.finished_us;
		probe->since_wall_ms = probe->result.finished_wall_ms;
		log_transition(probe, before);
	} else if (!success && probe->runs == 1) {
		log_waiting(probe);
	}
	tally_add(engine, probe);
	schedule_next(probe);
	if (!engine->started && engine->tallies[ROLE_STARTUP].hindering == 0)
		open_gate(engine);
	update_verdicts(engine);
	start_queued(engine);
}

/* ---- age of results ---- */

static bool is_too_old(const struct engine_probe *probe, int64_t now_us)
{
	const struct probe_config *config = probe->config;
	int64_t allowed_us = config->period_us + config->timeout_us +
			     probe->engine->config->settings.stale_after_us;

	return probe->runs > 0 && may_run(probe) && now_us - probe->result.finished_us > allowed_us;
}

static void sweep(struct engine *engine, int64_t now_us)
{
	for (size_t i = 0; i < engine->count; i++) {
		struct engine_probe *probe = engine->probes[i];
		bool too_old = is_too_old(probe, now_us);

		if (too_old == probe->stale)
			continue;
		tally_remove(engine->tallies, probe);
		probe->stale = too_old;
		tally_add(engine, probe);
	}
	engine->swept_us = now_us;
	update_verdicts(engine);
}

/* Runs before anything else of a turn: after a stall, nobody is answered from memory. */
static void on_turn(void *owner)
{
	struct engine *engine = owner;
	int64_t now_us = loop_now_us(engine->env->loop);
	int64_t since_us = now_us - engine->swept_us;

	if (since_us < SWEEP_US + SWEEP_US / 2)
		return;
	if (since_us > SWEEP_US + engine->config->settings.stale_after_us) {
		struct log_field fields[] = {log_milliseconds("lateMs", since_us - SWEEP_US), {0}};

		log_event(LOG_WARNING, "stalled", fields);
	}
	sweep(engine, now_us);
}

static void on_sweep(struct loop_timer *timer)
{
	struct engine *engine = timer->owner;
	int64_t now_us = loop_now_us(engine->env->loop);

	sweep(engine, now_us);
	loop_timer_set(engine->env->loop, timer, now_us + SWEEP_US);
}

/* ---- configuration ---- */

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

static const struct engine_probe *find_sorted(struct engine_probe *const *sorted, size_t count,
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
	probe->runner.config = config;
	probe->runner.env = engine->env;
	probe->runner.on_done = on_result;
	probe->runner.owner = probe;
	probe->runner.forgives_stalls = true;
	probe->timer.on_expire = on_due;
	probe->timer.owner = probe;
	probe->since_us = clock_monotonic_us();
	probe->since_wall_ms = clock_wall_ms();
	probe->number = engine->next_number++;
	return probe;
}

static void probe_destroy(struct engine_probe *probe)
{
	stop_probe(probe);
	runner_release(&probe->runner);
	probe_result_free(&probe->result);
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

static void recount(struct engine *engine)
{
	memset(engine->tallies, 0, sizeof(engine->tallies));
	engine->waiting = 0;
	for (size_t i = 0; i < engine->count; i++) {
		tally_add(engine, engine->probes[i]);
		if (!engine->probes[i]->health.ever_passed)
			engine->waiting++;
	}
	if (!engine->started && engine->tallies[ROLE_STARTUP].hindering == 0)
		open_gate(engine);
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
	for (size_t i = 0; i < engine->count; i++) {
		if (!engine->probes[i]->kept)
			probe_destroy(engine->probes[i]);
	}
	config_free(engine->config);
	free(engine->probes);
	free(engine->sorted);
	engine->config = config;
	engine->probes = probes;
	engine->sorted = sorted;
	engine->count = config->probe_count;
	memcpy(sorted, probes, engine->count * sizeof(*probes));
	qsort(sorted, engine->count, sizeof(struct engine_probe *), by_role_and_name);
	for (size_t i = 0; i < engine->count; i++) {
		/* make_probes() leaves none out. */
		if (!probes[i]->kept) /* NOLINT(clang-analyzer-core.NullDereference) */
			schedule_first(probes[i]);
		probes[i]->kept = false;
	}
	recount(engine);
	engine->configuration_generation++;
	engine->generation++;
	update_verdicts(engine);
	return 0;
}

static size_t runs_allowed(void)
{
	struct rlimit limit;
	size_t allowed;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return RUNS_MAX;
	if (limit.rlim_cur <= DESCRIPTORS_KEPT_BACK)
		return RUNS_MIN;
	allowed = (limit.rlim_cur - DESCRIPTORS_KEPT_BACK) / DESCRIPTORS_PER_RUN;
	if (allowed < RUNS_MIN)
		return RUNS_MIN;
	return allowed < RUNS_MAX ? allowed : RUNS_MAX;
}

struct engine *engine_create(const struct probe_env *env, struct config *config,
			     void (*on_change)(void *owner), void *owner)
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
	engine->swept_us = engine->started_us;
	engine->runs_max = runs_allowed();
	engine->sweep.on_expire = on_sweep;
	engine->sweep.owner = engine;
	for (int i = 0; i < ENDPOINT_COUNT; i++)
		engine->verdicts[i] = (struct verdict){.ok = i == ENDPOINT_LIVENESS};
	if (engine_reload(engine, config) < 0 ||
	    loop_timer_set(env->loop, &engine->sweep, engine->started_us + SWEEP_US) < 0) {
		config_free(nothing);
		free(engine);
		return NULL;
	}
	loop_set_observer(env->loop, on_turn, engine);
	engine->on_change = on_change;
	engine->owner = owner;
	return engine;
}

void engine_destroy(struct engine *engine)
{
	if (!engine)
		return;
	loop_set_observer(engine->env->loop, NULL, NULL);
	loop_timer_clear(engine->env->loop, &engine->sweep);
	for (size_t i = 0; i < engine->count; i++)
		probe_destroy(engine->probes[i]);
	free(engine->probes);
	free(engine->sorted);
	config_free(engine->config);
	free(engine);
}

/* ---- for readers ---- */

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

void engine_set_draining(struct engine *engine, bool draining)
{
	if (engine->draining == draining)
		return;
	engine->draining = draining;
	log_event(LOG_INFO, draining ? "drain" : "undrain", NULL);
	update_verdicts(engine);
}

bool engine_is_draining(const struct engine *engine)
{
	return engine->draining;
}

int64_t engine_started_wall_ms(const struct engine *engine)
{
	return engine->started_wall_ms;
}

int64_t engine_started_us(const struct engine *engine)
{
	return engine->started_us;
}

const struct lateness *engine_lateness(const struct engine *engine)
{
	return &engine->lateness;
}
