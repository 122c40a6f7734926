#include "probes/postgres_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t postgres_list_count(const char *list)
{
	size_t count = 1;

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

int postgres_list_item(const char *list, size_t index, char *item, size_t size)
{
	size_t len;

	item[0] = '\0';
	for (; index > 0; index--) {
		list = strchr(list, ',');
		if (!list)
			return 0;
		list++;
	}
	len = strcspn(list, ",");
	if (len >= size)
		return -1;
	memcpy(item, list, len);
	item[len] = '\0';
	return 0;
}

bool postgres_has_word(const char *words, const char *text)
{
	while (*words != '\0') {
		size_t len = strcspn(words, ",");

		if (strlen(text) == len && strncmp(words, text, len) == 0)
			return true;
		words += len;
		words += strspn(words, ", ");
	}
	return false;
}

bool postgres_is_unix(const char *host)
{
	return host[0] == '/' || host[0] == '@';
}

static int check_port(const char *ports, size_t index, struct error *error)
{
	char port[POSTGRES_PORT_SIZE], *end = port;
	bool fits = postgres_list_item(ports, index, port, sizeof(port)) == 0;
	long number = strtol(port, &end, 10);

	if (fits && port[0] == '\0')
		return 0; /* the default */
	if (fits && isdigit((unsigned char)port[0]) && *end == '\0' && number > 0 &&
	    number <= 65535)
		return 0;
	return error_set(error,
			 "the port is not a number from 1 to 65535 (in a URL, write %%2F for "
			 "a \"/\" in the password, %%3A for a \":\" and %%3F for a \"?\")");
}

int postgres_check_hosts(const char *hosts, const char *addresses, const char *ports,
			 struct error *error)
{
	size_t count = postgres_list_count(*addresses ? addresses : hosts);
	char item[POSTGRES_HOST_SIZE];

	if (count > POSTGRES_HOSTS_MAX)
		return error_set(error, "there are %zu hosts, at most %d are possible", count,
				 POSTGRES_HOSTS_MAX);
	if (*ports && postgres_list_count(ports) != 1 && postgres_list_count(ports) != count)
		return error_set(error, "there are %zu ports for %zu hosts",
				 postgres_list_count(ports), count);
	for (size_t i = 0; i < count; i++) {
		if (postgres_list_item(addresses, i, item, sizeof(item)) < 0 ||
		    postgres_list_item(hosts, i, item, sizeof(item)) < 0)
			return error_set(error, "a host is longer than %d bytes",
					 POSTGRES_HOST_SIZE - 1);
		if (!postgres_is_unix(item) && strchr(item, '@'))
			return error_set(error,
					 "a host contains \"@\" (in a URL, write %%40 for an "
					 "\"@\" in the password)");
	}
	for (size_t i = 0; i < postgres_list_count(ports); i++) {
		if (check_port(ports, i, error) < 0)
			return -1;
	}
	return 0;
}

/* Copies one line, with everything that would disturb a line of text replaced. */
static void copy_line(const char *line, char *copy, size_t size)
{
	size_t len = strcspn(line, "\n");

	if (len >= size)
		len = size - 1;
	for (size_t i = 0; i < len; i++)
		copy[i] = iscntrl((unsigned char)line[i]) ? ' ' : line[i];
	while (len > 0 && (copy[len - 1] == ' ' || copy[len - 1] == '.'))
		len--;
	copy[len] = '\0';
}

/* Skips "connection to server at "db" (10.0.0.1), port 5432 failed: ", which we say in our own
 * words. */
static const char *skip_server(const char *line)
{
	static const char prefix[] = "connection to server ", end[] = " failed: ";
	const char *after;

	if (strncmp(line, prefix, strlen(prefix)) != 0)
		return line;
	after = strstr(line, end);
	return after ? after + strlen(end) : line;
}

static bool is_sqlstate(const char *text)
{
	for (int i = 0; i < SQLSTATE_SIZE - 1; i++) {
		if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'A' && text[i] <= 'Z'))
			return false;
	}
	return true;
}

