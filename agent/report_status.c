/* /status and /history: everything that is known, as JSON, one probe a piece. */

#include <stdlib.h>
#include <unistd.h>

#include "agent/report_select.h"

enum {
	/* All transitions have their place in it. */
	PIECE_CEILING = 256 * 1024,
	/* Of the transitions, those that /status tells of. */
	STATUS_TRANSITIONS = 16,
};

struct status {
	struct stream stream;
	const struct engine *engine;
	struct json_writer json;
	struct probe_selection selection;
	uint64_t generation;
	size_t next_probe;
	bool history; /* it is /history */
	bool details, begun, ended;
};

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

static void write_verdicts(struct json_writer *json, const struct engine *engine)
{
	json_object_begin(json, "verdicts");
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		enum endpoint endpoint = (enum endpoint)i;
		struct verdict verdict = engine_verdict(engine, endpoint);

		json_object_begin(json, endpoint_name(endpoint));
		json_boolean(json, "ok", verdict.ok);
		json_boolean(json, "degraded", verdict.degraded);
		json_text(json, "why", hindrance_text(verdict.hindrance));
		json_time(json, "since", engine_verdict_since_wall_ms(engine, endpoint));
		json_object_end(json);
	}
	json_object_end(json);
}

/* What is said of the instance whatever the question is. */
static void write_instance(struct json_writer *json, const struct status *status)
{
	const struct settings *settings = &engine_config(status->engine)->settings;

	json_object_begin(json, NULL);
	json_text(json, "service", settings->service);
	json_text(json, "version", settings->version);
	json_text(json, "readyd", READYD_VERSION);
	json_integer(json, "pid", getpid());
	json_time(json, "at", clock_wall_ms());
	json_boolean(json, "details", status->details);
}

static void write_transitions(struct json_writer *json, const struct status *status, uint64_t most)
{
	const struct history *history = engine_history(status->engine);
	uint64_t first = history_first(history);

	if (history->count - first > most)
		first = history->count - most;
	json_integer(json, "transitionCount", (int64_t)history->count);
	report_transitions(json, "transitions", history, first, status->details);
}

static void write_status_head(struct json_writer *json, const struct status *status)
{
	const struct engine *engine = status->engine;

	json_time(json, "startedAt", engine_started_wall_ms(engine));
	json_milliseconds(json, "uptimeMs", clock_monotonic_us() - engine_started_us(engine));
	json_boolean(json, "draining", engine_is_draining(engine));
	json_array_begin(json, "drainSources");
	for (unsigned source = DRAIN_COMMAND; source <= DRAIN_STOPPING; source <<= 1) {
		if (engine_drain_sources(engine) & source)
			json_text(json, NULL, drain_source_name((enum drain_source)source));
	}
	json_array_end(json);
	json_integer(json, "reloads", (int64_t)engine_configuration_generation(engine) - 1);
	write_verdicts(json, engine);
	json_object_begin(json, "latenessMs");
	lateness_members(json, engine_lateness(engine));
	json_object_end(json);
	json_integer(json, "probesRunning", (int64_t)runner_running_count());
	write_transitions(json, status, STATUS_TRANSITIONS);
}

static void write_head(struct json_writer *json, const struct status *status)
{
	write_instance(json, status);
	if (status->history)
		write_transitions(json, status, HISTORY_TRANSITIONS);
	else
		write_status_head(json, status);
	json_integer(json, "probeCount", (int64_t)engine_probe_count(status->engine));
	json_integer(json, "probesLeftOut", (int64_t)status->selection.left_out);
	json_array_begin(json, "probes");
}

static void write_runs(struct json_writer *json, const struct engine_probe *probe)
{
	json_object_begin(json, NULL);
	json_text(json, "name", probe->config->name);
	json_text(json, "type", probe->config->type->name);
	json_text(json, "role", role_name(probe->config->role));
	json_integer(json, "runs", (int64_t)probe->runs);
	report_runs(json, "history", probe);
	json_object_end(json);
}

static void write_end(struct json_writer *json)
{
	json_array_end(json);
	json_object_end(json);
	buffer_text(json->buffer, "\n");
}

static int next_piece(struct stream *stream, struct buffer *piece)
{
	struct status *status = (struct status *)stream;
	const struct engine *engine = status->engine;

	(void)piece; /* the JSON writer has it */
	if (status->generation != engine_configuration_generation(engine))
		return -1;
	if (!status->begun) {
		write_head(&status->json, status);
		status->begun = true;
	} else if (status->next_probe < status->selection.count) {
		const struct engine_probe *probe = status->selection.probes[status->next_probe++];

		if (status->history)
			write_runs(&status->json, probe);
		else
			report_probe(&status->json, probe, status->details);
	} else if (!status->ended) {
		write_end(&status->json);
		status->ended = true;
	}
	return 0;
}

static void destroy(struct stream *stream)
{
	struct status *status = (struct status *)stream;

	free(status->selection.probes);
	free(status);
}

static struct stream *create(const struct engine *engine, size_t limit, bool details, bool history)
{
	struct status *status = calloc(1, sizeof(*status));

	if (!status || report_select_probes(engine, limit, &status->selection) < 0) {
		free(status);
		return NULL;
	}
	stream_init(&status->stream, next_piece, destroy, PIECE_CEILING);
	status->engine = engine;
	status->details = details;
	status->history = history;
	status->generation = engine_configuration_generation(engine);
	json_begin(&status->json, &status->stream.piece);
	return &status->stream;
}

struct stream *report_status(const struct engine *engine, size_t limit, bool details)
{
	return create(engine, limit, details, false);
}

struct stream *report_history(const struct engine *engine, size_t limit, bool details)
{
	return create(engine, limit, details, true);
}
