#include "agent/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/text.h"

static bool concerns(enum role role, enum endpoint endpoint)
{
	switch (endpoint) {
	case ENDPOINT_STARTUP:
		return role == ROLE_STARTUP;
	case ENDPOINT_READINESS:
		return true;
	case ENDPOINT_LIVENESS:
	case ENDPOINT_COUNT:
		break;
	}
	return role == ROLE_LIVENESS;
}

/* The probes of this name that concern the endpoint, at most one of each role; how many. */
static size_t same_name(const struct engine *engine, enum endpoint endpoint, const char *name,
			const struct engine_probe *ret_probes[ROLE_COUNT])
{
	size_t count = 0;

	for (int role = 0; role < ROLE_COUNT; role++) {
		const struct engine_probe *probe = engine_find(engine, (enum role)role, name);

		if (probe && concerns((enum role)role, endpoint))
			ret_probes[count++] = probe;
	}
	return count;
}

static bool is_excluded(const struct report_request *request, const char *name)
{
	for (size_t i = 0; i < request->excluded_count; i++) {
		if (strcmp(request->excluded[i], name) == 0)
			return true;
	}
	return false;
}

static struct verdict verdict_of(const struct engine *engine, const struct report_request *request)
{
	if (request->excluded_count == 0)
		return engine_verdict(engine, request->endpoint);
	return engine_verdict_without(engine, request->endpoint, request->excluded,
				      request->excluded_count);
}

/* Why a probe is not as it should be, in a word that needs no further knowledge. */
static const char *probe_trouble(const struct engine_probe *probe)
{
	if (probe->stale)
		return "stale";
	if (probe->runs == 0)
		return "no result yet";
	return probe_reason_name(probe->result.reason);
}

/* ---- text ---- */

static void verbose_line(const struct engine_probe *probe, const struct report_request *request,
			 struct buffer *buffer)
{
	const struct probe_result *result = &probe->result;
	const struct engine_probe *same[ROLE_COUNT];
	const char *name = probe->config->name;
	bool excluded = is_excluded(request, name);
	bool good = excluded || engine_probe_ok(probe);

	buffer_text(buffer, good ? "[+]" : "[-]");
	if (same_name(probe->engine, request->endpoint, name, same) > 1)
		buffer_format(buffer, "%s/", role_name(probe->config->role));
	buffer_text(buffer, name);
	if (excluded) {
		buffer_text(buffer, " excluded: ok\n");
		return;
	}
	if (good) {
		buffer_text(buffer, " ok");
		if (probe->runs > 0 && result->state != PROBE_PASS)
			buffer_format(buffer, " (%s: %s)", probe_state_name(result->state),
				      probe_reason_name(result->reason));
		buffer_text(buffer, "\n");
		return;
	}
	buffer_format(buffer, " failed: %s", probe_trouble(probe));
	if (!request->details)
		buffer_text(buffer, " (details withheld)");
	else if (probe->runs > 0 && result->message)
		buffer_format(buffer, ": %s", result->message);
	buffer_text(buffer, "\n");
}

/* Calls `add` for the probes of an endpoint, those in trouble first, as long as the buffer holds no
 * more than `limit` bytes then; returns how many were left out. */
static size_t each_probe(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer, size_t limit,
			 void (*add)(const struct engine_probe *probe, void *context),
			 void *context)
{
	size_t left_out = 0, before;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < engine_probe_count(engine); i++) {
			const struct engine_probe *probe = engine_probe_at(engine, i);

			if (!concerns(probe->config->role, request->endpoint) ||
			    engine_probe_ok(probe) != (pass == 1))
				continue;
			before = buffer->len;
			if (before < limit)
				add(probe, context);
			if (before >= limit || buffer->len > limit) {
				buffer_truncate(buffer, before);
				left_out++;
			}
		}
	}
	return left_out;
}

struct verbose_context {
	const struct report_request *request;
	struct buffer *buffer;
};

static void add_verbose(const struct engine_probe *probe, void *context)
{
	struct verbose_context *verbose = context;

	verbose_line(probe, verbose->request, verbose->buffer);
}

void report_verbose(const struct engine *engine, const struct report_request *request,
		    struct buffer *buffer)
{
	struct verbose_context context = {request, buffer};
	struct verdict verdict = verdict_of(engine, request);
	size_t left_out = each_probe(engine, request, buffer, REPORT_ANSWER_MAX - 1024, add_verbose,
				     &context);

