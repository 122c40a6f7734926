/* The start of one process: what happens between our process and the new program. For child.c only.
 */
#ifndef READYD_AGENT_LAUNCH_H
#define READYD_AGENT_LAUNCH_H

#include <sys/types.h>

#include "agent/child.h"
#include "agent/error.h"

/* Prepares what all starts share; idempotent. 0, or -1 with errno. */
int launch_init(void);

/* Gives it back. */
void launch_shutdown(void);

/* Starts the command with stdout and stderr on `output_fd`, which stays the caller's; see
 * child_spawn(). `descriptor_limit` is the soft limit of descriptors for it, 0 = ours. Returns the
 * process, or -1 with *ret_errno and a sentence, and then nothing is left to reap. */
pid_t launch_process(const struct child_command *command, int output_fd,
		     unsigned long descriptor_limit, int *ret_errno, struct error *error);

#endif
