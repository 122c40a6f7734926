#include "agent/run_command.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/log.h"
#include "agent/run_environment.h"
#include "agent/signals.h"

enum {
	/* How often we look whether what is left of a group is gone. */
	LEAVING_CHECK_US = 10 * 1000,
	/* How long the killed may take before we go without them: a zombie stays for as long as its
	 * parent does not reap it, and that is not always we. */
	KILLED_WAIT_US = 300 * 1000,
};

static const struct settings *settings_of(const struct run_command *command)
{
	return &engine_config(command->engine)->settings;
}

/* ---- the log ---- */

static void log_step(const struct run_command *command, const char *event, int signal_number)
{
	char name[SIGNAL_NAME_SIZE];
	bool told = command->state >= RUN_COMMAND_STOPPING;
	int64_t since_us = told ? command->stopping_us : command->started_us;
	struct log_field fields[] = {
		log_text("signal", name),
		log_integer("pid", command->group),
		log_milliseconds("afterMs", clock_monotonic_us() - since_us),
		{0},
	};

	signal_print_name(signal_number, name);
	log_event(LOG_INFO, event, fields);
}

static void log_started(const struct run_command *command)
{
	struct log_field fields[] = {
		log_integer("pid", command->group),
		log_text("command", command->argv[0]),
		{0},
	};

	log_event(LOG_INFO, "child_started", fields);
}

static void log_exited(const struct run_command *command, int status)
{
	char name[SIGNAL_NAME_SIZE] = "";
	struct log_field fields[] = {
		log_integer("pid", command->group),
		log_integer("status", command->exit_status),
		log_text("signal", name),
		log_boolean("told", command->state == RUN_COMMAND_STOPPING),
		log_milliseconds("ranMs", clock_monotonic_us() - command->started_us),
		{0},
	};
	bool expected = status == 0 || command->state == RUN_COMMAND_STOPPING;

	if (WIFSIGNALED(status))
		signal_print_name(WTERMSIG(status), name);
	log_event(expected ? LOG_INFO : LOG_WARNING, "child_exited", fields);
}

/* ---- the end ---- */

static int exit_status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void end(struct run_command *command)
{
	loop_timer_clear(command->loop, &command->kill_timer);
	loop_timer_clear(command->loop, &command->leaving_timer);
	command->state = RUN_COMMAND_IDLE;
	command->on_end(command);
}

/* Waits for the others of the group. */
static void on_leaving_check(struct loop_timer *timer)
{
	struct run_command *command = timer->owner;
	int64_t now_us = clock_monotonic_us();
	bool patient = command->killed_us == 0 || now_us - command->killed_us < KILLED_WAIT_US;

	if (patient && child_group_exists(command->group) &&
	    loop_timer_set(command->loop, timer, now_us + LEAVING_CHECK_US) == 0)
		return;
	end(command);
}

static void on_child_exit(struct child *child, int status)
{
	struct run_command *command = child->owner;

	run_terminal_take_back(&command->terminal);
	command->exit_status = exit_status_of(status);
	log_exited(command, status);
	if (command->state != RUN_COMMAND_STOPPING) {
		end(command);
		return;
	}
	/* A shell, for one, may go at once and leave behind what it has started. */
	command->state = RUN_COMMAND_LEAVING;
	on_leaving_check(&command->leaving_timer);
}

static void on_kill_time(struct loop_timer *timer)
{
	struct run_command *command = timer->owner;

	command->killed_us = clock_monotonic_us();
	log_step(command, "killed", SIGKILL);
	if (command->state == RUN_COMMAND_STOPPING)
		child_signal_group(&command->child, SIGKILL);
	else if (child_group_exists(command->group))
		child_group_kill(command->group);
}

void run_command_stop(struct run_command *command, int64_t timeout_us)
{
	int signal_number = signal_by_name(settings_of(command)->stop_signal);

	if (command->state != RUN_COMMAND_RUNNING)
		return;
	command->state = RUN_COMMAND_STOPPING;
	command->stopping_us = clock_monotonic_us();
	command->killed_us = 0;
	command->child.spares_group = true;
	child_signal_group(&command->child, signal_number);
	/* Who is stopped would not get it. */
	child_signal_group(&command->child, SIGCONT);
	log_step(command, "stop_signal_sent", signal_number);
	if (loop_timer_set(command->loop, &command->kill_timer, command->stopping_us + timeout_us) <
	    0)
		on_kill_time(&command->kill_timer);
}

