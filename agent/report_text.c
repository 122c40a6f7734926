#include <stdio.h>
#include <string.h>

#include "agent/report_select.h"
#include "agent/text.h"

static void verbose_line(const struct engine_probe *probe, const struct report_request *request,
			 struct buffer *buffer)
{
	const struct probe_result *result = &probe->result;
	const struct engine_probe *same[ROLE_COUNT];
	const char *name = probe->config->name;
	bool excluded = report_is_excluded(request, name);
	bool good = excluded || engine_probe_ok(probe);

	buffer_text(buffer, good ? "[+]" : "[-]");
	if (report_same_name(request, probe, same) > 1)
		buffer_format(buffer, "%s/", role_name(probe->config->role));
	buffer_text(buffer, name);
	if (excluded) {
		buffer_text(buffer, " excluded: ok\n");
		return;
	}
	if (good) {
		buffer_text(buffer, " ok");
		if (probe->runs > 0 && result->state != PROBE_PASS)
			buffer_format(buffer, " (%s: %s)", probe_state_name(result->state),
				      probe_reason_name(result->reason));
		buffer_text(buffer, "\n");
		return;
	}
	buffer_format(buffer, " failed: %s", report_trouble(probe));
	if (!request->details)
		buffer_text(buffer, " (details withheld)");
	else if (probe->runs > 0 && result->message)
		buffer_format(buffer, ": %s", result->message);
	buffer_text(buffer, "\n");
}

struct verbose_context {
	const struct report_request *request;
	struct buffer *buffer;
};

static void add_verbose(const struct engine_probe *probe, void *context)
{
	struct verbose_context *verbose = context;

	verbose_line(probe, verbose->request, verbose->buffer);
}

void report_verbose(const struct engine *engine, const struct report_request *request,
		    struct buffer *buffer)
{
	struct verbose_context context = {request, buffer};
	struct verdict verdict = report_verdict(engine, request);
	size_t left_out = report_each_probe(engine, request, buffer, REPORT_ANSWER_MAX - 1024,
					    add_verbose, &context);

	if (left_out > 0)
		buffer_format(buffer, "and %zu more\n", left_out);
	buffer_format(buffer, "%s check %s", endpoint_name(request->endpoint),
		      verdict.ok ? "passed" : "failed");
	if (!verdict.ok)
		buffer_format(buffer, ": %s", hindrance_text(verdict.hindrance));
	buffer_text(buffer, "\n");
}

static void trim_to_line(struct buffer *buffer)
{
	size_t len = buffer->len;

	if (!buffer->data)
		return;
	text_make_printable(buffer->data);
	if (len > REPORT_LINE_MAX) {
		len = REPORT_LINE_MAX;
		/* Do not cut a character in half. */
		while (len > 0 && (buffer->data[len] & 0xc0) == 0x80)
			len--;
		buffer_truncate(buffer, len);
	}
	buffer_text(buffer, "\n");
}

struct line_context {
	struct buffer *buffer;
	bool details;
	bool first;
};

static void add_to_line(const struct engine_probe *probe, void *context)
{
	struct line_context *line = context;

	buffer_format(line->buffer, "%s%s %s", line->first ? ": " : "; ", probe->config->name,
		      report_trouble(probe));
	if (line->details && probe->runs > 0 && !probe->stale && probe->result.message)
		buffer_format(line->buffer, ": %s", probe->result.message);
	line->first = false;
}

void report_line(const struct engine *engine, enum endpoint endpoint, const char *what,
		 bool details, struct buffer *buffer)
{
	struct report_request request = {.endpoint = endpoint,
					 .choice = REPORT_HINDERING,
					 .details = details};
	struct line_context context = {buffer, details, true};
	struct verdict verdict = engine_verdict(engine, endpoint);
	size_t left_out;

	buffer_format(buffer, "%s %s", verdict.ok ? "pass" : "fail", what);
	if (!verdict.ok) {
		if (verdict.hindrance == HINDRANCE_DRAINING || verdict.hindrance == HINDRANCE_STALE)
			buffer_format(buffer, " %s", hindrance_text(verdict.hindrance));
		left_out = report_each_probe(engine, &request, buffer, REPORT_LINE_MAX - 100,
					     add_to_line, &context);
		if (left_out > 0)
			buffer_format(buffer, "; and %zu more", left_out);
	}
	trim_to_line(buffer);
}

