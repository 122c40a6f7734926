/* The socket over which the command of `readyd run` may say how it is (sd_notify(3)): a datagram
 * socket with an abstract name, so that it needs no file system.
 *
 * Heard is who belongs to us: our descendants, and processes of our own user or root in our PID
 * namespace (such as `docker exec … systemd-notify`). Descriptors that come along are closed, which
 * is all that BARRIER=1 asks for. What was heard is in agent/notified.h; READY=1, RELOADING=1,
 * STOPPING=1, STATUS=, WATCHDOG=1 and WATCHDOG=trigger mean something, all else does not. */
#ifndef READYD_AGENT_NOTIFY_RECEIVE_H
#define READYD_AGENT_NOTIFY_RECEIVE_H

#include "agent/config.h"
#include "agent/engine.h"
#include "agent/loop.h"
#include "agent/notified.h"

struct notify_receiver;

/* Makes one, with no socket yet. NULL when out of memory. */
struct notify_receiver *notify_receiver_create(struct loop *loop);

/* What was heard, for probe_env; valid as long as the receiver. NULL for NULL. */
struct notified *notify_receiver_notified(struct notify_receiver *receiver);

/* To be called before each start of the command: forgets what the last one said, and opens the
 * socket if there is a probe that goes by what the command says. `engine` is told of news from then
 * on. What goes wrong is logged: the probes then say it too. Returns the variables for the command,
 * "NOTIFY_SOCKET=…" and "WATCHDOG_USEC=…", at most two, which end with NULL and stay ours until the
 * next call; none when nobody would listen. NULL for NULL. */
char *const *notify_receiver_prepare(struct notify_receiver *receiver, struct engine *engine);

/* Closes and frees it; before the engine. Harmless on NULL. */
void notify_receiver_destroy(struct notify_receiver *receiver);

#endif
