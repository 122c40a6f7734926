#include "agent/runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/config.h"
#include "agent/text.h"

enum {
	MESSAGE_SIZE = 240,
	FREE_SLOTS_MAX = 256,
	/* Descriptors that are not for probes: listeners, connections, logs. */
	DESCRIPTORS_KEPT_BACK = 600,
	DESCRIPTORS_PER_RUN = 3,
	RUNS_MAX = 1024,
	RUNS_MIN = 16,
};

/* A run under way. Idle probes have none, so ten thousand probes cost memory only while they run.
 */
struct run_slot {
	struct probe_run run;
	struct runner *runner;
	struct loop_timer deadline;
	struct loop_task finish;
	int64_t started_us;
	int64_t finished_us;
	bool finished;
	bool forgiven; /* has had its time again after a stall */
	enum probe_state state;
	enum probe_reason reason;
	char message[MESSAGE_SIZE];
	const struct probe_type *type;
	struct run_slot *next_free;
	_Alignas(max_align_t) unsigned char type_state[];
};

/* Slots of a type are kept for the next run instead of going through malloc each time. */
struct slot_pool {
	const struct probe_type *type;
	struct run_slot *first;
	size_t count;
	struct slot_pool *next;
};

static struct slot_pool *pools;
static size_t running_count;

void probe_result_free(struct probe_result *result)
{
	free(result->message);
	free(result->output);
	free(result->perfdata);
	result->message = NULL;
	result->output = NULL;
	result->output_len = 0;
	result->perfdata = NULL;
}

size_t runner_running_count(void)
{
	return running_count;
}

size_t runner_runs_allowed(void)
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

static struct slot_pool *pool_of(const struct probe_type *type)
{
	struct slot_pool *pool;

	for (pool = pools; pool; pool = pool->next) {
		if (pool->type == type)
			return pool;
	}
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->type = type;
	pool->next = pools;
	pools = pool;
	return pool;
}

static struct run_slot *slot_take(const struct probe_type *type)
{
	size_t size = sizeof(struct run_slot) + type->state_size;
	struct slot_pool *pool = pool_of(type);
	struct run_slot *slot;

	if (!pool || !pool->first)
		return calloc(1, size);
	slot = pool->first;
	pool->first = slot->next_free;
	pool->count--;
	memset(slot, 0, size);
	return slot;
}

static void slot_give_back(struct run_slot *slot)
{
	struct slot_pool *pool = pool_of(slot->type);

	if (!pool || pool->count >= FREE_SLOTS_MAX) {
		free(slot);
		return;
	}
	slot->next_free = pool->first;
	pool->first = slot;
	pool->count++;
}

void probe_phase_end(struct probe_run *run, enum probe_phase phase)
{
	int64_t now_us = clock_monotonic_us();

	run->phase_us[phase] = now_us - run->phase_started_us;
	run->phase_started_us = now_us;
}

void probe_finish(struct probe_run *run, enum probe_state state, enum probe_reason reason,
		  const char *format, ...)
{
	struct run_slot *slot = run->runner_data;
	va_list arguments;

	if (slot->finished)
		return;
	slot->finished = true;
	slot->finished_us = clock_monotonic_us();
	slot->state = state;
	slot->reason = reason;
	va_start(arguments, format);
	vsnprintf(slot->message, sizeof(slot->message), format, arguments);
	va_end(arguments);
	/* Much of it may come from the server that was probed. */
	text_make_printable(slot->message);
	loop_timer_clear(run->env->loop, &slot->deadline);
	loop_defer(run->env->loop, &slot->finish);
}

/* When the loop itself was held up (the machine slept, the process was stopped), the silence is not
 * the peer's: the run gets its time once more. */
static bool forgive_stall(struct run_slot *slot)
{
	struct loop *loop = slot->run.env->loop;
	int64_t timeout_us = slot->runner->config->timeout_us;
	int64_t late_us = loop_now_us(loop) - slot->run.deadline_us;

	if (!slot->runner->forgives_stalls || slot->forgiven || late_us < timeout_us / 4)
		return false;
	slot->forgiven = true;
	slot->run.deadline_us = loop_now_us(loop) + timeout_us;
	return loop_timer_set(loop, &slot->deadline, slot->run.deadline_us) == 0;
}

static void on_deadline(struct loop_timer *timer)
{
	struct run_slot *slot = timer->owner;
	/* Rounded, or what is left of a budget reads like "0.299981 s". */
	int64_t timeout_us = slot->runner->config->timeout_us;
	int64_t unit_us = timeout_us < 100 * 1000 ? 1000 : 10 * 1000;
	int64_t units = (timeout_us + unit_us / 2) / unit_us;
	double seconds = (double)(units * unit_us) / 1e6;

	if (forgive_stall(slot))
		return;
	probe_finish(&slot->run, PROBE_FAIL,
		     slot->run.deadline_reason ? slot->run.deadline_reason : REASON_TIMEOUT,
		     "no %s within %g s", slot->run.waiting_for ? slot->run.waiting_for : "answer",
		     seconds);
}

