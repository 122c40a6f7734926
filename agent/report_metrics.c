/* /metrics: the order of the families, and what is about the instance and the process. */

#include "agent/report_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/process_figures.h"
#include "agent/report.h"

enum {
	PIECE_CEILING = 64 * 1024,
	/* A piece ends with the probe that makes it as long as this: some ten microseconds' work.
	 */
	PIECE_ENOUGH = 8 * 1024,
};

struct metrics {
	struct stream stream;
	const struct engine *engine;
	const struct requests *requests;
	uint64_t generation;
	bool openmetrics, details;
	struct process_figures process; /* as it was at the beginning */
	size_t family;                  /* the next one: first the instance's, then the probes' */
	size_t next_probe;              /* of the present one */
	bool ended;
};

/* A family that is about the instance. */
struct instance_family {
	struct metric_family family;
	void (*write)(struct metrics *metrics, struct buffer *buffer,
		      const struct metric_family *family);
};

/* ---- lines ---- */

static void begin(struct buffer *buffer, const struct metric_family *family)
{
	buffer_text(buffer, family->name);
	buffer_text(buffer, exposition_suffix(family->type));
}

static void integer(struct buffer *buffer, const struct metric_family *family, uint64_t value)
{
	begin(buffer, family);
	exposition_integer(buffer, value);
}

static void timestamp(struct buffer *buffer, const struct metric_family *family, int64_t wall_ms)
{
	begin(buffer, family);
	exposition_milliseconds(buffer, wall_ms);
}

/* A name and one label, up to where the next one or the value is due. */
static void begin_labelled(struct buffer *buffer, const struct metric_family *family,
			   const char *label, const char *value)
{
	begin(buffer, family);
	buffer_append(buffer, "{", 1);
	exposition_label(buffer, true, label, value);
}

static void end_labelled(struct buffer *buffer, uint64_t value)
{
	buffer_append(buffer, "}", 1);
	exposition_integer(buffer, value);
}

/* ---- the process ---- */

static void write_build(struct metrics *metrics, struct buffer *buffer,
			const struct metric_family *family)
{
	const struct settings *settings = &engine_config(metrics->engine)->settings;

	begin_labelled(buffer, family, "service", settings->service);
	exposition_label(buffer, false, "version", settings->version);
	exposition_label(buffer, false, "readyd", READYD_VERSION);
	end_labelled(buffer, 1);
}

static void write_start_time(struct metrics *metrics, struct buffer *buffer,
			     const struct metric_family *family)
{
	timestamp(buffer, family, engine_started_wall_ms(metrics->engine));
}

static void write_cpu(struct metrics *metrics, struct buffer *buffer,
		      const struct metric_family *family)
{
	begin(buffer, family);
	exposition_microseconds(buffer, metrics->process.cpu_us);
}

static void write_resident(struct metrics *metrics, struct buffer *buffer,
			   const struct metric_family *family)
{
	integer(buffer, family, (uint64_t)metrics->process.resident_bytes);
}

static void write_descriptors(struct metrics *metrics, struct buffer *buffer,
			      const struct metric_family *family)
{
	integer(buffer, family, (uint64_t)metrics->process.descriptors);
}

static void write_descriptors_max(struct metrics *metrics, struct buffer *buffer,
				  const struct metric_family *family)
{
	integer(buffer, family, (uint64_t)metrics->process.descriptors_max);
}

static void write_lateness(struct metrics *metrics, struct buffer *buffer,
			   const struct metric_family *family)
{
	const struct lateness *lateness = engine_lateness(metrics->engine);
	uint64_t count = 0;

	for (int i = 0; i < LATENESS_BUCKETS - 1; i++) {
		count += lateness->buckets[i];
		buffer_format(buffer, "%s_bucket{le=\"%.6f\"}", family->name,
			      (double)lateness_edge_us(i) / 1e6);
		exposition_integer(buffer, (uint64_t)count);
	}
	buffer_format(buffer, "%s_bucket{le=\"+Inf\"}", family->name);
	exposition_integer(buffer, (uint64_t)lateness->count);
	buffer_format(buffer, "%s_sum", family->name);
	exposition_microseconds(buffer, (uint64_t)lateness->sum_us);
	buffer_format(buffer, "%s_count", family->name);
	exposition_integer(buffer, (uint64_t)lateness->count);
}

static void write_lateness_max(struct metrics *metrics, struct buffer *buffer,
			       const struct metric_family *family)
{
	begin(buffer, family);
	exposition_microseconds(buffer, (uint64_t)engine_lateness(metrics->engine)->maximum_us);
}

static void write_measured_dropped(struct metrics *metrics, struct buffer *buffer,
				   const struct metric_family *family)
{
	integer(buffer, family, engine_measured_dropped(metrics->engine));
}

static void write_running(struct metrics *metrics, struct buffer *buffer,
			  const struct metric_family *family)
{
	(void)metrics;
	integer(buffer, family, (uint64_t)runner_running_count());
}

/* ---- the instance ---- */

