#include "agent/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	NEXT_ATTEMPT_US = 250 * 1000, /* RFC 8305, section 5 */
	FULL_QUEUE_RETRY_US = 10 * 1000,
	FIRST_COMMON_PORT = 1024, /* below it no port is ever chosen for a client */
	ADDRESS_TEXT_SIZE = 128,
};

const char *dial_error_text(int error_number)
{
	switch (error_number) {
	case ECONNREFUSED:
		return "connection refused";
	case ETIMEDOUT:
		return "no answer";
	case ECONNRESET:
	case EPIPE:
		return "connection reset";
	case ENETUNREACH:
		return "no route to that network";
	case EHOSTUNREACH:
		return "no route to that host";
	case EADDRNOTAVAIL:
		return "no local address or port is left for it";
	case EAFNOSUPPORT:
		return "this system does not have that kind of address";
	case EACCES:
	case EPERM:
		return "the system forbids it";
	case ENOENT:
	case ENOTDIR:
		return "there is no such socket";
	case EPROTOTYPE:
		return "it is not a stream socket";
	case EMFILE:
	case ENFILE:
		return "readyd has no file descriptor left";
	case ENOMEM:
	case ENOBUFS:
		return "the system has no memory left";
	default:
		return strerror(error_number);
	}
}

/* How much an error says about the service, among the errors of several addresses. */
static int telling(int error_number)
{
	switch (error_number) {
	case 0:
		return 0;
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
		return 1; /* says only that we lack IPv6, say */
	case ENETUNREACH:
	case ENETDOWN:
		return 2;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return 3;
	case ETIMEDOUT:
		return 4;
	case ECONNREFUSED:
		return 6;
	case ECONNRESET:
	case EPIPE:
		return 7; /* the connection stood for a moment */
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return 8; /* our own trouble: then the others were not tried in earnest */
	default:
		return 5;
	}
}

static void address_text(const struct address *address, char *text, size_t size)
{
	const struct sockaddr_storage *storage = &address->storage;
	char host[ADDRESS_TEXT_SIZE];

	if (storage->ss_family == AF_UNIX) {
		const char *path = ((const struct sockaddr_un *)storage)->sun_path;

		if (path[0] == '\0')
			snprintf(text, size, "unix socket @%s", path + 1);
		else
			snprintf(text, size, "unix socket %s", path);
		return;
	}
	address_host(address, host, sizeof(host));
	if (storage->ss_family == AF_INET6)
		snprintf(text, size, "[%s]:%u", host,
			 ntohs(((const struct sockaddr_in6 *)storage)->sin6_port));
	else
		snprintf(text, size, "%s:%u", host,
			 ntohs(((const struct sockaddr_in *)storage)->sin_port));
}

static void note_failure(struct dial *dial, size_t address_index, int error_number)
{
	char text[ADDRESS_TEXT_SIZE + 16];

	if (telling(error_number) <= telling(dial->error_number))
		return;
	dial->error_number = error_number;
	address_text(&dial->addresses[address_index], text, sizeof(text));
	if (dial->address_count > 1)
		error_set(&dial->error, "cannot connect to %s or %zu other address%s: %s", text,
			  dial->address_count - 1, dial->address_count > 2 ? "es" : "",
			  dial_error_text(error_number));
	else
		error_set(&dial->error, "cannot connect to %s: %s", text,
			  dial_error_text(error_number));
}

/* Forgets an attempt; gives back its descriptor, no longer watched. */
static int attempt_release(struct dial *dial, struct dial_attempt *attempt)
{
	int fd = attempt->fd;

	loop_io_clear(dial->loop, &attempt->io);
	attempt->fd = -1;
	return fd;
}

static void attempt_abandon(struct dial *dial, struct dial_attempt *attempt, int error_number)
{
	close(attempt_release(dial, attempt));
	note_failure(dial, attempt->address_index, error_number);
}

void dial_cancel(struct dial *dial)
{
	if (!dial->active)
		return;
	dial->active = false;
	if (dial->resolver)
		resolve_cancel(dial->resolver, &dial->lookup);
	loop_timer_clear(dial->loop, &dial->next_attempt);
	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++) {
		if (dial->attempts[i].fd >= 0)
			close(attempt_release(dial, &dial->attempts[i]));
	}
}

