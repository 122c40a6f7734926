#include "agent/notify_send.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/number.h"
#include "agent/unix_socket.h"

enum {
	/* When the manager's queue is full. */
	RETRY_US = 50 * 1000,
	MESSAGE_SIZE = 512,
	STATUS_SIZE = 128,
};

/* What is still to be told. */
enum due {
	DUE_READY = 1,
	DUE_STOPPING = 2,
	DUE_WATCHDOG = 4,
	DUE_STATUS = 8,
};

struct notify_sender {
	struct loop *loop;
	struct engine *engine;
	struct engine_observer observer;
	struct sockaddr_un address;
	socklen_t address_len;
	int fd;
	unsigned due;         /* of enum due */
	int64_t reloading_us; /* RELOADING=1 is due, since this moment; 0 = it is not */
	bool ready, stopping; /* told, or due */
	bool complained;      /* that it does not get through; once until it does */
	char status[STATUS_SIZE];
	int64_t heartbeat_us; /* half of WATCHDOG_USEC; 0 = there is no watchdog */
	bool heartbeat_withheld;
	struct loop_timer heartbeat;
	struct loop_timer retry;
};

/* ---- sending ---- */

static void complain(struct notify_sender *sender, const char *message)
{
	struct log_field fields[] = {log_text("message", message), {0}};

	if (!sender->complained)
		log_event(LOG_WARNING, "notify_failed", fields);
	sender->complained = true;
}

/* Returns whether it is with the manager. */
static bool send_message(struct notify_sender *sender, const char *message)
{
	if (sendto(sender->fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL,
		   (const struct sockaddr *)&sender->address, sender->address_len) >= 0) {
		sender->complained = false;
		return true;
	}
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
		loop_timer_set(sender->loop, &sender->retry, loop_now_us(sender->loop) + RETRY_US);
	else /* It is tried again with the next message. */
		complain(sender, strerror(errno));
	return false;
}

static void send_due(struct notify_sender *sender)
{
	char message[MESSAGE_SIZE];

	if (sender->reloading_us != 0) {
		snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n",
			 sender->reloading_us);
		if (!send_message(sender, message))
			return;
		sender->reloading_us = 0;
	}
	if (sender->due == 0)
		return;
	snprintf(message, sizeof(message), "%s%s%s%s%s%s",
		 sender->due & DUE_READY ? "READY=1\n" : "",
		 sender->due & DUE_STOPPING ? "STOPPING=1\n" : "",
		 sender->due & DUE_WATCHDOG ? "WATCHDOG=1\n" : "",
		 sender->due & DUE_STATUS ? "STATUS=" : "",
		 sender->due & DUE_STATUS ? sender->status : "",
		 sender->due & DUE_STATUS ? "\n" : "");
	if (send_message(sender, message))
		sender->due = 0;
}

static void on_retry(struct loop_timer *timer)
{
	send_due(timer->owner);
}

/* ---- what there is to tell ---- */

/* Whether a restart by the manager is what the instance needs. */
static bool needs_help(const struct notify_sender *sender)
{
	return engine_verdict(sender->engine, ENDPOINT_LIVENESS).hindrance == HINDRANCE_LIVENESS;
}

static void on_heartbeat(struct loop_timer *timer)
{
	struct notify_sender *sender = timer->owner;

	loop_timer_set(sender->loop, timer, loop_now_us(sender->loop) + sender->heartbeat_us);
	sender->heartbeat_withheld = needs_help(sender);
	if (!sender->heartbeat_withheld)
		sender->due |= DUE_WATCHDOG;
	send_due(sender);
}

static void set_status(struct notify_sender *sender)
{
	struct verdict verdict = engine_verdict(sender->engine, ENDPOINT_READINESS);
	char status[STATUS_SIZE];

	if (sender->stopping)
		snprintf(status, sizeof(status), "stopping");
	else if (verdict.ok)
		snprintf(status, sizeof(status), "ready%s",
			 verdict.degraded ? ", a probe passes with a warning" : "");
	else
		snprintf(status, sizeof(status), "not ready: %s",
			 hindrance_text(verdict.hindrance));
	if (strcmp(status, sender->status) == 0)
		return;
	memcpy(sender->status, status, sizeof(status));
	sender->due |= DUE_STATUS;
}

