/* Runs a command without a shell: exit 0 passes, all else fails; or a Nagios plugin by its rules.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/child.h"
#include "agent/field.h"
#include "agent/loop.h"
#include "probes/exec_command.h"
#include "probes/perfdata.h"
#include "probes/probe.h"

enum {
	OUTPUT_KEPT = 4096,           /* the last bytes of what the command prints */
	OUTPUT_PER_EVENT = 64 * 1024, /* then others have their turn */
	LINE_SIZE = 160,              /* of the output's line in a message */
	SHUTDOWN_WAIT_US = 500000,    /* for killed processes to be gone at the end of readyd */
};

enum { EXIT_PLUGIN_OK, EXIT_PLUGIN_WARNING, EXIT_PLUGIN_CRITICAL };

struct exec_conf {
	struct text_list command;
	struct pair_list environment;
	char *directory;
	char *user;
	bool nagios;
	int64_t warn_above_us;
};

struct exec_state {
	struct probe_run *run;
	struct child child;
	struct loop_io io;
	int output_fd; /* -1 = none */
	int64_t started_us;

	char head[LINE_SIZE]; /* how the output began */
	size_t head_len;
	char tail[2 *
		  OUTPUT_KEPT]; /* its last bytes, at least OUTPUT_KEPT when there were so many */
	size_t tail_len;
	bool tail_moved; /* what came before `tail` is lost */

	struct perfdata_list *perfdata;
};

static const struct field exec_fields[] = {
	{.name = "command",
	 .kind = FIELD_COMMAND,
	 .offset = offsetof(struct exec_conf, command),
	 .help = "the program and its arguments; there is no shell"},
	{.name = "environment",
	 .kind = FIELD_PAIR_LIST,
	 .offset = offsetof(struct exec_conf, environment),
	 .help = "variables added to readyd's own, of which the command gets all but READYD_*"},
	{.name = "directory",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct exec_conf, directory),
	 .help = "the working directory of the command"},
	{.name = "user",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct exec_conf, user),
	 .help = "who runs the command: a name or number, or user:group"},
	{.name = "nagios",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct exec_conf, nagios),
	 .fallback = "false",
	 .help = "it is a Nagios plugin: exit 1 warns, and its performance data is read"},
	{.name = "warnAboveSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = offsetof(struct exec_conf, warn_above_us),
	 .help = "warn when the command passes but takes longer"},
	{.name = NULL},
};

/* ---- settings ---- */

static int set_target(void *conf, const char *target, struct error *error)
{
	struct exec_conf *exec = conf;
	const char *command = strchr(target, ':');

	if (!command)
		return error_set(error, "expected a target such as exec:/app/check");
	exec->nagios = strncasecmp(target, "nagios:", strlen("nagios:")) == 0;
	return field_split_command(command + 1, &exec->command, error);
}

static int check(void *conf, bool kubernetes_form, struct error *error)
{
	const struct exec_conf *exec = conf;

	(void)kubernetes_form;
	if (exec->command.count == 0 || exec->command.items[0][0] == '\0')
		return error_set(error,
				 "there is no command, expected one such as [/app/check, --fast]");
	for (size_t i = 0; i < exec->environment.count; i++) {
		const char *name = exec->environment.items[i].name;

		if (name[0] == '\0' || strchr(name, '='))
			return error_set(error, "\"%.60s\" cannot be the name of a variable", name);
	}
	return 0;
}

static void describe(const void *conf, char *text, size_t size)
{
	const struct exec_conf *exec = conf;
	int len = snprintf(text, size, "%s:", exec->nagios ? "nagios" : "exec");

	if ((size_t)len < size)
		exec_describe(&exec->command, text + len, size - (size_t)len);
}

/* ---- output ---- */

static void publish_output(struct exec_state *state)
{
	const char *text = state->tail;
	size_t len = state->tail_len;

	if (len > OUTPUT_KEPT || state->tail_moved) {
		size_t skipped = len > OUTPUT_KEPT ? len - OUTPUT_KEPT : 0;

		/* not in the middle of a character */
		for (int i = 0; i < 3 && ((unsigned char)text[skipped] & 0xc0) == 0x80; i++)
			skipped++;
		text += skipped;
		len -= skipped;
	}
	state->run->output = text;
	state->run->output_len = len;
}

/* Reads at most `limit` bytes of what is there. Stops watching at the end of the output, which says
 * nothing about the end of the command. */
