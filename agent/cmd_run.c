/* `readyd run`: the entrypoint of a container. All of `serve`, and the command, which it starts,
 * watches, drains and stops. An init as well: it reaps whatever orphans come to it. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/command.h"
#include "agent/log.h"
#include "agent/run_command.h"
#include "agent/run_liveness.h"
#include "agent/signals.h"
#include "agent/termination_log.h"

struct run {
	struct agent agent;
	struct run_command command;
	struct run_liveness liveness;
};

static const char help[] =
	"usage: readyd run [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"\n"
	"Runs the command as a container's entrypoint: reaps orphans, passes on signals, the\n"
	"terminal and the exit status, and answers /healthz, /ready and /startup as `serve` does.\n"
	"\n" AGENT_OPTIONS_HELP "\n"
	"SIGTERM and SIGINT begin the end: /ready is 503 at once and /healthz stays 200;\n"
	"drain.delaySeconds later the command gets stopSignal, and stopTimeoutSeconds later its\n"
	"group gets SIGKILL. The whole fits gracePeriodSeconds. A second signal skips the delay,\n"
	"later ones go to the command. So do all other signals but those of faults and SIGPIPE,\n"
	"always to its whole group. SIGHUP reloads the configuration as well; a command that does\n"
	"not handle it is ended by it, as everywhere.\n"
	"On a terminal the command is in the foreground, and Ctrl-C is its own affair.\n"
	"\n"
	"onLivenessFailure=restart restarts the command when a liveness probe fails, =exit ends.\n"
	"The command sees no READYD_* variable that passEnvironment does not name. With a\n"
	"probe notify:ready it sees NOTIFY_SOCKET and may say READY=1, RELOADING=1, STOPPING=1,\n"
	"STATUS=TEXT, WATCHDOG=1 and WATCHDOG=trigger there (sd_notify); all else is ignored.\n"
	"\n"
	"The exit status is the command's, or 128 and the number of the signal that ended it;\n"
	"127 when it does not exist, 126 when it cannot be executed, 1 for a fault of the\n"
	"configuration. When a failing liveness ends it, a status of 0 becomes 1.\n"
	"\n"
	"in a Dockerfile:\n"
	"  COPY readyd /readyd\n"
	"  ENV READYD_LIVENESS_APP=http://127.0.0.1:8080/healthz\n"
	"  ENTRYPOINT [\"/readyd\", \"run\", \"--\"]\n"
	"  CMD [\"/app/server\"]\n"
	"  HEALTHCHECK --interval=5s --timeout=30s --start-period=5m --start-interval=100ms \\\n"
	"      CMD [\"/readyd\", \"check\", \"--wait\"]\n"
	"and STOPSIGNAL SIGTERM where the base image has another one, such as nginx's SIGQUIT,\n"
	"which goes in -o stopSignal=SIGQUIT instead.\n";

/* ---- signals ---- */

/* All that are meant for a program, not for the one process that they are sent to: no faults, and
 * not SIGPIPE, which tells of a reader of ours. */
static bool is_passed_on(int signal_number)
{
	switch (signal_number) {
	case SIGKILL:
	case SIGSTOP:
	case SIGCHLD:
	case SIGPIPE:
	case SIGILL:
	case SIGTRAP:
	case SIGABRT:
	case SIGBUS:
	case SIGFPE:
	case SIGSEGV:
	case SIGSYS:
		return false;
	default:
		/* The C library keeps those between to itself. */
		return signal_number < 32 || signal_number >= SIGNALS_REAL_TIME_FIRST;
	}
}

static void on_signal(void *owner, int signal_number)
{
	struct run *run = owner;

	run_command_signal(&run->command, signal_number);
}

static void on_end_signal(void *owner, int signal_number)
{
	struct run *run = owner;

	if (!agent_take_end_signal(&run->agent, signal_number))
		run_command_signal(&run->command, signal_number);
}

static void on_hangup(void *owner, int signal_number)
{
	struct run *run = owner;

	run_command_signal(&run->command, signal_number);
	agent_reload(&run->agent);
	run_liveness_check(&run->liveness);
}

