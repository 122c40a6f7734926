#include "agent/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "agent/loop.h"

static const char resolv_conf[] = "/etc/resolv.conf";

/* A probe has a second by default, so a second name server must be asked well before that; asking a
 * slow one twice does no harm. Together they bound how long a lookup that was forgotten by its
 * owner lives on in c-ares, which cannot cancel single ones: 3.5 s with one name server. */
enum { TRY_MS = 500, TRY_MAX_MS = 2000, TRIES = 3 };

/* A socket of c-ares. */
struct channel_socket {
	struct loop_io io;
	struct channel *channel;
	struct channel_socket *next;
};

/* c-ares as set up by one state of /etc/resolv.conf. */
struct channel {
	struct resolver *resolver;
	struct channel *next;
	ares_channel_t *ares;
	struct loop_timer timer;
	struct loop_task reap;
	struct channel_socket *sockets;
	size_t query_count;
	struct stat config; /* of /etc/resolv.conf; zeroed when there is none */
};

/* The first channel is the current one; those after it only finish what they have begun. */
struct resolver {
	struct loop *loop;
	struct channel *channels;
	bool library_ready;
};

/* A lookup under way; outlives it when the owner has lost interest. */
struct query {
	struct channel *channel;
	struct lookup *lookup; /* NULL = forgotten */
	char host[];
};

const char *resolver_library_version(void)
{
	return ares_version(NULL);
}

void address_host(const struct address *address, char *text, size_t size)
{
	const void *bytes = &((const struct sockaddr_in *)&address->storage)->sin_addr;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->storage;
	char zone[IF_NAMESIZE];
	size_t len;

	if (size == 0)
		return;
	text[0] = '\0';
	if (address->storage.ss_family == AF_INET6)
		bytes = &six->sin6_addr;
	else if (address->storage.ss_family != AF_INET)
		return;
	inet_ntop(address->storage.ss_family, bytes, text, (socklen_t)size);
	if (address->storage.ss_family != AF_INET6 || six->sin6_scope_id == 0)
		return;
	len = strlen(text);
	if (if_indextoname(six->sin6_scope_id, zone))
		snprintf(text + len, size - len, "%%%s", zone);
	else
		snprintf(text + len, size - len, "%%%u", (unsigned)six->sin6_scope_id);
}

/* ---- what needs no name server ---- */

static void set_ipv4(struct address *address, const struct in_addr *ip, unsigned short port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&address->storage;

	*four = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_addr = *ip,
				     .sin_port = htons(port)};
	address->len = sizeof(*four);
}

static void set_ipv6(struct address *address, const struct in6_addr *ip, unsigned zone,
		     unsigned short port)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->storage;

	*six = (struct sockaddr_in6){.sin6_family = AF_INET6,
				     .sin6_addr = *ip,
				     .sin6_scope_id = zone,
				     .sin6_port = htons(port)};
	address->len = sizeof(*six);
}

/* The number of a zone, given by an interface's name or its number; 0 if there is none. */
static unsigned zone_number(const char *zone)
{
	size_t digits = strspn(zone, "0123456789");
	unsigned number = 0;

	if (zone[digits] != '\0')
		return if_nametoindex(zone);
	if (digits > 9)
		return 0;
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + (unsigned)(zone[i] - '0');
	return number;
}

