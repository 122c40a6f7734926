/* /metrics: what is about single probes. */

#include <math.h>
#include <string.h>

#include "agent/report_metrics.h"

/* ---- lines ---- */

/* There are hundreds of thousands of lines, most of which differ in little from the one before. */

/* A text whose length is known. */
struct piece {
	const char *text;
	size_t len;
};

#define PIECE_OF(text) \
	{ \
		text, sizeof(text) - 1 \
	}
#define PIECE(text) ((struct piece)PIECE_OF(text))

/* Returns where the copy ends. Most are shorter than what a call of memcpy() is worth. The last
 * word of each may have been copied in part already. */
static inline char *copy(char *to, const char *from, size_t len)
{
	enum { WORD = 8, WIDE = 16 };
	size_t at = 0;

	if (len >= WIDE) {
		for (; at + WIDE <= len; at += WIDE)
			memcpy(to + at, from + at, WIDE);
		at = len - WIDE;
		memcpy(to + at, from + at, WIDE);
	} else if (len >= WORD) {
		memcpy(to, from, WORD);
		at = len - WORD;
		memcpy(to + at, from + at, WORD);
	} else {
		for (; at < len; at++)
			to[at] = from[at];
	}
	return to + len;
}

/* Appends a text at `*len`; what does not fit is left out, which names of 63 characters rule out.
 */
static void put(struct probe_series *series, size_t *len, const char *text, size_t text_len)
{
	if (text_len > PROBE_SERIES_SIZE - *len)
		return;
	copy(series->line + *len, text, text_len);
	*len += text_len;
}

void probe_series_begin(struct probe_series *series, struct buffer *buffer,
			const struct metric_family *family, bool complete)
{
	static const char *const suffixes[][PROBE_SERIES_MAX] = {
		[METRIC_GAUGE] = {""},
		[METRIC_COUNTER] = {"_total"},
		[METRIC_INFO] = {"_info"},
		[METRIC_HISTOGRAM] = {"_bucket", "_sum", "_count"},
		[METRIC_SUMMARY] = {"_sum", "_count"},
	};
	static const char label[] = "{probe=\"";

	for (int i = 0; i < PROBE_SERIES_MAX; i++) {
		const char *suffix = suffixes[family->type][i];

		series[i].buffer = buffer;
		series[i].family = family;
		series[i].complete = complete;
		series[i].name_len = 0;
		if (!suffix)
			continue;
		put(&series[i], &series[i].name_len, family->name, strlen(family->name));
		put(&series[i], &series[i].name_len, suffix, strlen(suffix));
		put(&series[i], &series[i].name_len, label, strlen(label));
	}
}

void probe_series_set(struct probe_series *series, const struct engine_probe *probe)
{
	static const struct piece roles[ROLE_COUNT] = {
		[ROLE_LIVENESS] = PIECE_OF("\",role=\"liveness\""),
		[ROLE_READINESS] = PIECE_OF("\",role=\"readiness\""),
		[ROLE_STARTUP] = PIECE_OF("\",role=\"startup\""),
	};
	const char *name = probe->config->name;
	const struct piece *role = &roles[probe->config->role];
	size_t len = strlen(name);

	for (int i = 0; i < PROBE_SERIES_MAX && series[i].name_len > 0; i++) {
		series[i].len = series[i].name_len;
		put(&series[i], &series[i].len, name, len);
		put(&series[i], &series[i].len, role->text, role->len);
	}
}

/* Begins a line with room for a value at its end; `more`: further labels, each with a comma before
 * it, and the brace after them. Returns where the value is due, NULL when there is no room. */
static char *begin(const struct probe_series *series, struct piece more)
{
	char *to = buffer_space(series->buffer, series->len + more.len + EXPOSITION_VALUE_SIZE);

	return to ? copy(copy(to, series->line, series->len), more.text, more.len) : NULL;
}

