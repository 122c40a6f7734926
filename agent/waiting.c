#include "agent/waiting.h"

#include <sys/resource.h>

#include "agent/health.h"

enum {
	/* Later than the deadline of the last tries, so that what they say is still heard. */
	END_MARGIN_US = 1000,
	SHARE_OF_DURATION = 4,  /* a quarter */
	SHARE_OF_PROCESSOR = 2, /* a half */
};

static void end(struct waiting *waiting, enum waiting_outcome outcome)
{
	if (waiting->outcome != WAITING_UNDER_WAY)
		return;
	waiting->outcome = outcome;
	waiting->on_end(waiting);
}

static void on_end_task(struct loop_task *task)
{
	end(task->owner, WAITING_TIMED_OUT);
}

/* Results of this turn come first. */
static void on_deadline(struct loop_timer *timer)
{
	struct waiting *waiting = timer->owner;

	loop_defer(waiting->env->loop, &waiting->end);
}

/* ---- tries ---- */

static void try_after(struct waiting_target *target, int64_t delay_us)
{
	/* waiting_start() has reserved room for all timers: this cannot fail. */
	loop_timer_set(target->waiting->env->loop, &target->retry, clock_monotonic_us() + delay_us);
}

static void try_target(struct waiting_target *target)
{
	struct waiting *waiting = target->waiting;
	int64_t now_us = clock_monotonic_us();

	if (waiting->outcome != WAITING_UNDER_WAY)
		return;
	if (runner_running_count() >= waiting->runs_max) {
		try_after(target, health_retry_delay_us(0, 0, waiting->interval_us, 1));
		return;
	}
	if (waiting->deadline_us != 0) {
		int64_t left_us = waiting->deadline_us - now_us;

		if (left_us <= 0)
			return;
		target->config->timeout_us =
			left_us < target->timeout_us ? left_us : target->timeout_us;
	}
	runner_start(&target->runner);
}

static void on_retry(struct loop_timer *timer)
{
	try_target(timer->owner);
}

/* What the try cost. A try that ended for want of an answer was no work for anybody; of any other,
 * the time can have been spent on work or on waiting, and a part of it is a pause that neither
 * overloads who works nor keeps from seeing soon that the waiting is over. */
static int64_t cost_us(const struct waiting_target *target)
{
	const struct probe_result *result = &target->result;

	if (result->duration_us >= target->config->timeout_us)
		return 0;
	return result->duration_us / SHARE_OF_DURATION;
}

/* The processor time that this process and its children have taken. */
static int64_t cpu_time_us(void)
{
	static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	int64_t sum_us = 0;

	for (size_t i = 0; i < sizeof(whose) / sizeof(whose[0]); i++) {
		struct rusage usage = {0};

		getrusage(whose[i], &usage);
		sum_us += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			  usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
	}
	return sum_us;
}

/* How long nothing may be done until all that was done is within our share of a processor, which
 * the service that is waited for may need. */
static int64_t rest_us(const struct waiting *waiting, int64_t waited_us)
{
	return (cpu_time_us() - waiting->cpu_before_us) * SHARE_OF_PROCESSOR - waited_us;
}

static void try_again(struct waiting_target *target)
{
	struct waiting *waiting = target->waiting;
	int64_t waited_us = clock_monotonic_us() - waiting->started_us;
	int64_t burden_us = cost_us(target);

	if (target->in_a_row > 0) {
		try_after(target, waiting->interval_us);
		return;
	}
	if (rest_us(waiting, waited_us) > burden_us)
		burden_us = rest_us(waiting, waited_us);
	try_after(target, health_retry_delay_us(waited_us, burden_us, waiting->interval_us,
						waiting->count - waiting->done_count));
}

/* ---- results ---- */

