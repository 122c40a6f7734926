/* What `readyd status` shows: a table for a terminal, one probe a piece. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/report_headline.h"
#include "agent/report_select.h"
#include "agent/text.h"

enum { PIECE_CEILING = 16 * 1024, NAME_COLUMNS_MIN = 5, NAME_COLUMNS_MAX = 40 };

struct table {
	struct stream stream;
	const struct engine *engine;
	struct report_table_form form;
	struct probe_selection selection;
	uint64_t generation;
	size_t name_columns, next_probe;
	bool begun, ended;

	size_t used; /* columns of the present line */
};

/* ---- cells ---- */

/* Text as wide as it is, or cut where the line ends. */
static void put(struct table *table, const char *text)
{
	table->used += text_append_columns(&table->stream.piece, text,
					   table->form.columns - table->used, false);
}

/* A cell of that width, and a space between it and the next; too long a text makes it wider. */
static void put_cell(struct table *table, const char *text, size_t width, bool right)
{
	size_t len = strlen(text);
	char blanks[64];

	snprintf(blanks, sizeof(blanks), "%*s", len < width ? (int)(width - len) : 0, "");
	if (right)
		put(table, blanks);
	put(table, text);
	if (!right)
		put(table, blanks);
	put(table, "  ");
}

static void set_colour(struct table *table, const char *sequence)
{
	if (table->form.colour)
		buffer_text(&table->stream.piece, sequence);
}

static const char *colour_of(bool ok, bool warns)
{
	return !ok ? "\033[31m" : warns ? "\033[33m" : "\033[32m";
}

static void end_line(struct table *table)
{
	struct buffer *piece = &table->stream.piece;

	while (piece->len > 0 && piece->data[piece->len - 1] == ' ')
		buffer_truncate(piece, piece->len - 1);
	buffer_text(piece, "\n");
	table->used = 0;
}

/* ---- past runs ---- */

/* One character for each, as high as the run was long; a cross for one that failed. */
static void put_runs(struct table *table, const struct engine_probe *probe)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const letters[] = {"_", "_", ".", ".", "-", "-", "=", "#"};
	const char *const *levels = table->form.unicode ? blocks : letters;
	uint64_t first = probe->runs > HISTORY_LEN ? probe->runs - HISTORY_LEN : 0;
	uint32_t longest = 1;

	for (uint64_t run = first; run < probe->runs; run++) {
		const struct past_run *past = &probe->history[run % HISTORY_LEN];

		if (past->duration_us > longest)
			longest = past->duration_us;
	}
	for (uint64_t missing = probe->runs - first; missing < HISTORY_LEN; missing++)
		put(table, " ");
	for (uint64_t run = first; run < probe->runs; run++) {
		const struct past_run *past = &probe->history[run % HISTORY_LEN];

		set_colour(table, past->state == PROBE_FAIL   ? "\033[31m"
				  : past->state == PROBE_WARN ? "\033[33m"
							      : "");
		if (past->state == PROBE_FAIL)
			put(table, table->form.unicode ? "×" : "x");
		else
			put(table, levels[(uint64_t)past->duration_us * 7 / longest]);
		if (past->state != PROBE_PASS)
			set_colour(table, "\033[0m");
	}
	put(table, "  ");
}

/* ---- lines ---- */

/* The verdict alone is coloured, not the endpoint's name before it. */
static void put_part(struct table *table, const struct headline_part *part)
{
	const char *text = part->text, *verdict = strrchr(part->text, ' ') + 1;
	char name[sizeof(part->text)];

	if (table->used == 0)
		text += strspn(text, " ");
	if (!part->is_verdict) {
		put(table, text);
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(verdict - text), text);
	/* Narrower than that, only "yes" or "no" is left. */
	if (table->used + strlen(text) <= table->form.columns)
		put(table, name);
	set_colour(table, colour_of(part->verdict.ok, part->verdict.degraded));
	put(table, verdict);
	set_colour(table, "\033[0m");
}

