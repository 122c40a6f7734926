#include "agent/launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/account.h"
#include "agent/program.h"

/* The child borrows our memory until it has become the new program, which is several times cheaper
 * than a copy of the memory map. A sanitizer's bookkeeping does not survive that, so there it gets
 * a copy; the memory that both sides talk through is shared in either case. */
#ifdef __SANITIZE_ADDRESS__
enum { CLONE_FLAGS = CLONE_VFORK | SIGCHLD };
#else
enum { CLONE_FLAGS = CLONE_VFORK | CLONE_VM | SIGCHLD };
#endif

enum { STACK_SIZE = 64 * 1024, HIGHEST_DESCRIPTOR_GUESS = 65535, KERNEL_SIGNAL_SET_SIZE = 8 };

enum launch_step { STEP_DONE, STEP_USER, STEP_DIRECTORY, STEP_PROGRAM };

/* What the parent tells the child, and what the child tells back. */
struct launch {
	const struct child_command *command;
	char *const *environment;
	const char *search_path;       /* NULL = argv[0] is a path */
	const struct account *account; /* NULL = ours */
	unsigned long descriptor_limit;
	pid_t parent;
	int input_fd, output_fd;
	int highest_fd; /* to be closed one by one; -1 = the kernel can close all at once */

	enum launch_step failed_step;
	int failed_errno;
};

/* The memory that both sides share. */
struct launch_area {
	struct launch launch;
	_Alignas(64) unsigned char stack[STACK_SIZE];
};

static struct launch_area *area;
static struct launch *launch; /* the one in the area */
static int null_fd = -1;
static bool has_close_range;

/* Returns what was blocked before. By a bare system call: the C library keeps silent about the
 * real-time signals that it keeps to itself, so that they would not be blocked again afterwards. */
static uint64_t set_signal_mask(uint64_t mask)
{
	uint64_t before = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof(mask));
	return before;
}

/* ---- in the child: system calls and its own stack only, for it shares our memory ---- */

static void close_others(void)
{
	if (launch->highest_fd < 0) {
		syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
		return;
	}
	for (int fd = STDERR_FILENO + 1; fd <= launch->highest_fd; fd++)
		close(fd);
}

static int set_up_descriptors(void)
{
	/* Out of the way of 0 to 2 first, should they be among them. */
	int input_fd = fcntl(launch->input_fd, F_DUPFD, STDERR_FILENO + 1);
	int output_fd = fcntl(launch->output_fd, F_DUPFD, STDERR_FILENO + 1);

	if (input_fd < 0 || output_fd < 0)
		return -1;
	dup2(input_fd, STDIN_FILENO);
	dup2(output_fd, STDOUT_FILENO);
	dup2(output_fd, STDERR_FILENO);
	close(input_fd);
	close(output_fd);
	close_others();
	return 0;
}

/* A group of its own, in our session and in front of our terminal. Signals are blocked here, which
 * is why the kernel lets a process that is not yet in the foreground do that. */
static void attach(void)
{
	setpgid(0, 0);
	if (launch->command->terminal_fd >= 0)
		tcsetpgrp(launch->command->terminal_fd, getpid());
	close_others();
}

/* Asks the kernel, because the C library keeps a few real-time signals to itself, and one of these
 * may have been ignored by whoever started us. */
static void set_up_signals(void)
{
	/* All zeros is the kernel's own form of "default", whatever the architecture: handler,
	 * flags, restorer and mask. */
	unsigned long action[8] = {0};

	for (long number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, action, NULL, (long)KERNEL_SIGNAL_SET_SIZE);
}