/* Whether the result says nothing about the target, because readyd could not even ask. */
static bool is_our_own_failure(enum probe_reason reason)
{
	return reason == REASON_RESOURCES || reason == REASON_CANNOT_START ||
	       reason == REASON_SECRET_UNAVAILABLE || reason == REASON_TLS_UNAVAILABLE;
}

static bool is_wanted(const struct waiting_target *target, const struct probe_result *result)
{
	bool passes = target->config->role == ROLE_LIVENESS ? result->alive : result->ready;

	if (!target->waiting->invert)
		return passes;
	return !passes && !is_our_own_failure(result->reason);
}

/* Whether the try ended only because everything does, which says little about the target. */
static bool is_cut_short(const struct waiting_target *target, const struct probe_result *result)
{
	const struct probe_config *config = target->config;

	return config->timeout_us < target->timeout_us && result->state == PROBE_FAIL &&
	       result->duration_us >= config->timeout_us;
}

static void on_done(struct runner *runner, struct probe_result *result)
{
	struct waiting_target *target = runner->owner;
	struct waiting *waiting = target->waiting;
	bool cut_short = is_cut_short(target, result);

	/* What was known before says more. */
	if (waiting->outcome != WAITING_UNDER_WAY || (cut_short && target->tried))
		return;
	probe_result_free(&target->result);
	target->result = *result;
	*result = (struct probe_result){0};
	target->tried = true;
	target->in_a_row =
		!cut_short && is_wanted(target, &target->result) ? target->in_a_row + 1 : 0;
	if (target->in_a_row >= target->needed) {
		target->done_us = clock_monotonic_us();
		waiting->done_count++;
		runner_release(&target->runner);
	}
	waiting->on_result(waiting, target);
	if (waiting->done_count == waiting->count || (waiting->any && waiting->done_count > 0))
		end(waiting, WAITING_DONE);
	else if (target->done_us == 0)
		try_again(target);
}

/* ---- all together ---- */

int waiting_start(struct waiting *waiting)
{
	struct loop *loop = waiting->env->loop;

	waiting->started_us = clock_monotonic_us();
	waiting->cpu_before_us = cpu_time_us();
	waiting->runs_max = runner_runs_allowed();
	waiting->end = (struct loop_task){.on_run = on_end_task, .owner = waiting};
	waiting->deadline = (struct loop_timer){.on_expire = on_deadline, .owner = waiting};
	/* One for the pause and one for the try of each, and what else the process needs. */
	if (loop_reserve_timers(loop, 2 * waiting->count + 16) < 0)
		return -1;
	if (waiting->timeout_us > 0) {
		waiting->deadline_us = waiting->started_us + waiting->timeout_us;
		loop_timer_set(loop, &waiting->deadline, waiting->deadline_us + END_MARGIN_US);
	}
	for (size_t i = 0; i < waiting->count; i++) {
		struct waiting_target *target = &waiting->targets[i];

		target->waiting = waiting;
		target->timeout_us = target->config->timeout_us;
		target->needed = waiting->successes > 0 ? waiting->successes
							: target->config->success_threshold;
		target->retry = (struct loop_timer){.on_expire = on_retry, .owner = target};
		target->runner = (struct runner){.config = target->config,
						 .env = waiting->env,
						 .on_done = on_done,
						 .owner = target};
	}
	for (size_t i = 0; i < waiting->count; i++)
		try_target(&waiting->targets[i]);
	return 0;
}

void waiting_stop(struct waiting *waiting)
{
	struct loop *loop = waiting->env->loop;

	loop_timer_clear(loop, &waiting->deadline);
	loop_task_clear(loop, &waiting->end);
	for (size_t i = 0; i < waiting->count; i++) {
		struct waiting_target *target = &waiting->targets[i];

		loop_timer_clear(loop, &target->retry);
		if (target->waiting)
			runner_release(&target->runner);
	}
}

void waiting_free(struct waiting *waiting)
{
	for (size_t i = 0; i < waiting->count; i++)
		probe_result_free(&waiting->targets[i].result);
}
