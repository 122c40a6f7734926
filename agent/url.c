#include "agent/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PORT_DIGITS_MAX = 5, PARAMETER_NAME_SIZE = 64 };

/* ---- single parts ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int url_decode(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		int high, low;

		if (*in != '%') {
			*out++ = *in;
			continue;
		}
		high = hex_value(in[1]);
		low = high < 0 ? -1 : hex_value(in[2]);
		if (low < 0 || high * 16 + low == 0)
			return -1;
		*out++ = (char)(high * 16 + low);
		in += 2;
	}
	*out = '\0';
	return 0;
}

int url_parse_port(const char *text, unsigned short *ret_port, struct error *error)
{
	size_t len = strspn(text, "0123456789");
	long value = 0;

	for (size_t i = 0; i < len && i < PORT_DIGITS_MAX; i++)
		value = value * 10 + (text[i] - '0');
	if (len == 0 || len > PORT_DIGITS_MAX || text[len] != '\0' || value < 1 || value > 65535)
		return error_set(error, "a port must be a number from 1 to 65535");
	*ret_port = (unsigned short)value;
	return 0;
}

/* Length of the scheme when `text` begins with one and its colon; 0 otherwise. */
static size_t scheme_len(const char *text)
{
	size_t len = 0;

	if (!isalpha((unsigned char)text[0]))
		return 0;
	while (isalnum((unsigned char)text[len]) || (text[len] && strchr("+-.", text[len])))
		len++;
	return text[len] == ':' ? len : 0;
}

/* Whether `host` (without brackets) is a literal IPv6 address, perhaps with a zone. */
static bool is_ipv6(const char *host)
{
	size_t len = strcspn(host, "%");
	struct in6_addr address;
	char bare[INET6_ADDRSTRLEN];

	if (len >= sizeof(bare))
		return false;
	memcpy(bare, host, len);
	bare[len] = '\0';
	if (inet_pton(AF_INET6, bare, &address) != 1)
		return false;
	return host[len] == '\0' || host[len + 1] != '\0';
}

/* Whether all characters are such as a name, an address or an encoded socket path may have. */
static bool is_plain_host(const char *host)
{
	for (; *host; host++) {
		if (!isgraph((unsigned char)*host) || strchr("\"#<>?@[\\]^`{|}", *host))
			return false;
	}
	return true;
}

/* ---- host and port ---- */

static int out_of_memory(struct error *error)
{
	return error_set(error, "out of memory");
}

/* Takes "[v6]" off the front. Returns what follows the bracket, or NULL with a sentence. */
static const char *take_bracketed(const char *text, char **ret_host, struct error *error)
{
	const char *end = strchr(text, ']');
	char *host, *zone;

	if (!end) {
		error_set(error, "the \"[\" before the address has no \"]\" after it");
		return NULL;
	}
	host = strndup(text + 1, (size_t)(end - text) - 1);
	if (!host) {
		out_of_memory(error);
		return NULL;
	}
	/* RFC 6874 spells the "%" before a zone "%25"; people write it bare. */
	zone = strstr(host, "%25");
	if (zone && zone[3])
		memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
	if (!is_ipv6(host) || !is_plain_host(host)) {
		free(host);
		error_set(error, "an IPv6 address is expected between \"[\" and \"]\"");
		return NULL;
	}
	*ret_host = host;
	return end + 1;
}

/* Takes a host without brackets off the front. Returns what follows, or NULL with a sentence. */
static const char *take_plain(const char *text, char **ret_host, struct error *error)
{
	size_t len = strcspn(text, ":");
	char *host;

	if (text[len] && strchr(text + len + 1, ':')) {
		if (!is_ipv6(text)) {
			error_set(error, "more than one \":\" in a host and its port");
			return NULL;
		}
		len = strlen(text);
	}
	host = strndup(text, len);
	if (!host) {
		out_of_memory(error);
		return NULL;
	}
	if (!is_plain_host(host)) {
		free(host);
		error_set(error, "the host has a character that no host name has");
		return NULL;
	}
	*ret_host = host;
	return text + len;
}

int url_split_host_port(const char *text, char **ret_host, unsigned short *ret_port,
			struct error *error)
{
	unsigned short port = 0;
	char *host = NULL;
	const char *rest = text[0] == '[' ? take_bracketed(text, &host, error)
					  : take_plain(text, &host, error);
	int result = 0;

	if (!rest)
		return -1;
	if (rest[0] == ':')
		result = url_parse_port(rest + 1, &port, error);
	else if (rest[0])
		result = error_set(error, "only \":\" and a port are expected after \"]\"");
	if (result < 0) {
		free(host);
		return -1;
	}
	*ret_host = host;
	*ret_port = port;
	return 0;
}

/* ---- whole URLs ---- */