void report_result_line(const char *name, const struct probe_result *result, bool details,
			struct buffer *buffer)
{
	if (result->state == PROBE_PASS) {
		buffer_format(buffer, "pass %s %.1f ms", name,
			      (double)result->duration_us / 1000.0);
	} else {
		buffer_format(buffer, "%s %s %s", probe_state_name(result->state), name,
			      probe_reason_name(result->reason));
		if (details && result->message)
			buffer_format(buffer, ": %s", result->message);
	}
	trim_to_line(buffer);
}

void report_probe_line(const struct engine_probe *probe, bool details, struct buffer *buffer)
{
	bool ok = engine_probe_ok(probe);
	bool has_trouble = probe->stale || probe->runs == 0 || probe->result.state != PROBE_PASS;

	buffer_format(buffer, "%s %s",
		      !ok           ? "fail"
		      : has_trouble ? "warn"
				    : "pass",
		      probe->config->name);
	if (has_trouble)
		buffer_format(buffer, " %s", report_trouble(probe));
	if (details && has_trouble && probe->runs > 0 && probe->result.message)
		buffer_format(buffer, ": %s", probe->result.message);
	trim_to_line(buffer);
}

static const char *colour_of(bool ok, bool warns)
{
	return !ok ? "\033[31m" : warns ? "\033[33m" : "\033[32m";
}

static void table_row(const struct engine_probe *probe, bool details, bool colour,
		      struct buffer *buffer)
{
	const struct probe_config *config = probe->config;
	bool ran = probe->runs > 0;
	bool warns = ran && probe->result.state != PROBE_PASS;
	char age[32] = "-", latency[32] = "-";

	if (ran) {
		snprintf(age, sizeof(age), "%.1f s",
			 (double)(clock_monotonic_us() - probe->result.finished_us) / 1e6);
		snprintf(latency, sizeof(latency), "%.1f ms",
			 (double)probe->result.duration_us / 1e3);
	}
	buffer_format(buffer, "%-24s %-10s ", config->name, role_name(config->role));
	if (colour)
		buffer_text(buffer, colour_of(engine_probe_ok(probe), warns));
	buffer_format(buffer, "%-8s", standing_name(probe->health.standing));
	if (colour)
		buffer_text(buffer, "\033[0m");
	buffer_format(buffer, " %10s %10s  %s", latency, age,
		      ran && !probe->stale ? probe_reason_name(probe->result.reason)
					   : report_trouble(probe));
	if (details && ran && probe->result.message)
		buffer_format(buffer, ": %s", probe->result.message);
	if (details)
		buffer_format(buffer, "  %s", config->target);
	buffer_text(buffer, "\n");
}

void report_table(const struct engine *engine, bool details, bool colour, struct buffer *buffer)
{
	const struct settings *settings = &engine_config(engine)->settings;

	buffer_format(buffer, "%s %s", settings->service,
		      settings->version ? settings->version : "");
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = engine_verdict(engine, (enum endpoint)i);

		buffer_format(buffer, "  %s ", endpoint_name((enum endpoint)i));
		if (colour)
			buffer_text(buffer, colour_of(verdict.ok, false));
		buffer_text(buffer, verdict.ok ? "yes" : "no");
		if (colour)
			buffer_text(buffer, "\033[0m");
		if (!verdict.ok)
			buffer_format(buffer, " (%s)", hindrance_text(verdict.hindrance));
	}
	buffer_format(buffer, "\n\n%-24s %-10s %-8s %10s %10s  %s\n", "PROBE", "ROLE", "STANDING",
		      "TOOK", "AGE", "RESULT");
	for (size_t i = 0; i < engine_probe_count(engine); i++)
		table_row(engine_probe_at(engine, i), details, colour, buffer);
}
