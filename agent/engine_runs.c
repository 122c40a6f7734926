#include <stdio.h>

#include "agent/engine_state.h"
#include "agent/log.h"
#include "agent/notified.h"

enum { SWEEP_US = 1000 * 1000 };

/* ---- runs ---- */

static bool may_run(const struct engine_probe *probe)
{
	/* While it starts, only startup probes run; afterwards, all the others. */
	return !probe->engine->instance.paused &&
	       (probe->config->role == ROLE_STARTUP) != probe->engine->instance.started;
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

void engine_schedule_first(struct engine_probe *probe)
{
	struct engine *engine = probe->engine;
	int64_t now_us = loop_now_us(engine->env->loop);
	int64_t due_us = engine->life_began_us + probe->config->initial_delay_us;

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

void engine_stop_probe(struct engine_probe *probe)
{
	loop_timer_clear(probe->engine->env->loop, &probe->timer);
	dequeue(probe);
	runner_cancel(&probe->runner);
}

void engine_open_gate(struct engine *engine)
{
	engine->instance.started = true;
	engine->instance.tallies[ROLE_STARTUP] = (struct tally){0};
	for (size_t i = 0; i < engine->count; i++) {
		struct engine_probe *probe = engine->probes[i];

		probe->stale = false;
		if (probe->config->role == ROLE_STARTUP)
			engine_stop_probe(probe);
		else if (probe->timer.position == 0 && !probe->queued && !probe->runner.slot)
			engine_schedule_first(probe);
	}
}

void engine_hear(struct engine *engine)
{
	int64_t now_us = loop_now_us(engine->env->loop);

	for (size_t i = 0; i < engine->count; i++) {
		struct engine_probe *probe = engine->probes[i];

		if (!probe->config->type->silence_us || !may_run(probe) ||
		    now_us < engine->life_began_us + probe->config->initial_delay_us)
			continue;
		/* A run under way may have looked before. */
		engine_stop_probe(probe);
		schedule(probe, now_us);
	}
}

/* ---- results ---- */

static void note_transition(const struct engine_probe *probe, enum standing before)
{
	const struct probe_result *result = &probe->result;
	const struct transition transition = {.kind = TRANSITION_PROBE,
					      .at_wall_ms = result->finished_wall_ms,
					      .probe = {.role = probe->config->role,
							.from = before,
							.to = probe->health.standing,
							.reason = result->reason,
							.name = probe->config->name,
							.message = result->message}};
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
	history_add(&probe->engine->history, &transition);
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

/* What the plugin has measured, for who collects it. Once it is told that there is too much. */
static void note_measured(struct engine_probe *probe, const struct probe_result *result)
{
	size_t dropped = measured_note(&probe->measured, result->perfdata);
	char text[96];
	struct log_field fields[] = {
		log_text("probe", probe->config->name),
		log_text("role", role_name(probe->config->role)),
		log_text("message", text),
		{0},
	};

	probe->engine->measured_dropped += dropped;
	if (dropped == 0 || !probe->measured || probe->measured->told)
		return;
	snprintf(text, sizeof(text),
		 "its plugin has printed more than %d labels: /metrics leaves out the rest",
		 MEASURED_MAX);
	log_event(LOG_WARNING, "perfdata", fields);
	probe->measured->told = true;
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

static bool is_too_old(const struct engine_probe *probe, int64_t now_us)
{
	const struct probe_config *config = probe->config;
	int64_t allowed_us = config->period_us + config->timeout_us +
			     probe->engine->config->settings.stale_after_us;

	return probe->tried && may_run(probe) && now_us - probe->result.finished_us > allowed_us;
}

static void on_result(struct runner *runner, struct probe_result *result)
{
	struct engine_probe *probe = runner->owner;
	struct engine *engine = probe->engine;
	enum standing before = probe->health.standing;
	bool success = probe->config->role == ROLE_LIVENESS ? result->alive : result->ready;

	engine_tally_remove(engine->instance.tallies, probe);
	statistics_note(&probe->statistics, result);
	note_measured(probe, result);
	remember(probe, result);
	probe->stale = is_too_old(probe, loop_now_us(engine->env->loop));
	if (success && !probe->health.ever_passed)
		engine->waiting--;
	if (health_apply(&probe->health, probe->config, success, probe->started_us)) {
		probe->since_us = probe->result.finished_us;
		probe->since_wall_ms = probe->result.finished_wall_ms;
		probe->statistics.transitions[probe->health.standing]++;
		note_transition(probe, before);
	} else if (!success && !probe->tried) {
		log_waiting(probe);
	}
	probe->tried = true;
	engine_tally_add(engine, probe);
	schedule_next(probe);
	if (!engine->instance.started && engine->instance.tallies[ROLE_STARTUP].hindering == 0)
		engine_open_gate(engine);
	engine_update_verdicts(engine);
	start_queued(engine);
}

/* ---- age of results ---- */

static void sweep(struct engine *engine, int64_t now_us)
{
	for (size_t i = 0; i < engine->count; i++) {
		struct engine_probe *probe = engine->probes[i];
		bool too_old = is_too_old(probe, now_us);

		if (too_old == probe->stale)
			continue;
		engine_tally_remove(engine->instance.tallies, probe);
		probe->stale = too_old;
		engine_tally_add(engine, probe);
	}
	engine->swept_us = now_us;
	engine_update_verdicts(engine);
}

/* Runs before anything else of a turn: after a stall, nobody is answered from memory. */
static void on_turn(void *owner)
{
	struct engine *engine = owner;
	int64_t now_us = loop_now_us(engine->env->loop);
	int64_t since_us = now_us - engine->swept_us;

	if (since_us < SWEEP_US + SWEEP_US / 2)
		return;
	if (engine->env->notified)
		notified_forgive(engine->env->notified, now_us);
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

int engine_watch_ages(struct engine *engine)
{
	engine->swept_us = engine->started_us;
	engine->sweep.on_expire = on_sweep;
	engine->sweep.owner = engine;
	if (loop_timer_set(engine->env->loop, &engine->sweep, engine->started_us + SWEEP_US) < 0)
		return -1;
	loop_set_observer(engine->env->loop, on_turn, engine);
	return 0;
}

void engine_unwatch_ages(struct engine *engine)
{
	loop_set_observer(engine->env->loop, NULL, NULL);
	loop_timer_clear(engine->env->loop, &engine->sweep);
}

/* ---- what a probe starts with ---- */

void engine_prepare_runs(struct engine_probe *probe)
{
	probe->runner.config = probe->config;
	probe->runner.env = probe->engine->env;
	probe->runner.on_done = on_result;
	probe->runner.owner = probe;
	probe->runner.forgives_stalls = true;
	probe->timer.on_expire = on_due;
	probe->timer.owner = probe;
}
