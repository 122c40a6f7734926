/* What was: transitions and past runs. */

#include "agent/report_select.h"

static void write_members(struct json_writer *json, const struct transition *transition,
			  bool details)
{
	switch (transition->kind) {
	case TRANSITION_PROBE:
		json_text(json, "name", transition->probe.name);
		json_text(json, "role", role_name(transition->probe.role));
		json_text(json, "from", standing_name(transition->probe.from));
		json_text(json, "to", standing_name(transition->probe.to));
		json_text(json, "reason", probe_reason_name(transition->probe.reason));
		if (details)
			json_text(json, "message", transition->probe.message);
		break;
	case TRANSITION_VERDICT:
		json_text(json, "endpoint", endpoint_name(transition->verdict.endpoint));
		json_boolean(json, "ok", transition->verdict.verdict.ok);
		json_text(json, "why", hindrance_text(transition->verdict.verdict.hindrance));
		break;
	case TRANSITION_DRAIN:
		json_text(json, "source", transition->drain.source);
		json_boolean(json, "draining", transition->drain.draining);
		break;
	case TRANSITION_RELOAD:
		json_integer(json, "probeCount", (int64_t)transition->probe_count);
		break;
	case TRANSITION_RESTART:
		break;
	}
}

void report_transitions(struct json_writer *json, const char *name, const struct history *history,
			uint64_t first, bool details)
{
	json_array_begin(json, name);
	for (uint64_t number = first; number < history->count; number++) {
		const struct transition *transition = history_at(history, number);

		if (!transition)
			continue;
		json_object_begin(json, NULL);
		json_integer(json, "number", (int64_t)number);
		json_time(json, "at", transition->at_wall_ms);
		json_text(json, "event", transition_kind_name(transition->kind));
		write_members(json, transition, details);
		json_object_end(json);
	}
	json_array_end(json);
}

void report_runs(struct json_writer *json, const char *name, const struct engine_probe *probe)
{
	uint64_t first = probe->runs > HISTORY_LEN ? probe->runs - HISTORY_LEN : 0;

	json_array_begin(json, name);
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
