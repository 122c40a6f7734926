#include "agent/answer.h"

#include <string.h>
#include <strings.h>

#include "agent/json.h"
#include "agent/page.h"
#include "agent/report.h"

enum {
	PROBE_ANSWER_CEILING = 64 * 1024,
	TABLE_CEILING = 4 * 1024 * 1024,
	BARE_CEILING = 256,
	/* More probes than this are sent in parts, made as the asker takes them. */
	WHOLE_MAX = 100,
};

enum {
	STATUS_OK = 200,
	STATUS_BAD_REQUEST = 400,
	STATUS_FORBIDDEN = 403,
	STATUS_NOT_FOUND = 404,
	STATUS_METHOD_NOT_ALLOWED = 405,
	STATUS_CONFLICT = 409,
	STATUS_TOO_MANY = 429,
	STATUS_UNAVAILABLE = 503,
};

static const char readable[] = "GET, HEAD, OPTIONS";

/* The ways to tell of an endpoint or a probe, but for the bare text. */
static void (*const reports[FORMAT_COUNT])(const struct engine *engine,
					   const struct report_request *request,
					   struct buffer *buffer) = {
	[FORMAT_KUBERNETES] = report_verbose,      [FORMAT_JSON] = report_json,
	[FORMAT_HEALTH_JSON] = report_health_json, [FORMAT_MICROPROFILE] = report_microprofile,
	[FORMAT_SPRING] = report_spring,           [FORMAT_NAGIOS] = report_nagios,
};

enum {
	ENDPOINT_FORMATS = FORMAT_BIT(FORMAT_TEXT) | FORMAT_BIT(FORMAT_KUBERNETES) |
			   FORMAT_BIT(FORMAT_JSON) | FORMAT_BIT(FORMAT_HEALTH_JSON) |
			   FORMAT_BIT(FORMAT_MICROPROFILE) | FORMAT_BIT(FORMAT_SPRING) |
			   FORMAT_BIT(FORMAT_NAGIOS),
};

static void say(struct answer *answer, unsigned status, const char *text)
{
	*answer = (struct answer){.kind = ANSWER_TEXT,
				  .status = status,
				  .content_type = format_content_type(FORMAT_TEXT),
				  .text = text,
				  .text_len = strlen(text)};
}

static struct buffer *begin_body(struct answer *answer, unsigned status, enum format format,
				 size_t ceiling)
{
	answer->kind = ANSWER_BODY;
	answer->status = status;
	answer->content_type = format_content_type(format);
	buffer_init(&answer->body, ceiling);
	return &answer->body;
}

/* What is about many probes is sent as it is made, what is about few in one go. */
static void begin_stream(const struct answer_source *source, struct stream *stream,
			 const char *content_type, struct answer *answer)
{
	*answer = (struct answer){.kind = stream ? ANSWER_STREAM : ANSWER_NONE,
				  .status = STATUS_OK,
				  .content_type = content_type,
				  .stream = stream};
	if (!stream || engine_probe_count(source->engine) > WHOLE_MAX)
		return;
	answer->kind = ANSWER_BODY;
	buffer_init(&answer->body, (size_t)PROBE_ANSWER_CEILING * (WHOLE_MAX + 1));
	stream_read_all(stream, &answer->body);
	stream_destroy(stream);
	answer->stream = NULL;
}

/* Which of the formats that are offered is asked for. Returns false if it is another, which
 * `answer` says then. */
static bool choose_format(const struct question *question, unsigned offered, enum format usual,
			  enum format *ret_format, struct answer *answer)
{
	struct buffer *body;

	*ret_format = usual;
	if (!question->format_name) {
		*ret_format = negotiate_format(question->accept, offered, usual);
		return true;
	}
	if (format_by_name(question->format_name, offered, ret_format))
		return true;
	body = begin_body(answer, STATUS_BAD_REQUEST, FORMAT_TEXT, BARE_CEILING);
	buffer_text(body, "this is not answered in that format; try ?format= with ");
	format_write_names(offered, body);
	buffer_text(body, "\n");
	return false;
}

