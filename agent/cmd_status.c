/* `readyd status`: what the running agent knows, for a person. */

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/command.h"
#include "agent/field.h"
#include "agent/loop.h"
#include "agent/report.h"
#include "agent/terminal.h"
#include "agent/text.h"

enum {
	ANSWER_MAX = 128 * 1024 * 1024,
	DEFAULT_TIMEOUT_US = 3 * 1000 * 1000,
	PATH_SIZE = 128,
	WATCH_SECONDS = 1,
	/* Of the terminal's lines, those that are no probe: the instance, the titles, the end, what
	 * went wrong, blanks between, and the cursor's. */
	OTHER_LINES = 7,
};

static const char help[] =
	"usage: readyd status [OPTION...]\n"
	"\n"
	"Shows the running agent's verdicts and every probe's standing. LAST RUNS has a\n"
	"mark for each of the last 16 runs, as high as it was long; x is one that failed.\n"
	"\n"
	"  --watch          keep showing it, until Ctrl-C; probes in trouble come first\n"
	"                   when there is no room for all\n"
	"  --json           everything that is known, as JSON\n"
	"  --socket NAME    the agent's admin socket (default READYD_SOCKET or @readyd;\n"
	"                   `socket:` in the agent's configuration is not read here)\n"
	"  --timeout TIME   wait so long for the agent (default 3 seconds)\n"
	"\n"
	"On a terminal it is coloured, unless NO_COLOR is set, and drawn in Unicode, unless\n"
	"the locale (LC_ALL, LC_CTYPE, LANG) is one without it.\n"
	"\n"
	"examples:\n"
	"  docker exec web /readyd status\n"
	"  docker exec -it web /readyd status --watch\n";

struct status {
	const char *socket_name;
	int64_t timeout_us;
	bool json, watch;
	bool terminal; /* stdout is one, and knows control sequences */
	bool colour, unicode;
};

static int usage_error(const char *sentence, const char *word)
{
	command_usage_error("status", sentence, word);
	return 1;
}

/* ---- the terminal's abilities ---- */

/* NULL when it is empty, too. */
static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] != '\0' ? value : NULL;
}

/* In a container the locale is seldom set, and the terminal outside has Unicode nevertheless. */
static bool has_unicode(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	const char *kind = environment("TERM");

	/* The kernel's own console has no such characters. */
	if (kind && strcmp(kind, "linux") == 0)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *locale = environment(names[i]);

		if (locale)
			return strcasestr(locale, "utf-8") || strcasestr(locale, "utf8");
	}
	return true;
}

/* ---- asking ---- */

/* Returns 0, or -1 with a sentence. */
static int ask(const struct status *status, const char *path, struct buffer *answer,
	       struct error *error)
{
	const struct client_request request = {.method = "GET",
					       .path = path,
					       .accept_json = status->json,
					       .end = status->json ? NULL : REPORT_TABLE_END};
	int code;

	buffer_clear(answer);
	code = client_ask(client_socket_name(status->socket_name), &request,
			  clock_monotonic_us() + status->timeout_us, answer, error);
	if (code > 0 && code != 200)
		error_set(error, "the agent did not understand");
	return code == 200 ? 0 : -1;
}

static void write_path(const struct status *status, char *path)
{
	snprintf(path, PATH_SIZE, "%s%s%s", status->json ? "/status" : "/table?",
		 status->colour ? "colour&" : "", status->unicode ? "unicode&" : "");
}

static int show(const struct status *status)
{
	struct error error = {{0}};
	struct buffer answer;
	char path[PATH_SIZE];
	int result;

	buffer_init(&answer, ANSWER_MAX);
	write_path(status, path);
	result = ask(status, path, &answer, &error);
	if (result == 0)
		fwrite(answer.data, 1, answer.len, stdout);
	else
		fprintf(stderr, "readyd status: %s\n", error.text);
	buffer_free(&answer);
	return result == 0 && fflush(stdout) == 0 ? 0 : 1;
}

/* ---- again and again ---- */

/* The last answer, and what has become of asking since. */
struct view {
	struct buffer table;
	int64_t taken_us;
	struct error error; /* "" = the table is from now */
};

static void draw_line(struct terminal *terminal, const char *line, size_t len)
{
	if (terminal->drawn >= terminal_room(terminal))
		return;
	buffer_append(&terminal->output, line, len);
	terminal_end_line(terminal);
}

static void draw_error(const struct status *status, const struct view *view,
		       struct terminal *terminal)
{
	struct buffer line;
	char text[ERROR_TEXT_SIZE + 64];

	if (view->taken_us > 0)
		snprintf(text, sizeof(text), "%.0f s old: %s",
			 (double)(clock_monotonic_us() - view->taken_us) / 1e6, view->error.text);
	else
		snprintf(text, sizeof(text), "%s", view->error.text);
	buffer_init(&line, sizeof(text) + 32);
	buffer_text(&line, status->colour ? "\033[31m" : "");
	text_append_columns(&line, text, terminal->columns, false);
	buffer_text(&line, status->colour ? "\033[0m" : "");
	draw_line(terminal, line.data, line.len);
	buffer_free(&line);
}

/* What the lines of a table are, by the order in which they are left out when there is no room. */
enum line_kind { LINE_BLANK, LINE_TITLES, LINE_END, LINE_PROBE, LINE_INSTANCE, LINE_KINDS };

/* The line that begins at `at` in the table. */
static enum line_kind kind_of(const char *table, const char *at)
{
	size_t len = strcspn(at, "\n");

