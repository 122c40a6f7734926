/* Which form of an answer is asked for: by the Accept header or by name (?format=). Pure. */
#ifndef READYD_AGENT_NEGOTIATE_H
#define READYD_AGENT_NEGOTIATE_H

#include <stdbool.h>

#include "agent/buffer.h"

enum format {
	FORMAT_TEXT,         /* "ok" or what the matter is */
	FORMAT_KUBERNETES,   /* a line for each probe, as the Kubernetes API server's ?verbose */
	FORMAT_JSON,         /* our own */
	FORMAT_HEALTH_JSON,  /* draft-inadarei-api-health-check-06 */
	FORMAT_MICROPROFILE, /* Eclipse MicroProfile Health 4.0 */
	FORMAT_SPRING,       /* the health endpoint of Spring Boot's actuator */
	FORMAT_NAGIOS,       /* what a Nagios plugin prints: one line with performance data */
	FORMAT_HTML,
	FORMAT_PROMETHEUS,  /* the text format 0.0.4 */
	FORMAT_OPENMETRICS, /* OpenMetrics 1.0 */
	FORMAT_COUNT,
};

/* One format in a set of them. */
#define FORMAT_BIT(format) (1U << (format))

/* Which of the formats `offered` the value of an Accept header likes best (RFC 9110, section
 * 12.5.1), NULL = none given; `usual` (one of them) unless another is named. */
enum format negotiate_format(const char *accept, unsigned offered, enum format usual);

/* The format of this name among those offered; returns whether there is one. */
bool format_by_name(const char *name, unsigned offered, enum format *ret_format);

/* Writes the names of the formats offered: "text, json". */
void format_write_names(unsigned offered, struct buffer *buffer);

/* The Content-Type of a format. */
const char *format_content_type(enum format format);

#endif