bool postgres_server_error(const char *text, char sqlstate[SQLSTATE_SIZE], char *message,
			   size_t size)
{
	static const char separator[] = ":  ";

	sqlstate[0] = '\0';
	message[0] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *words, *code;

		line += *line == '\n';
		words = skip_server(line);
		code = strstr(words, separator);
		/* The severity is one translated word, so the separator is near. */
		if (!code || code > words + strcspn(words, "\n"))
			continue;
		code += strlen(separator);
		if (!is_sqlstate(code) || strncmp(code + SQLSTATE_SIZE - 1, ": ", 2) != 0)
			continue;
		memcpy(sqlstate, code, SQLSTATE_SIZE - 1);
		sqlstate[SQLSTATE_SIZE - 1] = '\0';
		copy_line(code + SQLSTATE_SIZE + 1, message, size);
		return true;
	}
	return false;
}

enum probe_reason postgres_reason_of_sqlstate(const char *sqlstate)
{
	static const struct {
		const char *sqlstate;
		enum probe_reason reason;
	} rows[] = {
		{"57P03", REASON_REJECTING}, /* cannot_connect_now */
		{"57P01", REASON_REJECTING}, /* admin_shutdown */
		{"57P02", REASON_REJECTING}, /* crash_shutdown */
		{"53300", REASON_TOO_MANY_CONNECTIONS},
		{"28P01", REASON_AUTH_FAILED}, /* invalid_password */
		{"28000", REASON_AUTH_FAILED}, /* invalid_authorization_specification */
		{"3D000", REASON_UNKNOWN_DATABASE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].sqlstate, sqlstate) == 0)
			return rows[i].reason;
	}
	return REASON_SERVER_ERROR;
}

int postgres_errno_of(const char *text)
{
	/* libpq has these words from the C library that we are linked with as well. */
	static const int candidates[] = {
		ECONNREFUSED, ENOENT,     EACCES,       EPERM,         ETIMEDOUT, ENETUNREACH,
		EHOSTUNREACH, ENETDOWN,   EHOSTDOWN,    EADDRNOTAVAIL, EAGAIN,    ECONNRESET,
		EPIPE,        EMFILE,     ENFILE,       ENOMEM,        ENOBUFS,   ENOTSOCK,
		EINVAL,       EPROTOTYPE, ECONNABORTED, EAFNOSUPPORT,
	};
	const char *words = skip_server(text);
	size_t line_len = strcspn(words, "\n");

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		const char *name = strerror(candidates[i]);
		size_t len = strlen(name);

		if (line_len >= len && strncmp(words + line_len - len, name, len) == 0)
			return candidates[i];
	}
	return 0;
}

bool postgres_is_garbage(const char *text)
{
	static const char *const phrases[] = {
		"expected authentication request", "received invalid",
		"received unencrypted data",       "lost synchronization with server",
		"unexpected message from server",  "message contents do not agree",
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (strstr(text, phrases[i]))
			return true;
	}
	return false;
}

void postgres_sentence(const char *text, char *sentence, size_t size)
{
	copy_line(skip_server(text), sentence, size);
}

void postgres_sentence_unquoted(const char *text, char *sentence, size_t size)
{
	const char *first = strchr(text, '"'), *last = strrchr(text, '"');
	size_t len;

	copy_line(text, sentence, size);
	if (!first || (size_t)(first - text) >= size)
		return;
	/* What is quoted may contain quotes and newlines itself, so all up to the last quote goes.
	 */
	sentence[first - text] = '\0';
	strncat(sentence, "...", size - strlen(sentence) - 1);
	len = strlen(sentence);
	if (last > first)
		copy_line(last + 1, sentence + len, size - len);
}

bool postgres_wants_password(const unsigned char head[AUTHENTICATION_HEAD_SIZE])
{
	/* Kind 0 is "you are in". */
	return head[0] == 'R' && (head[5] | head[6] | head[7] | head[8]) != 0;
}
