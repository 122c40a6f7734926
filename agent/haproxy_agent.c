#include "agent/haproxy_agent.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/listen.h"
#include "agent/log.h"

enum {
	ACCEPTS_PER_TURN = 64,
	/* Connections whose end is awaited; beyond that the oldest is closed. */
	ENDINGS_MAX = 64,
	/* How long, and through how much text that nobody reads, the peer's end is awaited. */
	ENDING_US = 1000 * 1000,
	IGNORED_MAX = 64 * 1024,
	SWEEP_US = 250 * 1000,
	/* So long nothing is accepted when descriptors are lacking. */
	REST_US = 5 * 1000,
	LINE_SIZE = 128,
};

struct listener {
	struct listen_socket socket;
	struct loop_io io;
};

/* A connection that has its line. Closing it with something unread, such as an agent-send text,
 * would be a reset, which may overtake the line; so the peer closes first, if he does it soon. */
struct ending {
	struct haproxy_agent *agent;
	struct loop_io io;
	int fd; /* -1 = free */
	int64_t since_us;
	size_t ignored;
};

struct haproxy_agent {
	struct loop *loop;
	const struct engine *engine;
	struct loop_timer sweep; /* set while a connection is ending */
	struct loop_timer rest;  /* set while the listeners are not watched */
	struct listener listeners[LISTEN_SOCKETS_MAX];
	size_t listener_count;
	struct ending endings[ENDINGS_MAX];
};

/* ---- the line ---- */

static int write_line(const struct engine *engine, char *line, size_t size)
{
	struct verdict verdict = engine_verdict(engine, ENDPOINT_READINESS);
	int64_t degraded_weight = engine_config(engine)->settings.haproxy_degraded_weight;

	if (engine_is_draining(engine))
		return snprintf(line, size, "drain\n");
	if (!verdict.ok)
		return snprintf(line, size, "down #%s\n", hindrance_text(verdict.hindrance));
	return snprintf(line, size, "up ready %d%%\n",
			verdict.degraded ? (int)degraded_weight : 100);
}

/* ---- connections ---- */

static void ending_close(struct ending *ending)
{
	loop_io_clear(ending->agent->loop, &ending->io);
	close(ending->fd);
	ending->fd = -1;
}

/* Whatever is said is dropped. */
static void on_peer(struct loop_io *io, unsigned events)
{
	struct ending *ending = io->owner;
	char bytes[4096];
	ssize_t len = recv(ending->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len > 0)
		ending->ignored += (size_t)len;
	if (len <= 0 || ending->ignored > IGNORED_MAX)
		ending_close(ending);
}

/* A free one, if need be at the cost of the oldest. */
static struct ending *ending_take(struct haproxy_agent *agent)
{
	struct ending *oldest = &agent->endings[0];

	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		struct ending *ending = &agent->endings[i];

		if (ending->fd < 0)
			return ending;
		if (ending->since_us < oldest->since_us)
			oldest = ending;
	}
	ending_close(oldest);
	return oldest;
}

static void on_sweep(struct loop_timer *timer)
{
	struct haproxy_agent *agent = timer->owner;
	int64_t now_us = loop_now_us(agent->loop);
	bool any = false;

	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		struct ending *ending = &agent->endings[i];

		if (ending->fd >= 0 && now_us - ending->since_us >= ENDING_US)
			ending_close(ending);
		any = any || ending->fd >= 0;
	}
	if (any)
		loop_timer_set(agent->loop, timer, now_us + SWEEP_US);
}

static void await_end(struct haproxy_agent *agent, int fd)
{
	struct ending *ending = ending_take(agent);

	ending->fd = fd;
	ending->since_us = loop_now_us(agent->loop);
	ending->ignored = 0;
	if (loop_io_set(agent->loop, &ending->io, fd, LOOP_READ) < 0 ||
	    (agent->sweep.position == 0 &&
	     loop_timer_set(agent->loop, &agent->sweep, ending->since_us + SWEEP_US) < 0))
		ending_close(ending);
}

static void answer(struct haproxy_agent *agent, int fd)
{
	char line[LINE_SIZE];
	int len = write_line(agent->engine, line, sizeof(line));

	/* A new connection's send buffer has room for it. */
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len ||
	    shutdown(fd, SHUT_WR) < 0)
		close(fd);
	else
		await_end(agent, fd);
}

/* ---- accepting ---- */

