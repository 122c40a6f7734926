/* /metrics: what is about single probes. */

#include <math.h>
#include <string.h>

#include "agent/report_metrics.h"

/* ---- lines ---- */

/* There are hundreds of thousands of lines, most of which differ in little from the one before. */

/* Appends a text at `*len`; what does not fit is cut off, which names of 63 characters rule out. */
static void put(struct probe_series *series, size_t *len, const char *text)
{
	while (*text != '\0' && *len < PROBE_SERIES_SIZE)
		series->line[(*len)++] = *text++;
}

void probe_series_begin(struct probe_series *series, struct buffer *buffer,
			const struct metric_family *family)
{
	static const char *const suffixes[][PROBE_SERIES_MAX] = {
		[METRIC_GAUGE] = {""},
		[METRIC_COUNTER] = {"_total"},
		[METRIC_INFO] = {"_info"},
		[METRIC_HISTOGRAM] = {"_bucket", "_sum", "_count"},
		[METRIC_SUMMARY] = {"_sum", "_count"},
	};

	for (int i = 0; i < PROBE_SERIES_MAX; i++) {
		const char *suffix = suffixes[family->type][i];

		series[i].buffer = buffer;
		series[i].family = family;
		series[i].name_len = 0;
		if (!suffix)
			continue;
		put(&series[i], &series[i].name_len, family->name);
		put(&series[i], &series[i].name_len, suffix);
		put(&series[i], &series[i].name_len, "{probe=\"");
	}
}

void probe_series_set(struct probe_series *series, const struct engine_probe *probe)
{
	static const char *const roles[ROLE_COUNT] = {
		[ROLE_LIVENESS] = "\",role=\"liveness\"",
		[ROLE_READINESS] = "\",role=\"readiness\"",
		[ROLE_STARTUP] = "\",role=\"startup\"",
	};

	for (int i = 0; i < PROBE_SERIES_MAX && series[i].name_len > 0; i++) {
		series[i].len = series[i].name_len;
		put(&series[i], &series[i].len, probe->config->name);
		put(&series[i], &series[i].len, roles[probe->config->role]);
	}
}

/* `more`: further labels, each with a comma before it, and the brace after them. */
static void sample(struct probe_series *series, const char *more, uint64_t value)
{
	size_t len = series->len;

	put(series, &len, more);
	len += exposition_put_integer(series->line + len, value);
	buffer_append(series->buffer, series->line, len);
}

static void sample_seconds(struct probe_series *series, const char *more, uint64_t value_us)
{
	size_t len = series->len;

	put(series, &len, more);
	len += exposition_put_microseconds(series->line + len, value_us);
	buffer_append(series->buffer, series->line, len);
}

static void timestamp(struct probe_series *series, int64_t wall_ms)
{
	sample_seconds(series, "}", (uint64_t)wall_ms * 1000);
}

/* With a label whose value is not known beforehand. */
static void begin_labelled(struct probe_series *series, const char *label, const char *value)
{
	buffer_append(series->buffer, series->line, series->len);
	exposition_label(series->buffer, false, label, value);
}

static void labelled_sample(struct probe_series *series, const char *label, const char *value,
			    uint64_t number)
{
	begin_labelled(series, label, value);
	buffer_append(series->buffer, "}", 1);
	exposition_integer(series->buffer, number);
}

/* ---- what it is and how it stands ---- */

static void write_info(struct probe_series *series, const struct engine_probe *probe)
{
	labelled_sample(series, "type", probe->config->type->name, 1);
}

static void write_standing(struct probe_series *series, const struct engine_probe *probe)
{
	enum standing standing = probe->health.standing;

	sample(series, ",standing=\"unknown\"}", standing == STANDING_UNKNOWN);
	sample(series, ",standing=\"passing\"}", standing == STANDING_PASSING);
	sample(series, ",standing=\"failing\"}", standing == STANDING_FAILING);
}

static void write_transitions(struct probe_series *series, const struct engine_probe *probe)
{
	const uint64_t *transitions = probe->statistics.transitions;

	sample(series, ",to=\"passing\"}", transitions[STANDING_PASSING]);
	sample(series, ",to=\"failing\"}", transitions[STANDING_FAILING]);
}

static void write_last_transition(struct probe_series *series, const struct engine_probe *probe)
{
	timestamp(series, probe->since_wall_ms);
}

static void write_passes(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, "}", (uint64_t)probe->health.passes);
}