static int watch_signals(struct run *run)
{
	for (int number = 1; number <= SIGNALS_LAST; number++) {
		void (*handler)(void *owner, int signal_number) = on_signal;

		if (number == SIGTERM || number == SIGINT)
			handler = on_end_signal;
		else if (number == SIGHUP)
			handler = on_hangup;
		if (is_passed_on(number) &&
		    loop_signal_set(run->agent.loop, number, handler, run) < 0)
			return -1;
	}
	return 0;
}

/* ---- the end ---- */

static void end(struct run *run)
{
	run_liveness_end(&run->liveness);
	run->agent.exit_status = run->command.exit_status;
	loop_stop(run->agent.loop);
}

static void on_command_end(struct run_command *command)
{
	struct run *run = command->owner;

	if (!run_liveness_take_end(&run->liveness))
		end(run);
}

static void on_failed_start(struct run_liveness *liveness)
{
	end(liveness->owner);
}

static void on_begin(struct shutdown *shutdown)
{
	struct run *run = shutdown->owner;

	run_liveness_end(&run->liveness);
	/* Between two lives of the command nobody is to be spared anything. */
	if (run->command.state == RUN_COMMAND_IDLE)
		shutdown_skip_delay(shutdown);
}

static void on_delay_over(struct shutdown *shutdown)
{
	struct run *run = shutdown->owner;

	if (run->command.state == RUN_COMMAND_IDLE)
		end(run);
	else
		run_command_stop(&run->command, shutdown->plan.stop_timeout_us);
}

/* ---- the start ---- */

/* Whoever was started without one of the three gets another file in its place, and the command
 * would take it for its own. */
static void open_missing_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* The lowest free number is this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return;
	}
}

static void log_cannot_start(const struct run *run, const char *message)
{
	const struct settings *settings = &engine_config(run->agent.engine)->settings;
	struct log_field fields[] = {log_text("message", message), {0}};

	log_event(LOG_ERROR, "cannot_start", fields);
	termination_log_write(settings->termination_log_file, message);
}

/* Starts the command of a running agent. 0, or -1 with agent.exit_status set. */
static int start(struct run *run)
{
	struct error error;

	run->command.loop = run->agent.loop;
	run->command.engine = run->agent.engine;
	run->command.notify_receiver = run->agent.notify_receiver;
	run->liveness.loop = run->agent.loop;
	run->liveness.engine = run->agent.engine;
	run_command_open(&run->command);
	if (watch_signals(run) < 0) {
		error_set(&error, "cannot watch signals: %s", strerror(errno));
		log_cannot_start(run, error.text);
		run->agent.exit_status = 1;
		return -1;
	}
	if (run_command_start(&run->command, &error) < 0) {
		log_cannot_start(run, error.text);
		run->agent.exit_status = run->command.exit_status;
		return -1;
	}
	run_liveness_begin(&run->liveness);
	return 0;
}

int cmd_run(int argc, char **argv)
{
	struct run run = {0};
	int result;

	agent_hold_signals();
	result = agent_take_options(&run.agent, help, argc, argv);
	if (result != 0)
		return result > 0 ? 0 : 1;
	if (optind == argc) {
		command_usage_error("run", "a command is missing", NULL);
		return 1;
	}
	run.command.owner = &run;
	run.command.on_end = on_command_end;
	run.command.argv = argv + optind;
	run.liveness.owner = &run;
	run.liveness.on_failed_start = on_failed_start;
	run.liveness.command = &run.command;
	run.agent.shutdown.owner = &run;
	run.agent.shutdown.has_command = true;
	run.agent.shutdown.on_begin = on_begin;
	run.agent.shutdown.on_delay_over = on_delay_over;
	open_missing_descriptors();
	if (agent_start(&run.agent) < 0) {
		agent_end(&run.agent);
		return 1;
	}
	if (start(&run) == 0)
		agent_run(&run.agent);
	run_command_close(&run.command);
	agent_end(&run.agent);
	return run.agent.exit_status;
}
