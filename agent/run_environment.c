#include "agent/run_environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether the entry's name is this one, or begins with it if it ends with an underscore. */
static bool has_name(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && (name[len - 1] == '_' || entry[len] == '=');
}

/* The service manager's socket and watchdog are ours to serve, and descriptors that it passed are
 * closed. */
static bool is_for_readyd(const char *entry)
{
	static const char *const names[] = {"READYD_",       "NOTIFY_SOCKET", "WATCHDOG_PID",
					    "WATCHDOG_USEC", "LISTEN_FDS",    "LISTEN_PID",
					    "LISTEN_FDNAMES"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (has_name(entry, names[i]))
			return true;
	}
	return false;
}

static bool is_passed(const char *entry, const struct text_list *pass)
{
	for (size_t i = 0; i < pass->count; i++) {
		size_t len = strlen(pass->items[i]);

		if (strncmp(entry, pass->items[i], len) == 0 && entry[len] == '=')
			return true;
	}
	return false;
}

static size_t count_of(char *const *entries)
{
	size_t count = 0;

	while (entries && entries[count])
		count++;
	return count;
}

char **run_environment(const struct text_list *pass, char *const *added)
{
	size_t count = 0;
	char **environment =
		malloc((count_of(environ) + count_of(added) + 1) * sizeof(*environment));

	if (!environment)
		return NULL;
	for (char *const *entry = environ; *entry; entry++) {
		if (!is_for_readyd(*entry) || is_passed(*entry, pass))
			environment[count++] = *entry;
	}
	for (char *const *entry = added; entry && *entry; entry++)
		environment[count++] = *entry;
	environment[count] = NULL;
	return environment;
}
