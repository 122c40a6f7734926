/* What the command of `readyd run` says of itself by sd_notify(3). */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "agent/field.h"
#include "agent/loop.h"
#include "agent/notified.h"
#include "probes/probe.h"

struct notify_conf {
	int64_t watchdog_us; /* watchdogSeconds; 0 = silence means nothing */
};

static const struct field notify_fields[] = {
	{.name = "watchdogSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = offsetof(struct notify_conf, watchdog_us),
	 .fallback = "0",
	 .minimum = 0,
	 .maximum = 86400,
	 .help = "how long the command may go without WATCHDOG=1 once it is ready; 0 = for ever"},
	{.name = NULL},
};

static int set_target(void *conf, const char *target, struct error *error)
{
	(void)conf;
	/* Not just "notify:", which YAML takes for the beginning of a map. */
	if (strcmp(strchr(target, ':'), ":ready") != 0)
		return error_set(error, "expected notify:ready");
	return 0;
}

static void describe(const void *conf, char *text, size_t size)
{
	(void)conf;
	snprintf(text, size, "notify:ready");
}

static int64_t silence_us(const void *pointer)
{
	const struct notify_conf *conf = pointer;

	return conf->watchdog_us;
}

/* ": " and what the command said of itself. */
static void fail(struct probe_run *run, enum probe_reason reason, const char *sentence)
{
	const char *status = run->env->notified->status;

	probe_finish(run, PROBE_FAIL, reason, "%s%s%s", sentence, status[0] != '\0' ? ": " : "",
		     status);
}

/* Whether it has been silent for too long. If not, looks again when it will have been. */
static bool is_silent(struct probe_run *run)
{
	const struct notify_conf *conf = run->conf;
	struct notified *notified = run->env->notified;
	int64_t end_us = notified->sign_of_life_us + conf->watchdog_us;

	if (conf->watchdog_us == 0 || notified->sign_of_life_us == 0 || notified->stopping)
		return false;
	if (clock_monotonic_us() >= end_us) {
		notified->missed = true;
		return true;
	}
	notified_remind(notified, run->env->loop, end_us);
	return false;
}

static void judge(struct probe_run *run)
{
	const struct notify_conf *conf = run->conf;
	const struct notified *notified = run->env->notified;

	if (notified->wants_restart) {
		fail(run, REASON_WATCHDOG_EXPIRED, "the command has said WATCHDOG=trigger");
	} else if (is_silent(run)) {
		char sentence[80];

		snprintf(sentence, sizeof(sentence), "the command has not said WATCHDOG=1 for %g s",
			 (double)conf->watchdog_us / 1e6);
		fail(run, REASON_WATCHDOG_EXPIRED, sentence);
	} else if (notified->stopping) {
		fail(run, REASON_NOT_NOTIFIED, "the command is stopping");
	} else if (notified->reloading) {
		fail(run, REASON_NOT_NOTIFIED, "the command is reloading");
	} else if (!notified->ready) {
		fail(run, REASON_NOT_NOTIFIED, "the command has not said READY=1");
	} else {
		probe_finish(run, PROBE_PASS, REASON_OK, "%s", notified->status);
	}
}

static void start(struct probe_run *run)
{
	/* Where nothing can be heard, a restart of the command would not help. */
	run->alive = !run->env->notified || !run->env->notified->asked;
	if (!run->env->notified) {
		probe_finish(run, PROBE_FAIL, REASON_CANNOT_START,
			     "only `readyd run` hears what its command says");
	} else if (!run->env->notified->asked) {
		probe_finish(run, PROBE_FAIL, REASON_CANNOT_START,
			     "the command knows no NOTIFY_SOCKET; it gets one when it is started");
	} else {
		judge(run);
	}
}

static void stop(struct probe_run *run)
{
	(void)run;
}

static const char *const notify_schemes[] = {"notify", NULL};

const struct probe_type probe_notify = {
	.name = "notify",
	.schemes = notify_schemes,
	.summary = "what the command of `readyd run` says by sd_notify: READY=1, WATCHDOG=1",
	.example = "notify:ready",
	.fields = notify_fields,
	.reasons = PROBE_REASON_LIST(REASON_CANNOT_START, REASON_NOT_NOTIFIED,
				     REASON_WATCHDOG_EXPIRED),
	.conf_size = sizeof(struct notify_conf),
	.failure_threshold = 1,
	.set_target = set_target,
	.describe = describe,
	.silence_us = silence_us,
	.start = start,
	.stop = stop,
};