/* Reads a literal address. Returns 1, 0 when `host` is a name, or -1 with a sentence. */
static int parse_literal(const char *host, unsigned short port, struct address *ret_address,
			 struct error *error)
{
	size_t len = strlen(host);
	char bare[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
	struct in_addr four;
	struct in6_addr six;
	unsigned zone = 0;
	char *percent;

	if (inet_pton(AF_INET, host, &four) == 1) {
		set_ipv4(ret_address, &four, port);
		return 1;
	}
	if (!memchr(host, ':', len))
		return 0;
	if (host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof(bare))
		return error_set(error, "\"%.100s\" is no host name and no address", host);
	memcpy(bare, host, len);
	bare[len] = '\0';
	percent = strchr(bare, '%');
	if (percent)
		*percent = '\0';
	if (inet_pton(AF_INET6, bare, &six) != 1)
		return error_set(error, "\"%.100s\" is no host name and no address", host);
	if (percent) {
		zone = zone_number(percent + 1);
		if (zone == 0)
			return error_set(error, "there is no network interface \"%s\"",
					 percent + 1);
	}
	set_ipv6(ret_address, &six, zone, port);
	return 1;
}

/* "localhost" must work in an image without /etc/hosts, and must not be asked of a name server
 * (RFC 6761, section 6.3). */
static bool is_localhost(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0;
}

static size_t localhost_addresses(struct address *addresses, unsigned short port)
{
	const struct in_addr four = {htonl(INADDR_LOOPBACK)};

	set_ipv4(&addresses[0], &four, port);
	set_ipv6(&addresses[1], &in6addr_loopback, 0, port);
	return 2;
}

/* ---- c-ares on the loop ---- */

/* Frees a channel that is no longer in the list. */
static void channel_free(struct channel *channel)
{
	struct loop *loop = channel->resolver->loop;

	/* Ends all queries with ARES_EDESTRUCTION and closes all sockets, through our callbacks. */
	ares_destroy(channel->ares);
	loop_timer_clear(loop, &channel->timer);
	loop_task_clear(loop, &channel->reap);
	free(channel);
}

/* Frees a channel that has nothing left to do, unless it is the current one. */
static void on_reap(struct loop_task *task)
{
	struct channel *channel = task->owner;
	struct channel **link = &channel->resolver->channels;

	if (channel->query_count > 0 || channel == *link)
		return;
	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
	channel_free(channel);
}

/* After each call into c-ares: its next deadline becomes our timer. */
static void channel_rearm(struct channel *channel)
{
	struct loop *loop = channel->resolver->loop;
	struct timeval left;

	if (ares_timeout(channel->ares, NULL, &left))
		loop_timer_set(loop, &channel->timer,
			       clock_monotonic_us() + (int64_t)left.tv_sec * 1000000 +
				       left.tv_usec);
	else
		loop_timer_clear(loop, &channel->timer);
}

static void on_timer(struct loop_timer *timer)
{
	struct channel *channel = timer->owner;

	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	channel_rearm(channel);
}

static void on_socket(struct loop_io *io, unsigned events)
{
	struct channel_socket *socket = io->owner;
	struct channel *channel = socket->channel;
	int fd = io->fd;

	/* `socket` may be gone after this. */
	ares_process_fd(channel->ares, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
			events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
	channel_rearm(channel);
}

/* c-ares tells what it wants of a socket; nothing more just before it closes it. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct channel *channel = data;
	struct channel_socket **link = &channel->sockets;
	struct channel_socket *socket;
	unsigned interest = (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u);

	while (*link && (*link)->io.fd != fd)
		link = &(*link)->next;
	socket = *link;
	if (interest == 0) {
		if (!socket)
			return;
		loop_io_clear(channel->resolver->loop, &socket->io);
		*link = socket->next;
		free(socket);
		return;
	}
	if (!socket) {
		/* Without memory the query runs into its timeout, which is all it can do. */
		socket = calloc(1, sizeof(*socket));
		if (!socket)
			return;
		*socket = (struct channel_socket){.io = {.on_ready = on_socket, .owner = socket},
						  .channel = channel,
						  .next = channel->sockets};
		channel->sockets = socket;
	}
	loop_io_set(channel->resolver->loop, &socket->io, fd, interest);
	socket->io.fd = fd; /* so that it is found again even if it could not be watched */
}

