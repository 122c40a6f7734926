#include "agent/haproxy_agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/listeners.h"

enum {
	/* Connections whose end is awaited; beyond that the oldest is closed. */
	ENDINGS_MAX = 64,
	/* How long, and through how much text that nobody reads, the peer's end is awaited. */
	ENDING_US = 1000 * 1000,
	IGNORED_MAX = 64 * 1024,
	SWEEP_US = 250 * 1000,
	LINE_SIZE = 128,
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
	struct requests *requests;
	struct loop_timer sweep; /* set while a connection is ending */
	struct listeners listeners;
	struct ending endings[ENDINGS_MAX];
};

/* ---- the line ---- */

/* `ret_said` is of requests.h. */
static int write_line(const struct engine *engine, char *line, size_t size, unsigned *ret_said)
{
	struct verdict verdict = engine_verdict(engine, ENDPOINT_READINESS);
	int64_t degraded_weight = engine_config(engine)->settings.haproxy_degraded_weight;

	*ret_said = engine_is_draining(engine) ? REQUEST_DRAIN
		    : verdict.ok               ? REQUEST_UP
					       : REQUEST_DOWN;
	if (*ret_said == REQUEST_DRAIN)
		return snprintf(line, size, "drain\n");
	if (*ret_said == REQUEST_DOWN)
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

static void answer(void *owner, const struct arrival *arrival)
{
	struct haproxy_agent *agent = owner;
	int fd = arrival->fd;
	char line[LINE_SIZE];
	unsigned said;
	int len = write_line(agent->engine, line, sizeof(line), &said);

	requests_note(agent->requests, SUBJECT_AGENT_CHECK, ASKER_HAPROXY, said);
	/* A new connection's send buffer has room for it. */
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len ||
	    shutdown(fd, SHUT_WR) < 0)
		close(fd);
	else
		await_end(agent, fd);
}

static void close_endings(struct haproxy_agent *agent)
{
	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		if (agent->endings[i].fd >= 0)
			ending_close(&agent->endings[i]);
	}
}

/* The connections that are ending anyway; and then the listeners rest all the same. */
static bool give_back(void *owner)
{
	close_endings(owner);
	return false;
}

/* ---- listening ---- */

static int open_listeners(struct haproxy_agent *agent, struct error *error)
{
	const struct text_list *wanted = &engine_config(agent->engine)->settings.haproxy_agent;

	for (size_t i = 0; i < wanted->count; i++) {
		if (listeners_open(&agent->listeners, wanted->items[i], false, error) < 0)
			return -1;
	}
	return 0;
}

struct haproxy_agent *haproxy_agent_create(struct loop *loop, const struct engine *engine,
					   struct requests *requests, struct error *error)
{
	struct haproxy_agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		error_set(error, "out of memory");
		return NULL;
	}
	agent->loop = loop;
	agent->engine = engine;
	agent->requests = requests;
	agent->sweep.on_expire = on_sweep;
	agent->sweep.owner = agent;
	agent->listeners.loop = loop;
	agent->listeners.side = "haproxy";
	agent->listeners.addresses = "addresses in haproxyAgent";
	/* HAProxy says nothing unless told to, and is answered all the same. */
	agent->listeners.we_speak_first = true;
	agent->listeners.take = answer;
	agent->listeners.give_back = give_back;
	agent->listeners.owner = agent;
	for (size_t i = 0; i < ENDINGS_MAX; i++) {
		agent->endings[i].agent = agent;
		agent->endings[i].fd = -1;
		agent->endings[i].io.on_ready = on_peer;
		agent->endings[i].io.owner = &agent->endings[i];
	}
	if (open_listeners(agent, error) == 0)
		return agent;
	haproxy_agent_destroy(agent);
	return NULL;
}

void haproxy_agent_destroy(struct haproxy_agent *agent)
{
	if (!agent)
		return;
	loop_timer_clear(agent->loop, &agent->sweep);
	listeners_close(&agent->listeners);
	close_endings(agent);
	free(agent);
}
