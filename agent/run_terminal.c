#include "agent/run_terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

void run_terminal_open(struct run_terminal *terminal)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	/* A container may have a terminal and no /dev/tty. */
	for (int i = STDIN_FILENO; fd < 0 && i <= STDERR_FILENO; i++) {
		if (tcgetpgrp(i) >= 0)
			fd = fcntl(i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	}
	*terminal = (struct run_terminal){.fd = fd};
}

int run_terminal_to_give(const struct run_terminal *terminal)
{
	return terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp() ? terminal->fd : -1;
}

void run_terminal_give(struct run_terminal *terminal, pid_t group)
{
	if (run_terminal_to_give(terminal) >= 0)
		terminal->given = tcsetpgrp(terminal->fd, group) == 0;
}

void run_terminal_take_back(struct run_terminal *terminal)
{
	/* SIGTTOU, which is for those who do that from the background, is blocked. */
	if (terminal->given)
		tcsetpgrp(terminal->fd, getpgrp());
	terminal->given = false;
}

void run_terminal_suspend(void)
{
	const struct timespec no_time = {0};
	sigset_t stop, continued;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	sigemptyset(&continued);
	sigaddset(&continued, SIGCONT);
	signal(SIGTSTP, SIG_DFL);
	/* To all of the job, as the terminal would have sent it, had we been its foreground. */
	kill(0, SIGTSTP);
	/* It comes here. */
	sigprocmask(SIG_UNBLOCK, &stop, NULL);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	/* What has continued us is done with. Passed on later, it would continue the command a
	 * second time and so perhaps undo the next Ctrl-Z. */
	sigtimedwait(&continued, NULL, &no_time);
}

bool run_terminal_has_shell(void)
{
	return getpid() != 1 && getsid(0) != getpid();
}

void run_terminal_close(struct run_terminal *terminal)
{
	if (terminal->fd >= 0)
		close(terminal->fd);
	terminal->fd = -1;
}
