/* POSIX extended regular expressions out of the configuration. */
#ifndef READYD_AGENT_REGEX_H
#define READYD_AGENT_REGEX_H

#include <regex.h>

#include "agent/error.h"

enum { REGEX_PATTERN_MAX = 1000 }; /* bytes */

/* Compiles a pattern for regexec() that says only whether there is a match. Refuses what is no
 * expression, and what would take much time or memory to compile or to match: the C library copies
 * what is repeated as often as the repetition may be, so that a few characters make gigabytes.
 * `setting` is what the pattern is called in the sentence. Returns an expression that the caller
 * gives to regex_free(), or NULL with a sentence. */
regex_t *regex_compile(const char *pattern, const char *setting, struct error *error);
void regex_free(regex_t *regex);

#endif