/* ---- endpoints ---- */

/* The admin side is for our own commands, which know 404 as "no such probe". */
static unsigned status_of(const struct engine *engine, struct verdict verdict, bool admin)
{
	if (verdict.ok)
		return STATUS_OK;
	if (verdict.hindrance == HINDRANCE_DRAINING && !admin &&
	    engine_config(engine)->settings.drain_status == DRAIN_STATUS_404)
		return STATUS_NOT_FOUND;
	return STATUS_UNAVAILABLE;
}

static void set_headers(const struct engine *engine, enum endpoint endpoint, struct verdict verdict,
			struct answer *answer)
{
	answer->close = endpoint == ENDPOINT_READINESS && engine_is_draining(engine);
	answer->degraded = endpoint == ENDPOINT_READINESS && verdict.degraded;
	answer->allow = readable;
}

static void write_bare(struct verdict verdict, struct buffer *buffer)
{
	buffer_text(buffer, verdict.ok ? "ok" : hindrance_text(verdict.hindrance));
	buffer_text(buffer, "\n");
}

void answer_bare(const struct engine *engine, enum endpoint endpoint, bool admin,
		 struct answer *answer)
{
	struct verdict verdict = engine_verdict(engine, endpoint);

	*answer = (struct answer){.endpoint = endpoint};
	write_bare(verdict, begin_body(answer, status_of(engine, verdict, admin), FORMAT_TEXT,
				       BARE_CEILING));
	set_headers(engine, endpoint, verdict, answer);
}

static void answer_endpoint(const struct answer_source *source, const struct question *question,
			    enum endpoint endpoint, struct answer *answer)
{
	const struct engine *engine = source->engine;
	struct report_request request = {.endpoint = endpoint,
					 .excluded = question->excluded,
					 .excluded_count = question->excluded_count,
					 .details = question->details};
	struct verdict verdict;
	enum format format;
	struct buffer *body;

