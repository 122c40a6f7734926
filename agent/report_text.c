#include <stdio.h>
#include <string.h>

#include "agent/report_select.h"
#include "agent/text.h"

/* Of what `readyd check --verbose` prints, all but the number of what is left out. */
enum { LINES_MAX = 4000 - 32 };

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

/* Ends the line that began at `start`. */
static void trim_to_line(struct buffer *buffer, size_t start)
{
	size_t len = buffer->len;

	if (!buffer->data)
		return;
	text_make_printable(buffer->data + start);
	if (len - start > REPORT_LINE_MAX) {
		len = start + REPORT_LINE_MAX;
		/* Do not cut a character in half. */
		while (len > start && (buffer->data[len] & 0xc0) == 0x80)
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
	size_t start = buffer->len, left_out;

	buffer_format(buffer, "%s %s", verdict.ok ? "pass" : "fail", what);
	if (!verdict.ok) {
		if (verdict.hindrance == HINDRANCE_DRAINING || verdict.hindrance == HINDRANCE_STALE)
			buffer_format(buffer, " %s", hindrance_text(verdict.hindrance));
		left_out = report_each_probe(engine, &request, buffer,
					     start + REPORT_LINE_MAX - 100, add_to_line, &context);
		if (left_out > 0)
			buffer_format(buffer, "; and %zu more", left_out);
	}
	trim_to_line(buffer, start);
}

static void add_probe_line(const struct engine_probe *probe, void *context)
{
	struct line_context *line = context;

	report_probe_line(probe, line->details, line->buffer);
}

void report_lines(const struct engine *engine, enum endpoint endpoint, const char *what,
		  bool details, struct buffer *buffer)
{
	struct report_request request = {.endpoint = endpoint, .details = details};
	struct line_context context = {buffer, details, false};
	size_t left_out;

	/* All names and reasons first: Podman keeps no more than that. */
	report_line(engine, endpoint, what, false, buffer);
	left_out = report_each_probe(engine, &request, buffer, LINES_MAX, add_probe_line, &context);
	if (left_out > 0)
		buffer_format(buffer, "and %zu more\n", left_out);
}

void report_result_line(const char *name, const struct probe_result *result, bool details,
			struct buffer *buffer)
{
	size_t start = buffer->len;

	if (result->state == PROBE_PASS) {
		buffer_format(buffer, "pass %s %.1f ms", name,
			      (double)result->duration_us / 1000.0);
	} else {
		buffer_format(buffer, "%s %s %s", probe_state_name(result->state), name,
			      probe_reason_name(result->reason));
		if (details && result->message)
			buffer_format(buffer, ": %s", result->message);
	}
	trim_to_line(buffer, start);
}

void report_probe_line(const struct engine_probe *probe, bool details, struct buffer *buffer)
{
	bool ok = engine_probe_ok(probe);
	size_t start = buffer->len;
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
	trim_to_line(buffer, start);
}
