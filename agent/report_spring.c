/* The health endpoint of Spring Boot's actuator: {"status", "components": {NAME: {"status",
 * "details"}}}. Probes of one name in several roles are a component of components. */

#include <stdio.h>

#include "agent/report_select.h"

struct component_list {
	struct json_writer *json;
	const struct report_request *request;
	bool ok; /* the verdict: what does not stand in its way is up */
	bool any_down;
};

static void write_component(struct component_list *list, const char *name,
			    const struct engine_probe *probe)
{
	struct json_writer *json = list->json;
	const struct probe_result *result = &probe->result;
	bool up = list->ok || engine_probe_ok(probe);

	list->any_down = list->any_down || !up;
	json_object_begin(json, name);
	json_text(json, "status", up ? "UP" : "DOWN");
	json_object_begin(json, "details");
	json_text(json, "role", role_name(probe->config->role));
	json_text(json, "reason", report_trouble(probe));
	if (probe->runs > 0)
		json_milliseconds(json, "durationMs", result->duration_us);
	if (list->request->details && probe->runs > 0 && result->message &&
	    result->message[0] != '\0')
		json_text(json, "message", result->message);
	if (list->request->details)
		json_text(json, "target", probe->config->target);
	json_object_end(json);
	json_object_end(json);
}

static void add_component(const struct engine_probe *probe, void *context)
{
	struct component_list *list = context;
	struct json_writer *json = list->json;
	const struct engine_probe *same[ROLE_COUNT] = {NULL};
	size_t count = report_same_name(list->request, probe, same);
	bool up = true;

	if (same[0] != probe || report_is_excluded(list->request, probe->config->name))
		return; /* the first of them writes for all */
	if (count == 1) {
		write_component(list, probe->config->name, probe);
		return;
	}
	for (size_t i = 0; i < count; i++)
		up = up && (list->ok || engine_probe_ok(same[i]));
	json_object_begin(json, probe->config->name);
	json_text(json, "status", up ? "UP" : "DOWN");
	json_object_begin(json, "components");
	for (size_t i = 0; i < count; i++)
		write_component(list, role_name(same[i]->config->role), same[i]);
	json_object_end(json);
	json_object_end(json);
}

static bool is_probe_name(const struct engine *engine, const char *name)
{
	for (int role = 0; role < ROLE_COUNT; role++) {
		if (engine_find(engine, (enum role)role, name))
			return true;
	}
	return false;
}

/* The state of the application itself, under the name that Spring has for it. */
static void write_state(struct json_writer *json, const struct engine *engine,
			enum endpoint endpoint, bool in_service)
{
	static const char *const names[] = {[ENDPOINT_LIVENESS] = "livenessState",
					    [ENDPOINT_READINESS] = "readinessState",
					    [ENDPOINT_STARTUP] = "startupState"};

	if (is_probe_name(engine, names[endpoint]))
		return;
	json_object_begin(json, names[endpoint]);
	json_text(json, "status", in_service ? "UP" : "OUT_OF_SERVICE");
	json_object_end(json);
}

void report_spring(const struct engine *engine, const struct report_request *request,
		   struct buffer *buffer)
{
	struct verdict verdict = report_verdict(engine, request);
	struct json_writer json, status;
	struct component_list list = {.json = &json, .request = request, .ok = verdict.ok};
	struct buffer components;
	size_t left_out;

	/* The components first: what they come to stands before them. */
	buffer_init(&components, REPORT_ANSWER_MAX * 2);
	json_begin(&json, &components);
	json_object_begin(&json, "components");
	left_out = report_each_probe(engine, request, &components, REPORT_PROBES_MAX, add_component,
				     &list);
	if (!request->only)
		write_state(&json, engine, request->endpoint,
			    verdict.hindrance != HINDRANCE_DRAINING &&
				    verdict.hindrance != HINDRANCE_STARTUP);
	json_object_end(&json);
	json_begin(&status, buffer);
	json_object_begin(&status, NULL);
	json_text(&status, "status", verdict.ok ? "UP" : list.any_down ? "DOWN" : "OUT_OF_SERVICE");
	if (left_out > 0)
		json_integer(&status, "componentsLeftOut", (int64_t)left_out);
	buffer_text(buffer, ",");
	buffer_append(buffer, components.data, components.len);
	buffer_text(buffer, "}\n");
	buffer_free(&components);
}
