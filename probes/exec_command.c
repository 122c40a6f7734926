#include "probes/exec_command.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/buffer.h"
#include "agent/url.h"

enum { ARGUMENT_SHOWN_MAX = 256 };

/* ---- environment ---- */

/* Whether the pairs from `first` on set the variable whose "NAME=VALUE" this is. */
static bool is_set_by(const struct pair_list *pairs, size_t first, const char *variable)
{
	for (size_t i = first; i < pairs->count; i++) {
		size_t len = strlen(pairs->items[i].name);

		if (strncmp(pairs->items[i].name, variable, len) == 0 && variable[len] == '=')
			return true;
	}
	return false;
}

char **exec_environment(char *const *ours, const struct pair_list *pairs)
{
	size_t count = pairs->count + 1, text_size = 0, used = 0;
	char **environment, *text;

	for (char *const *variable = ours; *variable; variable++)
		count++;
	for (size_t i = 0; i < pairs->count; i++)
		text_size += strlen(pairs->items[i].name) + strlen(pairs->items[i].value) + 2;
	environment = malloc(count * sizeof(*environment) + text_size);
	if (!environment)
		return NULL;
	for (char *const *variable = ours; *variable; variable++) {
		if (strncmp(*variable, "READYD_", 7) != 0 && !is_set_by(pairs, 0, *variable))
			environment[used++] = *variable;
	}
	text = (char *)(environment + count);
	for (size_t i = 0; i < pairs->count; i++) {
		const struct pair *pair = &pairs->items[i];
		size_t size = strlen(pair->name) + strlen(pair->value) + 2;

		snprintf(text, size, "%s=%s", pair->name, pair->value);
		/* of several of one name the last one counts */
		if (!is_set_by(pairs, i + 1, text))
			environment[used++] = text;
		text += size;
	}
	environment[used] = NULL;
	return environment;
}

static const char *variable_value(char *const *environment, const char *name, size_t name_len)
{
	for (; *environment; environment++) {
		if (strncmp(*environment, name, name_len) == 0 && (*environment)[name_len] == '=')
			return *environment + name_len + 1;
	}
	return NULL;
}

/* ---- arguments ---- */

/* Appends to `to`, or only measures when it is NULL. Returns the length. */
static size_t put(char *to, size_t at, const char *from, size_t len)
{
	if (to)
		memcpy(to + at, from, len);
	return len;
}

/* Expands one argument into `to` (NULL = only measure). Returns the length, without a NUL. */
static size_t expand(const char *from, char *const *environment, char *to)
{
	size_t len = 0;

	while (*from) {
		const char *end = strncmp(from, "$(", 2) == 0 ? strchr(from, ')') : NULL;
		const char *value = end && end > from + 2 ? variable_value(environment, from + 2,
									   (size_t)(end - from) - 2)
							  : NULL;

		if (value) {
			len += put(to, len, value, strlen(value));
			from = end + 1;
		} else if (strncmp(from, "$$(", 3) == 0) {
			len += put(to, len, "$(", 2);
			from += 3;
		} else {
			len += put(to, len, from++, 1);
		}
	}
	return len;
}

char **exec_arguments(const struct text_list *command, char *const *environment)
{
	size_t text_size = 0;
	char **arguments, *text;

	for (size_t i = 0; i < command->count; i++)
		text_size += expand(command->items[i], environment, NULL) + 1;
	arguments = malloc((command->count + 1) * sizeof(*arguments) + text_size);
	if (!arguments)
		return NULL;
	text = (char *)(arguments + command->count + 1);
	for (size_t i = 0; i < command->count; i++) {
		arguments[i] = text;
		text += expand(command->items[i], environment, text);
		*text++ = '\0';
	}
	arguments[command->count] = NULL;
	return arguments;
}

/* ---- for people ---- */

/* Whether it is an option such as "--password", whose value is the next argument. */
static bool is_secret_option(const char *argument)
{
	size_t dashes = strspn(argument, "-");

	return dashes > 0 && !strpbrk(argument, "= ") &&
	       url_is_secret_name(argument + dashes, strlen(argument + dashes));
}

/* Cuts the argument where a secret begins: the value of "--password=..." or what follows
 * "Authorization:". Whether there was one. */
static bool cut_secret(char *argument)
{
	size_t dashes = strspn(argument, "-"), len = strcspn(argument + dashes, "= ");
	char *header = strcasestr(argument, "authorization:");

	if (dashes > 0 && argument[dashes + len] == '=' &&
	    url_is_secret_name(argument + dashes, len)) {
		argument[dashes + len + 1] = '\0';
		return true;
	}
	if (header)
		header[strlen("authorization:")] = '\0';
	return header != NULL;
}

static bool is_plain(const char *argument)
{
	for (const char *c = argument; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("%+,-./:=@_*", *c) &&
		    !((unsigned char)*c & 0x80))
			return false;
	}
	return argument[0] != '\0';
}

static void add_quoted(struct buffer *buffer, const char *argument)
{
	if (is_plain(argument)) {
		buffer_text(buffer, argument);
		return;
	}
	buffer_text(buffer, "'");
	for (const char *c = argument; *c; c++) {
		if (*c == '\'')
			buffer_text(buffer, "'\\''");
		else
			buffer_append(buffer, c, 1);
	}
	buffer_text(buffer, "'");
}

/* One argument, its secrets masked. */
static void add_masked(struct buffer *buffer, const char *argument)
{
	char shown[ARGUMENT_SHOWN_MAX] = "***";
	char *copy = strdup(argument);

	if (copy) {
		bool was_cut = cut_secret(copy);

		/* from the whole text, because a cut URL would not show that it has a password */
		url_mask(copy, shown, sizeof(shown) - 3);
		if (was_cut)
			memcpy(shown + strlen(shown), "***", 4);
	}
	free(copy);
	add_quoted(buffer, shown);
}

void exec_describe(const struct text_list *command, char *text, size_t size)
{
	struct buffer buffer;
	bool hidden = false;

	buffer_init(&buffer, size - 1);
	for (size_t i = 0; i < command->count; i++) {
		if (i > 0)
			buffer_text(&buffer, " ");
		add_masked(&buffer, hidden ? "***" : command->items[i]);
		hidden = !hidden && is_secret_option(command->items[i]);
	}
	snprintf(text, size, "%s", buffer.data ? buffer.data : "");
	buffer_free(&buffer);
}