	if (left_out > 0)
		buffer_format(buffer, "and %zu more\n", left_out);
	buffer_format(buffer, "%s check %s", endpoint_name(request->endpoint),
		      verdict.ok ? "passed" : "failed");
	if (!verdict.ok)
		buffer_format(buffer, ": %s", hindrance_text(verdict.hindrance));
	buffer_text(buffer, "\n");
}

static void trim_to_line(struct buffer *buffer)
{
	size_t len = buffer->len;

	if (!buffer->data)
		return;
	text_make_printable(buffer->data);
	if (len > REPORT_LINE_MAX) {
		len = REPORT_LINE_MAX;
		/* Do not cut a character in half. */
		while (len > 0 && (buffer->data[len] & 0xc0) == 0x80)
			len--;
		buffer_truncate(buffer, len);
	}
	buffer_text(buffer, "\n");
}

struct line_context {
	struct buffer *buffer;
	bool details;
	bool first;
};

static void add_to_line(const struct engine_probe *probe, void *context)
{
	struct line_context *line = context;

	if (engine_probe_ok(probe))
		return;
	buffer_format(line->buffer, "%s%s %s", line->first ? ": " : "; ", probe->config->name,
		      probe_trouble(probe));
	if (line->details && probe->runs > 0 && !probe->stale && probe->result.message)
		buffer_format(line->buffer, ": %s", probe->result.message);
	line->first = false;
}

void report_line(const struct engine *engine, enum endpoint endpoint, const char *what,
		 bool details, struct buffer *buffer)
{
	struct report_request request = {.endpoint = endpoint, .details = details};
	struct line_context context = {buffer, details, true};
	struct verdict verdict = engine_verdict(engine, endpoint);
	size_t left_out;

	buffer_format(buffer, "%s %s", verdict.ok ? "pass" : "fail", what);
	if (!verdict.ok) {
		if (verdict.hindrance == HINDRANCE_DRAINING || verdict.hindrance == HINDRANCE_STALE)
			buffer_format(buffer, " %s", hindrance_text(verdict.hindrance));
		left_out = each_probe(engine, &request, buffer, REPORT_LINE_MAX - 100, add_to_line,
				      &context);
		if (left_out > 0)
			buffer_format(buffer, "; and %zu more", left_out);
	}
	trim_to_line(buffer);
}

void report_result_line(const char *name, const struct probe_result *result, bool details,
			struct buffer *buffer)
{
	if (result->state == PROBE_PASS) {
		buffer_format(buffer, "pass %s %.1f ms", name,
			      (double)result->duration_us / 1000.0);
	} else {
		buffer_format(buffer, "%s %s %s", probe_state_name(result->state), name,
			      probe_reason_name(result->reason));
		if (details && result->message)
			buffer_format(buffer, ": %s", result->message);
	}
	trim_to_line(buffer);
}

void report_probe_line(const struct engine_probe *probe, bool details, struct buffer *buffer)
{
	bool ok = engine_probe_ok(probe);
	bool has_trouble = probe->stale || probe->runs == 0 || probe->result.state != PROBE_PASS;

	buffer_format(buffer, "%s %s",
		      !ok           ? "fail"
		      : has_trouble ? "warn"
				    : "pass",
		      probe->config->name);
	if (has_trouble)
		buffer_format(buffer, " %s", probe_trouble(probe));
	if (details && has_trouble && probe->runs > 0 && probe->result.message)
		buffer_format(buffer, ": %s", probe->result.message);
	trim_to_line(buffer);
}

static const char *colour_of(bool ok, bool warns)
{
	return !ok ? "\033[31m" : warns ? "\033[33m" : "\033[32m";
}

static void table_row(const struct engine_probe *probe, bool details, bool colour,
		      struct buffer *buffer)
{
	const struct probe_config *config = probe->config;
	bool ran = probe->runs > 0;
	bool warns = ran && probe->result.state != PROBE_PASS;
	char age[32] = "-", latency[32] = "-";

	if (ran) {
		snprintf(age, sizeof(age), "%.1f s",
			 (double)(clock_monotonic_us() - probe->result.finished_us) / 1e6);
		snprintf(latency, sizeof(latency), "%.1f ms",
			 (double)probe->result.duration_us / 1e3);
	}
	buffer_format(buffer, "%-24s %-10s ", config->name, role_name(config->role));
	if (colour)
		buffer_text(buffer, colour_of(engine_probe_ok(probe), warns));
	buffer_format(buffer, "%-8s", standing_name(probe->health.standing));
	if (colour)
		buffer_text(buffer, "\033[0m");
	buffer_format(buffer, " %10s %10s  %s", latency, age,
		      ran && !probe->stale ? probe_reason_name(probe->result.reason)
					   : probe_trouble(probe));
	if (details && ran && probe->result.message)
		buffer_format(buffer, ": %s", probe->result.message);
	if (details)
		buffer_format(buffer, "  %s", config->target);
	buffer_text(buffer, "\n");
}