static void set_up_limits(void)
{
	struct rlimit limit;

	if (launch->descriptor_limit == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = launch->descriptor_limit;
	if (limit.rlim_cur <= limit.rlim_max)
		setrlimit(RLIMIT_NOFILE, &limit);
}

/* By bare system calls: the C library's functions would change all threads of the parent, which is
 * what they believe to be in. */
static int set_up_user(void)
{
	const struct account *account = launch->account;

	if (!account)
		return 0;
	if (syscall(SYS_setgroups, account->group_count, account->groups) < 0 ||
	    syscall(SYS_setresgid, account->gid, account->gid, account->gid) < 0 ||
	    syscall(SYS_setresuid, account->uid, account->uid, account->uid) < 0)
		return -1;
	return 0;
}

static _Noreturn void fail(enum launch_step step)
{
	launch->failed_step = step;
	launch->failed_errno = errno;
	_exit(1);
}

static int become_program(void *argument)
{
	const struct child_command *command = launch->command;

	(void)argument;
	if (command->attached) {
		attach();
	} else {
		setsid();
		if (set_up_descriptors() < 0)
			fail(STEP_PROGRAM);
	}
	set_up_signals();
	set_up_limits();
	if (set_up_user() < 0)
		fail(STEP_USER);
	/* As that user, who may see less, or on a network more, than we do. */
	if (command->directory && chdir(command->directory) < 0)
		fail(STEP_DIRECTORY);
	/* A change of the user would undo this, so it comes after it. */
	prctl(PR_SET_PDEATHSIG, command->death_signal ? command->death_signal : SIGKILL);
	/* A parent that was killed before that sends nothing. */
	if (getppid() != launch->parent)
		_exit(1);
	set_signal_mask(0);
	program_execute(command->argv, launch->environment, launch->search_path);
	fail(STEP_PROGRAM);
}

/* ---- in the parent: why it failed ---- */

static void explain(struct error *error)
{
	const struct child_command *command = launch->command;
	int error_number = launch->failed_errno;

	if (launch->failed_step == STEP_PROGRAM)
		program_explain(command->argv[0], launch->search_path, command->directory,
				error_number, error);
	else if (launch->failed_step == STEP_DIRECTORY)
		error_set(error, "cannot start %.100s in the directory %.100s: %s",
			  command->argv[0], command->directory, strerror(error_number));
	else
		error_set(error, "cannot start %.100s as the user %.100s: %s", command->argv[0],
			  command->user,
			  error_number == EPERM ? "readyd may not change its user"
						: strerror(error_number));
}

/* ---- in the parent: the start ---- */

int launch_init(void)
{
	if (area)
		return 0;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0) {
		/* No /dev in this container: a pipe that nobody writes to is as empty. */
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -1;
		close(ends[1]);
		null_fd = ends[0];
	}
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED) {
		area = NULL;
		launch_shutdown();
		return -1;
	}
	launch = &area->launch;
	/* An old kernel or a strict seccomp filter lacks it; the range is empty. */
	has_close_range = syscall(SYS_close_range, ~0U, ~0U, 0) == 0;
	return 0;
}

void launch_shutdown(void)
{
	if (area)
		munmap(area, sizeof(*area));
	if (null_fd >= 0)
		close(null_fd);
	area = NULL;
	launch = NULL;
	null_fd = -1;
}

static int highest_descriptor(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	int highest = 0;

	if (!directory)
		return HIGHEST_DESCRIPTOR_GUESS;
	while ((entry = readdir(directory))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (fd > highest)
			highest = fd;
	}
	closedir(directory);
	return highest;
}

/* 0 with *ret_account NULL when we are that user already: changing nothing needs no privilege. */
static int find_account(const struct child_command *command, struct account *account,
			const struct account **ret_account, struct error *error)
{
	struct error why;

	*ret_account = NULL;
	if (!command->user)
		return 0;
	if (account_find(command->user, account, &why) < 0)
		return error_set(error, "cannot start %.100s: %s", command->argv[0], why.text);
	if (account->uid != geteuid() || account->gid != getegid())
		*ret_account = account;
	return 0;
}

pid_t launch_process(const struct child_command *command, int output_fd,
		     unsigned long descriptor_limit, int *ret_errno, struct error *error)
{
	struct account account;
	uint64_t mask;
	pid_t pid;

	*launch = (struct launch){
		.command = command,
		.environment = command->environment ? command->environment : environ,
		.descriptor_limit = descriptor_limit,
		.input_fd = null_fd,
		.output_fd = output_fd,
		.parent = getpid(),
		.highest_fd = has_close_range ? -1 : highest_descriptor(),
	};
	if (find_account(command, &account, &launch->account, error) < 0) {
		*ret_errno = EINVAL;
		return -1;
	}
	launch->search_path = program_search_path(command->argv[0], launch->environment);
	mask = set_signal_mask(~UINT64_C(0)); /* no handler may run in the child */
	pid = clone(become_program, area->stack + STACK_SIZE, CLONE_FLAGS, NULL);
	if (pid < 0) {
		launch->failed_errno = errno;
		error_set(error, "cannot start %.100s: %s", command->argv[0], strerror(errno));
	} else if (launch->failed_step != STEP_DONE) {
		waitpid(pid, NULL, 0);
		explain(error);
		pid = -1;
	}
	set_signal_mask(mask);
	*ret_errno = launch->failed_errno;
	return pid;
}
