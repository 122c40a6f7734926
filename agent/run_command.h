/* The command of `run`: starts it, hands it the terminal and the signals, stops it in order, knows
 * what came of it. */
#ifndef READYD_AGENT_RUN_COMMAND_H
#define READYD_AGENT_RUN_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/child.h"
#include "agent/engine.h"
#include "agent/error.h"
#include "agent/loop.h"
#include "agent/notify_receive.h"
#include "agent/run_terminal.h"

enum run_command_state {
	RUN_COMMAND_IDLE,
	RUN_COMMAND_RUNNING,
	RUN_COMMAND_STOPPING, /* it has been told to end */
	RUN_COMMAND_LEAVING,  /* it has ended as told, others of its group have not */
};

enum {
	RUN_STATUS_NOT_EXECUTABLE = 126, /* as shells have it */
	RUN_STATUS_NOT_FOUND = 127,
};

/* Embedded in its owner, who sets what is public. */
struct run_command {
	/* It has ended, and so has the rest of its group if it was told to. May start it again. */
	void (*on_end)(struct run_command *command);
	void *owner;
	struct loop *loop;
	struct engine *engine;                   /* by whose settings it goes */
	char *const *argv;                       /* ends with NULL */
	struct notify_receiver *notify_receiver; /* where it may say how it is; NULL = nowhere */

	enum run_command_state state;
	int exit_status;     /* of the last one: its own, or 128 and the number of the signal */
	int64_t started_us;  /* monotonic */
	int64_t stopping_us; /* when it was told to end */
	int64_t killed_us;   /* when that was not enough; 0 = not yet */
	struct child child;
	pid_t group;
	bool told_to_pause; /* the last signal that it was sent was to stop it */
	struct run_terminal terminal;
	struct loop_timer kill_timer, leaving_timer;
};

/* Makes it ready for use; run_command_close() is due. */
void run_command_open(struct run_command *command);

/* Starts it. Returns 0; or -1 with a sentence and `exit_status` set as shells do: 127 when it does
 * not exist, 126 when it cannot be executed, 1 when the system lacks something. */
int run_command_start(struct run_command *command, struct error *error);

/* Sends it stopSignal, and SIGKILL to what is left of its group `timeout_us` later. Harmless when
 * it has been told already, or does not run. */
void run_command_stop(struct run_command *command, int64_t timeout_us);

/* Sends its group a signal; harmless when it does not run. */
void run_command_signal(struct run_command *command, int signal_number);

/* Gives everything back; a command that still runs is killed. */
void run_command_close(struct run_command *command);

#endif
