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

/* What the word after an option is. */
enum option_value { VALUE_SHOWN, VALUE_SECRET, VALUE_LOGIN };

/* Whether the option's value is a secret: "--no-password" has none. */
static bool is_secret_option(const char *name, size_t len)
{
	return strncasecmp(name, "no-", 3) != 0 && url_is_secret_name(name, len);
}

/* Whether the option's value is "user:password". */
static bool is_login_option(const char *option, size_t len)
{
	return (len == 2 && memcmp(option, "-u", 2) == 0) ||
	       (len == 6 && memcmp(option, "--user", 6) == 0);
}

/* What comes after this argument, if it is an option such as "--password" whose value is the next
 * one. */
static enum option_value value_after(const char *argument)
{
	size_t dashes = strspn(argument, "-"), len = strlen(argument);

	if (dashes == 0 || strpbrk(argument, "= "))
		return VALUE_SHOWN;
	if (is_login_option(argument, len))
		return VALUE_LOGIN;
	return is_secret_option(argument + dashes, len - dashes) ? VALUE_SECRET : VALUE_SHOWN;
}

static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && (text[digits] == '\0' || text[digits] == '/');
}

/* Where the value of a header "X-Api-Key: VALUE" begins, somewhere in the argument, or NULL. */
static char *secret_header_value(char *argument)
{
	for (char *colon = strchr(argument, ':'); colon; colon = strchr(colon + 1, ':')) {
		char *name = colon;

		/* url_mask() knows what is secret in a URL */
		if (strncmp(colon, "://", 3) == 0) {
			colon += strcspn(colon, " \t\r\n'\"") - 1;
			continue;
		}
		while (name > argument &&
		       (isalnum((unsigned char)name[-1]) || name[-1] == '-' || name[-1] == '_'))
			name--;
		if ((name == argument || strchr(" \t\r\n'\"=([{,;", name[-1])) &&
		    url_is_secret_name(name, (size_t)(colon - name)) && !is_port(colon + 1))
			return colon + 1;
	}
	return NULL;
}

/* Where a secret begins that goes to the end of the argument: the value of "--password=...", the
 * password of a login or the value of a header. NULL if there is none. */
static char *secret_value(char *argument, bool is_login)
{
	size_t dashes = strspn(argument, "-"), len = strcspn(argument, "= ");
	char *login = is_login ? argument : NULL;

	if (dashes > 0 && argument[len] == '=') {
		if (is_secret_option(argument + dashes, len - dashes))
			return argument + len + 1;
		if (is_login_option(argument, len))
			login = argument + len + 1;
	}
	if (login && strchr(login, ':'))
		return strchr(login, ':') + 1;
	return secret_header_value(argument);
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
static void add_masked(struct buffer *buffer, const char *argument, bool is_login)
{
	char shown[ARGUMENT_SHOWN_MAX] = "***";
	char *copy = strdup(argument);

	if (copy) {
		char *secret = secret_value(copy, is_login);

		if (secret)
			*secret = '\0';
		/* from the whole text, because a cut URL would not show that it has a password */
		url_mask(copy, shown, sizeof(shown) - 3);
		if (secret)
			memcpy(shown + strlen(shown), "***", 4);
	}
	free(copy);
	add_quoted(buffer, shown);
}

void exec_describe(const struct text_list *command, char *text, size_t size)
{
	enum option_value value = VALUE_SHOWN;
	struct buffer buffer;

	buffer_init(&buffer, size - 1);
	for (size_t i = 0; i < command->count; i++) {
		const char *argument = command->items[i];
		enum option_value next = value_after(argument);
		/* Not the value is "--", and another option that has one. Anything else may be it,
		 * even if it begins with "-". */
		bool is_value =
			value != VALUE_SHOWN && next == VALUE_SHOWN && strcmp(argument, "--") != 0;

		if (i > 0)
			buffer_text(&buffer, " ");
		if (is_value && value == VALUE_SECRET)
			add_quoted(&buffer, "***");
		else
			add_masked(&buffer, argument, is_value);
		if (strcmp(argument, "--") != 0)
			value = next;
	}
	snprintf(text, size, "%s", buffer.data ? buffer.data : "");
	buffer_free(&buffer);
}