void report_table(const struct engine *engine, bool details, bool colour, struct buffer *buffer)
{
	const struct settings *settings = &engine_config(engine)->settings;

	buffer_format(buffer, "%s %s", settings->service,
		      settings->version ? settings->version : "");
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = engine_verdict(engine, (enum endpoint)i);

		buffer_format(buffer, "  %s ", endpoint_name((enum endpoint)i));
		if (colour)
			buffer_text(buffer, colour_of(verdict.ok, false));
		buffer_text(buffer, verdict.ok ? "yes" : "no");
		if (colour)
			buffer_text(buffer, "\033[0m");
		if (!verdict.ok)
			buffer_format(buffer, " (%s)", hindrance_text(verdict.hindrance));
	}
	buffer_format(buffer, "\n\n%-24s %-10s %-8s %10s %10s  %s\n", "PROBE", "ROLE", "STANDING",
		      "TOOK", "AGE", "RESULT");
	for (size_t i = 0; i < engine_probe_count(engine); i++)
		table_row(engine_probe_at(engine, i), details, colour, buffer);
}

/* ---- JSON ---- */

static void write_perfdata(struct json_writer *json, const struct perfdata_list *list)
{
	json_array_begin(json, "perfdata");
	for (size_t i = 0; i < list->count; i++) {
		const struct perfdata *item = &list->items[i];

		json_object_begin(json, NULL);
		json_text(json, "label", item->label);
		json_number(json, "value", item->value);
		json_text(json, "unit", item->unit);
		json_text(json, "warning", item->warning);
		json_text(json, "critical", item->critical);
		json_number(json, "minimum", item->minimum);
		json_number(json, "maximum", item->maximum);
		json_object_end(json);
	}
	json_array_end(json);
}

/* What is always small: everything but output and perfdata. */
static void write_result(struct json_writer *json, const struct probe_config *config,
			 const struct probe_result *result, bool details)
{
	json_text(json, "name", config->name);
	json_text(json, "type", config->type->name);
	if (details)
		json_text(json, "target", config->target);
	json_text(json, "state", probe_state_name(result->state));
	json_text(json, "reason", probe_reason_name(result->reason));
	if (details)
		json_text(json, "message", result->message ? result->message : "");
	json_boolean(json, "alive", result->alive);
	json_boolean(json, "ready", result->ready);
	json_milliseconds(json, "durationMs", result->duration_us);
	json_object_begin(json, "phasesMs");
	for (int i = 0; i < PHASE_COUNT; i++) {
		if (result->phase_us[i] >= 0)
			json_milliseconds(json, probe_phase_name((enum probe_phase)i),
					  result->phase_us[i]);
	}
	json_milliseconds(json, "total", result->duration_us);
	json_object_end(json);
	json_time(json, "at", result->finished_wall_ms);
	if (result->certificate_expires_s != 0)
		json_time(json, "certificateExpires", result->certificate_expires_s * 1000);
}

void report_result_members(struct json_writer *json, const struct probe_config *config,
			   const struct probe_result *result, bool details)
{
	write_result(json, config, result, details);
	if (details && result->output)
		json_text_len(json, "output", result->output, result->output_len);
	if (result->perfdata)
		write_perfdata(json, result->perfdata);
}

static void write_history(struct json_writer *json, const struct engine_probe *probe)
{
	uint64_t first = probe->runs > HISTORY_LEN ? probe->runs - HISTORY_LEN : 0;

	json_array_begin(json, "history");
	for (uint64_t run = first; run < probe->runs; run++) {
		const struct past_run *past = &probe->history[run % HISTORY_LEN];

		json_object_begin(json, NULL);
		json_time(json, "at", past->finished_wall_ms);
		json_text(json, "state", probe_state_name((enum probe_state)past->state));
		json_text(json, "reason", probe_reason_name((enum probe_reason)past->reason));
		json_milliseconds(json, "durationMs", past->duration_us);
		json_object_end(json);
	}
	json_array_end(json);
}

