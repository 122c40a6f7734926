/* Child processes: started without a shell in a process group of their own, killed as a group,
 * always reaped. The only place that starts processes, kills them and waits for them. */
#ifndef READYD_AGENT_CHILD_H
#define READYD_AGENT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/error.h"

struct loop;

/* What to start. All pointers stay the caller's. */
struct child_command {
	char *const *argv; /* ends with NULL; argv[0] without a slash is looked up in the PATH of
			    * `environment`, a relative one is relative to `directory` */
	char *const *environment; /* ends with NULL; NULL = our own */
	const char *directory;    /* NULL = ours */
	const char *user;         /* "name", "name:group", "uid" or "uid:gid"; NULL = ours */

	/* Keeps our stdin, stdout and stderr and our session, in a process group of its own. */
	bool attached;
	int terminal_fd;  /* if attached: the terminal of which it becomes the foreground; -1 = none
			   */
	int death_signal; /* what it gets when readyd itself is killed; 0 = SIGKILL */
};

struct child_group;

/* One child, embedded in its owner; zero-filled is valid and idle. The owner sets `on_exit` and
 * `owner` before child_spawn(). */
struct child {
	/* Called once from the loop, after the process has ended, what was left of its group was
	 * sent SIGKILL and the process was reaped. `status` is as waitpid() gives it. It may free
	 * the owner or start the next child. */
	void (*on_exit)(struct child *child, int status);
	/* Called when a signal has stopped it, to be continued by SIGCONT; NULL = need not know. */
	void (*on_stop)(struct child *child, int signal_number);
	void *owner;
	bool spares_group; /* what is left of its group is left alone: the owner sees to it */
	pid_t pid;         /* 0 = idle */
	struct child_group *group; /* child.c's own */
};

/* Makes the loop reap (SIGCHLD) and this process a subreaper, so that orphans of our children come
 * to us and are reaped too. Called before the first child_spawn(); idempotent. 0, or -1. */
int child_init(struct loop *loop, struct error *error);

/* Starts a child with stdin from /dev/null and stdout and stderr both on a new pipe, whose reading
 * end (non-blocking, close-on-exec) is *ret_output_fd, the caller's to close. All other descriptors
 * are closed in the child, signals are at their defaults, the signal mask is empty, the soft limit
 * of descriptors is what it was before readyd raised it. The child is killed if readyd itself is.
 *
 * Returns 0; or -1 with *ret_errno and a sentence ("cannot start /app/x: no such file") when it
 * cannot start. on_exit is not called then. EAGAIN, ENOMEM, EMFILE and ENFILE mean that the system
 * lacks something; all else is about the command, its directory or its user.
 *
 * An attached child has no pipe, and ret_output_fd is not used.
 *
 * Returns only when the program has been loaded, because that is how its failure is known and
 * because a copy of our memory map for each start would cost several times as much. */
int child_spawn(struct child *child, const struct child_command *command, int *ret_output_fd,
		int *ret_errno, struct error *error);

/* Sends the signal to the whole group; harmless on an idle child. */
void child_signal_group(struct child *child, int signal_number);

/* Whether any process of the group that a child had is left, be it a zombie. */
bool child_group_exists(pid_t group);

/* Kills what is left of the group of an ended child that spared it. Only right after
 * child_group_exists(): the number of a group that is gone may be given to another. */
void child_group_kill(pid_t group);

/* Kills the whole group and forgets the owner: on_exit will not be called, the process is still
 * reaped when it ends. Harmless when idle. */
void child_abandon(struct child *child);

/* How many groups are not gone yet: of running children, and of ended ones of whose killed groups
 * some process is still dying. */
size_t child_count(void);

/* For the end of the program, after the loop: kills all groups, waits until they are reaped, at
 * most `wait_us`, and gives back everything. No on_exit is called. Leaving earlier would leave
 * zombies to a PID 1 that may not reap them. */
void child_shutdown(int64_t wait_us);

/* The soft limit of descriptors that children get back; called by whoever raises ours. */
void child_set_descriptor_limit(unsigned long soft_limit);

#endif