static void read_output(struct exec_state *state, size_t limit)
{
	while (limit > 0) {
		size_t room = sizeof(state->tail) - state->tail_len, head_room;
		ssize_t len;

		if (room == 0) {
			memmove(state->tail, state->tail + OUTPUT_KEPT, OUTPUT_KEPT);
			state->tail_len = room = OUTPUT_KEPT;
			state->tail_moved = true;
		}
		if (room > limit)
			room = limit;
		len = read(state->output_fd, state->tail + state->tail_len, room);
		if (len <= 0) {
			if (len == 0 || errno != EAGAIN)
				loop_io_clear(state->run->env->loop, &state->io);
			break;
		}
		head_room = sizeof(state->head) - state->head_len;
		if (head_room > (size_t)len)
			head_room = (size_t)len;
		memcpy(state->head + state->head_len, state->tail + state->tail_len, head_room);
		state->head_len += head_room;
		state->tail_len += (size_t)len;
		limit -= (size_t)len;
	}
	publish_output(state);
}

/* Reads what the command has left in the pipe, and no more: somebody else may go on writing. */
static void drain_output(struct exec_state *state)
{
	int left = 0;

	if (ioctl(state->output_fd, FIONREAD, &left) == 0 && left > 0)
		read_output(state, (size_t)left);
}

static void on_output(struct loop_io *io, unsigned events)
{
	(void)events;
	read_output(io->owner, OUTPUT_PER_EVENT);
}

/* ---- the line of the output that goes into a message ---- */

/* Copies a line without control characters, terminal sequences and the space around it. */
static void clean_line(const char *from, size_t from_len, char *line, size_t size)
{
	const char *end = from + from_len;
	size_t len = 0;

	for (; from < end && len + 1 < size; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == 0x1b && from + 1 < end && from[1] == '[') {
			from += 2;
			while (from < end && (*from < 0x40 || *from > 0x7e))
				from++;
			if (from == end)
				break;
		} else if (c > 0x20 && c != 0x7f) {
			line[len++] = (char)c;
		} else if (len > 0 && line[len - 1] != ' ') {
			line[len++] = ' ';
		}
	}
	if (from < end) {
		/* cut: not in the middle of a character */
		while (len > 0 && ((unsigned char)line[len - 1] & 0xc0) == 0x80)
			len--;
		if (len > 0 && (unsigned char)line[len - 1] & 0x80)
			len--;
	}
	while (len > 0 && line[len - 1] == ' ')
		len--;
	line[len] = '\0';
}

/* A plugin's first line is its answer, up to the performance data. */
static void first_line(const struct exec_state *state, char *line, size_t size)
{
	const char *from = state->head, *end = state->head + state->head_len;

	line[0] = '\0';
	while (from < end && line[0] == '\0') {
		const char *to = from;

		while (to < end && *to != '\n' && *to != '|')
			to++;
		clean_line(from, (size_t)(to - from), line, size);
		from = to + 1;
	}
}

/* What a command says last is what it failed of. */
static void last_line(const struct exec_state *state, char *line, size_t size)
{
	const char *start = state->tail, *end = state->tail + state->tail_len;

	line[0] = '\0';
	while (end > start && line[0] == '\0') {
		const char *from = end;

		while (from > start && from[-1] != '\n' && from[-1] != '\r')
			from--;
		clean_line(from, (size_t)(end - from), line, size);
		end = from > start ? from - 1 : from;
	}
}

/* ": " and the line, or "" when there is none. */
static const char *quoted_line(const struct exec_state *state, bool nagios, char *text, size_t size)
{
	text[0] = ':';
	text[1] = ' ';
	if (nagios)
		first_line(state, text + 2, size - 2);
	else
		last_line(state, text + 2, size - 2);
	return text[2] == '\0' ? "" : text;
}

/* ---- verdict ---- */

static void finish_exited(struct exec_state *state, int code)
{
	const struct exec_conf *conf = state->run->conf;
	char text[LINE_SIZE];
	const char *line = quoted_line(state, conf->nagios, text, sizeof(text));

	if (!conf->nagios || code == EXIT_PLUGIN_CRITICAL)
		probe_finish(state->run, PROBE_FAIL, REASON_EXIT_CODE, "exit code %d%s", code,
			     line);
	else if (code == EXIT_PLUGIN_WARNING)
		probe_finish(state->run, PROBE_WARN, REASON_EXIT_WARNING, "exit code %d%s", code,
			     line);
	else
		probe_finish(state->run, PROBE_FAIL, REASON_EXIT_UNKNOWN, "exit code %d%s", code,
			     line);
}

static void finish_passed(struct exec_state *state, int64_t took_us)
{
	const struct exec_conf *conf = state->run->conf;
	char line[LINE_SIZE] = "";

	if (conf->warn_above_us > 0 && took_us > conf->warn_above_us) {
		probe_finish(state->run, PROBE_WARN, REASON_SLOW,
			     "took %.3g s, expected at most %g s", (double)took_us / 1e6,
			     (double)conf->warn_above_us / 1e6);
		return;
	}
	if (conf->nagios)
		first_line(state, line, sizeof(line));
	probe_finish(state->run, PROBE_PASS, REASON_OK, "%s", line);
}

