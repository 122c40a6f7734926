#include <string.h>

#include "agent/answer_parts.h"
#include "agent/report.h"

static const char check_prefix[] = "/check/";

/* ---- waiting ---- */

static bool is_stopping(const struct engine *engine)
{
	return (engine_drain_sources(engine) & DRAIN_STOPPING) != 0;
}

bool answer_is_due(const struct answer_source *source, enum answer_wait wait, int64_t now_us)
{
	const struct engine *engine = source->engine;
	int64_t delay_us = engine_config(engine)->settings.drain_delay_us;

	switch (wait) {
	case WAIT_READY:
		/* Once the end has begun it never will be. */
		return engine_has_been_ready(engine) || is_stopping(engine);
	case WAIT_STARTED:
		return engine_verdict(engine, ENDPOINT_STARTUP).ok || is_stopping(engine);
	case WAIT_ASKERS_GONE:
		return !engine_is_draining(engine) ||
		       now_us - engine_draining_since_us(engine) >= delay_us ||
		       askers_are_gone(&source->askers, now_us);
	case WAIT_END:
		break;
	}
	return false;
}

/* Returns whether `answer` is made already: to wait, or that there is no room to wait. */
static bool is_held(const struct answer_source *source, const struct question *question,
		    enum answer_wait wait, struct answer *answer)
{
	if (!question->wait || question->wait_over || source->stopping ||
	    answer_is_due(source, wait, question->now_us))
		return false;
	if (question->may_be_held)
		*answer = (struct answer){.kind = ANSWER_HELD, .wait = wait};
	else
		answer_say(answer, STATUS_TOO_MANY, "too many wait already; ask again\n");
	return true;
}

/* ---- for our own commands, over the admin socket ---- */

/* What `readyd status` shows. */
static void answer_table(const struct answer_source *source, const struct question *question,
			 struct answer *answer)
{
	const struct report_table_form form = {.details = question->details,
					       .colour = question->colour,
					       .unicode = question->unicode,
					       .columns = question->columns,
					       .limit = question->limit};

	answer_begin_stream(source, report_table(source->engine, &form),
			    format_content_type(FORMAT_TEXT), answer);
}

static void answer_check_endpoint(const struct answer_source *source,
				  const struct question *question, enum endpoint endpoint,
				  const char *what, struct answer *answer)
{
	const struct engine *engine = source->engine;
	struct verdict verdict = engine_verdict(engine, endpoint);
	enum format format;
	struct buffer *body;

	if (!answer_choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	if (format != FORMAT_TEXT) {
		answer_endpoint(source, question, endpoint, answer);
		return;
	}
	body = answer_begin_body(answer, answer_status_of(engine, verdict, true), FORMAT_TEXT,
				 REPORT_ANSWER_MAX);
	if (question->verbose)
		report_lines(engine, endpoint, what, question->details, body);
	else
		report_line(engine, endpoint, what, question->details, body);
}

bool answer_checked_endpoint(const char *path, enum endpoint *ret_endpoint)
{
	static const char *const names[ENDPOINT_COUNT] = {[ENDPOINT_LIVENESS] = "liveness",
							  [ENDPOINT_READINESS] = "readiness",
							  [ENDPOINT_STARTUP] = "startup"};

	if (strncmp(path, check_prefix, sizeof(check_prefix) - 1) != 0)
		return false;
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		if (strcmp(path + sizeof(check_prefix) - 1, names[i]) != 0)
			continue;
		*ret_endpoint = (enum endpoint)i;
		return true;
	}
	return false;
}

/* What `readyd check` asks for: one line, or JSON by Accept. */
static void answer_check(const struct answer_source *source, const struct question *question,
			 const char *path, struct answer *answer)
{
	static const enum role order[] = {ROLE_READINESS, ROLE_LIVENESS, ROLE_STARTUP};
	const char *what = path + sizeof(check_prefix) - 1;
	enum endpoint endpoint;

	if (answer_checked_endpoint(path, &endpoint)) {
		if (endpoint == ENDPOINT_READINESS && is_held(source, question, WAIT_READY, answer))
			return;
		if (endpoint == ENDPOINT_STARTUP && is_held(source, question, WAIT_STARTED, answer))
			return;
		answer_check_endpoint(source, question, endpoint, what, answer);
		return;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct engine_probe *probe = engine_find(source->engine, order[i], what);

		if (probe) {
			answer_probe(source, question, probe, answer);
			return;
		}
	}
	answer_say(answer, STATUS_NOT_FOUND, "there is no such probe\n");
}

bool answer_own(const struct answer_source *source, const struct question *question,
		const char *path, struct answer *answer)
{
	if (strcmp(path, "/table") == 0)
		answer_table(source, question, answer);
	else if (strncmp(path, check_prefix, sizeof(check_prefix) - 1) == 0)
		answer_check(source, question, path, answer);
	else
		return false;
	return true;
}

static void answer_drain(struct answer_source *source, const struct question *question,
			 struct answer *answer)
{
	const struct engine *engine = source->engine;

	if (!question->wait_over)
		engine_drain(source->engine, DRAIN_COMMAND);
	if (is_held(source, question, WAIT_ASKERS_GONE, answer))
		return;
	if (!question->wait)
		answer_say(answer, STATUS_OK, "draining\n");
	else if (!engine_is_draining(engine))
		answer_say(answer, STATUS_CONFLICT, "taken back into service meanwhile\n");
	else if (askers_are_gone(&source->askers, question->now_us))
		answer_say(answer, STATUS_OK, "draining, and nobody asks any more\n");
	else
		answer_say(answer, STATUS_OK, "draining, and drain.delaySeconds is over\n");
}

static void answer_undrain(struct answer_source *source, const struct question *question,
			   struct answer *answer)
{
	unsigned rest;

	(void)question;
	engine_undrain(source->engine, DRAIN_COMMAND);
	rest = engine_drain_sources(source->engine);
	if (rest & DRAIN_STOPPING)
		answer_say(answer, STATUS_CONFLICT,
			   "the agent is stopping, which cannot be undone\n");
	else if (rest & DRAIN_FILE)
		answer_say(answer, STATUS_CONFLICT,
			   "the drain file (drain.file) exists; remove it, then the instance is "
			   "back\n");
	else
		answer_say(answer, STATUS_OK, "back in service\n");
}

static void answer_stop(struct answer_source *source, const struct question *question,
			struct answer *answer)
{
	if (!source->stop) {
		answer_say(answer, STATUS_CONFLICT, "this agent cannot be stopped so\n");
		return;
	}
	if (!question->wait_over)
		source->stop(source->stop_owner);
	if (!is_held(source, question, WAIT_END, answer))
		answer_say(answer, STATUS_OK, question->wait ? "stopped\n" : "stopping\n");
}

struct command {
	const char *path;
	void (*answer)(struct answer_source *source, const struct question *question,
		       struct answer *answer);
};

static const struct command commands[] = {
	{"/drain", answer_drain},
	{"/undrain", answer_undrain},
	{"/stop", answer_stop},
};

bool answer_command(struct answer_source *source, const struct question *question, const char *path,
		    struct answer *answer)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(path, commands[i].path) != 0)
			continue;
		if (strcmp(question->method, "POST") != 0) {
			answer_say(answer, STATUS_METHOD_NOT_ALLOWED, "only POST is served here\n");
			answer->allow = "POST";
		} else if (!question->trusted) {
			answer_say(answer, STATUS_FORBIDDEN,
				   "only root and the user that readyd runs as may do this\n");
		} else {
			commands[i].answer(source, question, answer);
		}
		return true;
	}
	return false;
}