static void sample(const struct probe_series *series, struct piece more, uint64_t value)
{
	char *to = begin(series, more);

	if (to)
		buffer_filled(series->buffer, to + exposition_put_integer(to, value));
}

static void sample_seconds(const struct probe_series *series, struct piece more, uint64_t value_us)
{
	char *to = begin(series, more);

	if (to)
		buffer_filled(series->buffer, to + exposition_put_microseconds(to, value_us));
}

static void timestamp(const struct probe_series *series, int64_t wall_ms)
{
	sample_seconds(series, PIECE("}"), (uint64_t)wall_ms * 1000);
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

	sample(series, PIECE(",standing=\"unknown\"}"), standing == STANDING_UNKNOWN);
	sample(series, PIECE(",standing=\"passing\"}"), standing == STANDING_PASSING);
	sample(series, PIECE(",standing=\"failing\"}"), standing == STANDING_FAILING);
}

static void write_transitions(struct probe_series *series, const struct engine_probe *probe)
{
	const uint64_t *transitions = probe->statistics.transitions;

	sample(series, PIECE(",to=\"passing\"}"), transitions[STANDING_PASSING]);
	sample(series, PIECE(",to=\"failing\"}"), transitions[STANDING_FAILING]);
}

static void write_last_transition(struct probe_series *series, const struct engine_probe *probe)
{
	timestamp(series, probe->since_wall_ms);
}

static void write_passes(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, PIECE("}"), (uint64_t)probe->health.passes);
}

static void write_failures(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, PIECE("}"), (uint64_t)probe->health.failures);
}

static void write_stale(struct probe_series *series, const struct engine_probe *probe)
{
	sample(series, PIECE("}"), probe->stale);
}

/* ---- its runs ---- */