void report_probe(struct json_writer *json, const struct engine_probe *probe, bool details)
{
	const struct probe_config *config = probe->config;
	int64_t now_us = clock_monotonic_us();

	json_object_begin(json, NULL);
	if (probe->runs > 0) {
		report_result_members(json, config, &probe->result, details);
		json_milliseconds(json, "ageMs", now_us - probe->result.finished_us);
	} else {
		json_text(json, "name", config->name);
		json_text(json, "type", config->type->name);
		if (details)
			json_text(json, "target", config->target);
	}
	json_text(json, "role", role_name(config->role));
	json_text(json, "standing", standing_name(probe->health.standing));
	json_time(json, "since", probe->since_wall_ms);
	json_boolean(json, "stale", probe->stale);
	json_boolean(json, "running", probe->runner.slot != NULL);
	json_integer(json, "passes", probe->health.passes);
	json_integer(json, "failures", probe->health.failures);
	json_integer(json, "successThreshold", config->success_threshold);
	json_integer(json, "failureThreshold", config->failure_threshold);
	json_number(json, "periodSeconds", (double)config->period_us / 1e6);
	json_number(json, "timeoutSeconds", (double)config->timeout_us / 1e6);
	json_integer(json, "runs", (int64_t)probe->runs);
	if (probe->timer.position != 0)
		json_milliseconds(json, "nextRunInMs", probe->due_us - now_us);
	write_history(json, probe);
	json_object_end(json);
}

struct json_context {
	struct json_writer *json;
	const struct report_request *request;
};

static void add_json(const struct engine_probe *probe, void *context)
{
	struct json_context *list = context;
	struct json_writer *json = list->json;

	json_object_begin(json, NULL);
	if (probe->runs > 0)
		write_result(json, probe->config, &probe->result, list->request->details);
	else
		json_text(json, "name", probe->config->name);
	json_text(json, "role", role_name(probe->config->role));
	json_text(json, "standing", standing_name(probe->health.standing));
	json_boolean(json, "ok", engine_probe_ok(probe));
	json_boolean(json, "stale", probe->stale);
	if (is_excluded(list->request, probe->config->name))
		json_boolean(json, "excluded", true);
	json_object_end(json);
}

/* "pass", "warn" when something warns although nothing hinders, or "fail". */
static const char *overall(const struct engine *engine, const struct report_request *request,
			   bool ok)
{
	if (!ok)
		return "fail";
	for (size_t i = 0; i < engine_probe_count(engine); i++) {
		const struct engine_probe *probe = engine_probe_at(engine, i);

		if (concerns(probe->config->role, request->endpoint) && probe->runs > 0 &&
		    probe->result.state != PROBE_PASS && !is_excluded(request, probe->config->name))
			return "warn";
	}
	return "pass";
}

void report_json(const struct engine *engine, const struct report_request *request,
		 struct buffer *buffer)
{
	const struct settings *settings = &engine_config(engine)->settings;
	struct verdict verdict = verdict_of(engine, request);
	struct json_context context = {NULL, request};
	struct json_writer json;
	size_t left_out;

	context.json = &json;
	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "status", overall(engine, request, verdict.ok));
	json_text(&json, "endpoint", endpoint_name(request->endpoint));
	json_boolean(&json, "ok", verdict.ok);
	json_text(&json, "why", hindrance_text(verdict.hindrance));
	json_text(&json, "service", settings->service);
	json_text(&json, "version", settings->version);
	json_boolean(&json, "draining", engine_is_draining(engine));
	json_array_begin(&json, "probes");
	left_out =
		each_probe(engine, request, buffer, REPORT_ANSWER_MAX - 2048, add_json, &context);
	json_array_end(&json);
	if (left_out > 0)
		json_integer(&json, "probesLeftOut", (int64_t)left_out);
	json_object_end(&json);
	buffer_text(buffer, "\n");
}

static void write_check(struct json_writer *json, const struct engine_probe *probe, bool details)
{
	const struct probe_config *config = probe->config;
	const struct probe_result *result = &probe->result;
	bool ok = engine_probe_ok(probe);
	bool warns = ok && probe->runs > 0 && result->state != PROBE_PASS;

	json_object_begin(json, NULL);
	json_text(json, "componentId", config->name);
	json_text(json, "componentType",
		  config->type->component ? config->type->component : "component");
	json_text(json, "status", !ok ? "fail" : warns ? "warn" : "pass");
	if (probe->runs > 0) {
		json_number(json, "observedValue", (double)result->duration_us / 1000.0);
		json_text(json, "observedUnit", "ms");
		json_time(json, "time", result->finished_wall_ms);
	}
	if (!ok || warns) {
		struct buffer output;

		buffer_init(&output, 512);
		buffer_text(&output, probe_trouble(probe));
		if (details && probe->runs > 0 && result->message)
			buffer_format(&output, ": %s", result->message);
		json_text(json, "output", output.data);
		buffer_free(&output);
		if (details) {
			json_array_begin(json, "affectedEndpoints");
			json_text(json, NULL, config->target);
			json_array_end(json);
		}
	}
	json_object_end(json);
}

