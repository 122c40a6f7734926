#include "agent/run_liveness.h"

#include <stdio.h>

#include "agent/log.h"
#include "agent/termination_log.h"

/* What is said about a failure, in the log and in the termination log. */
enum { RECORD_SIZE = 1024 };

static const struct settings *settings_of(const struct run_liveness *liveness)
{
	return &engine_config(liveness->engine)->settings;
}

int64_t restart_delay_us(const struct settings *settings, int64_t restarts)
{
	int64_t delay_us = settings->restart_delay_us;

	while (restarts-- > 0 && delay_us > 0 && delay_us < settings->restart_delay_max_us)
		delay_us *= 2;
	return delay_us < settings->restart_delay_max_us ? delay_us
							 : settings->restart_delay_max_us;
}

/* ---- the record ---- */

/* The first liveness probe that fails; NULL if none does. */
static const struct engine_probe *failing_probe(const struct engine *engine)
{
	for (size_t i = 0; i < engine_probe_count(engine); i++) {
		const struct engine_probe *probe = engine_probe_at(engine, i);

		if (probe->config->role == ROLE_LIVENESS &&
		    probe->health.standing == STANDING_FAILING)
			return probe;
	}
	return NULL;
}

/* "…, so it is restarted", for people. */
static void print_consequence(const struct run_liveness *liveness, char *text, size_t size)
{
	int64_t limit = settings_of(liveness)->restart_limit;

	if (liveness->state == RUN_LIVENESS_RESTARTING && limit > 0)
		snprintf(text, size, "the command is restarted (%lld of at most %lld times)",
			 (long long)liveness->restarts + 1, (long long)limit);
	else if (liveness->state == RUN_LIVENESS_RESTARTING)
		snprintf(text, size, "the command is restarted (%lld times)",
			 (long long)liveness->restarts + 1);
	else if (liveness->restarts > 0)
		snprintf(text, size, "readyd ends after %lld restarts",
			 (long long)liveness->restarts);
	else
		snprintf(text, size, "readyd ends");
}

static void record(const struct run_liveness *liveness, const struct engine_probe *probe)
{
	const struct probe_result *result = &probe->result;
	char text[RECORD_SIZE], consequence[128];
	struct log_field fields[] = {
		log_text("message", text),
		log_text("probe", probe->config->name),
		log_text("reason", probe_reason_name(result->reason)),
		log_integer("failures", probe->health.failures),
		log_integer("restarts", liveness->restarts),
		{0},
	};

	print_consequence(liveness, consequence, sizeof(consequence));
	snprintf(text, sizeof(text), "liveness probe %s failed %lld times in a row: %s%s%s; %s",
		 probe->config->name, (long long)probe->health.failures,
		 probe_reason_name(result->reason), result->message ? ": " : "",
		 result->message ? result->message : "", consequence);
	log_event(LOG_ERROR, "liveness_failed", fields);
	termination_log_write(settings_of(liveness)->termination_log_file, text);
}

/* ---- acting ---- */

static bool limit_is_reached(const struct run_liveness *liveness)
{
	int64_t limit = settings_of(liveness)->restart_limit;

	return limit > 0 && liveness->restarts >= limit;
}

static void act(struct run_liveness *liveness)
{
	const struct settings *settings = settings_of(liveness);
	const struct engine_probe *probe = failing_probe(liveness->engine);
	int64_t lived_us = clock_monotonic_us() - liveness->command->started_us;

	if (!probe || settings->on_liveness_failure == LIVENESS_NONE)
		return;
	if (lived_us >= settings->restart_reset_us)
		liveness->restarts = 0;
	if (settings->on_liveness_failure == LIVENESS_EXIT || limit_is_reached(liveness))
		liveness->state = RUN_LIVENESS_EXITING;
	else
		liveness->state = RUN_LIVENESS_RESTARTING;
	record(liveness, probe);
	if (liveness->state == RUN_LIVENESS_RESTARTING)
		engine_pause(liveness->engine);
	run_command_stop(liveness->command, settings->stop_timeout_us);
}

static void on_task(struct loop_task *task)
{
	struct run_liveness *liveness = task->owner;

	if (liveness->state == RUN_LIVENESS_WATCHING &&
	    liveness->command->state == RUN_COMMAND_RUNNING)
		act(liveness);
}

void run_liveness_check(struct run_liveness *liveness)
{
	struct verdict verdict = engine_verdict(liveness->engine, ENDPOINT_LIVENESS);

	/* A stall of ours makes the results stale, which is not the command's fault. */
	if (verdict.hindrance == HINDRANCE_LIVENESS)
		loop_defer(liveness->loop, &liveness->task);
}

static void on_change(struct engine_observer *observer)
{
	run_liveness_check(observer->owner);
}

/* ---- the back-off ---- */

static void on_wait_over(struct loop_timer *timer)
{
	struct run_liveness *liveness = timer->owner;
	struct error error;

	liveness->restarts++;
	if (run_command_start(liveness->command, &error) < 0) {
		struct log_field fields[] = {log_text("message", error.text), {0}};

		log_event(LOG_ERROR, "cannot_start", fields);
		termination_log_write(settings_of(liveness)->termination_log_file, error.text);
		liveness->on_failed_start(liveness);
		return;
	}
	liveness->state = RUN_LIVENESS_WATCHING;
	engine_begin_again(liveness->engine);
}

static void log_waiting(const struct run_liveness *liveness, int64_t delay_us)
{
	struct log_field fields[] = {
		log_integer("restarts", liveness->restarts),
		log_milliseconds("delayMs", delay_us),
		{0},
	};

	log_event(LOG_INFO, "restart_delayed", fields);
}

bool run_liveness_take_end(struct run_liveness *liveness)
{
	int64_t delay_us = restart_delay_us(settings_of(liveness), liveness->restarts);

	if (liveness->state == RUN_LIVENESS_EXITING && liveness->command->exit_status == 0)
		liveness->command->exit_status = 1;
	if (liveness->state != RUN_LIVENESS_RESTARTING)
		return false;
	liveness->state = RUN_LIVENESS_WAITING;
	log_waiting(liveness, delay_us);
	return loop_timer_set(liveness->loop, &liveness->timer, clock_monotonic_us() + delay_us) ==
	       0;
}

void run_liveness_begin(struct run_liveness *liveness)
{
	liveness->observer.on_change = on_change;
	liveness->observer.owner = liveness;
	liveness->task.on_run = on_task;
	liveness->task.owner = liveness;
	liveness->timer.on_expire = on_wait_over;
	liveness->timer.owner = liveness;
	engine_observe(liveness->engine, &liveness->observer);
}

void run_liveness_end(struct run_liveness *liveness)
{
	if (liveness->state == RUN_LIVENESS_OFF)
		return;
	/* A command that is on its way out because of liveness does not come back, and what it
	 * leaves behind is passed on as before. */
	if (liveness->state != RUN_LIVENESS_EXITING)
		liveness->state = RUN_LIVENESS_OFF;
	engine_unobserve(liveness->engine, &liveness->observer);
	loop_task_clear(liveness->loop, &liveness->task);
	loop_timer_clear(liveness->loop, &liveness->timer);
}
