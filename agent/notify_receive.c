#include "agent/notify_receive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/unix_socket.h"

enum {
	MESSAGES_PER_TURN = 64,
	/* What a service manager accepts at most. */
	MESSAGE_MAX = 4096,
	DESCRIPTORS_MAX = 253, /* in one message: the kernel's limit, SCM_MAX_FD */
	/* How many parents are looked at to find out whether a process descends from us. */
	ANCESTORS_MAX = 64,
	VARIABLE_SIZE = 128,
};

struct notify_receiver {
	struct loop *loop;
	struct engine *engine;
	struct notified notified;
	struct loop_io io;
	struct loop_task tell;
	int fd;                                            /* -1 = there is no socket */
	bool complained_of_stranger, complained_of_length; /* once for each start of the command */
	char socket_variable[VARIABLE_SIZE], watchdog_variable[VARIABLE_SIZE];
	char *variables[3];
};

/* ---- news ---- */

/* At the end of the batch, so that many messages cost one look. */
static void on_tell(struct loop_task *task)
{
	struct notify_receiver *receiver = task->owner;

	engine_hear(receiver->engine);
}

static void on_reminder(struct loop_timer *timer)
{
	struct notify_receiver *receiver = timer->owner;

	loop_defer(receiver->loop, &receiver->tell);
}

static void log_news(const struct notified *before, const struct notified *after)
{
	struct log_field fields[] = {log_text("state", NULL),
				     log_text("status", after->status),
				     {0}};

	if (after->wants_restart && !before->wants_restart)
		fields[0].text = "wants restart";
	else if (after->stopping && !before->stopping)
		fields[0].text = "stopping";
	else if (after->reloading && !before->reloading)
		fields[0].text = "reloading";
	else if (after->ready && !before->ready)
		fields[0].text = "ready";
	if (fields[0].text)
		log_event(LOG_INFO, "notified", fields);
}

/* ---- who may say something ---- */

/* The parent of a process; 0 when it is not there. */
static pid_t parent_of(pid_t pid)
{
	char path[32], text[512];
	const char *rest;
	ssize_t len = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (len <= 0)
		return 0;
	text[len] = '\0';
	rest = strrchr(text, ')'); /* of the name, which may hold anything */
	/* ") S 123": the state is one letter */
	return rest && strlen(rest) > 4 ? (pid_t)strtol(rest + 4, NULL, 10) : 0;
}

static bool descends_from_us(pid_t pid)
{
	pid_t own = getpid();

	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		if (pid == own)
			return true;
		pid = parent_of(pid);
	}
	return pid == own;
}

/* A process of another PID namespace has no number here. */
static bool belongs_to_us(const struct ucred *sender)
{
	if (sender->pid == 0)
		return false;
	return sender->uid == 0 || sender->uid == geteuid() || descends_from_us(sender->pid);
}

static void complain(bool *complained, const char *message, const struct ucred *sender)
{
	struct log_field fields[] = {log_text("message", message),
				     log_integer("pid", sender->pid),
				     log_integer("uid", sender->uid),
				     {0}};

	if (!*complained)
		log_event(LOG_WARNING, "notify_ignored", fields);
	*complained = true;
}

/* ---- receiving ---- */

static void close_descriptors(const struct cmsghdr *part)
{
	size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
		close(fd);
	}
}

/* Takes the sender out of what came along, and closes the descriptors. */
static struct ucred take_ancillary(const struct msghdr *message)
{
	struct ucred sender = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
	const struct cmsghdr *part;

	/* Not by CMSG_NXTHDR(), in which some C libraries mix signs. */
	for (size_t at = 0; at + sizeof(*part) <= message->msg_controllen;
	     at += CMSG_SPACE(part->cmsg_len - CMSG_LEN(0))) {
		part = (const struct cmsghdr *)((const char *)message->msg_control + at);
		if (part->cmsg_len < CMSG_LEN(0))
			break;
		if (part->cmsg_level != SOL_SOCKET)
			continue;
		if (part->cmsg_type == SCM_RIGHTS)
			close_descriptors(part);
		else if (part->cmsg_type == SCM_CREDENTIALS &&
			 part->cmsg_len == CMSG_LEN(sizeof(sender)))
			memcpy(&sender, CMSG_DATA(part), sizeof(sender));
	}
	return sender;
}

/* Takes one message; false when there is none. */
static bool receive(struct notify_receiver *receiver)
{
	char text[MESSAGE_MAX];
	_Alignas(struct cmsghdr) char ancillary[CMSG_SPACE(sizeof(struct ucred)) +
						CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = ancillary,
				 .msg_controllen = sizeof(ancillary)};
	ssize_t len = recvmsg(receiver->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct notified before = receiver->notified;
	struct ucred sender;

	if (len < 0)
		return false;
	sender = take_ancillary(&message);
	if (!belongs_to_us(&sender)) {
		complain(&receiver->complained_of_stranger,
			 "said by a process that is neither the command's nor our user's", &sender);
	} else if (message.msg_flags & MSG_TRUNC) {
		complain(&receiver->complained_of_length, "longer than 4096 bytes", &sender);
	} else if (notified_take(&receiver->notified, text, (size_t)len,
				 loop_now_us(receiver->loop))) {
		log_news(&before, &receiver->notified);
		loop_defer(receiver->loop, &receiver->tell);
	}
	return true;
}

static void on_message(struct loop_io *io, unsigned events)
{
	(void)events;
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		if (!receive(io->owner))
			break;
	}
}