static void write_states(struct probe_series *series, uint64_t pass, uint64_t warn, uint64_t fail)
{
	sample(series, PIECE(",result=\"pass\"}"), pass);
	sample(series, PIECE(",result=\"warn\"}"), warn);
	sample(series, PIECE(",result=\"fail\"}"), fail);
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

/* ---- by reason ---- */

static uint64_t runs_of(const struct statistics *statistics, enum probe_reason reason)
{
	for (size_t i = 0; i < statistics->reason_count; i++) {
		if (statistics->reasons[i].reason == reason)
			return statistics->reasons[i].runs;
	}
	return 0;
}

static void reason_sample(struct probe_series *series, enum probe_reason reason, uint64_t runs)
{
	labelled_sample(series, "reason", probe_reason_name(reason), runs);
}

/* What runs of every type can come to, besides REASON_OK. */
static const unsigned char any_reasons[] = {REASON_TIMEOUT, REASON_RESOURCES, REASON_OK};

/* Whether the list, which ends with REASON_OK, has it. */
static bool has_reason(const unsigned char *list, enum probe_reason reason)
{
	for (; list && *list != REASON_OK; list++) {
		if (*list == reason)
			return true;
	}
	return false;
}

static void write_foreseen(struct probe_series *series, const struct statistics *statistics,
			   const unsigned char *list)
{
	for (; list && *list != REASON_OK; list++)
		reason_sample(series, (enum probe_reason) * list,
			      runs_of(statistics, (enum probe_reason) * list));
}

static void write_reasons(struct probe_series *series, const struct engine_probe *probe)
{
	const struct statistics *statistics = &probe->statistics;
	const unsigned char *own = probe->config->type->reasons;

	sample(series, PIECE(",reason=\"ok\"}"), statistics->ok_runs);
	if (series->complete) {
		write_foreseen(series, statistics, any_reasons);
		write_foreseen(series, statistics, own);
	}
	for (size_t i = 0; i < statistics->reason_count; i++) {
		const struct reason_count *seen = &statistics->reasons[i];

		if (!series->complete ||
		    !(has_reason(any_reasons, seen->reason) || has_reason(own, seen->reason)))
			reason_sample(series, seen->reason, seen->runs);
	}
}

/* ---- its runs in time ---- */

static void write_last_run(struct probe_series *series, const struct engine_probe *probe)
{
	timestamp(series, probe->runs > 0 ? probe->result.finished_wall_ms : 0);
}

static void write_last_duration(struct probe_series *series, const struct engine_probe *probe)
{
	sample_seconds(series, PIECE("}"),
		       probe->runs > 0 ? (uint64_t)probe->result.duration_us : 0);
}

static void write_durations(struct probe_series *series, const struct engine_probe *probe)
{
	/* As OpenMetrics spells floating point numbers, and so in both formats: a bucket that were
	 * "1" in one and "1.0" in the other would be two series. */
	static const struct piece bounds[DURATION_BUCKETS] = {
		PIECE_OF(",le=\"0.001\"}"), PIECE_OF(",le=\"0.005\"}"), PIECE_OF(",le=\"0.01\"}"),
		PIECE_OF(",le=\"0.05\"}"),  PIECE_OF(",le=\"0.1\"}"),   PIECE_OF(",le=\"0.25\"}"),
		PIECE_OF(",le=\"0.5\"}"),   PIECE_OF(",le=\"1.0\"}"),   PIECE_OF(",le=\"2.5\"}"),
		PIECE_OF(",le=\"10.0\"}"),  PIECE_OF(",le=\"+Inf\"}"),
	};
	uint64_t count = 0;

	for (int i = 0; i < DURATION_BUCKETS; i++) {
		count += probe->statistics.durations[i];
		sample(series, bounds[i], count);
	}
	sample_seconds(&series[1], PIECE("}"), probe->statistics.duration_us);
	sample(&series[2], PIECE("}"), count);
}

static void write_phases(struct probe_series *series, const struct engine_probe *probe)
{
	static const struct piece phases[PHASE_COUNT] = {
		[PHASE_RESOLVE] = PIECE_OF(",phase=\"resolve\"}"),
		[PHASE_CONNECT] = PIECE_OF(",phase=\"connect\"}"),
		[PHASE_TLS] = PIECE_OF(",phase=\"tls\"}"),
		[PHASE_FIRST_BYTE] = PIECE_OF(",phase=\"firstByte\"}"),
	};
	const struct statistics *statistics = &probe->statistics;

	for (int i = 0; i < PHASE_COUNT; i++) {
		bool foreseen = series->complete && probe->config->type->phases & (1U << i);

		if (statistics->phase_runs[i] == 0 && !foreseen)
			continue;
		sample_seconds(&series[0], phases[i], statistics->phase_us[i]);
		sample(&series[1], phases[i], statistics->phase_runs[i]);
	}
}

static void write_period(struct probe_series *series, const struct engine_probe *probe)
{
	sample_seconds(series, PIECE("}"), (uint64_t)probe->config->period_us);
}

/* ---- what it saw ---- */

/* No certificate is not one that has expired long ago. */
static bool has_certificate(const struct engine_probe *probe)
{
	return probe->statistics.certificate_expires_s != 0;
}

static void write_certificate(struct probe_series *series, const struct engine_probe *probe)
{
	buffer_append(series->buffer, series->line, series->len);
	buffer_append(series->buffer, "}", 1);
	/* It may have ended before 1970. */
	exposition_number(series->buffer, (double)probe->statistics.certificate_expires_s);
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

static bool has_measured(const struct engine_probe *probe)
{
	return probe->measured != NULL;
}

/* Each family takes the values whose base unit is its own; that without one says which it is. */
static void write_measured(struct probe_series *series, const struct engine_probe *probe)
{
	const struct measured *measured = probe->measured;

	for (size_t i = 0; i < measured->count; i++) {
		const struct measured_value *item = &measured->values[i];
		const struct unit *unit = find_unit(item->unit);

		if (!item->present ||
		    strcmp(unit->base, series->family->unit ? series->family->unit : "") != 0)
			continue;
		begin_labelled(series, "label", item->label);
		if (!series->family->unit)
			exposition_label(series->buffer, false, "unit", item->unit);
		buffer_append(series->buffer, "}", 1);
		exposition_number(series->buffer, item->value * unit->factor);
	}
}

const struct probe_family probe_families[] = {
	{.family = {"readyd_probe", METRIC_INFO, NULL, "What each probe is."}, .write = write_info},
	{.family = {"readyd_probe_standing", METRIC_GAUGE, NULL,
		    "What the probe counts as, after its thresholds: 1 for the present one."},
	 .write = write_standing},
	{.family = {"readyd_probe_transitions", METRIC_COUNTER, NULL,
		    "How often the standing changed."},
	 .write = write_transitions},
	{.family = {"readyd_probe_last_transition_timestamp_seconds", METRIC_GAUGE, "seconds",
		    "When the standing last changed, or the probe began."},
	 .write = write_last_transition},
	{.family = {"readyd_probe_successive_passes", METRIC_GAUGE, NULL,
		    "How many runs have passed one after the other."},
	 .write = write_passes},
	{.family = {"readyd_probe_successive_failures", METRIC_GAUGE, NULL,
		    "How many runs have failed one after the other, as counted against "
		    "failureThreshold."},
	 .write = write_failures},
	{.family = {"readyd_probe_stale", METRIC_GAUGE, NULL,
		    "Whether the last result is older than it may be."},
	 .write = write_stale},
	{.family = {"readyd_probe_result", METRIC_GAUGE, NULL,
		    "What the last run came to: 1 for what it was, all 0 before the first."},
	 .write = write_result},
	{.family = {"readyd_probe_runs", METRIC_COUNTER, NULL, "Runs by what they came to."},
	 .write = write_runs},
	{.family = {"readyd_probe_reasons", METRIC_COUNTER, NULL,
		    "Runs by reason; with more than 100 probes those seen, and ok."},
	 .write = write_reasons},
	{.family = {"readyd_probe_last_run_timestamp_seconds", METRIC_GAUGE, "seconds",
		    "When the last run ended; 0 before the first."},
	 .write = write_last_run},
	{.family = {"readyd_probe_period_seconds", METRIC_GAUGE, "seconds",
		    "How often the probe runs: periodSeconds."},
	 .write = write_period},
	{.family = {"readyd_probe_last_duration_seconds", METRIC_GAUGE, "seconds",
		    "How long the last run took; 0 before the first."},
	 .write = write_last_duration},
	{.family = {"readyd_probe_duration_seconds", METRIC_HISTOGRAM, "seconds",
		    "How long runs took, whatever they came to."},
	 .write = write_durations},
	{.family = {"readyd_probe_phase_duration_seconds", METRIC_SUMMARY, "seconds",
		    "How long the parts of runs took, of those that got as far."},
	 .write = write_phases},
	{.family = {"readyd_probe_certificate_expiry_timestamp_seconds", METRIC_GAUGE, "seconds",
		    "When the certificate ends that was seen last, also once it has."},
	 .has = has_certificate,
	 .write = write_certificate},
	{.family = {"readyd_probe_perfdata_seconds", METRIC_GAUGE, "seconds",
		    "What the plugin measured, times."},
	 .is_detail = true,
	 .has = has_measured,
	 .write = write_measured},
	{.family = {"readyd_probe_perfdata_bytes", METRIC_GAUGE, "bytes",
		    "What the plugin measured, sizes."},
	 .is_detail = true,
	 .has = has_measured,
	 .write = write_measured},
	{.family = {"readyd_probe_perfdata_ratio", METRIC_GAUGE, "ratio",
		    "What the plugin measured, percentages as 0 to 1."},
	 .is_detail = true,
	 .has = has_measured,
	 .write = write_measured},
	{.family = {"readyd_probe_perfdata", METRIC_GAUGE, NULL,
		    "What the plugin measured, anything else."},
	 .is_detail = true,
	 .has = has_measured,
	 .write = write_measured},
	{.write = NULL},
};
