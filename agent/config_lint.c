#include "agent/config_lint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_SIZE = 256 };

/* Copies the host of "scheme://user@host:port/path"; returns whether there is exactly one. */
static bool copy_host(const char *target, char *host)
{
	const char *begin = strstr(target, "://"), *at;
	size_t len;

	if (!begin)
		return false;
	begin += 3;
	len = strcspn(begin, "/?#");
	at = memrchr(begin, '@', len);
	if (at) {
		len -= (size_t)(at + 1 - begin);
		begin = at + 1;
	}
	if (begin[0] == '[') {
		begin++;
		len = strcspn(begin, "]");
	} else if (memchr(begin, ':', len)) {
		len = strcspn(begin, ":");
	}
	if (len == 0 || len >= HOST_SIZE || memchr(begin, ',', len) || memchr(begin, '%', len))
		return false;
	memcpy(host, begin, len);
	host[len] = '\0';
	return true;
}

/* Whether this host has the address: only then can a socket be bound to it. */
static bool can_bind(const struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool bound;

	if (fd < 0)
		return true;
	bound = bind(fd, address, len) == 0;
	close(fd);
	return bound;
}

static bool is_own_name(const char *host)
{
	size_t len = strlen(host), suffix = strlen(".localhost");
	char own[HOST_SIZE] = "";

	if (strcasecmp(host, "localhost") == 0 ||
	    (len > suffix && strcasecmp(host + len - suffix, ".localhost") == 0))
		return true;
	return gethostname(own, sizeof(own) - 1) == 0 && strcasecmp(host, own) == 0;
}

bool target_is_elsewhere(const char *target)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	char host[HOST_SIZE];

	if (!copy_host(target, host))
		return false;
	if (inet_pton(AF_INET, host, &ipv4.sin_addr) == 1)
		return !can_bind((const struct sockaddr *)&ipv4, sizeof(ipv4));
	if (inet_pton(AF_INET6, host, &ipv6.sin6_addr) == 1)
		return !IN6_IS_ADDR_LOOPBACK(&ipv6.sin6_addr) &&
		       !can_bind((const struct sockaddr *)&ipv6, sizeof(ipv6));
	return !is_own_name(host);
}

/* The member that explains the warning best: the probe itself if it is not there. */
static const struct node *member_or(const struct node *node, const char *first, const char *second)
{
	const struct node *member = node_member(node, first);

	if (!member)
		member = node_member(node, second);
	return member ? member : node;
}

void config_lint_probe(const struct probe_config *probe, const struct node *node,
		       struct faults *faults)
{
	if (probe->timeout_us > probe->period_us)
		faults_warn(faults, member_or(node, "timeoutSeconds", "periodSeconds"),
			    "timeoutSeconds of %s is longer than its periodSeconds; runs do not "
			    "overlap, so a slow run delays the next",
			    probe->name);
	if (probe->role == ROLE_LIVENESS && target_is_elsewhere(probe->target))
		faults_warn(
			faults, node,
			"%s is a liveness probe of another host; restarting this container will "
			"not help that one, put it under readiness",
			probe->name);
}
