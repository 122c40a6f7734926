/* Shows a wait on stderr: on a terminal one live line a target, elsewhere one log line a
 * transition. Never blocks. */
#ifndef READYD_AGENT_WAITING_DISPLAY_H
#define READYD_AGENT_WAITING_DISPLAY_H

#include "agent/loop.h"
#include "agent/waiting.h"

struct display;

/* Prepares to show `waiting`, which outlives it. `quiet` leaves out all but what went wrong in the
 * end. NULL when out of memory. */
struct display *display_create(struct loop *loop, const struct waiting *waiting, bool quiet);

/* Tells of a try. */
void display_result(struct display *display, const struct waiting_target *target);

/* Others may have written to the terminal: leaves alone what was drawn. */
void display_resume(struct display *display);

/* Takes the live lines away, tells how it ended unless it was left early, and frees everything. */
void display_destroy(struct display *display);

#endif
