/* Lines on a terminal that are drawn over and over in the same place. Never blocks. */
#ifndef READYD_AGENT_TERMINAL_H
#define READYD_AGENT_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/buffer.h"

struct terminal {
	int fd;               /* not blocking, a description of its own */
	struct buffer output; /* on its way to the terminal */
	size_t written;
	size_t drawn; /* lines of the present or last drawing */
	size_t below; /* how far below the first of them the cursor is */
	size_t columns, rows;
};

/* Whether `fd` is a terminal that knows control sequences (as $TERM says). */
bool terminal_is_capable(int fd);

/* Prepares to draw on the terminal `fd`, which stays as it is. 0, or -1 with errno set. */
int terminal_open(struct terminal *terminal, int fd);

/* Takes the present size. */
void terminal_take_size(struct terminal *terminal);

/* How many lines may be drawn: the cursor needs one of its own, unless there is but one. */
size_t terminal_room(const struct terminal *terminal);

/* Begins a drawing, over the last one: takes the present size, and leaves it to the caller to
 * append lines to `output`, each ended by terminal_end_line(). Returns false when the terminal has
 * not yet taken all of what went before: there is nothing to draw then. */
bool terminal_begin(struct terminal *terminal);
void terminal_end_line(struct terminal *terminal);

/* Wipes what is left of the last drawing, and writes as much as the terminal takes. */
void terminal_end(struct terminal *terminal);

/* Others may have written: the next drawing goes below. */
void terminal_resume(struct terminal *terminal);

/* Takes the last drawing away; text for good can be appended to `output` then. */
void terminal_wipe(struct terminal *terminal);

/* Gives what is left a last chance of at most `wait_us`, and frees everything. */
void terminal_close(struct terminal *terminal, int64_t wait_us);

#endif
