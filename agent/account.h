/* Users and groups by name or number, from /etc/passwd and /etc/group alone: no name service is
 * asked, because that could block. */
#ifndef READYD_AGENT_ACCOUNT_H
#define READYD_AGENT_ACCOUNT_H

#include <stddef.h>
#include <sys/types.h>

#include "agent/error.h"

enum { ACCOUNT_GROUPS_MAX = 64 };

struct account {
	uid_t uid;
	gid_t gid;
	gid_t groups[ACCOUNT_GROUPS_MAX]; /* the supplementary ones, with `gid` */
	size_t group_count;
};

/* Finds "name", "name:group", "uid" or "uid:gid". Without a group it is the user's own with the
 * supplementary ones, as at a login; a number that is not in /etc/passwd keeps our group. With a
 * group it is that one alone. Returns 0, or -1 with a sentence. */
int account_find(const char *text, struct account *account, struct error *error);

#endif