	if (at == table)
		return LINE_INSTANCE;
	if (len == 0)
		return LINE_BLANK;
	if (at[len] == '\0' || at[len + 1] == '\0')
		return LINE_END;
	/* Titles stand where the lines of probes begin: behind the first blank. */
	return at == strstr(table, "\n\n") + 2 ? LINE_TITLES : LINE_PROBE;
}

static const char *next_line(const char *at)
{
	size_t len = strcspn(at, "\n");

	return at + len + (at[len] == '\n' ? 1 : 0);
}

/* The table, or what matters most of it. */
static void draw_table(const char *table, struct terminal *terminal)
{
	size_t room = terminal_room(terminal) - terminal->drawn;
	size_t counts[LINE_KINDS] = {0}, count = 0;
	int least = LINE_BLANK;

	for (const char *at = table; *at != '\0'; at = next_line(at)) {
		counts[kind_of(table, at)]++;
		count++;
	}
	for (; count > room && least < LINE_PROBE; least++)
		count -= counts[least];
	for (const char *at = table; *at != '\0'; at = next_line(at)) {
		enum line_kind kind = kind_of(table, at);
		size_t len = strcspn(at, "\n");

		/* The other lines are as long as the agent was told. */
		if (kind == LINE_END && len > terminal->columns)
			len = terminal->columns;
		if ((int)kind >= least)
			draw_line(terminal, at, len);
	}
}

static void draw(const struct status *status, const struct view *view, struct terminal *terminal)
{
	if (view->error.text[0] != '\0')
		draw_error(status, view, terminal);
	if (view->taken_us > 0)
		draw_table(view->table.data, terminal);
}

/* Takes a table that fits the terminal; if there is none, the last one stays. */
static void refresh(const struct status *status, const struct terminal *terminal, struct view *view)
{
	struct buffer answer;
	char path[PATH_SIZE];
	size_t len, limit;

	limit = terminal->rows > OTHER_LINES ? terminal->rows - OTHER_LINES : 1;
	write_path(status, path);
	len = strlen(path);
	snprintf(path + len, sizeof(path) - len, "columns=%zu&limit=%zu", terminal->columns, limit);
	buffer_init(&answer, ANSWER_MAX);
	view->error = (struct error){{0}};
	if (ask(status, path, &answer, &view->error) < 0) {
		buffer_free(&answer);
		return;
	}
	buffer_free(&view->table);
	view->table = answer;
	view->taken_us = clock_monotonic_us();
}

static void set_of(sigset_t *set, const int *signals, size_t count)
{
	sigemptyset(set);
	for (size_t i = 0; i < count; i++)
		sigaddset(set, signals[i]);
}

/* Draws until a signal ends it. None does so in the middle of a drawing, so the terminal is always
 * left as it should be. */
static int watch_terminal(const struct status *status)
{
	static const int waking[] = {SIGWINCH, SIGCONT};
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
	const struct timespec pause = {.tv_sec = WATCH_SECONDS}, no_time = {0};
	struct terminal terminal;
	struct view view = {.taken_us = 0};
	sigset_t waking_set, ending_set;

	if (terminal_open(&terminal, STDOUT_FILENO) < 0)
		return usage_error("cannot write to the terminal", NULL);
	set_of(&waking_set, waking, sizeof(waking) / sizeof(waking[0]));
	set_of(&ending_set, ending, sizeof(ending) / sizeof(ending[0]));
	sigprocmask(SIG_BLOCK, &waking_set, NULL);
	for (;;) {
		terminal_take_size(&terminal);
		refresh(status, &terminal, &view);
		/* While it was stopped, the shell has written. */
		if (sigtimedwait(&waking_set, NULL, &no_time) == SIGCONT)
			terminal_resume(&terminal);
		if (terminal_begin(&terminal)) {
			draw(status, &view, &terminal);
			sigprocmask(SIG_BLOCK, &ending_set, NULL);
			terminal_end(&terminal);
			sigprocmask(SIG_UNBLOCK, &ending_set, NULL);
		}
		if (sigtimedwait(&waking_set, NULL, &pause) == SIGCONT)
			terminal_resume(&terminal);
	}
}

/* Elsewhere one table after the other, until nobody reads them. */
static int watch_plain(const struct status *status)
{
	const struct timespec pause = {.tv_sec = WATCH_SECONDS};

	for (;;) {
		show(status);
		if (putchar('\n') == EOF || fflush(stdout) != 0)
			return 1;
		nanosleep(&pause, NULL);
	}
}

int cmd_status(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},         {"json", no_argument, NULL, 'j'},
		{"watch", no_argument, NULL, 'w'},        {"timeout", required_argument, NULL, 't'},
		{"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
	};
	struct status status = {.timeout_us = DEFAULT_TIMEOUT_US};
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? 1 : 0;
		case 'j':
			status.json = true;
			break;
		case 'w':
			status.watch = true;
			break;
		case 's':
			status.socket_name = optarg;
			break;
		case 't':
			if (command_take_timeout("status", optarg, &status.timeout_us) < 0)
				return 1;
			break;
		default:
			command_option_error("status", letter, argv);
			return 1;
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	if (status.json && status.watch)
		return usage_error("--json and --watch do not go together", NULL);
	status.terminal = !status.json && terminal_is_capable(STDOUT_FILENO);
	status.colour = status.terminal && !environment("NO_COLOR");
	status.unicode = status.terminal && has_unicode();
	if (!status.watch)
		return show(&status);
	return status.terminal ? watch_terminal(&status) : watch_plain(&status);
}
