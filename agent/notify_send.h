/* Tells the service manager that started us (systemd, Podman) how it goes, as sd_notify(3) has it:
 * one datagram a message to the socket that NOTIFY_SOCKET names.
 *
 *   READY=1        when /ready is 200 for the first time
 *   STATUS=        what /ready says, whenever that changes
 *   RELOADING=1    with MONOTONIC_USEC, before a reload; READY=1 after it
 *   STOPPING=1     when the end has begun
 *   WATCHDOG=1     every half of WATCHDOG_USEC, while the loop runs and liveness has not failed
 *                  (which it has no longer when `run` restarts its command by itself)
 *
 * Never waits: what the manager does not take yet is told as soon as it does. */
#ifndef READYD_AGENT_NOTIFY_SEND_H
#define READYD_AGENT_NOTIFY_SEND_H

#include "agent/engine.h"
#include "agent/loop.h"

struct notify_sender;

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of our environment, because they are for
 * us and not for our children, and begins to tell. NULL when nobody wants to know, or when that is
 * impossible, which is logged. */
struct notify_sender *notify_sender_create(struct loop *loop, struct engine *engine);

/* A reload begins, or is over; harmless on NULL and before READY=1, when a manager expects neither.
 */
void notify_sender_reload_begins(struct notify_sender *sender);
void notify_sender_reload_ends(struct notify_sender *sender);

/* Says STOPPING=1 if that has not been said, and frees it; before the engine. Harmless on NULL. */
void notify_sender_destroy(struct notify_sender *sender);

#endif
