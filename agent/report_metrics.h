/* What the parts of /metrics share; for report_metrics*.c only.
 *
 * All samples of a family stand together, so the answer goes through the families, and through the
 * probes within each. report_metrics.c knows the order and what is about the instance,
 * report_metrics_probe.c what is about single probes. */
#ifndef READYD_AGENT_REPORT_METRICS_H
#define READYD_AGENT_REPORT_METRICS_H

#include <stddef.h>

#include "agent/engine.h"
#include "agent/exposition.h"

enum {
	/* The samples of a histogram have three different names. */
	PROBE_SERIES_MAX = 3,
	PROBE_SERIES_SIZE = 256,
	/* With more probes than this, reasons and phases are told of once they were seen: ten
	 * thousand probes would have half a million lines of nothing. */
	PROBES_COMPLETE_MAX = 100,
};

/* The beginning of a line about a probe, made once for all lines that have it in common. */
struct probe_series {
	struct buffer *buffer;
	const struct metric_family *family;
	bool complete;   /* also what was not seen */
	size_t name_len; /* up to where the probe's name begins; 0 = not used */
	size_t len;      /* up to where further labels or the brace begin */
	char line[PROBE_SERIES_SIZE];
};

/* A family with samples for each probe. */
struct probe_family {
	struct metric_family family;
	bool is_detail; /* not for everybody */
	/* Whether there are any for this probe; NULL = for each. */
	bool (*has)(const struct engine_probe *probe);
	/* Writes those for one probe, by the beginnings of its lines, one for each name: of a
	 * histogram _bucket, _sum and _count. */
	void (*write)(struct probe_series *series, const struct engine_probe *probe);
};

/* All of them; ends with .write == NULL. */
extern const struct probe_family probe_families[];

/* Prepares PROBE_SERIES_MAX series for a family; `complete` as in struct probe_series. */
void probe_series_begin(struct probe_series *series, struct buffer *buffer,
			const struct metric_family *family, bool complete);

/* Says which probe the lines are about from now on. */
void probe_series_set(struct probe_series *series, const struct engine_probe *probe);

#endif