static void read_perfdata(struct exec_state *state)
{
	state->perfdata = malloc(sizeof(*state->perfdata));
	if (!state->perfdata)
		return;
	perfdata_parse(state->run->output, state->run->output_len, state->perfdata);
	state->run->perfdata = state->perfdata;
}

static void on_exit_status(struct child *child, int status)
{
	struct exec_state *state = child->owner;
	const struct exec_conf *conf = state->run->conf;
	int64_t took_us = clock_monotonic_us() - state->started_us;
	char text[LINE_SIZE];

	drain_output(state);
	if (conf->nagios && state->run->output_len > 0)
		read_perfdata(state);
	if (WIFSIGNALED(status))
		probe_finish(state->run, PROBE_FAIL, REASON_SIGNAL, "ended by signal %d (%s)%s",
			     WTERMSIG(status), strsignal(WTERMSIG(status)),
			     quoted_line(state, conf->nagios, text, sizeof(text)));
	else if (WEXITSTATUS(status) == 0)
		finish_passed(state, took_us);
	else
		finish_exited(state, WEXITSTATUS(status));
}

/* ---- the run ---- */

static bool is_shortage(int error_number)
{
	return error_number == EAGAIN || error_number == ENOMEM || error_number == EMFILE ||
	       error_number == ENFILE;
}

/* Starts the command; 0, or -1 with errno and a sentence. */
static int spawn(struct exec_state *state, struct error *error)
{
	const struct exec_conf *conf = state->run->conf;
	char **environment = exec_environment(environ, &conf->environment);
	char **arguments = environment ? exec_arguments(&conf->command, environment) : NULL;
	int result, error_number = ENOMEM;

	if (arguments)
		result = child_spawn(&state->child,
				     &(struct child_command){.argv = arguments,
							     .environment = environment,
							     .directory = conf->directory,
							     .user = conf->user},
				     &state->output_fd, &error_number, error);
	else
		result = error_set(error, "out of memory");
	free(arguments);
	free(environment);
	errno = error_number;
	return result;
}

static void start(struct probe_run *run)
{
	struct exec_state *state = run->state;
	struct loop *loop = run->env->loop;
	struct error error;

	state->run = run;
	state->output_fd = -1;
	state->started_us = clock_monotonic_us();
	run->waiting_for = "exit of the command";
	state->child.on_exit = on_exit_status;
	state->child.owner = state;
	state->io.on_ready = on_output;
	state->io.owner = state;
	if (child_init(loop, &error) < 0) {
		probe_finish(run, PROBE_FAIL, REASON_RESOURCES, "%s", error.text);
	} else if (spawn(state, &error) < 0) {
		char line[ERROR_TEXT_SIZE];
		enum probe_reason reason =
			is_shortage(errno) ? REASON_RESOURCES : REASON_CANNOT_START;

		clean_line(error.text, strlen(error.text), line, sizeof(line));
		probe_finish(run, PROBE_FAIL, reason, "%s", line);
	} else if (loop_io_set(loop, &state->io, state->output_fd, LOOP_READ) < 0) {
		probe_finish(run, PROBE_FAIL, REASON_RESOURCES, "%s", strerror(errno));
	}
}

static void stop(struct probe_run *run)
{
	struct exec_state *state = run->state;

	child_abandon(&state->child);
	loop_io_clear(run->env->loop, &state->io);
	if (state->output_fd >= 0)
		close(state->output_fd);
	state->output_fd = -1;
	free(state->perfdata);
	state->perfdata = NULL;
}

static void shut_down(void)
{
	child_shutdown(SHUTDOWN_WAIT_US);
}

static const char *const exec_schemes[] = {"exec", "nagios", NULL};

const struct probe_type probe_exec = {
	.name = "exec",
	.schemes = exec_schemes,
	.summary = "runs a command, which passes with exit code 0",
	.example = "exec:/app/check",
	.fields = exec_fields,
	.reasons = PROBE_REASON_LIST(REASON_CANNOT_START, REASON_EXIT_CODE, REASON_EXIT_WARNING,
				     REASON_EXIT_UNKNOWN, REASON_SIGNAL, REASON_SLOW),
	.conf_size = sizeof(struct exec_conf),
	.state_size = sizeof(struct exec_state),
	.set_target = set_target,
	.check = check,
	.describe = describe,
	.start = start,
	.stop = stop,
	.shutdown = shut_down,
};
