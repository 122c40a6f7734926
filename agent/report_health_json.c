#include <stdio.h>

#include "agent/report_select.h"

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
		buffer_text(&output, report_trouble(probe));
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
	struct report_context *list = context;
	struct json_writer *json = list->json;
	const char *name = probe->config->name;
	const struct engine_probe *same[ROLE_COUNT] = {NULL};
	size_t count = report_same_name(list->request, probe, same);
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
	struct verdict verdict = report_verdict(engine, request);
	struct json_writer json;
	struct report_context context = {&json, request};
	size_t left_out;

	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "status", report_overall(engine, request, verdict.ok));
	if (settings->version && settings->version[0] != '\0')
		json_text(&json, "releaseId", settings->version);
	json_text(&json, "serviceId", settings->service);
	if (!verdict.ok)
		json_text(&json, "output", hindrance_text(verdict.hindrance));
	json_object_begin(&json, "checks");
	left_out =
		report_each_probe(engine, request, buffer, REPORT_PROBES_MAX, add_check, &context);
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
