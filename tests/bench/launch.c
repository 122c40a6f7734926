/* Measures what single runs of programs cost.
 *
 * usage: launch CPU ROUNDS RUNS COMMAND... [+ COMMAND...]...
 *
 * In every round each command is run RUNS times, one command after the other. For each run a line
 * tells the command's number (from 0), the CPU time that it took in microseconds (from vfork() to
 * the end of its exit), the time until it had ended, and its minor page faults. A run that exits
 * with anything but 0 ends the measurement.
 *
 * The CPU time is that of wait4(). Its division into user and system time is an estimate from timer
 * ticks, but the sum of the two is the scheduler's own nanosecond count of the task. It is brought
 * up to date when the task leaves its CPU; launcher and command are therefore pinned to the same
 * CPU, so that the launcher cannot look before that has happened. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { COMMANDS_MAX = 32 };

static FILE *results;

static _Noreturn void fail(const char *sentence, const char *word)
{
	fprintf(results, "launch: %s: %s\n", word, sentence);
	exit(1);
}

static long long microseconds(struct timeval time)
{
	return (long long)time.tv_sec * 1000000 + time.tv_usec;
}

static void run(int number, char **command)
{
	long long started_us = now_us();
	struct rusage usage;
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		execv(command[0], command);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		fail(strerror(errno), command[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("does not end with 0", command[0]);
	fprintf(results, "%d %lld %lld %ld\n", number,
		microseconds(usage.ru_utime) + microseconds(usage.ru_stime), now_us() - started_us,
		usage.ru_minflt);
}

/* What the commands print goes nowhere; the results go where our output was to go. */
static void redirect(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	results = fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "w");
	if (!results || null_fd < 0)
		exit(1);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null_fd, fd);
}

int main(int argc, char **argv)
{
	char **commands[COMMANDS_MAX];
	int count = 0;

	redirect();
	if (argc < 5)
		fail("usage: launch CPU ROUNDS RUNS COMMAND... [+ COMMAND...]...", "arguments");
	commands[count++] = argv + 4;
	for (int i = 4; i < argc; i++) {
		if (strcmp(argv[i], "+") != 0)
			continue;
		if (count == COMMANDS_MAX)
			fail("too many commands", argv[i + 1]);
		argv[i] = NULL;
		commands[count++] = argv + i + 1;
	}
	if (pin(argv[1]) < 0)
		fail(strerror(errno), "CPU");
	for (long round = strtol(argv[2], NULL, 10); round > 0; round--) {
		for (int i = 0; i < count; i++) {
			for (long left = strtol(argv[3], NULL, 10); left > 0; left--)
				run(i, commands[i]);
		}
	}
	return fclose(results) == 0 ? 0 : 1;
}
