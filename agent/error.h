/* A sentence for the user, filled by whoever finds the fault and printed by whoever can. */
#ifndef READYD_AGENT_ERROR_H
#define READYD_AGENT_ERROR_H

#include <stddef.h>

enum { ERROR_TEXT_SIZE = 320 };

/* Owned by the caller, usually on its stack. An empty text means no error. */
struct error {
	char text[ERROR_TEXT_SIZE];
};

/* Formats the sentence (cut to fit) and returns -1, so that a caller can `return error_set(...)`.
 * `error` may be NULL when the caller does not care why. */
int error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