static void write_failures(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, "}", (uint64_t)probe->health.failures);
}

static void write_stale(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, "}", probe->stale);
}

/* ---- its runs ---- */

static void write_states(struct probe_series *series, uint64_t pass, uint64_t warn, uint64_t fail)
{
	sample(series, ",result=\"pass\"}", pass);
	sample(series, ",result=\"warn\"}", warn);
	sample(series, ",result=\"fail\"}", fail);
}

static void write_result(struct probe_series *series, const struct engine_probe *probe)
{
	enum probe_state state = probe->result.state;
	bool any = probe->runs > 0;

	write_states(series, any && state == PROBE_PASS, any && state == PROBE_WARN,
		     any && state == PROBE_FAIL);
}

static void write_runs(struct probe_series *series, const struct engine_probe *probe)
{
	const uint64_t *runs = probe->statistics.runs;

	write_states(series, runs[PROBE_PASS], runs[PROBE_WARN], runs[PROBE_FAIL]);
}

/* Those that were seen, and "ok" in any case: all of them would be seventy lines a probe. */
static void write_reasons(struct probe_series *series, const struct engine_probe *probe)
{
	const struct statistics *statistics = &probe->statistics;

	sample(series, ",reason=\"ok\"}", statistics->ok_runs);
	for (size_t i = 0; i < statistics->reason_count; i++)
		labelled_sample(series, "reason", probe_reason_name(statistics->reasons[i].reason),
				statistics->reasons[i].runs);
}

static void write_last_run(struct probe_series *series, const struct engine_probe *probe)
{
	timestamp(series, probe->runs > 0 ? probe->result.finished_wall_ms : 0);
}

static void write_durations(struct probe_series *series, const struct engine_probe *probe)
{
	/* As OpenMetrics spells floating point numbers, and so in both formats: a bucket that were
	 * "1" in one and "1.0" in the other would be two series. */
	static const char *const bounds[DURATION_BUCKETS] = {
		",le=\"0.001\"}", ",le=\"0.005\"}", ",le=\"0.01\"}", ",le=\"0.05\"}",
		",le=\"0.1\"}",   ",le=\"0.25\"}",  ",le=\"0.5\"}",  ",le=\"1.0\"}",
		",le=\"2.5\"}",   ",le=\"10.0\"}",  ",le=\"+Inf\"}",
	};
	uint64_t count = 0;

	for (int i = 0; i < DURATION_BUCKETS; i++) {
		count += probe->statistics.durations[i];
		sample(series, bounds[i], count);
	}
	sample_seconds(&series[1], "}", probe->statistics.duration_us);
	sample(&series[2], "}", count);
}

/* Those that were seen: no probe has all, and many have none. */
static void write_phases(struct probe_series *series, const struct engine_probe *probe)
{
	static const char *const phases[PHASE_COUNT] = {
		[PHASE_RESOLVE] = ",phase=\"resolve\"}",
		[PHASE_CONNECT] = ",phase=\"connect\"}",
		[PHASE_TLS] = ",phase=\"tls\"}",
		[PHASE_FIRST_BYTE] = ",phase=\"firstByte\"}",
	};

	for (int i = 0; i < PHASE_COUNT; i++) {
		if (probe->statistics.phase_runs[i] == 0)
			continue;
		sample_seconds(&series[0], phases[i], probe->statistics.phase_us[i]);
		sample(&series[1], phases[i], probe->statistics.phase_runs[i]);
	}
}

/* ---- what it saw ---- */

/* No certificate is not one that has expired long ago. */
static bool has_certificate(const struct engine_probe *probe)
{
	return probe->statistics.certificate_expires_s != 0;
}

static void write_certificate(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, "}", (uint64_t)probe->statistics.certificate_expires_s);
}

/* What a unit of the Nagios plugin guidelines is in base units. */
struct unit {
	const char *name;
	const char *base; /* that of the family; "" = none */
	double factor;
};

static const struct unit units[] = {
	{"s", "seconds", 1},      {"ms", "seconds", 1e-3},  {"us", "seconds", 1e-6},
	{"ns", "seconds", 1e-9},  {"%", "ratio", 1e-2},     {"B", "bytes", 1},
	{"KB", "bytes", 0x1p10},  {"MB", "bytes", 0x1p20},  {"GB", "bytes", 0x1p30},
	{"TB", "bytes", 0x1p40},  {"KiB", "bytes", 0x1p10}, {"MiB", "bytes", 0x1p20},
	{"GiB", "bytes", 0x1p30}, {"TiB", "bytes", 0x1p40},
};

