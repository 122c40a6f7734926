#include "agent/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/answer_parts.h"
#include "agent/page.h"
#include "agent/report.h"

/* ---- arguments ---- */

static bool take_number(const char *text, size_t *ret_number)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*ret_number = strtoul(text, &end, 10);
	return *end == '\0';
}

static void exclude(struct question *question, const char *name)
{
	if (question->excluded_count == EXCLUDED_MAX)
		question->too_many_excluded = true;
	else
		question->excluded[question->excluded_count++] = (char *)(uintptr_t)name;
}

void question_take_argument(struct question *question, const char *key, const char *value)
{
	if (strcmp(key, "verbose") == 0)
		question->verbose = true;
	else if (strcmp(key, "colour") == 0)
		question->colour = true;
	else if (strcmp(key, "wait") == 0)
		question->wait = true;
	else if (strcmp(key, "unicode") == 0)
		question->unicode = true;
	else if (strcmp(key, "columns") == 0)
		question->bad_number |= !take_number(value, &question->columns);
	else if (strcmp(key, "limit") == 0)
		question->bad_number |= !take_number(value, &question->limit);
	else if (strcmp(key, "format") == 0)
		question->format_name = value ? value : "";
	else if (strcmp(key, "exclude") == 0 && value)
		exclude(question, value);
}

/* ---- routes ---- */

struct route {
	const char *path;
	enum endpoint endpoint;
	enum role role; /* of the probes under PATH/NAME */
};

static const struct route routes[] = {
	{"/ready", ENDPOINT_READINESS, ROLE_READINESS},
	{"/healthz", ENDPOINT_LIVENESS, ROLE_LIVENESS},
	{"/readyz", ENDPOINT_READINESS, ROLE_READINESS},
	{"/livez", ENDPOINT_LIVENESS, ROLE_LIVENESS},
	{"/startup", ENDPOINT_STARTUP, ROLE_STARTUP},
	{"/startupz", ENDPOINT_STARTUP, ROLE_STARTUP},
};

/* The path of a target in absolute form ("http://host/path", RFC 9112 section 3.2.2), and "/" for
 * "*", which means the server as a whole. */
static const char *path_of(const char *target)
{
	const char *authority = NULL;
	const char *path;

	if (strcmp(target, "*") == 0)
		return "/";
	if (strncasecmp(target, "http://", 7) == 0)
		authority = target + 7;
	else if (strncasecmp(target, "https://", 8) == 0)
		authority = target + 8;
	if (!authority)
		return target;
	path = strchr(authority, '/');
	return path ? path : "/";
}

static bool is_readable_method(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
	       strcmp(method, "OPTIONS") == 0;
}

/* A drain has to be seen by those who ask on their own, not by our own commands. */
static void note_asker(struct answer_source *source, const struct question *question,
		       enum endpoint endpoint)
{
	if (endpoint == ENDPOINT_READINESS && !question->admin)
		askers_note(&source->askers, question->peer_hash, question->user_agent,
			    question->now_us);
}

/* Returns false if the path is none of the endpoints'. */
static bool answer_route(struct answer_source *source, const struct question *question,
			 const char *path, struct answer *answer)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t len = strlen(routes[i].path);
		const struct engine_probe *probe;

		if (strncmp(path, routes[i].path, len) != 0)
			continue;
		if (path[len] == '\0' || strcmp(path + len, "/") == 0) {
			note_asker(source, question, routes[i].endpoint);
			answer_endpoint(source, question, routes[i].endpoint, answer);
			return true;
		}
		if (path[len] != '/')
			continue;
		probe = engine_find(source->engine, routes[i].role, path + len + 1);
		if (probe)
			answer_probe(source, question, probe, answer);
		else
			answer_say(answer, STATUS_NOT_FOUND, "there is no such probe\n");
		return true;
	}
	return false;
}

/* What is about all probes. */
static void answer_json(const struct answer_source *source, const struct question *question,
			struct stream *(*report)(const struct engine *engine, size_t limit,
						 bool details),
			struct answer *answer)
{
	enum format format;

	if (answer_choose_format(question, FORMAT_BIT(FORMAT_JSON), FORMAT_JSON, &format, answer))
		answer_begin_stream(source,
				    report(source->engine, question->limit, question->details),
				    format_content_type(format), answer);
}

/* Browsers get the page, which is there whatever it tells of: 200. Load balancers that are told no
 * path ask for "/" too (HAProxy: OPTIONS /). */