void url_free(struct url *url)
{
	free(url->scheme);
	free(url->user);
	if (url->password)
		explicit_bzero(url->password, strlen(url->password));
	free(url->password);
	free(url->host);
	free(url->path);
	free(url->query);
	*url = (struct url){0};
}

/* A decoded copy of `len` bytes. */
static int copy_decoded(char **ret_text, const char *text, size_t len, const char *what,
			struct error *error)
{
	char *copy = strndup(text, len);

	if (!copy)
		return out_of_memory(error);
	if (url_decode(copy) < 0) {
		explicit_bzero(copy, len);
		free(copy);
		return error_set(error,
				 "a \"%%\" in the %s must be followed by two hexadecimal digits "
				 "other than 00 (\"%%\" itself is \"%%25\")",
				 what);
	}
	*ret_text = copy;
	return 0;
}

static int parse_user(struct url *url, const char *text, size_t len, struct error *error)
{
	const char *colon = memchr(text, ':', len);
	size_t user_len = colon ? (size_t)(colon - text) : len;

	if (copy_decoded(&url->user, text, user_len, "user", error) < 0)
		return -1;
	if (!colon)
		return 0;
	return copy_decoded(&url->password, colon + 1, len - user_len - 1, "password", error);
}

/* Host and port of a URL, where an IPv6 address needs its brackets. */
static int parse_host(struct url *url, const char *text, struct error *error)
{
	if (text[0] != '[' && strchr(text, ':') != strrchr(text, ':')) {
		error_set(error, is_ipv6(text)
					 ? "an IPv6 address in a URL stands in \"[\" and \"]\""
					 : "more than one \":\" in a host and its port");
		return -1;
	}
	if (url_split_host_port(text, &url->host, &url->port, error) < 0 || !url->host)
		return -1;
	if (url->host[0] == '\0') {
		free(url->host);
		url->host = NULL;
		return 0;
	}
	if (text[0] != '[' && (url_decode(url->host) < 0 || !is_plain_host(url->host)))
		return error_set(error, "the host has a malformed \"%%\" escape");
	return 0;
}

/* What stands between "//" and the path, the query or the end. */
static int parse_authority(struct url *url, const char *text, size_t len, struct error *error)
{
	/* The last "@" counts: a password may contain one, a host never. */
	const char *at = memrchr(text, '@', len);
	const char *host = at ? at + 1 : text;
	char *host_port;
	int result;

	if (at && parse_user(url, text, (size_t)(at - text), error) < 0)
		return -1;
	host_port = strndup(host, len - (size_t)(host - text));
	if (!host_port)
		return out_of_memory(error);
	result = parse_host(url, host_port, error);
	/* The likely cause, said without quoting what may be a part of a password. */
	if (result < 0 && !at && strchr(text + len, '@'))
		error_set(error, "\"/\", \"?\" and \"#\" in a user or password must be written "
				 "\"%%2F\", \"%%3F\" and \"%%23\"");
	free(host_port);
	return result;
}

static int parse_parts(struct url *url, const char *text, size_t len, struct error *error)
{
	const char *rest = text + len + 1;
	size_t path_len;

	url->scheme = strndup(text, len);
	if (!url->scheme)
		return out_of_memory(error);
	for (char *c = url->scheme; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strncmp(rest, "//", 2) == 0) {
		size_t authority_len = strcspn(rest + 2, "/?#");

		if (parse_authority(url, rest + 2, authority_len, error) < 0)
			return -1;
		rest += 2 + authority_len;
	}
	path_len = strcspn(rest, "?#");
	url->path = strndup(rest, path_len);
	if (!url->path)
		return out_of_memory(error);
	rest += path_len;
	if (rest[0] != '?')
		return 0;
	url->query = strndup(rest + 1, strcspn(rest + 1, "#"));
	return url->query ? 0 : out_of_memory(error);
}

int url_parse(struct url *url, const char *text, struct error *error)
{
	size_t len = scheme_len(text);

	*url = (struct url){0};
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return error_set(error,
					 "a space or control character at position %zu of the URL",
					 (size_t)(c - text) + 1);
	}
	if (len == 0)
		return error_set(error,
				 "a URL begins with a scheme, like \"http://\" or \"tcp://\"");
	if (parse_parts(url, text, len, error) < 0) {
		url_free(url);
		return -1;
	}
	return 0;
}

/* ---- masking ---- */

bool url_is_secret_name(const char *name, size_t len)
{
	static const char *const signs[] = {"pass",       "pwd",     "secret", "token",
					    "auth",       "key",     "sig",    "code",
					    "credential", "session", "cookie", "community"};
	char decoded[PARAMETER_NAME_SIZE];

	if (len == 0)
		return false;
	/* No setting has so long a name, so what it may be is not worth a guess. */
	if (len >= sizeof(decoded))
		return true;
	memcpy(decoded, name, len);
	decoded[len] = '\0';
	if (url_decode(decoded) < 0)
		return true;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (strcasestr(decoded, signs[i]))
			return true;
	}
	return false;
}

