/* The order of the end: out of service at once, then a delay in which everybody who sends requests
 * can see it, then the owner's part: the command's end, and the agent's after it. The whole fits
 * gracePeriodSeconds, after which the platform kills what is left. */
#ifndef READYD_AGENT_SHUTDOWN_H
#define READYD_AGENT_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/engine.h"
#include "agent/loop.h"

/* How the time is divided. */
struct shutdown_plan {
	int64_t delay_us;        /* what is left of drain.delaySeconds, cut to fit */
	int64_t lacking_us;      /* how much had to be cut off the delay */
	int64_t stop_timeout_us; /* the command's share, from the stop signal to SIGKILL */
};

/* Divides gracePeriodSeconds. The command's share comes first, then the delay; a little is kept for
 * what follows SIGKILL. `drained_us` is how long the instance has been out of service already,
 * which counts as delay: everybody has had that much time to see it. Without a command the delay
 * has the whole period. */
struct shutdown_plan shutdown_plan(const struct settings *settings, bool has_command,
				   int64_t drained_us);

/* Embedded in its owner, who sets what is public. */
struct shutdown {
	/* The end has begun. May call shutdown_skip_delay(). NULL = need not know. */
	void (*on_begin)(struct shutdown *shutdown);
	/* It is the owner's turn. Called once, from the loop. */
	void (*on_delay_over)(struct shutdown *shutdown);
	void *owner;
	struct loop *loop;
	struct engine *engine;
	bool has_command; /* a part of the time is for a command */

	struct shutdown_plan plan; /* valid once it has begun */
	int64_t began_us;          /* monotonic; 0 = not yet */
	bool delay_is_over;
	struct loop_timer timer; /* of the delay */
};

/* Logs, long before the end, that the delay will have to be cut. */
void shutdown_warn(const struct shutdown *shutdown);

/* Begins the end; harmless when it has begun. `by` says for the log what asked for it. */
void shutdown_begin(struct shutdown *shutdown, const char *by);

/* Ends the delay now; harmless when it is over or has not begun. */
void shutdown_skip_delay(struct shutdown *shutdown);

/* How long ago it began, in microseconds; 0 when it has not. */
int64_t shutdown_elapsed_us(const struct shutdown *shutdown);

#endif
