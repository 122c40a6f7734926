/* /status: everything that is known, as JSON, one probe a piece. */

#include <stdlib.h>
#include <unistd.h>

#include "agent/report.h"

enum { PIECE_CEILING = 64 * 1024 };

struct status {
	struct stream stream;
	const struct engine *engine;
	struct json_writer json;
	uint64_t generation;
	size_t next_probe;
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

static void write_head(struct json_writer *json, const struct engine *engine)
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
	json_array_begin(json, "drainSources");
	for (unsigned source = DRAIN_COMMAND; source <= DRAIN_STOPPING; source <<= 1) {
		if (engine_drain_sources(engine) & source)
			json_text(json, NULL, drain_source_name((enum drain_source)source));
	}
	json_array_end(json);
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
		write_head(&status->json, engine);
		status->begun = true;
	} else if (status->next_probe < engine_probe_count(engine)) {
		report_probe(&status->json, engine_probe_at(engine, status->next_probe++),
			     status->details);
	} else if (!status->ended) {
		write_end(&status->json);
		status->ended = true;
	}
	return 0;
}

static void destroy(struct stream *stream)
{
	free(stream);
}

struct stream *report_status(const struct engine *engine, bool details)
{
	struct status *status = calloc(1, sizeof(*status));

	if (!status)
		return NULL;
	stream_init(&status->stream, next_piece, destroy, PIECE_CEILING);
	status->engine = engine;
	status->details = details;
	status->generation = engine_configuration_generation(engine);
	json_begin(&status->json, &status->stream.piece);
	return &status->stream;
}
