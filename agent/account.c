#include "agent/account.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 256 };

/* A number below the one that means "unchanged" to the system; false for anything else. */
static bool parse_id(const char *text, unsigned *ret_id)
{
	unsigned long id;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	id = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || id >= UINT32_MAX)
		return false;
	*ret_id = (unsigned)id;
	return true;
}

static void add_group(struct account *account, gid_t gid)
{
	for (size_t i = 0; i < account->group_count; i++) {
		if (account->groups[i] == gid)
			return;
	}
	if (account->group_count < ACCOUNT_GROUPS_MAX)
		account->groups[account->group_count++] = gid;
}

/* The user by name or number, also one that is not in the file by number. Writes the name, "" if it
 * has none. */
static int find_user(const char *text, struct account *account, char *ret_name)
{
	unsigned id = 0;
	bool numeric = parse_id(text, &id), found = false;
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;

	ret_name[0] = '\0';
	while (!found && file && (entry = fgetpwent(file))) {
		found = strcmp(entry->pw_name, text) == 0 || (numeric && entry->pw_uid == id);
		if (found) {
			account->uid = entry->pw_uid;
			account->gid = entry->pw_gid;
			snprintf(ret_name, NAME_SIZE, "%s", entry->pw_name);
		}
	}
	if (file)
		fclose(file);
	if (!found && numeric) {
		account->uid = id;
		account->gid = getegid();
	}
	return found || numeric ? 0 : -1;
}

static int find_group(const char *text, struct account *account)
{
	unsigned id = 0;
	bool found = false;
	FILE *file;
	struct group *entry;

	if (parse_id(text, &id)) {
		account->gid = id;
		return 0;
	}
	file = fopen("/etc/group", "re");
	while (!found && file && (entry = fgetgrent(file))) {
		found = strcmp(entry->gr_name, text) == 0;
		if (found)
			account->gid = entry->gr_gid;
	}
	if (file)
		fclose(file);
	return found ? 0 : -1;
}

static void add_supplementary_groups(struct account *account, const char *user)
{
	FILE *file = fopen("/etc/group", "re");
	struct group *entry;

	while (file && (entry = fgetgrent(file))) {
		for (char **member = entry->gr_mem; *member; member++) {
			if (strcmp(*member, user) == 0)
				add_group(account, entry->gr_gid);
		}
	}
	if (file)
		fclose(file);
}

int account_find(const char *text, struct account *account, struct error *error)
{
	const char *colon = strchr(text, ':');
	size_t user_len = colon ? (size_t)(colon - text) : strlen(text);
	char user[NAME_SIZE], name[NAME_SIZE];

	if (user_len == 0 || user_len >= sizeof(user))
		return error_set(error,
				 "\"%s\" is no user, expected a name or number, or user:group",
				 text);
	memcpy(user, text, user_len);
	user[user_len] = '\0';
	*account = (struct account){0};
	if (find_user(user, account, name) < 0)
		return error_set(error, "there is no user \"%s\" in /etc/passwd", user);
	if (colon && find_group(colon + 1, account) < 0)
		return error_set(error, "there is no group \"%s\" in /etc/group", colon + 1);
	add_group(account, account->gid);
	if (!colon && name[0] != '\0')
		add_supplementary_groups(account, name);
	return 0;
}