static const struct unit *find_unit(const char *name)
{
	static const struct unit none = {"", "", 1};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(name, units[i].name) == 0)
			return &units[i];
	}
	return &none;
}

static bool has_perfdata(const struct engine_probe *probe)
{
	return probe->result.perfdata != NULL;
}

/* Each family takes the values whose base unit is its own; that without one says which it is. */
static void write_perfdata(struct probe_series *series, const struct engine_probe *probe)
{
	const struct perfdata_list *list = probe->result.perfdata;

	for (size_t i = 0; i < list->count; i++) {
		const struct perfdata *item = &list->items[i];
		const struct unit *unit = find_unit(item->unit);

		if (strcmp(unit->base, series->family->unit ? series->family->unit : "") != 0)
			continue;
		begin_labelled(series, "label", item->label);
		if (!series->family->unit)
			exposition_label(series->buffer, false, "unit", item->unit);
		buffer_append(series->buffer, "}", 1);
		exposition_number(series->buffer, item->value * unit->factor);
	}
}

const struct probe_family probe_families[] = {
	{{"readyd_probe", METRIC_INFO, NULL, "What each probe is."}, NULL, write_info},
	{{"readyd_probe_standing", METRIC_GAUGE, NULL,
	  "What the probe counts as, after its thresholds: 1 for the present one."},
	 NULL,
	 write_standing},
	{{"readyd_probe_transitions", METRIC_COUNTER, NULL, "How often the standing changed."},
	 NULL,
	 write_transitions},
	{{"readyd_probe_last_transition_timestamp_seconds", METRIC_GAUGE, "seconds",
	  "When the standing last changed, or the probe began."},
	 NULL,
	 write_last_transition},
	{{"readyd_probe_successive_passes", METRIC_GAUGE, NULL,
	  "How many runs have passed one after the other."},
	 NULL,
	 write_passes},
	{{"readyd_probe_successive_failures", METRIC_GAUGE, NULL,
	  "How many runs have failed one after the other, as counted against failureThreshold."},
	 NULL,
	 write_failures},
	{{"readyd_probe_stale", METRIC_GAUGE, NULL,
	  "Whether the last result is older than it may be."},
	 NULL,
	 write_stale},
	{{"readyd_probe_result", METRIC_GAUGE, NULL,
	  "What the last run came to: 1 for what it was, all 0 before the first."},
	 NULL,
	 write_result},
	{{"readyd_probe_runs", METRIC_COUNTER, NULL, "Runs by what they came to."},
	 NULL,
	 write_runs},
	{{"readyd_probe_reasons", METRIC_COUNTER, NULL, "Runs by reason: those seen, and ok."},
	 NULL,
	 write_reasons},
	{{"readyd_probe_last_run_timestamp_seconds", METRIC_GAUGE, "seconds",
	  "When the last run ended; 0 before the first."},
	 NULL,
	 write_last_run},
	{{"readyd_probe_duration_seconds", METRIC_HISTOGRAM, "seconds",
	  "How long runs took, whatever they came to."},
	 NULL,
	 write_durations},
	{{"readyd_probe_phase_duration_seconds", METRIC_SUMMARY, "seconds",
	  "How long the parts of runs took, of those that got as far: those seen."},
	 NULL,
	 write_phases},
	{{"readyd_probe_certificate_expiry_timestamp_seconds", METRIC_GAUGE, "seconds",
	  "When the certificate ends that was seen last, also once it has."},
	 has_certificate,
	 write_certificate},
	{{"readyd_probe_perfdata_seconds", METRIC_GAUGE, "seconds",
	  "What the plugin measured, times."},
	 has_perfdata,
	 write_perfdata},
	{{"readyd_probe_perfdata_bytes", METRIC_GAUGE, "bytes", "What the plugin measured, sizes."},
	 has_perfdata,
	 write_perfdata},
	{{"readyd_probe_perfdata_ratio", METRIC_GAUGE, "ratio",
	  "What the plugin measured, percentages as 0 to 1."},
	 has_perfdata,
	 write_perfdata},
	{{"readyd_probe_perfdata", METRIC_GAUGE, NULL, "What the plugin measured, anything else."},
	 has_perfdata,
	 write_perfdata},
	{.write = NULL},
};
