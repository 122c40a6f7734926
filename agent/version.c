#include "agent/version.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/json.h"
#include "agent/resolve.h"
#include "agent/serve.h"
#include "agent/tls.h"
#include "agent/tree.h"
#include "probes/probe.h"

enum { LIST_SIZE = 1024 };

/* "libcurl 8.14.1, nghttp2 1.64.0, …": each wrapper of a library knows its own. */
static void list_libraries(char *list, size_t size)
{
	int len = snprintf(list, size, "libmicrohttpd %s, c-ares %s, libyaml %s, yyjson %s",
			   server_library_version(), resolver_library_version(),
			   tree_library_version(), json_library_version());

	if (tls_library_version())
		len += snprintf(list + len, size - (size_t)len, ", %s", tls_library_version());
	for (size_t i = 0; probe_types[i]; i++) {
		if (!probe_types[i]->libraries)
			continue;
		len += snprintf(list + len, size - (size_t)len, ", ");
		probe_types[i]->libraries(list + len, size - (size_t)len);
		len += (int)strlen(list + len);
	}
}

/* Cuts the next "name version" off the list; false at its end. */
static bool next_library(char **list, char **ret_name, char **ret_version)
{
	char *space, *item = *list;
	char *end = strstr(item, ", ");

	if (*item == '\0')
		return false;
	*list = end ? end + 2 : item + strlen(item);
	if (end)
		*end = '\0';
	space = strchr(item, ' ');
	if (space)
		*space = '\0';
	*ret_name = item;
	*ret_version = space ? space + 1 : item + strlen(item);
	return true;
}

void version_text(struct buffer *buffer)
{
	char text[LIST_SIZE], *list = text, *name, *version;

	buffer_format(buffer, "readyd %s%s\n", READYD_VERSION,
		      tls_library_version() ? "" : " (built without TLS)");
	list_libraries(text, sizeof(text));
	while (next_library(&list, &name, &version))
		buffer_format(buffer, "%s %s\n", name, version);
}

void version_json(struct buffer *buffer)
{
	char text[LIST_SIZE], *list = text, *name, *version;
	struct json_writer json;

	json_begin(&json, buffer);
	json_object_begin(&json, NULL);
	json_text(&json, "readyd", READYD_VERSION);
	json_boolean(&json, "tls", tls_library_version() != NULL);
	json_object_begin(&json, "libraries");
	list_libraries(text, sizeof(text));
	while (next_library(&list, &name, &version))
		json_text(&json, name, version);
	json_object_end(&json);
	json_object_end(&json);
	buffer_text(buffer, "\n");
}
