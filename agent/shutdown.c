#include "agent/shutdown.h"

#include <stdio.h>

#include "agent/log.h"

/* What is kept of the grace period for the kernel to end what was killed, and for us to end. */
enum { MARGIN_US = 500 * 1000 };

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

struct shutdown_plan shutdown_plan(const struct settings *settings, bool has_command,
				   int64_t drained_us)
{
	int64_t budget_us = most(settings->grace_period_us - MARGIN_US, 0);
	int64_t stop_us = has_command ? least(settings->stop_timeout_us, budget_us) : 0;
	int64_t wanted_us = most(settings->drain_delay_us - drained_us, 0);
	int64_t delay_us = least(wanted_us, budget_us - stop_us);

	return (struct shutdown_plan){
		.delay_us = delay_us,
		.lacking_us = wanted_us - delay_us,
		.stop_timeout_us = stop_us,
	};
}

int64_t shutdown_elapsed_us(const struct shutdown *shutdown)
{
	return shutdown->began_us == 0 ? 0 : clock_monotonic_us() - shutdown->began_us;
}

static void log_begin(const struct shutdown *shutdown, const char *by)
{
	struct log_field fields[] = {
		log_text("by", by),
		log_milliseconds("delayMs", shutdown->plan.delay_us),
		{0},
	};

	log_event(LOG_INFO, "stopping", fields);
}

/* Tells whoever may still do something about it. */
static void log_cut(const struct shutdown *shutdown, const struct shutdown_plan *plan)
{
	const struct settings *settings = &engine_config(shutdown->engine)->settings;
	char text[240];
	struct log_field fields[] = {
		log_text("message", text),
		log_milliseconds("delayMs", plan->delay_us),
		log_milliseconds("lackingMs", plan->lacking_us),
		{0},
	};

	if (plan->lacking_us == 0)
		return;
	snprintf(text, sizeof(text),
		 "drain.delaySeconds %g%s do not fit gracePeriodSeconds %g, so the delay is cut; "
		 "give both the container and readyd a longer grace period",
		 (double)settings->drain_delay_us / 1e6,
		 shutdown->has_command ? " and stopTimeoutSeconds" : "",
		 (double)settings->grace_period_us / 1e6);
	log_event(LOG_WARNING, "delay_cut", fields);
}

void shutdown_warn(const struct shutdown *shutdown)
{
	struct shutdown_plan plan =
		shutdown_plan(&engine_config(shutdown->engine)->settings, shutdown->has_command, 0);

	log_cut(shutdown, &plan);
}

/* The delay is over, by itself or because it is skipped. */
static void end_delay(struct shutdown *shutdown, bool skipped)
{
	int64_t elapsed_us = shutdown_elapsed_us(shutdown);
	struct log_field fields[] = {
		log_milliseconds("afterMs", elapsed_us),
		log_boolean("skipped", skipped),
		{0},
	};

	if (shutdown->delay_is_over)
		return;
	shutdown->delay_is_over = true;
	loop_timer_clear(shutdown->loop, &shutdown->timer);
	log_event(LOG_INFO, "delay_over", fields);
	shutdown->on_delay_over(shutdown);
}

static void on_expire(struct loop_timer *timer)
{
	end_delay(timer->owner, false);
}

void shutdown_begin(struct shutdown *shutdown, const char *by)
{
	const struct settings *settings = &engine_config(shutdown->engine)->settings;
	int64_t since_us = engine_draining_since_us(shutdown->engine);
	int64_t now_us = clock_monotonic_us();

	if (shutdown->began_us != 0)
		return;
	shutdown->began_us = now_us;
	shutdown->plan = shutdown_plan(settings, shutdown->has_command,
				       since_us > 0 ? now_us - since_us : 0);
	log_begin(shutdown, by);
	log_cut(shutdown, &shutdown->plan);
	engine_drain(shutdown->engine, DRAIN_STOPPING);
	shutdown->timer.on_expire = on_expire;
	shutdown->timer.owner = shutdown;
	/* With no memory for a timer, no delay is better than no end. */
	if (loop_timer_set(shutdown->loop, &shutdown->timer, now_us + shutdown->plan.delay_us) < 0)
		end_delay(shutdown, true);
	else if (shutdown->on_begin)
		shutdown->on_begin(shutdown);
}

void shutdown_skip_delay(struct shutdown *shutdown)
{
	if (shutdown->began_us != 0)
		end_delay(shutdown, true);
}
