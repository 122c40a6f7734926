#include "agent/waiting_display.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/report.h"
#include "agent/terminal.h"
#include "agent/text.h"

enum {
	REDRAW_US = 100 * 1000,
	/* The end must come soon, whatever the reader of stderr does. */
	LAST_WRITE_US = 200 * 1000,
	/* A target that goes to and fro between the same reasons is told of once in a while. */
	REPEAT_US = 1000 * 1000,
	NAME_COLUMNS_MIN = 8,
	/* "wait ", " 9999.9 s " and a reason that can still be guessed. */
	OTHER_COLUMNS = 5 + 10 + 12,
};

/* What has been logged of a target. */
struct told {
	bool reasons[PROBE_REASON_COUNT]; /* since it was last as wanted */
	bool any, as_wanted;
	enum probe_reason reason;
	int64_t at_us;
};

struct display {
	struct loop *loop;
	const struct waiting *waiting;
	bool quiet, live;
	struct told *told; /* one a target; NULL on a terminal */

	struct terminal terminal; /* when it is live */
	struct loop_timer redraw;
};

static double seconds_since(int64_t then_us, int64_t now_us)
{
	return (double)(now_us - then_us) / 1e6;
}

/* ---- live lines ---- */

/* How wide the column of names is: as the longest, unless that leaves no room for the reasons. */
static size_t name_columns(const struct display *display)
{
	size_t columns = display->terminal.columns, most = NAME_COLUMNS_MIN, longest = 0;

	if (columns / 2 > most)
		most = columns / 2;
	if (columns > OTHER_COLUMNS + NAME_COLUMNS_MIN && columns - OTHER_COLUMNS < most)
		most = columns - OTHER_COLUMNS;
	for (size_t i = 0; i < display->waiting->count && longest < most; i++) {
		size_t len = strlen(display->waiting->targets[i].config->name);

		if (len > longest)
			longest = len;
	}
	return longest < most ? longest : most;
}

static void describe(const struct waiting_target *target, char *text, size_t size)
{
	const struct probe_result *result = &target->result;
	const char *reason = probe_reason_name(result->reason);
	bool passes = result->state == PROBE_PASS;

	if (!target->tried)
		snprintf(text, size, "no answer yet");
	else if (target->done_us != 0)
		snprintf(text, size, "%s", passes ? "" : reason);
	else if (target->in_a_row > 0)
		snprintf(text, size, "%s, %lld of %lld", reason, (long long)target->in_a_row,
			 (long long)target->needed);
	else if (passes)
		snprintf(text, size, "still passes");
	else
		snprintf(text, size, "%s%s%s", reason, result->message ? ": " : "",
			 result->message ? result->message : "");
}

static void draw_line(struct display *display, const struct waiting_target *target,
		      size_t name_width, int64_t now_us)
{
	struct buffer *output = &display->terminal.output;
	size_t columns = display->terminal.columns;
	bool done = target->done_us != 0;
	char elapsed[32], text[400];
	size_t used = 0;

	buffer_text(output, done ? "\033[32m" : "\033[33m");
	used += text_append_columns(output, done ? "done " : "wait ", columns, false);
	buffer_text(output, "\033[0m");
	if (name_width > columns - used)
		name_width = columns - used;
	used += text_append_columns(output, target->config->name, name_width, true);
	snprintf(elapsed, sizeof(elapsed), " %6.1f s  ",
		 seconds_since(display->waiting->started_us, done ? target->done_us : now_us));
	used += text_append_columns(output, elapsed, columns - used, false);
	describe(target, text, sizeof(text));
	text_append_columns(output, text, columns - used, false);
	terminal_end_line(&display->terminal);
}

/* Draws those that are done, or those that are not, as far as there is room; returns how many were
 * left out. */
static size_t draw_some(struct display *display, bool done, size_t room, int64_t now_us)
{
	const struct waiting *waiting = display->waiting;
	size_t width = name_columns(display), left_out = 0;

	for (size_t i = 0; i < waiting->count; i++) {
		const struct waiting_target *target = &waiting->targets[i];

		if ((target->done_us != 0) != done)
			continue;
		if (display->terminal.drawn < room)
			draw_line(display, target, width, now_us);
		else
			left_out++;
	}
	return left_out;
}

/* All lines in their order if there is room, else those first that are waited for. */
static void draw_lines(struct display *display)
{
	const struct waiting *waiting = display->waiting;
	int64_t now_us = clock_monotonic_us();
	struct terminal *terminal = &display->terminal;
	size_t room = terminal_room(terminal), width, left_out;
	char text[64];

	if (waiting->count <= room) {
		width = name_columns(display);
		for (size_t i = 0; i < waiting->count; i++)
			draw_line(display, &waiting->targets[i], width, now_us);
		return;
	}
	left_out = draw_some(display, false, room - 1, now_us);
	left_out += draw_some(display, true, room - 1, now_us);
	snprintf(text, sizeof(text), "and %zu more, %zu of %zu done", left_out, waiting->done_count,
		 waiting->count);
	text_append_columns(&terminal->output, text, terminal->columns, false);
	terminal_end_line(terminal);
}