static void write_reloads(struct metrics *metrics, struct buffer *buffer,
			  const struct metric_family *family)
{
	integer(buffer, family, (uint64_t)engine_configuration_generation(metrics->engine) - 1);
}

static void write_restarts(struct metrics *metrics, struct buffer *buffer,
			   const struct metric_family *family)
{
	integer(buffer, family, (uint64_t)engine_restarts(metrics->engine));
}

static void write_draining(struct metrics *metrics, struct buffer *buffer,
			   const struct metric_family *family)
{
	integer(buffer, family, engine_is_draining(metrics->engine));
}

static void write_drain_sources(struct metrics *metrics, struct buffer *buffer,
				const struct metric_family *family)
{
	unsigned sources = engine_drain_sources(metrics->engine);

	for (unsigned source = DRAIN_COMMAND; source <= DRAIN_STOPPING; source <<= 1) {
		begin_labelled(buffer, family, "source",
			       drain_source_name((enum drain_source)source));
		end_labelled(buffer, (sources & source) != 0);
	}
}

static void write_drain_start(struct metrics *metrics, struct buffer *buffer,
			      const struct metric_family *family)
{
	timestamp(buffer, family, engine_draining_since_wall_ms(metrics->engine));
}

static void write_endpoint_ok(struct metrics *metrics, struct buffer *buffer,
			      const struct metric_family *family)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		begin_labelled(buffer, family, "endpoint", endpoint_name((enum endpoint)i));
		end_labelled(buffer, engine_verdict(metrics->engine, (enum endpoint)i).ok);
	}
}

static void write_endpoint_degraded(struct metrics *metrics, struct buffer *buffer,
				    const struct metric_family *family)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		begin_labelled(buffer, family, "endpoint", endpoint_name((enum endpoint)i));
		end_labelled(buffer, engine_verdict(metrics->engine, (enum endpoint)i).degraded);
	}
}

static void write_hindrances(struct metrics *metrics, struct buffer *buffer,
			     const struct metric_family *family)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = engine_verdict(metrics->engine, (enum endpoint)i);

		for (int why = HINDRANCE_NONE + 1; why < HINDRANCE_COUNT; why++) {
			begin_labelled(buffer, family, "endpoint", endpoint_name((enum endpoint)i));
			exposition_label(buffer, false, "hindrance",
					 hindrance_name((enum hindrance)why));
			end_labelled(buffer, verdict.hindrance == (enum hindrance)why);
		}
	}
}

/* ---- who asks ---- */

static void begin_asker(struct buffer *buffer, const struct metric_family *family, int subject,
			int kind)
{
	begin_labelled(buffer, family, "endpoint",
		       request_subject_name((enum request_subject)subject));
	exposition_label(buffer, false, "asker", asker_kind_name((enum asker_kind)kind));
}

/* What is to be expected is there from the start, the rest once it was seen. */
static bool is_shown(int subject, int kind, int status, uint64_t count)
{
	return count > 0 ||
	       request_is_expected((enum request_subject)subject, (enum asker_kind)kind, status);
}

static void write_requests(struct metrics *metrics, struct buffer *buffer,
			   const struct metric_family *family)
{
	for (int pair = 0; pair < SUBJECT_COUNT * ASKER_KINDS; pair++) {
		int subject = pair / ASKER_KINDS, kind = pair % ASKER_KINDS;
		const struct request_counts *counts = &metrics->requests->counts[subject][kind];

		for (int i = 0; i < REQUEST_STATUSES; i++) {
			if (!is_shown(subject, kind, i, counts->by_status[i]))
				continue;
			begin_asker(buffer, family, subject, kind);
			exposition_label(buffer, false, "status", request_status_name(i));
			end_labelled(buffer, (uint64_t)counts->by_status[i]);
		}
	}
}

static void write_last_requests(struct metrics *metrics, struct buffer *buffer,
				const struct metric_family *family)
{
	for (int pair = 0; pair < SUBJECT_COUNT * ASKER_KINDS; pair++) {
		int subject = pair / ASKER_KINDS, kind = pair % ASKER_KINDS;

		if (subject == SUBJECT_AGENT_CHECK && kind != ASKER_HAPROXY)
			continue;
		begin_asker(buffer, family, subject, kind);
		buffer_append(buffer, "}", 1);
		exposition_milliseconds(buffer,
					metrics->requests->counts[subject][kind].last_wall_ms);
	}
}