/* ---- stopping and continuing ---- */

static void on_child_stop(struct child *child, int signal_number)
{
	struct run_command *command = child->owner;
	struct run_terminal *terminal = &command->terminal;

	log_step(command, "child_stopped", signal_number);
	if (terminal->fd < 0 || command->state != RUN_COMMAND_RUNNING ||
	    (signal_number == SIGSTOP && !terminal->given))
		return;
	if (run_terminal_to_give(terminal) >= 0 && signal_number != SIGTSTP) {
		/* The shell has put us in the foreground since, without a word. */
	} else if (run_terminal_has_shell()) {
		run_terminal_take_back(terminal);
		run_terminal_suspend();
	} else if (!terminal->given || signal_number == SIGSTOP || command->told_to_pause) {
		return;
	}
	/* The shell has continued us. Or there is none, and Ctrl-Z means nothing, as the kernel has
	 * it for those whom nobody could continue. */
	run_terminal_take_back(terminal);
	run_terminal_give(terminal, command->group);
	child_signal_group(child, SIGCONT);
	log_step(command, "child_continued", SIGCONT);
}

void run_command_signal(struct run_command *command, int signal_number)
{
	/* A shell has put us in the foreground. */
	if (signal_number == SIGCONT && command->child.pid != 0)
		run_terminal_give(&command->terminal, command->group);
	command->told_to_pause =
		signal_number == SIGTSTP || signal_number == SIGTTIN || signal_number == SIGTTOU;
	child_signal_group(&command->child, signal_number);
}

/* ---- the start ---- */

void run_command_open(struct run_command *command)
{
	run_terminal_open(&command->terminal);
	command->child.on_exit = on_child_exit;
	command->child.on_stop = on_child_stop;
	command->child.owner = command;
	command->kill_timer.on_expire = on_kill_time;
	command->kill_timer.owner = command;
	command->leaving_timer.on_expire = on_leaving_check;
	command->leaving_timer.owner = command;
}

static int status_of_failure(int error_number)
{
	switch (error_number) {
	case ENOENT:
	case ENOTDIR:
		return RUN_STATUS_NOT_FOUND;
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return 1;
	default:
		return RUN_STATUS_NOT_EXECUTABLE;
	}
}

static int spawn(struct run_command *command, char *const *environment, struct error *error)
{
	struct child_command child_command = {
		.argv = command->argv,
		.environment = environment,
		.attached = true,
		.terminal_fd = run_terminal_to_give(&command->terminal),
		/* Better without us than a second one beside the next. */
		.death_signal = signal_by_name(settings_of(command)->stop_signal),
	};
	int error_number = 0;
	int result = child_spawn(&command->child, &child_command, NULL, &error_number, error);

	command->terminal.given = child_command.terminal_fd >= 0;
	if (result < 0) {
		run_terminal_take_back(&command->terminal);
		command->exit_status = status_of_failure(error_number);
	}
	return result;
}

int run_command_start(struct run_command *command, struct error *error)
{
	char *const *added = notify_receiver_prepare(command->notify_receiver, command->engine);
	char **environment = run_environment(&settings_of(command)->pass_environment, added);
	int result;

	if (!environment) {
		command->exit_status = 1;
		return error_set(error, "out of memory");
	}
	command->child.spares_group = false;
	command->told_to_pause = false;
	result = spawn(command, environment, error);
	free(environment);
	if (result < 0)
		return -1;
	command->state = RUN_COMMAND_RUNNING;
	command->group = command->child.pid;
	command->started_us = clock_monotonic_us();
	log_started(command);
	return 0;
}

void run_command_close(struct run_command *command)
{
	child_abandon(&command->child);
	loop_timer_clear(command->loop, &command->kill_timer);
	loop_timer_clear(command->loop, &command->leaving_timer);
	run_terminal_take_back(&command->terminal);
	run_terminal_close(&command->terminal);
}
