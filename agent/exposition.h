/* How metrics are written: the text format of Prometheus (0.0.4) and OpenMetrics 1.0. What they are
 * about is report_metrics.c's business. No I/O. */
#ifndef READYD_AGENT_EXPOSITION_H
#define READYD_AGENT_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/buffer.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM, METRIC_SUMMARY, METRIC_INFO };

/* The samples of one name. */
struct metric_family {
	const char *name; /* without _total and _info, which the type adds; ends with the unit */
	enum metric_type type;
	const char *unit; /* a base unit: "seconds"; NULL = none */
	const char *help; /* one line */
};

/* Writes HELP, TYPE and UNIT, after which the samples are due. */
void exposition_family(struct buffer *buffer, const struct metric_family *family, bool openmetrics);

/* Appends `,name="value"`, or without the comma when `first`; any UTF-8 is a value. */
void exposition_label(struct buffer *buffer, bool first, const char *name, const char *value);

/* Append the value of a sample and the end of its line, after its name and labels. */
void exposition_integer(struct buffer *buffer, uint64_t value);
void exposition_microseconds(struct buffer *buffer, uint64_t value_us); /* as seconds */
void exposition_milliseconds(struct buffer *buffer, int64_t value_ms);  /* as seconds */
void exposition_number(struct buffer *buffer, double value);

enum { EXPOSITION_VALUE_SIZE = 32 };

/* The same into an array with room for EXPOSITION_VALUE_SIZE; return how many bytes they wrote. */
size_t exposition_put_integer(char *text, uint64_t value);
size_t exposition_put_microseconds(char *text, uint64_t value_us);

/* The last line, which OpenMetrics alone has. */
void exposition_end(struct buffer *buffer, bool openmetrics);

/* What the type adds to the name of a family in its samples: "_total", "_info" or "". */
const char *exposition_suffix(enum metric_type type);

#endif