static void finish(struct dial *dial, int fd)
{
	dial_cancel(dial);
	dial->on_done(dial, fd, fd >= 0 ? 0 : dial->error_number, &dial->error);
}

/* A connection to a port of our own machine where nobody listens succeeds when the system happens
 * to choose that very port for our end: TCP then opens the connection from both sides, which are
 * one. At a few thousand attempts a second that is a matter of seconds. */
static bool is_connected_to_itself(int fd, const struct address *peer)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&peer->storage;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&peer->storage;
	bool is_four = peer->storage.ss_family == AF_INET;
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} own = {.six = {0}};
	socklen_t len = sizeof(own);

	if (!is_four && peer->storage.ss_family != AF_INET6)
		return false;
	if (ntohs(is_four ? four->sin_port : six->sin6_port) < FIRST_COMMON_PORT ||
	    getsockname(fd, &own.any, &len) < 0)
		return false;
	if (is_four)
		return own.four.sin_port == four->sin_port &&
		       own.four.sin_addr.s_addr == four->sin_addr.s_addr;
	return own.six.sin6_port == six->sin6_port &&
	       memcmp(&own.six.sin6_addr, &six->sin6_addr, sizeof(six->sin6_addr)) == 0;
}

/* connect() without waiting. Within one machine the peer's answer is there before the first call
 * returns, but that call says "in progress" all the same; asking again tells the outcome and saves
 * the trouble of waiting for an event. */
static int connect_now(int fd, const struct address *address)
{
	const struct sockaddr *name = (const struct sockaddr *)&address->storage;

	if (connect(fd, name, address->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	if (connect(fd, name, address->len) == 0 || errno == EISCONN)
		return 0;
	return errno == EALREADY ? EINPROGRESS : errno;
}

/* Begins one connection. Returns 0 when it stands, or the errno. */
static int attempt_connect(struct dial *dial, struct dial_attempt *attempt)
{
	const struct address *address = &dial->addresses[attempt->address_index];
	int result;

	attempt->fd =
		socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (attempt->fd < 0)
		return errno;
	result = connect_now(attempt->fd, address);
	if (result == 0 && is_connected_to_itself(attempt->fd, address))
		return ECONNREFUSED;
	return result;
}

static struct dial_attempt *free_attempt(struct dial *dial)
{
	struct dial_attempt *oldest = &dial->attempts[0];

	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++) {
		if (dial->attempts[i].fd < 0)
			return &dial->attempts[i];
		if (dial->attempts[i].address_index < oldest->address_index)
			oldest = &dial->attempts[i];
	}
	/* It has had its second; an address that was not tried at all has better prospects. */
	attempt_abandon(dial, oldest, ETIMEDOUT);
	return oldest;
}

static bool is_trying(const struct dial *dial)
{
	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++) {
		if (dial->attempts[i].fd >= 0)
			return true;
	}
	return false;
}

/* Starts the next address that does not fail at once, or ends the dial. */
static void try_next(struct dial *dial)
{
	while (dial->next_address < dial->address_count) {
		struct dial_attempt *attempt = free_attempt(dial);
		int result;

		attempt->address_index = dial->next_address++;
		result = attempt_connect(dial, attempt);
		if (result == 0) {
			finish(dial, attempt_release(dial, attempt));
			return;
		}
		if (result == EINPROGRESS || result == EINTR) {
			if (loop_io_set(dial->loop, &attempt->io, attempt->fd, LOOP_WRITE) == 0) {
				if (dial->next_address < dial->address_count)
					loop_timer_set(dial->loop, &dial->next_attempt,
						       loop_now_us(dial->loop) + NEXT_ATTEMPT_US);
				return;
			}
			result = errno;
		}
		/* The queue of a unix socket is full, and no event tells when it no longer is. */
		if (result == EAGAIN && dial->addresses[0].storage.ss_family == AF_UNIX) {
			dial->next_address = attempt->address_index;
			close(attempt_release(dial, attempt));
			loop_timer_set(dial->loop, &dial->next_attempt,
				       loop_now_us(dial->loop) + FULL_QUEUE_RETRY_US);
			return;
		}
		if (attempt->fd >= 0)
			close(attempt_release(dial, attempt));
		note_failure(dial, attempt->address_index, result);
	}
	if (!is_trying(dial))
		finish(dial, -1);
}