static void answer_root(struct answer_source *source, const struct question *question,
			struct answer *answer)
{
	enum format format;

	if (!answer_choose_format(question, ENDPOINT_FORMATS | FORMAT_BIT(FORMAT_HTML), FORMAT_TEXT,
				  &format, answer))
		return;
	if (format != FORMAT_HTML) {
		note_asker(source, question, ENDPOINT_READINESS);
		answer_endpoint(source, question, ENDPOINT_READINESS, answer);
		return;
	}
	*answer = (struct answer){.kind = ANSWER_TEXT,
				  .status = STATUS_OK,
				  .content_type = format_content_type(format),
				  .text = (const char *)page_html,
				  .text_len = page_len,
				  .policy = page_policy,
				  .allow = answer_readable_methods};
}

static void answer_metrics(const struct answer_source *source, const struct question *question,
			   struct answer *answer)
{
	unsigned offered = FORMAT_BIT(FORMAT_PROMETHEUS) | FORMAT_BIT(FORMAT_OPENMETRICS);
	enum format format;

	if (!answer_choose_format(question, offered, FORMAT_PROMETHEUS, &format, answer))
		return;
	answer_begin_stream(source,
			    report_metrics(source->engine, &source->requests,
					   format == FORMAT_OPENMETRICS, question->details),
			    format_content_type(format), answer);
}

static void answer_path(struct answer_source *source, const struct question *question,
			const char *path, struct answer *answer)
{
	*answer = (struct answer){.kind = ANSWER_TEXT};
	if (question->bad_number) {
		answer_say(answer, STATUS_BAD_REQUEST,
			   "limit is how many probes to tell of, a number\n");
		return;
	}
	if (question->admin && answer_command(source, question, path, answer))
		return;
	if (!is_readable_method(question->method)) {
		answer_say(answer, STATUS_METHOD_NOT_ALLOWED,
			   "only GET, HEAD and OPTIONS are served here\n");
		answer->allow = answer_readable_methods;
	} else if (answer_route(source, question, path, answer)) {
		return;
	} else if (strcmp(path, "/status") == 0) {
		answer_json(source, question, report_status, answer);
	} else if (strcmp(path, "/history") == 0) {
		answer_json(source, question, report_history, answer);
	} else if (strcmp(path, "/metrics") == 0) {
		answer_metrics(source, question, answer);
	} else if (strcmp(path, "/") == 0) {
		answer_root(source, question, answer);
	} else if (!question->admin || !answer_own(source, question, path, answer)) {
		answer_say(answer, STATUS_NOT_FOUND,
			   "not found; try /healthz, /ready, /startup, /status, /history or "
			   "/metrics\n");
	}
}

/* ---- who asks ---- */

static enum request_subject subject_of(const struct question *question, const char *path,
				       const struct answer *answer)
{
	enum endpoint endpoint;

	if (answer->kind == ANSWER_BARE)
		return (enum request_subject)answer->endpoint;
	if (question->admin && answer_checked_endpoint(path, &endpoint))
		return (enum request_subject)endpoint;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t len = strlen(routes[i].path);

		if (strncmp(path, routes[i].path, len) != 0)
			continue;
		if (path[len] == '\0' || strcmp(path + len, "/") == 0)
			return (enum request_subject)routes[i].endpoint;
		if (path[len] == '/')
			return SUBJECT_PROBE;
	}
	if (strcmp(path, "/") == 0 && answer->content_type != format_content_type(FORMAT_HTML))
		return SUBJECT_READINESS;
	if (strcmp(path, "/metrics") == 0)
		return SUBJECT_METRICS;
	return question->admin && strncmp(path, "/check/", 7) == 0 ? SUBJECT_PROBE : SUBJECT_OTHER;
}

static enum asker_kind kind_of(const struct question *question, const char *path)
{
	if (question->admin)
		return strncmp(path, "/check/", 7) == 0 ? ASKER_CHECK : ASKER_OTHER;
	return asker_kind_of(question->user_agent);
}

void answer_question(struct answer_source *source, const struct question *question,
		     struct answer *answer)
{
	const char *path = path_of(question->target);

	answer_path(source, question, path, answer);
	/* The bare ones are words of ours and nothing else, and as short as can be. */
	answer->nosniff = answer->kind != ANSWER_BARE && !question->admin;
	if (answer->kind != ANSWER_HELD && answer->kind != ANSWER_NONE)
		requests_note(&source->requests, subject_of(question, path, answer),
			      kind_of(question, path), answer->status);
}
