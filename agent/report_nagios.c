/* What a Nagios plugin prints (Monitoring Plugins Development Guidelines): "READY OK - text |
 * data", where data is 'label'=value[unit];[warning];[critical];[minimum];[maximum] for each value.
 */

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/report_select.h"
#include "agent/text.h"

/* Nagios reads no more than 8 KiB; the text gets the first of it. */
enum { OUTPUT_MAX = 8 * 1024 - 256, TEXT_MAX = 2 * 1024 };

struct line {
	const struct report_request *request;
	struct buffer *buffer;
	const char *separator;
};

static void add_trouble(const struct engine_probe *probe, void *context)
{
	struct line *line = context;
	const char *message = probe->result.message;

	if (report_is_excluded(line->request, probe->config->name))
		return;
	buffer_format(line->buffer, "%s%s %s", line->separator, probe->config->name,
		      report_trouble(probe));
	if (line->request->details && probe->runs > 0 && !probe->stale && message &&
	    message[0] != '\0')
		buffer_format(line->buffer, ": %s", message);
	line->separator = "; ";
}

/* In quotes; a quote within is doubled, and "=" has no place in a label. */
static void write_label(struct buffer *buffer, const char *name, const char *value_name)
{
	buffer_format(buffer, "'%s%s", name, value_name ? " " : "");
	for (; value_name && *value_name != '\0'; value_name++) {
		if (*value_name == '\'')
			buffer_text(buffer, "''");
		else
			buffer_format(buffer, "%c", *value_name == '=' ? '_' : *value_name);
	}
	buffer_text(buffer, "'=");
}

static void write_limit(struct buffer *buffer, double limit)
{
	buffer_text(buffer, ";");
	if (isfinite(limit))
		buffer_format(buffer, "%.15g", limit);
}

static void add_values(const struct engine_probe *probe, void *context)
{
	struct line *line = context;
	struct buffer *buffer = line->buffer;
	const char *name = probe->config->name;
	const struct perfdata_list *list = line->request->details ? probe->result.perfdata : NULL;
	const struct engine_probe *same[ROLE_COUNT];
	char label[96];

	if (probe->runs == 0 || report_is_excluded(line->request, name))
		return;
	if (report_same_name(line->request, probe, same) > 1) {
		snprintf(label, sizeof(label), "%s/%s", role_name(probe->config->role), name);
		name = label;
	}
	buffer_text(buffer, line->separator);
	write_label(buffer, name, NULL);
	buffer_format(buffer, "%.6fs;;;0;%g", (double)probe->result.duration_us / 1e6,
		      (double)probe->config->timeout_us / 1e6);
	for (size_t i = 0; list && i < list->count; i++) {
		const struct perfdata *item = &list->items[i];

		buffer_text(buffer, " ");
		write_label(buffer, name, item->label);
		if (isfinite(item->value))
			buffer_format(buffer, "%.15g%s", item->value, item->unit);
		else
			buffer_text(buffer, "U");
		buffer_format(buffer, ";%s;%s", item->warning, item->critical);
		write_limit(buffer, item->minimum);
		write_limit(buffer, item->maximum);
	}
	line->separator = " ";
}

/* The bar would end the text. */
static void replace_bars(char *text)
{
	for (char *bar = strchr(text, '|'); bar; bar = strchr(bar, '|'))
		*bar = '/';
}

void report_nagios(const struct engine *engine, const struct report_request *request,
		   struct buffer *buffer)
{
	struct verdict verdict = report_verdict(engine, request);
	const char *overall = report_overall(engine, request, verdict.ok);
	struct report_request troubled = *request;
	struct line line = {request, buffer, ""};
	size_t start, left_out;

	for (const char *name = endpoint_name(request->endpoint); *name != '\0'; name++)
		buffer_format(buffer, "%c", toupper((unsigned char)*name));
	buffer_format(buffer, " %s - ",
		      !verdict.ok                    ? "CRITICAL"
		      : strcmp(overall, "warn") == 0 ? "WARNING"
						     : "OK");
	start = buffer->len;
	if (!verdict.ok) {
		buffer_text(buffer, hindrance_text(verdict.hindrance));
		line.separator = ": ";
	}
	troubled.choice = REPORT_TROUBLED;
	left_out = report_each_probe(engine, &troubled, buffer, TEXT_MAX, add_trouble, &line);
	if (left_out > 0)
		buffer_format(buffer, "%sand %zu more", line.separator, left_out);
	if (buffer->len == start)
		buffer_text(buffer, "as it should be");
	if (!buffer->data)
		return;
	replace_bars(buffer->data);
	start = buffer->len;
	line.separator = " | ";
	report_each_probe(engine, request, buffer, OUTPUT_MAX, add_values, &line);
	text_make_printable(buffer->data + start);
	buffer_text(buffer, "\n");
}
