#include "agent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/unix_socket.h"
#include "agent/url.h"

enum {
	BACKLOG = 1024,
	/* A TCP connection that says nothing stays with the kernel this long, and costs us nothing.
	 */
	SILENT_SECONDS = 5,
	/* Left to itself the kernel takes megabytes for each, and then a reader's progress shows
	 * only after seconds. */
	SEND_BUFFER = 128 * 1024,
};

static struct listen_socket *next_free(struct listen_socket *sockets, const size_t *count,
				       struct error *error)
{
	if (*count < LISTEN_SOCKETS_MAX)
		return &sockets[*count];
	error_set(error, "more than %d addresses to listen on", LISTEN_SOCKETS_MAX);
	return NULL;
}

/* A socket file that nobody listens on any more is left over from a run that was killed. */
static int remove_left_over(const struct sockaddr_un *address, socklen_t len, struct error *error)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat status;
	int reason;

	if (fd < 0)
		return error_set(error, "cannot open a socket: %s", strerror(errno));
	reason = connect(fd, (const struct sockaddr *)address, len) < 0 ? errno : 0;
	close(fd);
	if (reason == ENOENT)
		return 0;
	if (reason == 0 || reason == EAGAIN)
		return error_set(error, "%s: another process listens there", address->sun_path);
	/* Only this means that nobody listens; whoever may not connect, for example, cannot know.
	 */
	if (reason != ECONNREFUSED)
		return error_set(error, "%s: cannot tell whether another process listens there: %s",
				 address->sun_path, strerror(reason));
	if (lstat(address->sun_path, &status) < 0)
		return 0;
	if (!S_ISSOCK(status.st_mode))
		return error_set(error, "%s exists and is no socket", address->sun_path);
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return error_set(error, "cannot remove %s, left over from another run: %s",
				 address->sun_path, strerror(errno));
	return 0;
}

static int bind_unix(int fd, const struct sockaddr_un *address, socklen_t len, bool private_to_user)
{
	mode_t before = 0;
	int result;

	if (private_to_user)
		before = umask(0177);
	result = bind(fd, (const struct sockaddr *)address, len);
	if (private_to_user)
		umask(before);
	return result;
}

static int open_unix(const char *path, bool private_to_user, struct listen_socket *sockets,
		     size_t *count, struct error *error)
{
	struct listen_socket *listener = next_free(sockets, count, error);
	struct sockaddr_un address;
	struct stat status;
	socklen_t len;
	int fd;

	if (!listener || unix_socket_address(path, &address, &len, error) < 0)
		return -1;
	if (path[0] != '@' && remove_left_over(&address, len, error) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, "cannot open a socket: %s", strerror(errno));
	if (bind_unix(fd, &address, len, private_to_user) < 0 || listen(fd, BACKLOG) < 0) {
		error_set(error, "cannot listen on unix:%s: %s", path,
			  errno == EADDRINUSE
				  ? "another process listens there; choose another name "
				    "with `socket:` or READYD_SOCKET"
				  : strerror(errno));
		close(fd);
		return -1;
	}
	*listener = (struct listen_socket){.fd = fd, .is_unix = true};
	snprintf(listener->address, sizeof(listener->address), "unix:%s", path);
	if (path[0] != '@' && lstat(path, &status) == 0) {
		snprintf(listener->path, sizeof(listener->path), "%s", path);
		listener->device = status.st_dev;
		listener->inode = status.st_ino;
	}
	(*count)++;
	return 0;
}

static void describe(struct listen_socket *listener)
{
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} bound = {.ipv6 = {0}};
	socklen_t len = sizeof(bound);
	char host[INET6_ADDRSTRLEN] = "";

	if (getsockname(listener->fd, &bound.any, &len) < 0)
		return;
	if (bound.any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &bound.ipv6.sin6_addr, host, sizeof(host));
		snprintf(listener->address, sizeof(listener->address), "[%s]:%d", host,
			 ntohs(bound.ipv6.sin6_port));
	} else {
		inet_ntop(AF_INET, &bound.ipv4.sin_addr, host, sizeof(host));
		snprintf(listener->address, sizeof(listener->address), "%s:%d", host,
			 ntohs(bound.ipv4.sin_port));
	}
}