/* Copies what the type pointed at, before stop() takes it away. */
static void collect(struct run_slot *slot, struct probe_result *result)
{
	const struct probe_run *run = &slot->run;
	/* An answer that was there while the loop was held up is no news from now: it has waited in
	 * its socket, since before the deadline at the least. */
	int64_t known_us =
		slot->finished_us < run->deadline_us ? slot->finished_us : run->deadline_us;

	*result = (struct probe_result){
		.state = slot->state,
		.reason = slot->reason,
		.ready = slot->state != PROBE_FAIL,
		.duration_us = slot->finished_us - slot->started_us,
		.finished_us = known_us,
		.finished_wall_ms = clock_wall_ms(),
		.certificate_expires_s = run->certificate_expires_s,
	};
	result->alive = result->ready || run->alive || probe_reason_alive(slot->reason);
	memcpy(result->phase_us, run->phase_us, sizeof(result->phase_us));
	if (slot->message[0] != '\0')
		result->message = strdup(slot->message);
	if (run->output_len > 0) {
		result->output = malloc(run->output_len + 1);
		if (result->output) {
			memcpy(result->output, run->output, run->output_len);
			result->output[run->output_len] = '\0';
			result->output_len = run->output_len;
		}
	}
	if (run->perfdata && run->perfdata->count > 0) {
		result->perfdata = malloc(sizeof(*result->perfdata));
		if (result->perfdata)
			*result->perfdata = *run->perfdata;
	}
}

static void slot_end(struct run_slot *slot)
{
	struct loop *loop = slot->run.env->loop;

	loop_timer_clear(loop, &slot->deadline);
	loop_task_clear(loop, &slot->finish);
	slot->type->stop(&slot->run);
	slot->runner->slot = NULL;
	running_count--;
}

static void on_finish(struct loop_task *task)
{
	struct run_slot *slot = task->owner;
	struct runner *runner = slot->runner;
	struct probe_result result;

	collect(slot, &result);
	slot_end(slot);
	slot_give_back(slot);
	runner->on_done(runner, &result);
	probe_result_free(&result);
}

void runner_start(struct runner *runner)
{
	const struct probe_type *type = runner->config->type;
	struct run_slot *slot = slot_take(type);

	if (slot && type->kept_size > 0 && !runner->kept)
		runner->kept = calloc(1, type->kept_size);
	if (!slot || (type->kept_size > 0 && !runner->kept)) {
		struct probe_result result = {.state = PROBE_FAIL,
					      .reason = REASON_RESOURCES,
					      .finished_us = clock_monotonic_us(),
					      .finished_wall_ms = clock_wall_ms(),
					      .phase_us = {-1, -1, -1, -1}};

		free(slot);
		runner->on_done(runner, &result);
		return;
	}
	slot->type = type;
	slot->runner = runner;
	slot->started_us = clock_monotonic_us();
	slot->finish.on_run = on_finish;
	slot->finish.owner = slot;
	slot->deadline.on_expire = on_deadline;
	slot->deadline.owner = slot;
	slot->run = (struct probe_run){
		.env = runner->env,
		.conf = runner->config->conf,
		.state = slot->type_state,
		.kept = runner->kept,
		.deadline_us = (runner->since_us != 0 ? runner->since_us : slot->started_us) +
			       runner->config->timeout_us,
		.phase_started_us = slot->started_us,
		.runner_data = slot,
	};
	for (size_t i = 0; i < PHASE_COUNT; i++)
		slot->run.phase_us[i] = -1;
	runner->slot = slot;
	running_count++;
	type->start(&slot->run);
	if (!slot->finished &&
	    loop_timer_set(runner->env->loop, &slot->deadline, slot->run.deadline_us) < 0)
		probe_finish(&slot->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
}

void runner_cancel(struct runner *runner)
{
	struct run_slot *slot = runner->slot;

	if (!slot)
		return;
	slot->finished = true;
	slot_end(slot);
	slot_give_back(slot);
}

void runner_release(struct runner *runner)
{
	const struct probe_type *type = runner->config->type;

	runner_cancel(runner);
	if (runner->kept && type->forget)
		type->forget(runner->env, runner->config->conf, runner->kept);
	free(runner->kept);
	runner->kept = NULL;
}

void runner_shutdown(void)
{
	while (pools) {
		struct slot_pool *pool = pools;

		while (pool->first) {
			struct run_slot *slot = pool->first;

			pool->first = slot->next_free;
			free(slot);
		}
		pools = pool->next;
		free(pool);
	}
	for (size_t i = 0; probe_types[i]; i++) {
		if (probe_types[i]->shutdown)
			probe_types[i]->shutdown();
	}
}