static const struct instance_family instance_families[] = {
	{{"readyd_build", METRIC_INFO, NULL, "The service, its version, and that of readyd."},
	 write_build},
	{{"readyd_endpoint_ok", METRIC_GAUGE, NULL, "Whether the endpoint says 200."},
	 write_endpoint_ok},
	{{"readyd_endpoint_degraded", METRIC_GAUGE, NULL,
	  "Whether it says 200 although a probe passes with a warning only."},
	 write_endpoint_degraded},
	{{"readyd_endpoint_hindrance", METRIC_GAUGE, NULL,
	  "What holds the endpoint back: 1 for the first that applies."},
	 write_hindrances},
	{{"readyd_draining", METRIC_GAUGE, NULL, "Whether the instance is out of service."},
	 write_draining},
	{{"readyd_drain_source", METRIC_GAUGE, NULL, "Who wants it to be."}, write_drain_sources},
	{{"readyd_drain_start_timestamp_seconds", METRIC_GAUGE, "seconds",
	  "Since when it is; 0 when it is not."},
	 write_drain_start},
	{{"readyd_requests", METRIC_COUNTER, NULL,
	  "Answers by what was asked for, by whom, and by status code, or what HAProxy's "
	  "agent-check was told."},
	 write_requests},
	{{"readyd_last_request_timestamp_seconds", METRIC_GAUGE, "seconds",
	  "When it was last asked for; 0 = never."},
	 write_last_requests},
	{{"readyd_configuration_reloads", METRIC_COUNTER, NULL,
	  "Successful reloads of the configuration."},
	 write_reloads},
	{{"readyd_command_restarts", METRIC_COUNTER, NULL,
	  "How often readyd run has restarted its command."},
	 write_restarts},
	{{"readyd_perfdata_dropped", METRIC_COUNTER, NULL,
	  "Values of plugins that are left out because their probe has had too many labels."},
	 write_measured_dropped},
	{{"readyd_running_probes", METRIC_GAUGE, NULL, "Runs of probes that are under way."},
	 write_running},
	{{"readyd_lateness_seconds", METRIC_HISTOGRAM, "seconds",
	  "How late runs of probes started: the lag of the event loop, and the wait for a free "
	  "place."},
	 write_lateness},
	{{"readyd_lateness_max_seconds", METRIC_GAUGE, "seconds", "The longest of these."},
	 write_lateness_max},
	{{"process_start_time_seconds", METRIC_GAUGE, "seconds", "When readyd was started."},
	 write_start_time},
	{{"process_cpu_seconds", METRIC_COUNTER, "seconds",
	  "User and system time of readyd, without its children."},
	 write_cpu},
	{{"process_resident_memory_bytes", METRIC_GAUGE, "bytes", "Resident memory of readyd."},
	 write_resident},
	{{"process_open_fds", METRIC_GAUGE, NULL, "Open descriptors of readyd."},
	 write_descriptors},
	{{"process_max_fds", METRIC_GAUGE, NULL, "How many there may be."}, write_descriptors_max},
};

enum { INSTANCE_FAMILIES = sizeof(instance_families) / sizeof(instance_families[0]) };

/* ---- the stream ---- */

static void write_instance(struct metrics *metrics, struct buffer *piece)
{
	for (; metrics->family < INSTANCE_FAMILIES; metrics->family++) {
		const struct instance_family *family = &instance_families[metrics->family];

		exposition_family(piece, &family->family, metrics->openmetrics);
		family->write(metrics, piece, &family->family);
	}
}

/* As many of the family's samples as make a piece, those of one probe at least; goes on to the next
 * family at its end. */
static void write_probes(struct metrics *metrics, const struct probe_family *family,
			 struct buffer *piece)
{
	size_t count = engine_probe_count(metrics->engine);
	struct probe_series series[PROBE_SERIES_MAX];

	if (metrics->next_probe == 0)
		exposition_family(piece, &family->family, metrics->openmetrics);
	probe_series_begin(series, piece, &family->family, count <= PROBES_COMPLETE_MAX);
	while (metrics->next_probe < count) {
		const struct engine_probe *probe =
			engine_probe_at(metrics->engine, metrics->next_probe++);

		if ((family->is_detail && !metrics->details) ||
		    (family->has && !family->has(probe)))
			continue;
		probe_series_set(series, probe);
		family->write(series, probe);
		if (piece->len >= PIECE_ENOUGH)
			break;
	}
	if (metrics->next_probe == count) {
		metrics->family++;
		metrics->next_probe = 0;
	}
}

static int next_piece(struct stream *stream, struct buffer *piece)
{
	struct metrics *metrics = (struct metrics *)stream;
	const struct probe_family *family;

	if (metrics->generation != engine_configuration_generation(metrics->engine))
		return -1;
	if (metrics->family < INSTANCE_FAMILIES)
		write_instance(metrics, piece);
	for (;;) {
		family = &probe_families[metrics->family - INSTANCE_FAMILIES];
		if (!family->write || piece->len >= PIECE_ENOUGH)
			break;
		write_probes(metrics, family, piece);
	}
	if (!family->write && !metrics->ended) {
		exposition_end(piece, metrics->openmetrics);
		metrics->ended = true;
	}
	return 0;
}

static void destroy(struct stream *stream)
{
	free(stream);
}

struct stream *report_metrics(const struct engine *engine, const struct requests *requests,
			      bool openmetrics, bool details)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return NULL;
	stream_init(&metrics->stream, next_piece, destroy, PIECE_CEILING);
	metrics->engine = engine;
	metrics->requests = requests;
	metrics->openmetrics = openmetrics;
	metrics->details = details;
	metrics->generation = engine_configuration_generation(engine);
	metrics->process = process_figures();
	return &metrics->stream;
}
