/* What `run` does when liveness fails (onLivenessFailure): restarts the command, with a back-off
 * that grows and a limit, or ends. */
#ifndef READYD_AGENT_RUN_LIVENESS_H
#define READYD_AGENT_RUN_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/engine.h"
#include "agent/loop.h"
#include "agent/run_command.h"

enum run_liveness_state {
	RUN_LIVENESS_WATCHING,
	RUN_LIVENESS_RESTARTING, /* the command has been told to end */
	RUN_LIVENESS_WAITING,    /* for the next start */
	RUN_LIVENESS_EXITING,    /* the command has been told to end, and that is the end */
	RUN_LIVENESS_OFF,        /* the end has begun, whatever liveness says */
};

/* Embedded in its owner, who sets what is public. */
struct run_liveness {
	/* The command could not be started again; its exit_status is set. */
	void (*on_failed_start)(struct run_liveness *liveness);
	void *owner;
	struct loop *loop;
	struct engine *engine;
	struct run_command *command;

	enum run_liveness_state state;
	int64_t restarts; /* one after the other, without a long life between them */
	struct engine_observer observer;
	struct loop_task task;   /* to act outside of the engine's calls */
	struct loop_timer timer; /* of the back-off */
};

/* Begins to watch; the command runs. */
void run_liveness_begin(struct run_liveness *liveness);

/* Looks now, because onLivenessFailure may have changed. */
void run_liveness_check(struct run_liveness *liveness);

/* The command has ended. Returns whether it will be started again; otherwise that was the end, and
 * its exit_status is what is to be passed on. */
bool run_liveness_take_end(struct run_liveness *liveness);

/* Does nothing any more; the end has begun. */
void run_liveness_end(struct run_liveness *liveness);

/* The wait before the next restart after so many in a row: restart.delaySeconds, doubled with each,
 * at most restart.maxDelaySeconds. Pure. */
int64_t restart_delay_us(const struct settings *settings, int64_t restarts);

#endif
