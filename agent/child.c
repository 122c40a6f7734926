#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/launch.h"
#include "agent/loop.h"

enum { GROUP_BUCKETS = 256 };

/* A started process with its group: in a bucket while the process runs, then among the dying until
 * the last process of the group is gone. */
struct child_group {
	pid_t pid;           /* of the process and of its group */
	struct child *child; /* NULL = abandoned */
	struct child_group *next;
};

static struct child_group *running[GROUP_BUCKETS];
static struct child_group *dying;
static size_t group_count;
static size_t stop_watchers; /* running children whose owners want to know when they stop */
static unsigned long descriptor_limit; /* for children; 0 = ours */
static struct loop *reaping_loop;

/* ---- groups ---- */

static struct child_group **group_link(pid_t pid)
{
	struct child_group **link = &running[(size_t)pid % GROUP_BUCKETS];

	while (*link && (*link)->pid != pid)
		link = &(*link)->next;
	return link;
}

static void group_add(struct child_group *group, struct child *child, pid_t pid)
{
	struct child_group **bucket = &running[(size_t)pid % GROUP_BUCKETS];

	*group = (struct child_group){.pid = pid, .child = child, .next = *bucket};
	*bucket = group;
	group_count++;
	child->pid = pid;
	child->group = group;
}

bool child_group_exists(pid_t group)
{
	return kill(-group, 0) == 0 || errno != ESRCH;
}

void child_group_kill(pid_t group)
{
	kill(-group, SIGKILL);
}

/* Forgets the killed groups of which no process is left, not even a zombie. A group's number cannot
 * be given to another one before that. */
static void forget_dead_groups(void)
{
	struct child_group **link = &dying;

	while (*link) {
		struct child_group *group = *link;

		if (child_group_exists(group->pid)) {
			link = &group->next;
			continue;
		}
		*link = group->next;
		free(group);
		group_count--;
	}
}

size_t child_count(void)
{
	return group_count;
}

/* ---- reaping ---- */

/* The end of a child of ours. Its group is killed while its zombie still holds the group's number,
 * so that no other group can have got it. */
static void end_child(struct child_group **link)
{
	struct child_group *group = *link;
	struct child *child = group->child;
	int status = 0;

	if (child && child->on_stop)
		stop_watchers--;
	if (!child || !child->spares_group)
		kill(-group->pid, SIGKILL);
	waitpid(group->pid, &status, 0);
	*link = group->next;
	group->next = dying;
	dying = group;
	if (!child)
		return;
	child->pid = 0;
	child->group = NULL;
	child->on_exit(child, status);
}

/* Tells those who want to know which children a signal has stopped. */
static void report_stops(void)
{
	while (stop_watchers > 0) {
		siginfo_t info = {.si_pid = 0};
		const struct child_group *group;

		if (waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG) < 0 || info.si_pid == 0)
			break;
		group = *group_link(info.si_pid);
		if (group && group->child && group->child->on_stop)
			group->child->on_stop(group->child, info.si_status);
	}
}

/* Reaps all that have ended, however few signals told of them. */
static void reap(void)
{
	for (;;) {
		siginfo_t info = {.si_pid = 0};
		struct child_group **link;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			break;
		link = group_link(info.si_pid);
		if (*link)
			end_child(link);
		else
			waitpid(info.si_pid, NULL, 0); /* an orphan that came to us */
	}
	forget_dead_groups();
}

static void on_sigchld(void *owner, int signal_number)
{
	(void)owner;
	(void)signal_number;
	reap();
	report_stops();
}

int child_init(struct loop *loop, struct error *error)
{
	if (loop == reaping_loop)
		return 0;
	if (launch_init() < 0)
		return error_set(error, "cannot prepare to start processes: %s", strerror(errno));
	/* Whoever ignores it has his children reaped by the kernel, and we may have inherited that.
	 */
	signal(SIGCHLD, SIG_DFL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
	    loop_signal_set(loop, SIGCHLD, on_sigchld, NULL) < 0)
		return error_set(error, "cannot prepare to reap processes: %s", strerror(errno));
	reaping_loop = loop;
	return 0;
}

/* ---- starting and stopping ---- */

void child_set_descriptor_limit(unsigned long soft_limit)
{
	descriptor_limit = soft_limit;
}

/* The pipe from which the owner reads what the child writes. */
static int open_output(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

int child_spawn(struct child *child, const struct child_command *command, int *ret_output_fd,
		int *ret_errno, struct error *error)
{
	struct child_group *group = malloc(sizeof(*group));
	int ends[2] = {-1, -1};
	pid_t pid = -1;

	if (!group || (!command->attached && open_output(ends) < 0)) {
		*ret_errno = errno;
		error_set(error, "cannot start %.100s: %s", command->argv[0], strerror(errno));
	} else {
		pid = launch_process(command, ends[1], descriptor_limit, ret_errno, error);
	}
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		free(group);
		return -1;
	}
	group_add(group, child, pid);
	if (child->on_stop)
		stop_watchers++;
	if (!command->attached)
		*ret_output_fd = ends[0];
	return 0;
}

void child_signal_group(struct child *child, int signal_number)
{
	if (child->pid != 0)
		kill(-child->pid, signal_number);
}

void child_abandon(struct child *child)
{
	if (child->pid == 0)
		return;
	kill(-child->pid, SIGKILL);
	if (child->on_stop)
		stop_watchers--;
	child->group->child = NULL;
	child->group = NULL;
	child->pid = 0;
}

static void abandon_all(void)
{
	for (size_t i = 0; i < GROUP_BUCKETS; i++) {
		for (struct child_group *group = running[i]; group; group = group->next) {
			if (group->child)
				child_abandon(group->child);
		}
	}
}

static void forget_list(struct child_group **list)
{
	while (*list) {
		struct child_group *group = *list;

		*list = group->next;
		free(group);
		group_count--;
	}
}

void child_shutdown(int64_t wait_us)
{
	int64_t end_us = clock_monotonic_us() + wait_us;
	sigset_t ended;

	if (!reaping_loop)
		return;
	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	abandon_all();
	for (;;) {
		int64_t left_us = end_us - clock_monotonic_us();
		struct timespec left = {.tv_sec = left_us / 1000000,
					.tv_nsec = left_us % 1000000 * 1000};

		reap();
		if (group_count == 0 || left_us <= 0)
			break;
		sigtimedwait(&ended, NULL, &left); /* blocked since child_init() */
	}
	for (size_t i = 0; i < GROUP_BUCKETS; i++)
		forget_list(&running[i]);
	forget_list(&dying);
	launch_shutdown();
	reaping_loop = NULL;
}