static void write_instance(struct table *table)
{
	struct headline_part parts[HEADLINE_PARTS_MAX];
	size_t count = report_headline(table->engine, table->form.columns, parts);

	for (size_t i = 0; i < count; i++) {
		if (parts[i].shown)
			put_part(table, &parts[i]);
	}
	end_line(table);
	buffer_text(&table->stream.piece, "\n");
}

static void write_titles(struct table *table)
{
	if (table->selection.count == 0)
		return;
	put_cell(table, "PROBE", table->name_columns, false);
	put_cell(table, "ROLE", 9, false);
	put_cell(table, "STANDING", 8, false);
	put_cell(table, "TOOK", 10, true);
	put_cell(table, "AGE", 8, true);
	put_cell(table, "LAST RUNS", HISTORY_LEN, false);
	put(table, "RESULT");
	end_line(table);
}

static void write_probe(struct table *table, const struct engine_probe *probe)
{
	const struct probe_config *config = probe->config;
	const struct probe_result *result = &probe->result;
	bool details = table->form.details, ran = probe->runs > 0;
	char age[32] = "-", latency[32] = "-";

	if (ran) {
		snprintf(age, sizeof(age), "%.1f s",
			 (double)(clock_monotonic_us() - result->finished_us) / 1e6);
		snprintf(latency, sizeof(latency), "%.1f ms", (double)result->duration_us / 1e3);
	}
	put_cell(table, config->name, table->name_columns, false);
	put_cell(table, role_name(config->role), 9, false);
	set_colour(table, colour_of(engine_probe_ok(probe), ran && result->state != PROBE_PASS));
	put_cell(table, standing_name(probe->health.standing), 8, false);
	set_colour(table, "\033[0m");
	put_cell(table, latency, 10, true);
	put_cell(table, age, 8, true);
	put_runs(table, probe);
	put(table,
	    ran && !probe->stale ? probe_reason_name(result->reason) : report_trouble(probe));
	if (details && ran && result->message && result->message[0] != '\0') {
		put(table, ": ");
		put(table, result->message);
	}
	if (details) {
		put(table, "  ");
		put(table, config->target);
	}
	end_line(table);
}

static void write_end(struct table *table)
{
	size_t all = engine_probe_count(table->engine), left_out = table->selection.left_out;
	char text[96];

	if (left_out > 0)
		snprintf(text, sizeof(text), "%zu probes are not shown, %zu" REPORT_TABLE_END,
			 left_out, all);
	else
		snprintf(text, sizeof(text), "%zu probe%s" REPORT_TABLE_END, all,
			 all == 1 ? "" : "s");
	buffer_text(&table->stream.piece, "\n");
	buffer_text(&table->stream.piece, text);
}

static int next_piece(struct stream *stream, struct buffer *piece)
{
	struct table *table = (struct table *)stream;

	(void)piece; /* put() has it */
	if (table->generation != engine_configuration_generation(table->engine))
		return -1;
	if (!table->begun) {
		write_instance(table);
		write_titles(table);
		table->begun = true;
	} else if (table->next_probe < table->selection.count) {
		write_probe(table, table->selection.probes[table->next_probe++]);
	} else if (!table->ended) {
		write_end(table);
		table->ended = true;
	}
	return 0;
}

static void destroy(struct stream *stream)
{
	struct table *table = (struct table *)stream;

	free(table->selection.probes);
	free(table);
}

struct stream *report_table(const struct engine *engine, const struct report_table_form *form)
{
	struct table *table = calloc(1, sizeof(*table));
	size_t longest = NAME_COLUMNS_MIN;

	if (!table || report_select_probes(engine, form->limit, &table->selection) < 0) {
		free(table);
		return NULL;
	}
	for (size_t i = 0; i < table->selection.count; i++) {
		size_t len = strlen(table->selection.probes[i]->config->name);

		if (len > longest)
			longest = len;
	}
	table->name_columns = longest < NAME_COLUMNS_MAX ? longest : NAME_COLUMNS_MAX;
	stream_init(&table->stream, next_piece, destroy, PIECE_CEILING);
	table->engine = engine;
	table->form = *form;
	table->generation = engine_configuration_generation(engine);
	return &table->stream;
}