static void begin_to_stop(struct notify_sender *sender)
{
	if (sender->stopping)
		return;
	sender->stopping = true;
	sender->due |= DUE_STOPPING;
}

static void on_change(struct engine_observer *observer)
{
	struct notify_sender *sender = observer->owner;

	if (!sender->ready && engine_has_been_ready(sender->engine)) {
		sender->ready = true;
		sender->due |= DUE_READY;
	}
	if (engine_drain_sources(sender->engine) & DRAIN_STOPPING)
		begin_to_stop(sender);
	/* Half of the time is gone already. */
	if (sender->heartbeat_withheld && !needs_help(sender)) {
		sender->heartbeat_withheld = false;
		sender->due |= DUE_WATCHDOG;
	}
	set_status(sender);
	send_due(sender);
}

void notify_sender_reload_begins(struct notify_sender *sender)
{
	if (!sender || !sender->ready || sender->stopping)
		return;
	sender->reloading_us = clock_monotonic_us();
	send_due(sender);
}

void notify_sender_reload_ends(struct notify_sender *sender)
{
	if (!sender || !sender->ready || sender->stopping)
		return;
	sender->due |= DUE_READY;
	send_due(sender);
}

/* ---- beginning and end ---- */

/* WATCHDOG_USEC, if it is meant for this process; 0 if not. */
static int64_t watchdog_interval_us(void)
{
	const char *interval = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
	double value = 0, pid = 0;

	if (process && process[0] != '\0' &&
	    (!parse_whole(process, &pid) || (pid_t)pid != getpid()))
		return 0;
	return interval && parse_whole(interval, &value) && value >= 2 ? (int64_t)value : 0;
}

static int open_socket(struct notify_sender *sender, const char *name, struct error *error)
{
	if (name[0] != '/' && name[0] != '@')
		return error_set(error,
				 "\"%.100s\" is neither a path nor an @name, and readyd "
				 "knows no other",
				 name);
	if (unix_socket_address(name, &sender->address, &sender->address_len, error) < 0)
		return -1;
	sender->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return sender->fd < 0 ? error_set(error, "%s", strerror(errno)) : 0;
}

static void start(struct notify_sender *sender, struct loop *loop, struct engine *engine,
		  int64_t watchdog_us)
{
	sender->loop = loop;
	sender->engine = engine;
	sender->observer.on_change = on_change;
	sender->observer.owner = sender;
	sender->retry.on_expire = on_retry;
	sender->retry.owner = sender;
	sender->heartbeat.on_expire = on_heartbeat;
	sender->heartbeat.owner = sender;
	sender->heartbeat_us = watchdog_us / 2;
	engine_observe(engine, &sender->observer);
	on_change(&sender->observer);
	if (sender->heartbeat_us > 0)
		on_heartbeat(&sender->heartbeat);
}

struct notify_sender *notify_sender_create(struct loop *loop, struct engine *engine)
{
	const char *name = getenv("NOTIFY_SOCKET");
	int64_t watchdog_us = watchdog_interval_us();
	struct notify_sender *sender = NULL;
	struct error error = {""};

	if (name && name[0] != '\0') {
		sender = calloc(1, sizeof(*sender));
		if (!sender)
			error_set(&error, "out of memory");
		else if (open_socket(sender, name, &error) == 0)
			start(sender, loop, engine, watchdog_us);
	}
	if (error.text[0] != '\0') {
		struct log_field fields[] = {log_text("variable", "NOTIFY_SOCKET"),
					     log_text("message", error.text),
					     {0}};

		log_event(LOG_WARNING, "notify_failed", fields);
		free(sender);
		sender = NULL;
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return sender;
}

void notify_sender_destroy(struct notify_sender *sender)
{
	if (!sender)
		return;
	begin_to_stop(sender);
	set_status(sender);
	send_due(sender);
	engine_unobserve(sender->engine, &sender->observer);
	loop_timer_clear(sender->loop, &sender->heartbeat);
	loop_timer_clear(sender->loop, &sender->retry);
	close(sender->fd);
	free(sender);
}
