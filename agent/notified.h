/* What the command of `readyd run` has said of itself, in the words of sd_notify(3). Pure: no
 * socket; the clock is its callers'. */
#ifndef READYD_AGENT_NOTIFIED_H
#define READYD_AGENT_NOTIFIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop.h"

enum { NOTIFIED_STATUS_SIZE = 200 };

/* Zero-filled is valid: nobody has been asked to say anything. */
struct notified {
	bool asked;              /* the command has been given a socket to say it over */
	bool ready;              /* READY=1; RELOADING=1 takes it back, and STOPPING=1 for good */
	bool reloading;          /* RELOADING=1, and no READY=1 since */
	bool stopping;           /* STOPPING=1 */
	bool wants_restart;      /* WATCHDOG=trigger */
	int64_t sign_of_life_us; /* the last WATCHDOG=1, or READY=1; 0 = none so far */
	bool missed; /* a probe has found it silent for too long; a sign of life is news */
	char status[NOTIFIED_STATUS_SIZE]; /* the last STATUS=, as it came; "" = none */
	/* Fires when silence is about to mean something. The owner sets on_expire and owner. */
	struct loop_timer reminder;
};

/* The command is started anew: nothing has been said. */
void notified_reset(struct notified *notified, struct loop *loop, bool asked);

/* Takes one message: lines of KEY=VALUE, of which unknown ones mean nothing. Returns whether it is
 * news; a sign of life that nobody misses is none. */
bool notified_take(struct notified *notified, const char *message, size_t len, int64_t now_us);

/* We ourselves were not running until now, and so perhaps neither was the command, or its signs of
 * life still wait to be read: it gets as much time as after one. */
void notified_forgive(struct notified *notified, int64_t now_us);

/* Has the reminder fire at `at_us` at the latest. */
void notified_remind(struct notified *notified, struct loop *loop, int64_t at_us);

#endif
