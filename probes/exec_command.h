/* The command line of the exec probe: as the child gets it and as people see it. A part of exec.c.
 */
#ifndef READYD_PROBES_EXEC_COMMAND_H
#define READYD_PROBES_EXEC_COMMAND_H

#include <stddef.h>

#include "agent/field.h"

/* The environment of a child: ours without READYD_* (which may hold the secrets of other probes),
 * and with `pairs` added or replaced. One allocated block that ends with NULL; NULL when out of
 * memory. */
char **exec_environment(char *const *ours, const struct pair_list *pairs);

/* The arguments with $(NAME) replaced by that variable of the environment, as the kubelet does it:
 * unknown names stay as they are, and "$$(" stands for "$(". One allocated block that ends with
 * NULL; NULL when out of memory. */
char **exec_arguments(const struct text_list *command, char *const *environment);

/* Writes the command line for people: quoted where needed, what looks like a secret as "***", cut
 * to fit `size`, which is not 0. */
void exec_describe(const struct text_list *command, char *text, size_t size);

#endif