static void on_next_attempt(struct loop_timer *timer)
{
	try_next(timer->owner);
}

static void on_attempt_ready(struct loop_io *io, unsigned events)
{
	struct dial *dial = io->owner;
	struct dial_attempt *attempt = NULL;
	int result = 0;
	socklen_t len = sizeof(result);

	(void)events;
	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++) {
		if (&dial->attempts[i].io == io)
			attempt = &dial->attempts[i];
	}
	if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &result, &len) < 0)
		result = errno;
	if (result == 0 &&
	    is_connected_to_itself(attempt->fd, &dial->addresses[attempt->address_index]))
		result = ECONNREFUSED;
	if (result == 0) {
		finish(dial, attempt_release(dial, attempt));
		return;
	}
	attempt_abandon(dial, attempt, result);
	try_next(dial);
}

/* Puts the addresses in the order of RFC 8305, section 4: the families by turns, beginning with
 * that of the first. */
static void interleave(struct dial *dial, const struct address *addresses, size_t count)
{
	sa_family_t family = addresses[0].storage.ss_family;
	size_t same = 0, other = 0;

	while (dial->address_count < count) {
		while (same < count && addresses[same].storage.ss_family != family)
			same++;
		if (same < count)
			dial->addresses[dial->address_count++] = addresses[same++];
		while (other < count && addresses[other].storage.ss_family == family)
			other++;
		if (other < count)
			dial->addresses[dial->address_count++] = addresses[other++];
	}
}

static void on_lookup_done(struct lookup *lookup, const struct address *addresses, size_t count,
			   const struct error *error)
{
	struct dial *dial = lookup->owner;

	if (count == 0) {
		dial->error = *error;
		finish(dial, -1);
		return;
	}
	interleave(dial, addresses, count < ADDRESSES_MAX ? count : ADDRESSES_MAX);
	if (dial->on_resolved)
		dial->on_resolved(dial);
	try_next(dial);
}

static void begin(struct dial *dial, struct loop *loop, struct resolver *resolver)
{
	dial->loop = loop;
	dial->resolver = resolver;
	dial->lookup = (struct lookup){.on_done = on_lookup_done, .owner = dial};
	dial->next_attempt = (struct loop_timer){.on_expire = on_next_attempt, .owner = dial};
	for (size_t i = 0; i < DIAL_ATTEMPTS_MAX; i++)
		dial->attempts[i] =
			(struct dial_attempt){.io = {.on_ready = on_attempt_ready, .owner = dial},
					      .fd = -1};
	dial->address_count = 0;
	dial->next_address = 0;
	dial->error_number = 0;
	dial->error.text[0] = '\0';
	dial->active = true;
}

void dial_start(struct dial *dial, struct loop *loop, struct resolver *resolver, const char *host,
		unsigned short port)
{
	begin(dial, loop, resolver);
	resolve_start(resolver, &dial->lookup, host, port);
}

void dial_start_unix(struct dial *dial, struct loop *loop, const char *path)
{
	struct sockaddr_un *name = (struct sockaddr_un *)&dial->addresses[0].storage;
	size_t len = strlen(path);

	begin(dial, loop, NULL);
	if (len == 0 || len >= sizeof(name->sun_path)) {
		dial->error_number = ENAMETOOLONG;
		error_set(&dial->error, "the path of a unix socket has 1 to %zu characters",
			  sizeof(name->sun_path) - 1);
		finish(dial, -1);
		return;
	}
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(name->sun_path, path, len + 1);
	dial->addresses[0].len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	if (path[0] == '@') {
		/* An abstract name begins with a NUL and ends where the length says. */
		name->sun_path[0] = '\0';
		dial->addresses[0].len--;
	}
	dial->address_count = 1;
	if (dial->on_resolved)
		dial->on_resolved(dial);
	try_next(dial);
}
