#include <stdio.h>
#include <string.h>

#include "agent/report_select.h"

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
	if (details && result->perfdata)
		write_perfdata(json, result->perfdata);
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
	json_boolean(json, "ok", engine_probe_ok(probe));
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
	report_runs(json, "history", probe);
	json_object_end(json);
}

static void add_json(const struct engine_probe *probe, void *context)
{
	struct report_context *list = context;
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
	if (report_is_excluded(list->request, probe->config->name))
		json_boolean(json, "excluded", true);
	json_object_end(json);
}

void report_json(const struct engine *engine, const struct report_request *request,
		 struct buffer *buffer)
{
	const struct settings *settings = &engine_config(engine)->settings;
	struct verdict verdict = report_verdict(engine, request);
	struct json_writer json;
	struct report_context context = {&json, request};
	size_t left_out;

	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "status", report_overall(engine, request, verdict.ok));
	json_text(&json, "endpoint", endpoint_name(request->endpoint));
	json_boolean(&json, "ok", verdict.ok);
	json_text(&json, "why", hindrance_text(verdict.hindrance));
	json_text(&json, "service", settings->service);
	json_text(&json, "version", settings->version);
	json_boolean(&json, "draining", engine_is_draining(engine));
	json_array_begin(&json, "probes");
	left_out =
		report_each_probe(engine, request, buffer, REPORT_PROBES_MAX, add_json, &context);
	json_array_end(&json);
	if (left_out > 0)
		json_integer(&json, "probesLeftOut", (int64_t)left_out);
	json_object_end(&json);
	buffer_text(buffer, "\n");
}