/* Where a value of a conninfo string ("host=db password='a b'") ends: quotes and backslashes as
 * libpq reads them. */
static const char *conninfo_value_end(const char *value)
{
	bool quoted = *value == '\'';

	if (quoted)
		value++;
	for (; *value; value++) {
		if (*value == '\\' && value[1])
			value++;
		else if (quoted ? *value == '\'' : isspace((unsigned char)*value) != 0)
			return value;
	}
	return value;
}

/* If a parameter with a secret value begins at `name`, somewhere in `text`: where its value is. */
static bool secret_parameter(const char *text, const char *name, const char **ret_from,
			     const char **ret_to)
{
	bool in_query = name > text && strchr("?&;", name[-1]);
	const char *value;
	size_t len;

	if (in_query) {
		len = strcspn(name, "=&?;#");
		value = name + len;
	} else {
		if (name > text && !isspace((unsigned char)name[-1]))
			return false;
		/* with "-", so that an option of a command ("--password=...") is found too */
		for (len = 0;
		     isalnum((unsigned char)name[len]) || name[len] == '_' || name[len] == '-';)
			len++;
		value = name + len + strspn(name + len, " \t\r\n");
	}
	if (*value != '=' || !url_is_secret_name(name, len))
		return false;
	value++;
	if (in_query) {
		*ret_to = value + strcspn(value, "&");
	} else {
		value += strspn(value, " \t\r\n");
		*ret_to = conninfo_value_end(value);
		if (*value == '\'')
			value++;
	}
	*ret_from = value;
	return true;
}

/* Whether a user without a password is a name that people want to see: with a database it says as
 * whom, while elsewhere it may as well be a token. */
static bool is_user_a_name(const char *text, size_t scheme)
{
	static const char *const schemes[] = {"postgres", "postgresql"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strlen(schemes[i]) == scheme && strncasecmp(text, schemes[i], scheme) == 0)
			return true;
	}
	return false;
}

/* Whether the "@" of a web address is none of its path or query, which may well have one. */
static bool is_before_host(const char *text, const char *rest)
{
	struct url url;

	if (memchr(rest, '@', strcspn(rest, "/?#")) || url_parse(&url, text, NULL) < 0)
		return true;
	url_free(&url);
	return false;
}

/* Finds what is secret in the user part: all of it in a web address, where tokens stand in either
 * place; else the password, or a user without one. What a parser would make of a malformed URL does
 * not matter here: everything up to the last "@" is hidden, because a password that was not encoded
 * may hold "@", "/" and "?". */
static bool secret_user_part(const char *text, const char **ret_from, const char **ret_to)
{
	size_t scheme = scheme_len(text);
	bool has_scheme = scheme && strncmp(text + scheme, "://", 3) == 0;
	bool is_web = has_scheme && strncasecmp(text, "http", 4) == 0;
	const char *rest = has_scheme ? text + scheme + 3 : text;
	const char *at = strrchr(rest, '@'), *colon = strchr(rest, ':');
	const char *slashes = strstr(text, "//");

	if (!at || (is_web && !is_before_host(text, rest)))
		return false;
	*ret_to = at;
	if (!is_web && colon && colon < at)
		*ret_from = colon + 1;
	else if (slashes && slashes < at && (!has_scheme || !is_user_a_name(text, scheme)))
		*ret_from = slashes + 2;
	else
		return false;
	return true;
}

void url_mask(const char *text, char *masked, size_t size)
{
	const char *user_from = NULL, *user_to = NULL;
	const char *value_from = NULL, *value_to = NULL;
	const char *fragment;
	const char *hidden_to = text;
	size_t len = 0;

	if (size == 0)
		return;
	secret_user_part(text, &user_from, &user_to);
	fragment = strchr(user_to ? user_to : text, '#');
	for (const char *c = text; *c; c++) {
		bool was_hidden = c < hidden_to;

		if (c == user_from && user_to > hidden_to)
			hidden_to = user_to;
		if (c == value_from && value_to > hidden_to)
			hidden_to = value_to;
		if (fragment && c == fragment + 1)
			hidden_to = c + strlen(c);
		/* Looked for in hidden text too: a value may reach beyond what hides its name. */
		secret_parameter(text, c, &value_from, &value_to);
		if (c >= hidden_to && len + 1 < size)
			masked[len++] = iscntrl((unsigned char)*c) ? '?' : *c;
		for (int i = 0; i < 3 && !was_hidden && c < hidden_to && len + 1 < size; i++)
			masked[len++] = '*';
	}
	masked[len] = '\0';
}