static void draw(struct display *display)
{
	if (terminal_begin(&display->terminal)) {
		draw_lines(display);
		terminal_end(&display->terminal);
	}
	loop_timer_set(display->loop, &display->redraw, clock_monotonic_us() + REDRAW_US);
}

static void on_redraw(struct loop_timer *timer)
{
	draw(timer->owner);
}

/* ---- log lines ---- */

static void log_target(enum log_level level, const char *event, const struct waiting *waiting,
		       const struct waiting_target *target)
{
	char in_a_row[64] = "";
	struct log_field fields[] = {
		log_text("target", target->config->name),
		log_text("reason", target->tried ? probe_reason_name(target->result.reason) : ""),
		log_text("message", target->tried ? target->result.message : "no answer yet"),
		log_text("inARow", in_a_row),
		log_milliseconds("waitedMs", clock_monotonic_us() - waiting->started_us),
		{0},
	};

	/* "ok" alone would not say what is still waited for. */
	if (target->needed > 1 && target->in_a_row > 0 && target->done_us == 0)
		snprintf(in_a_row, sizeof(in_a_row), "%lld of %lld", (long long)target->in_a_row,
			 (long long)target->needed);
	log_event(level, event, fields);
}

static bool is_news(const struct told *told, bool as_wanted, enum probe_reason reason)
{
	if (!told->any || told->as_wanted != as_wanted)
		return true;
	if (as_wanted || told->reason == reason)
		return false;
	return !told->reasons[reason] || clock_monotonic_us() - told->at_us >= REPEAT_US;
}

static void log_transition(struct display *display, const struct waiting_target *target)
{
	struct told *told = &display->told[target - display->waiting->targets];
	enum probe_reason reason = target->result.reason;
	bool as_wanted = target->done_us != 0;

	if (!is_news(told, as_wanted, reason))
		return;
	told->any = true;
	told->as_wanted = as_wanted;
	told->reason = reason;
	told->reasons[reason] = true;
	told->at_us = clock_monotonic_us();
	log_target(LOG_INFO, as_wanted ? "done" : "waiting", display->waiting, target);
}

/* ---- the whole ---- */

struct display *display_create(struct loop *loop, const struct waiting *waiting, bool quiet)
{
	struct display *display = calloc(1, sizeof(*display));

	if (!display)
		return NULL;
	display->loop = loop;
	display->waiting = waiting;
	display->quiet = quiet;
	display->redraw = (struct loop_timer){.on_expire = on_redraw, .owner = display};
	display->live = terminal_is_capable(STDERR_FILENO) &&
			terminal_open(&display->terminal, STDERR_FILENO) == 0;
	if (!display->live) {
		log_open(loop, NULL, NULL, LOG_INFO, false);
		display->told = calloc(waiting->count, sizeof(*display->told));
		if (!display->told) {
			display_destroy(display);
			return NULL;
		}
		return display;
	}
	/* What is there already need not be drawn, only to vanish. */
	if (!quiet)
		loop_timer_set(loop, &display->redraw, clock_monotonic_us() + REDRAW_US / 2);
	return display;
}

void display_result(struct display *display, const struct waiting_target *target)
{
	if (!display->live && !display->quiet)
		log_transition(display, target);
}

void display_resume(struct display *display)
{
	terminal_resume(&display->terminal);
}

static void print_failure(struct display *display, const struct waiting_target *target)
{
	struct buffer line;

	buffer_init(&line, REPORT_LINE_MAX + 2);
	if (target->tried)
		report_result_line(target->config->name, &target->result, true, &line);
	else
		buffer_format(&line, "fail %s: no answer yet\n", target->config->name);
	buffer_append(&display->terminal.output, line.data, line.len);
	buffer_free(&line);
}

/* On the terminal, whole and for good. */
static void print_end(struct display *display)
{
	const struct waiting *waiting = display->waiting;
	struct buffer *output = &display->terminal.output;

	if (waiting->outcome == WAITING_TIMED_OUT)
		buffer_format(output, "readyd wait: not done within %g s\n",
			      (double)waiting->timeout_us / 1e6);
	for (size_t i = 0; i < waiting->count; i++) {
		const struct waiting_target *target = &waiting->targets[i];

		if (target->done_us != 0 && !display->quiet)
			buffer_format(output, "done %s after %.1f s\n", target->config->name,
				      seconds_since(waiting->started_us, target->done_us));
		else if (target->done_us == 0 && waiting->outcome == WAITING_TIMED_OUT)
			print_failure(display, target);
	}
}

static void end_live(struct display *display)
{
	loop_timer_clear(display->loop, &display->redraw);
	terminal_wipe(&display->terminal);
	if (display->waiting->outcome != WAITING_UNDER_WAY)
		print_end(display);
	terminal_close(&display->terminal, LAST_WRITE_US);
}

static void end_log(struct display *display)
{
	const struct waiting *waiting = display->waiting;

	for (size_t i = 0; waiting->outcome == WAITING_TIMED_OUT && i < waiting->count; i++) {
		if (waiting->targets[i].done_us == 0)
			log_target(LOG_ERROR, "timed_out", waiting, &waiting->targets[i]);
	}
	log_close(LAST_WRITE_US);
}

void display_destroy(struct display *display)
{
	if (!display)
		return;
	if (display->live)
		end_live(display);
	else
		end_log(display);
	free(display->told);
	free(display);
}