static struct channel *channel_create(struct resolver *resolver, const struct stat *config)
{
	struct channel *channel = calloc(1, sizeof(*channel));
	static char lookups[] =
		"fb"; /* /etc/hosts before name servers, whatever nsswitch.conf says */
	struct ares_options options = {
		.timeout = TRY_MS,
		.maxtimeout = TRY_MAX_MS,
		.tries = TRIES,
		.lookups = lookups,
		.qcache_max_ttl = 0,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = channel,
	};
	int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_MAXTIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
		   ARES_OPT_QUERY_CACHE | ARES_OPT_SOCK_STATE_CB;

	if (!channel)
		return NULL;
	channel->resolver = resolver;
	channel->config = *config;
	channel->timer.on_expire = on_timer;
	channel->timer.owner = channel;
	channel->reap.on_run = on_reap;
	channel->reap.owner = channel;
	if (ares_init_options(&channel->ares, &options, mask) != ARES_SUCCESS) {
		free(channel);
		return NULL;
	}
	return channel;
}

static bool same_file(const struct stat *one, const struct stat *other)
{
	return one->st_dev == other->st_dev && one->st_ino == other->st_ino &&
	       one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
	       one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

/* The channel for a new lookup. A container that gets another network gets another resolv.conf, so
 * a change of the file makes a new channel; the old one goes when its last lookup is over. */
static struct channel *current_channel(struct resolver *resolver)
{
	struct channel *channel = resolver->channels;
	struct stat config;

	if (stat(resolv_conf, &config) < 0)
		memset(&config, 0, sizeof(config));
	if (channel && same_file(&channel->config, &config))
		return channel;
	if (!resolver->library_ready && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return NULL;
	resolver->library_ready = true;
	channel = channel_create(resolver, &config);
	if (!channel)
		return NULL;
	channel->next = resolver->channels;
	resolver->channels = channel;
	if (channel->next)
		loop_defer(resolver->loop, &channel->next->reap);
	return channel;
}

/* ---- answers ---- */

/* "the name server 10.0.0.1 does not answer", and the like. */
static void describe_servers(const struct channel *channel, const char *one, const char *many,
			     char *text, size_t size)
{
	char *list = ares_get_servers_csv(channel->ares);
	bool several = list && strchr(list, ',');
	char *out = list;

	/* The usual port is not worth a word. */
	for (const char *in = list; in && *in;) {
		if (strncmp(in, ":53", 3) == 0 && (in[3] == '\0' || strchr(",%", in[3])))
			in += 3;
		else
			*out++ = *in++;
	}
	if (out)
		*out = '\0';
	snprintf(text, size, "the name server%s %s %s", several ? "s" : "", list ? list : "",
		 several ? many : one);
	ares_free_string(list);
}

static void describe_failure(const struct query *query, int status, struct error *error)
{
	const struct channel *channel = query->channel;
	char why[200];

	switch (status) {
	case ARES_ENOTFOUND:
		snprintf(why, sizeof(why), "no such name");
		break;
	case ARES_ENODATA:
		snprintf(why, sizeof(why), "the name has no address");
		break;
	case ARES_EBADNAME:
		snprintf(why, sizeof(why), "this is no valid host name");
		break;
	case ARES_ENOMEM:
		snprintf(why, sizeof(why), "out of memory");
		break;
	case ARES_ETIMEOUT:
		describe_servers(channel, "does not answer", "do not answer", why, sizeof(why));
		break;
	case ARES_ECONNREFUSED:
		describe_servers(channel, "cannot be reached", "cannot be reached", why,
				 sizeof(why));
		break;
	case ARES_ESERVFAIL:
		describe_servers(channel, "failed (SERVFAIL)", "failed (SERVFAIL)", why,
				 sizeof(why));
		break;
	case ARES_EREFUSED:
		describe_servers(channel, "refused the question", "refused the question", why,
				 sizeof(why));
		break;
	default:
		snprintf(why, sizeof(why), "%s", ares_strerror(status));
	}
	error_set(error, "cannot resolve \"%.100s\": %s", query->host, why);
}

static size_t take_addresses(const struct ares_addrinfo *info, struct address *addresses)
{
	size_t count = 0;

	for (const struct ares_addrinfo_node *node = info->nodes; node && count < ADDRESSES_MAX;
	     node = node->ai_next) {
		if (node->ai_addrlen > sizeof(addresses[count].storage))
			continue;
		memcpy(&addresses[count].storage, node->ai_addr, node->ai_addrlen);
		addresses[count].len = node->ai_addrlen;
		count++;
	}
	return count;
}

static void on_answer(void *data, int status, int timeouts, struct ares_addrinfo *info)
{
	struct query *query = data;
	struct channel *channel = query->channel;
	struct lookup *lookup = query->lookup;
	struct address addresses[ADDRESSES_MAX];
	struct error error = {""};
	size_t count = 0;

	(void)timeouts;
	if (status == ARES_SUCCESS)
		count = take_addresses(info, addresses);
	if (lookup && count == 0)
		describe_failure(query, status == ARES_SUCCESS ? ARES_ENODATA : status, &error);
	if (info)
		ares_freeaddrinfo(info);
	free(query);
	channel->query_count--;
	if (channel->query_count == 0 && status != ARES_EDESTRUCTION)
		loop_defer(channel->resolver->loop, &channel->reap);
	if (!lookup)
		return;
	lookup->query = NULL;
	if (status != ARES_EDESTRUCTION)
		lookup->on_done(lookup, addresses, count, &error);
}

/* ---- the interface ---- */

struct resolver *resolver_create(struct loop *loop)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (resolver)
		resolver->loop = loop;
	return resolver;
}

void resolver_destroy(struct resolver *resolver)
{
	if (!resolver)
		return;
	while (resolver->channels) {
		struct channel *channel = resolver->channels;

		resolver->channels = channel->next;
		channel_free(channel);
	}
	if (resolver->library_ready)
		ares_library_cleanup();
	free(resolver);
}

static void fail(struct lookup *lookup, const struct error *error)
{
	lookup->on_done(lookup, NULL, 0, error);
}

static void ask(struct resolver *resolver, struct lookup *lookup, const char *host,
		unsigned short port)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
						  .ai_socktype = SOCK_STREAM,
						  .ai_flags = ARES_AI_NUMERICSERV};
	struct channel *channel = current_channel(resolver);
	size_t len = strlen(host);
	struct query *query = malloc(sizeof(*query) + len + 1);
	char service[8];

	if (!channel || !query) {
		struct error error = {"cannot resolve names: out of memory"};

		free(query);
		fail(lookup, &error);
		return;
	}
	*query = (struct query){.channel = channel, .lookup = lookup};
	memcpy(query->host, host, len + 1);
	snprintf(service, sizeof(service), "%u", (unsigned)port);
	lookup->query = query;
	channel->query_count++;
	ares_getaddrinfo(channel->ares, host, service, &hints, on_answer, query);
	channel_rearm(channel);
}

void resolve_start(struct resolver *resolver, struct lookup *lookup, const char *host,
		   unsigned short port)
{
	struct address addresses[2];
	struct error error = {""};
	int literal;

	lookup->query = NULL;
	if (host[0] == '\0') {
		error_set(&error, "there is no host name to resolve");
		fail(lookup, &error);
		return;
	}
	literal = parse_literal(host, port, &addresses[0], &error);
	if (literal > 0)
		lookup->on_done(lookup, addresses, 1, &error);
	else if (literal < 0)
		fail(lookup, &error);
	else if (is_localhost(host))
		lookup->on_done(lookup, addresses, localhost_addresses(addresses, port), &error);
	else
		ask(resolver, lookup, host, port);
}

void resolve_cancel(struct resolver *resolver, struct lookup *lookup)
{
	struct query *query = lookup->query;

	(void)resolver;
	if (query)
		query->lookup = NULL;
	lookup->query = NULL;
}
