/* Programs: found as a shell finds them, and why one cannot be started. */
#ifndef READYD_AGENT_PROGRAM_H
#define READYD_AGENT_PROGRAM_H

#include "agent/error.h"

/* Where a program of this name is looked for: the environment's PATH, or the usual directories if
 * there is none; NULL for a name with a slash, which is a path. */
const char *program_search_path(const char *name, char *const *environment);

/* Becomes the program, tried in each directory of the search path (NULL = argv[0] is a path). Makes
 * system calls only and needs little stack. Returns on failure only, with errno. */
void program_execute(char *const *argv, char *const *environment, const char *search_path);

/* Says why: "cannot start NAME: no such file". `error_number` is what program_execute() left in
 * errno; `directory` is where a relative path begins, NULL = ours. */
void program_explain(const char *name, const char *search_path, const char *directory,
		     int error_number, struct error *error);

#endif