/* ---- the socket ---- */

/* A name that nobody else has, not even in a network namespace that several containers share, where
 * process numbers are no distinction. */
static int make_name(char *name, size_t size, struct error *error)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
		number = (uint64_t)clock_monotonic_us();
	if ((size_t)snprintf(name, size, "@readyd-notify-%d-%016" PRIx64, (int)getpid(), number) >=
	    size)
		return error_set(error, "the name is too long");
	return 0;
}

static int open_socket(struct notify_receiver *receiver, struct error *error)
{
	char name[VARIABLE_SIZE - sizeof("NOTIFY_SOCKET=")];
	struct sockaddr_un address;
	socklen_t len;
	int on = 1;

	if (receiver->fd >= 0)
		return 0;
	if (make_name(name, sizeof(name), error) < 0 ||
	    unix_socket_address(name, &address, &len, error) < 0)
		return -1;
	receiver->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (receiver->fd < 0)
		return error_set(error, "%s", strerror(errno));
	if (setsockopt(receiver->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
	    bind(receiver->fd, (const struct sockaddr *)&address, len) == 0 &&
	    loop_io_set(receiver->loop, &receiver->io, receiver->fd, LOOP_READ) == 0) {
		snprintf(receiver->socket_variable, VARIABLE_SIZE, "NOTIFY_SOCKET=%s", name);
		return 0;
	}
	error_set(error, "%s", strerror(errno));
	close(receiver->fd);
	receiver->fd = -1;
	return -1;
}

static void close_socket(struct notify_receiver *receiver)
{
	loop_io_clear(receiver->loop, &receiver->io);
	if (receiver->fd >= 0)
		close(receiver->fd);
	receiver->fd = -1;
}

/* ---- for the owner ---- */

struct notify_receiver *notify_receiver_create(struct loop *loop)
{
	struct notify_receiver *receiver = calloc(1, sizeof(*receiver));

	if (!receiver)
		return NULL;
	receiver->loop = loop;
	receiver->fd = -1;
	receiver->io.on_ready = on_message;
	receiver->io.owner = receiver;
	receiver->tell.on_run = on_tell;
	receiver->tell.owner = receiver;
	receiver->notified.reminder.on_expire = on_reminder;
	receiver->notified.reminder.owner = receiver;
	return receiver;
}

struct notified *notify_receiver_notified(struct notify_receiver *receiver)
{
	return receiver ? &receiver->notified : NULL;
}

/* Whether some probe goes by what the command says, and the shortest silence that one of them
 * allows (0 = any). */
static bool is_wanted(const struct config *config, int64_t *ret_silence_us)
{
	bool wanted = false;

	*ret_silence_us = 0;
	for (size_t i = 0; i < config->probe_count; i++) {
		const struct probe_config *probe = config->probes[i];
		int64_t silence_us;

		if (!probe->type->silence_us)
			continue;
		wanted = true;
		silence_us = probe->type->silence_us(probe->conf);
		if (silence_us > 0 && (*ret_silence_us == 0 || silence_us < *ret_silence_us))
			*ret_silence_us = silence_us;
	}
	return wanted;
}

char *const *notify_receiver_prepare(struct notify_receiver *receiver, struct engine *engine)
{
	struct error error = {""};
	int64_t silence_us;
	size_t count = 0;
	bool asked;

	if (!receiver)
		return NULL;
	asked = is_wanted(engine_config(engine), &silence_us);
	receiver->engine = engine;
	receiver->complained_of_stranger = receiver->complained_of_length = false;
	loop_task_clear(receiver->loop, &receiver->tell);
	/* What the last command left in it is not about the next one. */
	close_socket(receiver);
	if (asked && open_socket(receiver, &error) < 0) {
		struct log_field fields[] = {log_text("message", error.text), {0}};

		log_event(LOG_ERROR, "notify_failed", fields);
		asked = false;
	}
	notified_reset(&receiver->notified, receiver->loop, asked);
	if (asked)
		receiver->variables[count++] = receiver->socket_variable;
	if (asked && silence_us > 0) {
		/* Without WATCHDOG_PID it is for every process of the command. */
		snprintf(receiver->watchdog_variable, VARIABLE_SIZE, "WATCHDOG_USEC=%" PRId64,
			 silence_us);
		receiver->variables[count++] = receiver->watchdog_variable;
	}
	receiver->variables[count] = NULL;
	return receiver->variables;
}

void notify_receiver_destroy(struct notify_receiver *receiver)
{
	if (!receiver)
		return;
	close_socket(receiver);
	loop_task_clear(receiver->loop, &receiver->tell);
	loop_timer_clear(receiver->loop, &receiver->notified.reminder);
	free(receiver);
}
