#include "agent/waiting_display.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/log.h"
#include "agent/report.h"
#include "agent/utf8.h"

enum {
	REDRAW_US = 100 * 1000,
	/* The end must come soon, whatever the reader of stderr does. */
	LAST_WRITE_US = 200 * 1000,
	/* A target that goes to and fro between the same reasons is told of once in a while. */
	REPEAT_US = 1000 * 1000,
	OUTPUT_MAX = 1024 * 1024,
	COLUMNS_DEFAULT = 80,
	ROWS_DEFAULT = 24,
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

	int fd; /* the terminal, not blocking */
	struct loop_timer redraw;
	struct buffer output; /* on its way to the terminal */
	size_t written;
	size_t drawn; /* lines of the last drawing */
	size_t columns, rows;
};

static double seconds_since(int64_t then_us, int64_t now_us)
{
	return (double)(now_us - then_us) / 1e6;
}

/* ---- the terminal ---- */

/* stderr is shared with others, so it must not be switched to non-blocking. */
static int open_terminal(void)
{
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd >= 0 ? fd : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* Writes what the terminal takes. Returns whether all is written. */
static bool flush_output(struct display *display)
{
	struct buffer *output = &display->output;

	while (display->written < output->len) {
		struct pollfd terminal = {.fd = display->fd, .events = POLLOUT};
		ssize_t len;

		if (poll(&terminal, 1, 0) <= 0)
			return false;
		len = write(display->fd, output->data + display->written,
			    output->len - display->written);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			return false;
		if (len < 0)
			break; /* nobody will ever read it */
		display->written += (size_t)len;
	}
	buffer_clear(output);
	display->written = 0;
	return true;
}

/* Each time, because only the processes in the foreground are told of a change. */
static void take_size(struct display *display)
{
	struct winsize size = {0};

	ioctl(display->fd, TIOCGWINSZ, &size);
	display->columns = size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
	display->rows = size.ws_row > 0 ? size.ws_row : ROWS_DEFAULT;
}

/* ---- live lines ---- */

/* Appends at most `columns` characters of the text, and with `pad` as many as are lacking. Returns
 * how many columns are used. */
static size_t put(struct buffer *output, const char *text, size_t columns, bool pad)
{
	size_t used = 0, left = strlen(text);

	while (left > 0 && used < columns) {
		unsigned code;
		size_t width = utf8_decode(text, left, &code);

		if (width == 0)
			width = 1;
		buffer_append(output, text, width);
		text += width;
		left -= width;
		used++;
	}
	for (; pad && used < columns; used++)
		buffer_text(output, " ");
	return used;
}

/* How wide the column of names is: as the longest, unless that leaves no room for the reasons. */
static size_t name_columns(const struct display *display)
{
	size_t most = NAME_COLUMNS_MIN, longest = 0;

	if (display->columns / 2 > most)
		most = display->columns / 2;
	if (display->columns > OTHER_COLUMNS + NAME_COLUMNS_MIN &&
	    display->columns - OTHER_COLUMNS < most)
		most = display->columns - OTHER_COLUMNS;
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
	struct buffer *output = &display->output;
	bool done = target->done_us != 0;
	char elapsed[32], text[400];
	size_t used = 0;

	buffer_text(output, done ? "\033[32m" : "\033[33m");
	used += put(output, done ? "done " : "wait ", display->columns, false);
	buffer_text(output, "\033[0m");
	if (name_width > display->columns - used)
		name_width = display->columns - used;
	used += put(output, target->config->name, name_width, true);
	snprintf(elapsed, sizeof(elapsed), " %6.1f s  ",
		 seconds_since(display->waiting->started_us, done ? target->done_us : now_us));
	used += put(output, elapsed, display->columns - used, false);
	describe(target, text, sizeof(text));
	put(output, text, display->columns - used, false);
	buffer_text(output, "\033[K\r\n");
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
		if (display->drawn < room) {
			draw_line(display, target, width, now_us);
			display->drawn++;
		} else {
			left_out++;
		}
	}
	return left_out;
}