/* One key of "checks"; probes of the same name in several roles share it. */
static void add_check(const struct engine_probe *probe, void *context)
{
	struct json_context *list = context;
	struct json_writer *json = list->json;
	const char *name = probe->config->name;
	const struct engine_probe *same[ROLE_COUNT] = {NULL};
	size_t count = same_name(probe->engine, list->request->endpoint, name, same);
	char key[128];

	if (same[0] != probe)
		return; /* the first of them writes for all */
	/* "component:measurement", section 4 of the draft. Names cannot contain a colon. */
	snprintf(key, sizeof(key), "%s:responseTime", name);
	json_array_begin(json, key);
	for (size_t i = 0; i < count; i++)
		write_check(json, same[i], list->request->details);
	json_array_end(json);
}

void report_health_json(const struct engine *engine, const struct report_request *request,
			struct buffer *buffer)
{
	const struct settings *settings = &engine_config(engine)->settings;
	struct verdict verdict = verdict_of(engine, request);
	struct json_context context = {NULL, request};
	struct json_writer json;
	size_t left_out;

	context.json = &json;
	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "status", overall(engine, request, verdict.ok));
	if (settings->version && settings->version[0] != '\0')
		json_text(&json, "releaseId", settings->version);
	json_text(&json, "serviceId", settings->service);
	if (!verdict.ok)
		json_text(&json, "output", hindrance_text(verdict.hindrance));
	json_object_begin(&json, "checks");
	left_out =
		each_probe(engine, request, buffer, REPORT_ANSWER_MAX - 2048, add_check, &context);
	json_object_end(&json);
	if (left_out > 0) {
		char note[64];

		snprintf(note, sizeof(note), "%zu more checks are left out", left_out);
		json_array_begin(&json, "notes");
		json_text(&json, NULL, note);
		json_array_end(&json);
	}
	json_object_end(&json);
	buffer_text(buffer, "\n");
}

/* Counts since the start: of two readings, the difference tells about the time between them. */
static void lateness_members(struct json_writer *json, const struct lateness *lateness)
{
	json_milliseconds(json, "median", lateness_below_us(lateness, 0.5));
	json_milliseconds(json, "p99", lateness_below_us(lateness, 0.99));
	json_milliseconds(json, "maximum", lateness->maximum_us);
	json_array_begin(json, "histogram");
	for (int i = 0; i < LATENESS_BUCKETS; i++) {
		if (lateness->buckets[i] == 0)
			continue;
		json_object_begin(json, NULL);
		json_milliseconds(json, "below", lateness_edge_us(i));
		json_integer(json, "count", (int64_t)lateness->buckets[i]);
		json_object_end(json);
	}
	json_array_end(json);
}

void report_status_begin(struct json_writer *json, const struct engine *engine)
{
	const struct settings *settings = &engine_config(engine)->settings;

	json_object_begin(json, NULL);
	json_text(json, "service", settings->service);
	json_text(json, "version", settings->version);
	json_text(json, "readyd", READYD_VERSION);
	json_integer(json, "pid", getpid());
	json_time(json, "at", clock_wall_ms());
	json_time(json, "startedAt", engine_started_wall_ms(engine));
	json_milliseconds(json, "uptimeMs", clock_monotonic_us() - engine_started_us(engine));
	json_boolean(json, "draining", engine_is_draining(engine));
	json_integer(json, "reloads", (int64_t)engine_configuration_generation(engine) - 1);
	json_object_begin(json, "verdicts");
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = engine_verdict(engine, (enum endpoint)i);

		json_object_begin(json, endpoint_name((enum endpoint)i));
		json_boolean(json, "ok", verdict.ok);
		json_text(json, "why", hindrance_text(verdict.hindrance));
		json_object_end(json);
	}
	json_object_end(json);
	json_object_begin(json, "latenessMs");
	lateness_members(json, engine_lateness(engine));
	json_object_end(json);
	json_integer(json, "probesRunning", (int64_t)runner_running_count());
	json_integer(json, "probeCount", (int64_t)engine_probe_count(engine));
	json_array_begin(json, "probes");
}

void report_status_end(struct json_writer *json)
{
	json_array_end(json);
	json_object_end(json);
	buffer_text(json->buffer, "\n");
}
