/* Child processes: started without a shell in a session and process group of their own, killed as a
 * group, always reaped. The only place that calls fork, exec, kill and wait. */
#ifndef READYD_AGENT_CHILD_H
#define READYD_AGENT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/error.h"

struct loop;

/* What to start. All pointers stay the caller's. */
struct child_command {
	char *const *argv;	  /* ends with NULL; argv[0] without a slash is looked up in PATH */
	char *const *environment; /* ends with NULL; NULL = our own */
	const char *directory;	  /* NULL = ours */
	const char *user;	  /* "name", "name:group", "uid" or "uid:gid"; NULL = ours */
};

/* One child, embedded in its owner; zero-filled is valid and idle. */
struct child {
	/* Called once, after the process has ended, its whole group was killed and it was reaped.
	 * `status` is as waitpid() gives it. It may free the owner. */
	void (*on_exit)(struct child *child, int status);
	void *owner;
	pid_t pid; /* 0 = idle */
	struct child *next;
};

/* Makes the loop reap (SIGCHLD) and this process a subreaper, so that orphans of our children come to
 * us and are reaped too. Called once, before the first child_spawn(); idempotent. 0, or -1. */
int child_init(struct loop *loop, struct error *error);

/* Starts a child with stdin from /dev/null and stdout and stderr both on a new pipe, whose reading end
 * (non-blocking, close-on-exec) is *ret_output_fd, the caller's to close. All other descriptors are
 * closed in the child, signals are at their defaults, the signal mask is empty, the soft limit of
 * descriptors is what it was before readyd raised it.
 * Returns 0; or -1 with *ret_errno and a sentence when it cannot start: no such file, not executable,
 * no such user or directory, no more processes. on_exit is not called then. */
int child_spawn(struct child *child, const struct child_command *command, int *ret_output_fd,
		int *ret_errno, struct error *error);

/* Sends the signal to the whole group; harmless on an idle child. */
void child_signal_group(struct child *child, int signal_number);

/* Kills the whole group and forgets the owner: on_exit will not be called, the process is still reaped
 * when it ends. Harmless when idle. */
void child_abandon(struct child *child);

/* How many started processes have not been reaped yet. */
size_t child_count(void);

/* The soft limit of descriptors that children get back; called by whoever raises ours. */
void child_set_descriptor_limit(unsigned long soft_limit);

#endif