	if (question->too_many_excluded) {
		say(answer, STATUS_BAD_REQUEST, "too many exclude arguments\n");
		return;
	}
	if (!choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	if (format == FORMAT_TEXT && question->verbose)
		format = FORMAT_KUBERNETES;
	if (format == FORMAT_TEXT && question->excluded_count == 0 && !question->admin) {
		verdict = engine_verdict(engine, endpoint);
		*answer = (struct answer){.kind = ANSWER_BARE,
					  .status = status_of(engine, verdict, false),
					  .endpoint = endpoint};
		return;
	}
	verdict = engine_verdict_without(engine, endpoint, question->excluded,
					 question->excluded_count);
	body = begin_body(answer, status_of(engine, verdict, question->admin), format,
			  REPORT_ANSWER_MAX * 2);
	set_headers(engine, endpoint, verdict, answer);
	if (format == FORMAT_TEXT)
		write_bare(verdict, body);
	else
		reports[format](engine, &request, body);
}

static void answer_probe(const struct answer_source *source, const struct question *question,
			 const struct engine_probe *probe, struct answer *answer)
{
	unsigned status = engine_probe_ok(probe) ? STATUS_OK : STATUS_UNAVAILABLE;
	static const enum endpoint endpoints[] = {[ROLE_LIVENESS] = ENDPOINT_LIVENESS,
						  [ROLE_READINESS] = ENDPOINT_READINESS,
						  [ROLE_STARTUP] = ENDPOINT_STARTUP};
	struct report_request request = {.endpoint = endpoints[probe->config->role],
					 .only = probe,
					 .details = question->details};
	enum format format;
	struct buffer *body;

	if (!choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	body = begin_body(answer, status, format, PROBE_ANSWER_CEILING);
	if (format == FORMAT_TEXT) {
		report_probe_line(probe, question->details, body);
	} else if (format == FORMAT_JSON) {
		struct json_writer json;

		json_begin(&json, body);
		report_probe(&json, probe, question->details);
		buffer_text(body, "\n");
	} else {
		reports[format](source->engine, &request, body);
	}
}

/* ---- waiting ---- */

bool answer_is_due(const struct answer_source *source, enum answer_wait wait, int64_t now_us)
{
	const struct engine *engine = source->engine;
	int64_t delay_us = engine_config(engine)->settings.drain_delay_us;

	switch (wait) {
	case WAIT_READY:
		return engine_has_been_ready(engine);
	case WAIT_STARTED:
		return engine_verdict(engine, ENDPOINT_STARTUP).ok;
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
		say(answer, STATUS_TOO_MANY, "too many wait already; ask again\n");
	return true;
}

/* ---- for our own commands, over the admin socket ---- */

/* What `readyd status` shows. */
static void answer_table(const struct answer_source *source, const struct question *question,
			 struct answer *answer)
{
	report_table(source->engine, question->details, question->colour,
		     begin_body(answer, STATUS_OK, FORMAT_TEXT, TABLE_CEILING));
}

static void answer_check_endpoint(const struct answer_source *source,
				  const struct question *question, enum endpoint endpoint,
				  const char *what, struct answer *answer)
{
	const struct engine *engine = source->engine;
	enum format format;

	if (!choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	if (format != FORMAT_TEXT) {
		answer_endpoint(source, question, endpoint, answer);
		return;
	}
	report_line(engine, endpoint, what, question->details,
		    begin_body(answer, status_of(engine, engine_verdict(engine, endpoint), true),
			       FORMAT_TEXT, REPORT_ANSWER_MAX));
}

/* By which `readyd check` knows the endpoints. */
static const char *const check_names[ENDPOINT_COUNT] = {[ENDPOINT_LIVENESS] = "liveness",
							[ENDPOINT_READINESS] = "readiness",
							[ENDPOINT_STARTUP] = "startup"};

/* What `readyd check` asks for: one line, or JSON by Accept. */
static void answer_check(const struct answer_source *source, const struct question *question,
			 const char *what, struct answer *answer)
{
	static const enum role order[] = {ROLE_READINESS, ROLE_LIVENESS, ROLE_STARTUP};

	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		enum endpoint endpoint = (enum endpoint)i;

		if (strcmp(what, check_names[i]) != 0)
			continue;
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
	say(answer, STATUS_NOT_FOUND, "there is no such probe\n");
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
		say(answer, STATUS_OK, "draining\n");
	else if (!engine_is_draining(engine))
		say(answer, STATUS_CONFLICT, "taken back into service meanwhile\n");
	else if (askers_are_gone(&source->askers, question->now_us))
		say(answer, STATUS_OK, "draining, and nobody asks any more\n");
	else
		say(answer, STATUS_OK, "draining, and drain.delaySeconds is over\n");
}

static void answer_undrain(struct answer_source *source, const struct question *question,
			   struct answer *answer)
{
	unsigned rest;

	(void)question;
	engine_undrain(source->engine, DRAIN_COMMAND);
	rest = engine_drain_sources(source->engine);
	if (rest & DRAIN_STOPPING)
		say(answer, STATUS_CONFLICT, "the agent is stopping, which cannot be undone\n");
	else if (rest & DRAIN_FILE)
		say(answer, STATUS_CONFLICT,
		    "the drain file (drain.file) exists; remove it, then the instance is back\n");
	else
		say(answer, STATUS_OK, "back in service\n");
}

static void answer_stop(struct answer_source *source, const struct question *question,
			struct answer *answer)
{
	if (!source->stop) {
		say(answer, STATUS_CONFLICT, "this agent cannot be stopped so\n");
		return;
	}
	if (!question->wait_over)
		source->stop(source->stop_owner);
	if (!is_held(source, question, WAIT_END, answer))
		say(answer, STATUS_OK, question->wait ? "stopped\n" : "stopping\n");
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

/* What changes something. Returns false if the path is none of these. */
static bool answer_command(struct answer_source *source, const struct question *question,
			   const char *path, struct answer *answer)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(path, commands[i].path) != 0)
			continue;
		if (strcmp(question->method, "POST") != 0) {
			say(answer, STATUS_METHOD_NOT_ALLOWED, "only POST is served here\n");
			answer->allow = "POST";
		} else if (!question->trusted) {
			say(answer, STATUS_FORBIDDEN,
			    "only root and the user that readyd runs as may do this\n");
		} else {
			commands[i].answer(source, question, answer);
		}
		return true;
	}
	return false;
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
			say(answer, STATUS_NOT_FOUND, "there is no such probe\n");
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

	if (choose_format(question, FORMAT_BIT(FORMAT_JSON), FORMAT_JSON, &format, answer))
		begin_stream(source, report(source->engine, question->limit, question->details),
			     format_content_type(format), answer);
}

/* Browsers get the page, which is there whatever it tells of: 200. Load balancers that are told no
 * path ask for "/" too (HAProxy: OPTIONS /). */
static void answer_root(struct answer_source *source, const struct question *question,
			struct answer *answer)
{
	enum format format;

	if (!choose_format(question, ENDPOINT_FORMATS | FORMAT_BIT(FORMAT_HTML), FORMAT_TEXT,
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
				  .allow = readable};
}

static void answer_metrics(const struct answer_source *source, const struct question *question,
			   struct answer *answer)
{
	unsigned offered = FORMAT_BIT(FORMAT_PROMETHEUS) | FORMAT_BIT(FORMAT_OPENMETRICS);
	enum format format;

	if (!choose_format(question, offered, FORMAT_PROMETHEUS, &format, answer))
		return;
	begin_stream(source,
		     report_metrics(source->engine, &source->requests,
				    format == FORMAT_OPENMETRICS),
		     format_content_type(format), answer);
}

static void answer_path(struct answer_source *source, const struct question *question,
			const char *path, struct answer *answer)
{
	*answer = (struct answer){.kind = ANSWER_TEXT};
	if (question->bad_limit) {
		say(answer, STATUS_BAD_REQUEST, "limit is how many probes to tell of, a number\n");
		return;
	}
	if (question->admin && answer_command(source, question, path, answer))
		return;
	if (!is_readable_method(question->method)) {
		say(answer, STATUS_METHOD_NOT_ALLOWED,
		    "only GET, HEAD and OPTIONS are served here\n");
		answer->allow = readable;
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
	} else if (question->admin && strcmp(path, "/table") == 0) {
		answer_table(source, question, answer);
	} else if (question->admin && strncmp(path, "/check/", 7) == 0) {
		answer_check(source, question, path + 7, answer);
	} else {
		say(answer, STATUS_NOT_FOUND,
		    "not found; try /healthz, /ready, /startup, /status, /history or /metrics\n");
	}
}

/* ---- who asks ---- */

static enum request_subject subject_of(const struct question *question, const char *path,
				       const struct answer *answer)
{
	const char *what = question->admin && strncmp(path, "/check/", 7) == 0 ? path + 7 : NULL;

	for (size_t i = 0; what && i < sizeof(check_names) / sizeof(check_names[0]); i++) {
		if (strcmp(what, check_names[i]) == 0)
			return (enum request_subject)i;
	}
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
	return what ? SUBJECT_PROBE : SUBJECT_OTHER;
}

static enum asker_kind kind_of(const struct question *question, const char *path)
{
	if (question->admin)
		return strncmp(path, "/check/", 7) == 0 ? ASKER_CHECK : ASKER_OTHER;
	return asker_kind_of(question->method, question->user_agent, question->has_host);
}

void answer_question(struct answer_source *source, const struct question *question,
		     struct answer *answer)
{
	const char *path = path_of(question->target);

	answer_path(source, question, path, answer);
	if (answer->kind != ANSWER_HELD && answer->kind != ANSWER_NONE)
		requests_note(&source->requests, subject_of(question, path, answer),
			      kind_of(question, path), answer->status);
}