static int open_ip(const struct sockaddr *address, socklen_t len, const char *notation,
		   struct listen_socket *sockets, size_t *count, struct error *error)
{
	struct listen_socket *listener = next_free(sockets, count, error);
	int fd, on = 1, silent_seconds = SILENT_SECONDS, send_buffer = SEND_BUFFER;

	if (!listener)
		return -1;
	fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, "cannot listen on %s: %s", notation, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* What is accepted inherits it. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &silent_seconds, sizeof(silent_seconds));
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0) {
		int reason = errno;

		error_set(error, "cannot listen on %s: %s", notation, strerror(reason));
		close(fd);
		errno = reason;
		return -1;
	}
	*listener = (struct listen_socket){.fd = fd};
	describe(listener);
	(*count)++;
	return 0;
}

static int open_ipv4(struct in_addr host, unsigned short port, const char *notation,
		     struct listen_socket *sockets, size_t *count, struct error *error)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr = host,
				      .sin_port = htons(port)};

	return open_ip((const struct sockaddr *)&address, sizeof(address), notation, sockets, count,
		       error);
}

/* Containers without IPv6 are common, and "[::]" is among the defaults. */
static int open_ipv6(const struct in6_addr *host, unsigned short port, const char *notation,
		     struct listen_socket *sockets, size_t *count, struct error *ret_note,
		     struct error *error)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,
				       .sin6_addr = *host,
				       .sin6_port = htons(port)};
	int result = open_ip((const struct sockaddr *)&address, sizeof(address), notation, sockets,
			     count, error);

	if (result < 0 && IN6_IS_ADDR_UNSPECIFIED(host) &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		error_set(ret_note, "this host has no IPv6, %s is left out", notation);
		return 0;
	}
	return result;
}

/* As in a URL; but port 0, which is any free one, no URL can have. */
static int split_notation(const char *notation, char **ret_host, unsigned short *ret_port,
			  struct error *error)
{
	size_t len = strlen(notation);
	char *host_only;
	int result;

	if (len < 2 || strcmp(notation + len - 2, ":0") != 0)
		return url_split_host_port(notation, ret_host, ret_port, error);
	host_only = strndup(notation, len - 2);
	if (!host_only)
		return error_set(error, "out of memory");
	result = url_split_host_port(host_only, ret_host, ret_port, error);
	free(host_only);
	return result;
}

int listen_open(const char *notation, bool private_to_user, struct listen_socket *sockets,
		size_t *count, struct error *ret_note, struct error *error)
{
	struct in6_addr ipv6 = IN6ADDR_ANY_INIT;
	struct in_addr ipv4 = {.s_addr = htonl(INADDR_ANY)};
	unsigned short port = 0;
	char *host = NULL;
	int result = 0;

	ret_note->text[0] = '\0';
	if (strncmp(notation, "unix:", 5) == 0)
		return open_unix(notation + 5, private_to_user, sockets, count, error);
	if (split_notation(notation, &host, &port, error) < 0 || !host)
		return -1;
	if (host[0] == '\0' || strcmp(host, "*") == 0) {
		result = open_ipv4(ipv4, port, notation, sockets, count, error);
		if (result == 0)
			result = open_ipv6(&ipv6, port, notation, sockets, count, ret_note, error);
	} else if (strcmp(host, "localhost") == 0) {
		ipv4.s_addr = htonl(INADDR_LOOPBACK);
		result = open_ipv4(ipv4, port, notation, sockets, count, error);
	} else if (inet_pton(AF_INET, host, &ipv4) == 1) {
		result = open_ipv4(ipv4, port, notation, sockets, count, error);
	} else if (inet_pton(AF_INET6, host, &ipv6) == 1) {
		result = open_ipv6(&ipv6, port, notation, sockets, count, ret_note, error);
	} else {
		result = error_set(error,
				   "cannot listen on \"%s\": an IPv4 or IPv6 address and a port "
				   "are expected, such as 0.0.0.0:8086",
				   notation);
	}
	free(host);
	return result;
}

void listen_close(struct listen_socket *socket)
{
	struct stat status;

	if (socket->fd < 0)
		return;
	/* Removed before it is closed: while it is open, its inode has no other owner. */
	if (socket->path[0] != '\0' && lstat(socket->path, &status) == 0 &&
	    status.st_dev == socket->device && status.st_ino == socket->inode)
		unlink(socket->path);
	close(socket->fd);
	socket->fd = -1;
}