static int watch_listeners(struct haproxy_agent *agent)
{
	for (size_t i = 0; i < agent->listener_count; i++) {
		struct listener *listener = &agent->listeners[i];

		if (loop_io_set(agent->loop, &listener->io, listener->socket.fd, LOOP_READ) < 0)
			return -1;
	}
	return 0;
}

/* Connections that wait would wake us over and over while they cannot be accepted. */
static void rest_listeners(struct haproxy_agent *agent)
{
	if (loop_timer_set(agent->loop, &agent->rest, loop_now_us(agent->loop) + REST_US) < 0)
		return;
	for (size_t i = 0; i < agent->listener_count; i++)
		loop_io_clear(agent->loop, &agent->listeners[i].io);
}

static void on_rest_over(struct loop_timer *timer)
{
	struct haproxy_agent *agent = timer->owner;

	if (watch_listeners(agent) < 0)
		rest_listeners(agent);
}

static void close_endings(struct haproxy_agent *agent)
{
	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		if (agent->endings[i].fd >= 0)
			ending_close(&agent->endings[i]);
	}
}

static void on_accept(struct loop_io *io, unsigned events)
{
	struct haproxy_agent *agent = io->owner;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			answer(agent, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			close_endings(agent);
			rest_listeners(agent);
		}
		break;
	}
}

/* ---- listening ---- */

static int open_listeners(struct haproxy_agent *agent, const char *notation, struct error *error)
{
	struct listen_socket sockets[LISTEN_SOCKETS_MAX];
	struct error note;
	size_t count = 0;
	int result = listen_open(notation, false, sockets, &count, &note, error);

	if (note.text[0] != '\0') {
		struct log_field fields[] = {log_text("message", note.text), {0}};

		log_event(LOG_WARNING, "listen", fields);
	}
	for (size_t i = 0; i < count; i++) {
		struct listener *listener = &agent->listeners[agent->listener_count];
		struct log_field fields[] = {log_text("address", sockets[i].address),
					     log_text("side", "haproxy"),
					     {0}};
		int off = 0;

		if (agent->listener_count == LISTEN_SOCKETS_MAX) {
			listen_close(&sockets[i]);
			result = error_set(error, "more than %d addresses in haproxyAgent",
					   LISTEN_SOCKETS_MAX);
			continue;
		}
		/* HAProxy says nothing unless told to, and is answered all the same. */
		if (!sockets[i].is_unix)
			setsockopt(sockets[i].fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof(off));
		*listener = (struct listener){.socket = sockets[i],
					      .io = {.on_ready = on_accept, .owner = agent}};
		agent->listener_count++;
		log_event(LOG_INFO, "listen", fields);
	}
	return result;
}

static int open_all_listeners(struct haproxy_agent *agent, struct error *error)
{
	const struct text_list *wanted = &engine_config(agent->engine)->settings.haproxy_agent;

	for (size_t i = 0; i < wanted->count; i++) {
		if (strcmp(wanted->items[i], "none") != 0 &&
		    open_listeners(agent, wanted->items[i], error) < 0)
			return -1;
	}
	if (watch_listeners(agent) < 0)
		return error_set(error, "cannot watch a listener: %s", strerror(errno));
	return 0;
}

struct haproxy_agent *haproxy_agent_create(struct loop *loop, const struct engine *engine,
					   struct error *error)
{
	struct haproxy_agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		error_set(error, "out of memory");
		return NULL;
	}
	agent->loop = loop;
	agent->engine = engine;
	agent->sweep.on_expire = on_sweep;
	agent->sweep.owner = agent;
	agent->rest.on_expire = on_rest_over;
	agent->rest.owner = agent;
	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		agent->endings[i].agent = agent;
		agent->endings[i].fd = -1;
		agent->endings[i].io.on_ready = on_peer;
		agent->endings[i].io.owner = &agent->endings[i];
	}
	if (open_all_listeners(agent, error) == 0)
		return agent;
	haproxy_agent_destroy(agent);
	return NULL;
}

void haproxy_agent_destroy(struct haproxy_agent *agent)
{
	if (!agent)
		return;
	loop_timer_clear(agent->loop, &agent->sweep);
	loop_timer_clear(agent->loop, &agent->rest);
	for (size_t i = 0; i < agent->listener_count; i++) {
		loop_io_clear(agent->loop, &agent->listeners[i].io);
		listen_close(&agent->listeners[i].socket);
	}
	close_endings(agent);
	free(agent);
}