/* All lines in their order if there is room, else those first that are waited for. */
static void draw_lines(struct display *display)
{
	const struct waiting *waiting = display->waiting;
	int64_t now_us = clock_monotonic_us();
	size_t room = display->rows > 1 ? display->rows - 1 : 1, width, left_out;
	char text[64];

	if (waiting->count <= room) {
		width = name_columns(display);
		for (size_t i = 0; i < waiting->count; i++)
			draw_line(display, &waiting->targets[i], width, now_us);
		display->drawn = waiting->count;
		return;
	}
	left_out = draw_some(display, false, room - 1, now_us);
	left_out += draw_some(display, true, room - 1, now_us);
	snprintf(text, sizeof(text), "and %zu more, %zu of %zu done", left_out, waiting->done_count,
		 waiting->count);
	put(&display->output, text, display->columns, false);
	buffer_text(&display->output, "\033[K\r\n");
	display->drawn++;
}

/* To the first line that was drawn, which will be written over. */
static void go_back(struct display *display)
{
	buffer_text(&display->output, "\r");
	if (display->drawn > 0)
		buffer_format(&display->output, "\033[%zuA", display->drawn);
	display->drawn = 0;
}

static void draw(struct display *display)
{
	if (flush_output(display)) {
		take_size(display);
		go_back(display);
		/* What is wider than it seems must not go on in the next line. */
		buffer_text(&display->output, "\033[?7l");
		draw_lines(display);
		buffer_text(&display->output, "\033[J\033[?7h");
		flush_output(display);
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
	struct log_field fields[] = {
		log_text("target", target->config->name),
		log_text("reason", target->tried ? probe_reason_name(target->result.reason) : ""),
		log_text("message", target->tried ? target->result.message : "no answer yet"),
		log_milliseconds("waitedMs", clock_monotonic_us() - waiting->started_us),
		{0},
	};

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

static bool is_capable_terminal(void)
{
	const char *terminal = getenv("TERM");

	return isatty(STDERR_FILENO) && terminal && terminal[0] != '\0' &&
	       strcmp(terminal, "dumb") != 0;
}

struct display *display_create(struct loop *loop, const struct waiting *waiting, bool quiet)
{
	struct display *display = calloc(1, sizeof(*display));

	if (!display)
		return NULL;
	display->loop = loop;
	display->waiting = waiting;
	display->quiet = quiet;
	display->fd = -1;
	display->redraw = (struct loop_timer){.on_expire = on_redraw, .owner = display};
	buffer_init(&display->output, OUTPUT_MAX);
	if (is_capable_terminal())
		display->fd = open_terminal();
	display->live = display->fd >= 0;
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
	display->drawn = 0;
}

static void print_failure(struct display *display, const struct waiting_target *target)
{
	struct buffer line;

	buffer_init(&line, REPORT_LINE_MAX + 2);
	if (target->tried)
		report_result_line(target->config->name, &target->result, true, &line);
	else
		buffer_format(&line, "fail %s: no answer yet\n", target->config->name);
	buffer_append(&display->output, line.data, line.len);
	buffer_free(&line);
}

/* On the terminal, whole and for good. */
static void print_end(struct display *display)
{
	const struct waiting *waiting = display->waiting;
	struct buffer *output = &display->output;

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
	int64_t end_us = clock_monotonic_us() + LAST_WRITE_US;

	loop_timer_clear(display->loop, &display->redraw);
	if (display->drawn > 0) {
		go_back(display);
		buffer_text(&display->output, "\033[J\033[?7h");
	}
	if (display->waiting->outcome != WAITING_UNDER_WAY)
		print_end(display);
	while (!flush_output(display) && clock_monotonic_us() < end_us) {
		struct pollfd terminal = {.fd = display->fd, .events = POLLOUT};

		poll(&terminal, 1, 10);
	}
	close(display->fd);
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
	buffer_free(&display->output);
	free(display->told);
	free(display);
}
