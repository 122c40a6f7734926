/* MicroProfile Health 4.0: {"status", "checks": [{"name", "status", "data"}]}, the data flat. */

#include <stdio.h>

#include "agent/report_select.h"

struct check_list {
	struct json_writer *json;
	const struct report_request *request;
	bool ok;       /* the verdict: what does not stand in its way is up */
	bool any_down; /* a check has told why the verdict is what it is */
};

static void write_data(struct json_writer *json, const struct engine_probe *probe, bool details)
{
	const struct probe_result *result = &probe->result;

	json_object_begin(json, "data");
	json_text(json, "role", role_name(probe->config->role));
	json_text(json, "reason", report_trouble(probe));
	if (probe->runs > 0) {
		json_text(json, "state", probe_state_name(result->state));
		json_milliseconds(json, "durationMs", result->duration_us);
		json_time(json, "at", result->finished_wall_ms);
	}
	if (details && probe->runs > 0 && result->message && result->message[0] != '\0')
		json_text(json, "message", result->message);
	if (details)
		json_text(json, "target", probe->config->target);
	json_object_end(json);
}

static void add_check(const struct engine_probe *probe, void *context)
{
	struct check_list *list = context;
	struct json_writer *json = list->json;
	const struct engine_probe *same[ROLE_COUNT];
	bool up = list->ok || engine_probe_ok(probe);
	char name[96];

	if (report_is_excluded(list->request, probe->config->name))
		return;
	list->any_down = list->any_down || !up;
	if (report_same_name(list->request, probe, same) > 1)
		snprintf(name, sizeof(name), "%s/%s", role_name(probe->config->role),
			 probe->config->name);
	else
		snprintf(name, sizeof(name), "%s", probe->config->name);
	json_object_begin(json, NULL);
	json_text(json, "name", name);
	json_text(json, "status", up ? "UP" : "DOWN");
	write_data(json, probe, list->request->details);
	json_object_end(json);
}

/* A check that is no probe: the schema has no other place for what it says. */
static void write_note(struct json_writer *json, bool up, struct verdict verdict, size_t left_out)
{
	json_object_begin(json, NULL);
	json_text(json, "name", "readyd");
	json_text(json, "status", up ? "UP" : "DOWN");
	json_object_begin(json, "data");
	json_text(json, "why", hindrance_text(verdict.hindrance));
	if (left_out > 0)
		json_integer(json, "checksLeftOut", (int64_t)left_out);
	json_object_end(json);
	json_object_end(json);
}

void report_microprofile(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer)
{
	struct verdict verdict = report_verdict(engine, request);
	struct json_writer json;
	struct check_list list = {.json = &json, .request = request, .ok = verdict.ok};
	size_t left_out;

	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "status", verdict.ok ? "UP" : "DOWN");
	json_array_begin(&json, "checks");
	left_out = report_each_probe(engine, request, buffer, REPORT_PROBES_MAX, add_check, &list);
	if (left_out > 0 || (!verdict.ok && !list.any_down))
		write_note(&json, verdict.ok || list.any_down, verdict, left_out);
	json_array_end(&json);
	json_object_end(&json);
	buffer_text(buffer, "\n");
}
