#include "probes/redis_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probes/redis_text.h"

enum { DEFAULT_PORT = 6379, DATABASE_DIGITS_MAX = 8, DATABASE_MAX = 99999999 };

static const char *const roles[] = {
	[REDIS_ROLE_ANY] = "any",
	[REDIS_ROLE_PRIMARY] = "primary",
	[REDIS_ROLE_REPLICA] = "replica",
	NULL,
};

const char *const redis_schemes[] = {"redis", "rediss", "redis+unix", "valkey", "valkeys", NULL};

const struct field redis_fields[] = {
	{.name = "url",
	 .kind = FIELD_SECRET,
	 .offset = offsetof(struct redis_settings, url),
	 .help = "redis://USER:PASSWORD@HOST:PORT/DATABASE, with TLS rediss://, or "
		 "redis+unix:///PATH?db=DATABASE"},
	{.name = "host",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_settings, host),
	 .help = "name or address, instead of url (default: 127.0.0.1)"},
	{.name = "port",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct redis_settings, port),
	 .minimum = 1,
	 .maximum = 65535,
	 .help = "port at host (default: 6379)"},
	{.name = "unixSocket",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_settings, unix_socket),
	 .help = "path of a unix socket, instead of url and host"},
	{.name = "user",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_settings, user),
	 .help = "user of the access list (default: the one in url)"},
	{.name = "password",
	 .kind = FIELD_SECRET,
	 .offset = offsetof(struct redis_settings, password),
	 .help = "password (default: the one in url)"},
	{.name = "database",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct redis_settings, database),
	 .maximum = DATABASE_MAX,
	 .help = "number of the database (default: the one in url)"},
	{.name = "tls",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_settings, tls),
	 .help = "speak TLS, as rediss:// does"},
	{.name = "role",
	 .kind = FIELD_CHOICE,
	 .offset = offsetof(struct redis_settings, role),
	 .fallback = "any",
	 .choices = roles,
	 .help = "wanted role; a replica must also have its link up and its copy complete"},
	{.name = "requireReplicaLink",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_settings, require_replica_link),
	 .help = "any role will do, but a replica must have its link up and its copy complete"},
	{.name = "cluster",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_settings, cluster),
	 .help = "cluster_state must be ok"},
	{.name = "keyPresent",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_settings, key_present),
	 .help = "a key that must exist"},
	{.name = "keyAbsent",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_settings, key_absent),
	 .help = "a key that must not exist, such as a switch for maintenance"},
	{.name = "warnAboveSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = offsetof(struct redis_settings, warn_above_us),
	 .help = "warn when the whole run took longer"},
	TLS_FIELDS(struct redis_settings, tls_settings),
	{.name = NULL},
};

/* ---- where to connect ---- */

/* A number up to the end of the text or of the query parameter. */
static int parse_database(const char *text, int64_t *ret_database, struct error *error)
{
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > DATABASE_DIGITS_MAX || (text[len] != '\0' && text[len] != '&'))
		return error_set(error, "the database in a Redis URL must be a number, as in "
					"redis://host:6379/3 or redis+unix:///run/redis.sock?db=3");
	*ret_database = strtoll(text, NULL, 10);
	return 0;
}

/* The value of `db` in a query (may be NULL); NULL if there is none. Other parameters are meant for
 * the application's own client, whose URL we are often given. */
static const char *query_database(const char *query)
{
	while (query) {
		if (strncmp(query, "db=", 3) == 0)
			return query + 3;
		query = strchr(query, '&');
		if (query)
			query++;
	}
	return NULL;
}

static int take_unix_path(struct redis_endpoint *endpoint, struct error *error)
{
	char *path = endpoint->url.path;

	if (endpoint->url.host || url_decode(path) < 0 || strlen(path) < 2)
		return error_set(error,
				 "the URL of a unix socket has three slashes before its path, "
				 "as in redis+unix:///run/redis.sock");
	endpoint->unix_socket = path;
	return 0;
}

static bool is_known_scheme(const char *scheme)
{
	for (const char *const *known = redis_schemes; *known; known++) {
		if (strcmp(scheme, *known) == 0)
			return true;
	}
	return false;
}

static int take_url(struct redis_endpoint *endpoint, const struct redis_settings *settings,
		    const char *text, struct error *error)
{
	struct url *url = &endpoint->url;
	int64_t database = 0;
	const char *db;

	if (url_parse(url, text, error) < 0)
		return -1;
	if (!is_known_scheme(url->scheme))
		return error_set(error, "a Redis URL begins with redis://, rediss:// (TLS) or "
					"redis+unix://");
	db = query_database(url->query);
	if (db && parse_database(db, &database, error) < 0)
		return -1;
	if (strcmp(url->scheme, "redis+unix") == 0) {
		if (take_unix_path(endpoint, error) < 0)
			return -1;
	} else if (strlen(url->path) > 1 && parse_database(url->path + 1, &database, error) < 0) {
		return -1;
	}
	if (strcmp(url->scheme, "rediss") == 0 || strcmp(url->scheme, "valkeys") == 0)
		endpoint->tls = true;
	if (url->host)
		endpoint->host = url->host;
	if (url->port != 0)
		endpoint->port = url->port;
	if (!endpoint->user && url->user && url->user[0] != '\0')
		endpoint->user = url->user;
	if (settings->database == 0)
		endpoint->database = database;
	return 0;
}

/* Puts the settings and the URL (may be NULL) together, all but the password. */
static int endpoint_set(struct redis_endpoint *endpoint, const struct redis_settings *settings,
			const char *url_text, struct error *error)
{
	*endpoint = (struct redis_endpoint){
		.host = settings->host ? settings->host : "127.0.0.1",
		.port = settings->port != 0 ? (unsigned short)settings->port : DEFAULT_PORT,
		.unix_socket = settings->unix_socket,
		.user = settings->user,
		.database = settings->database,
		.tls = settings->tls,
	};
	if (url_text && take_url(endpoint, settings, url_text, error) < 0)
		return -1;
	if (endpoint->tls && endpoint->unix_socket)
		return error_set(error, "Redis speaks no TLS over a unix socket");
	if (endpoint->tls && !READYD_TLS)
		return error_set(error, TLS_UNAVAILABLE_SENTENCE);
	return 0;
}

int redis_endpoint_read(struct redis_endpoint *endpoint, const struct redis_settings *settings,
			struct error *error)
{
	char *url_text;
	int result;

	*endpoint = (struct redis_endpoint){0};
	error->text[0] = '\0';
	url_text = secret_read(&settings->url, error);
	if (!url_text && error->text[0] != '\0')
		return -1;
	result = endpoint_set(endpoint, settings, url_text, error);
	secret_wipe(url_text);
	if (result < 0)
		return -1;
	endpoint->password = secret_read(&settings->password, error);
	if (!endpoint->password && error->text[0] != '\0')
		return -1;
	if (!endpoint->password) {
		endpoint->password = endpoint->url.password;
		endpoint->url.password = NULL;
	}
	return 0;
}

void redis_endpoint_clear(struct redis_endpoint *endpoint)
{
	secret_wipe(endpoint->password);
	url_free(&endpoint->url);
	*endpoint = (struct redis_endpoint){0};
}

/* ---- hooks ---- */

int redis_settings_check(void *conf, bool kubernetes_form, struct error *error)
{
	const struct redis_settings *settings = conf;
	bool has_url = secret_is_set(&settings->url);
	bool has_host = settings->host || settings->port != 0;
	struct redis_endpoint endpoint;
	int result;

	(void)kubernetes_form;
	if (has_url && (has_host || settings->unix_socket))
		return error_set(error,
				 "url already says where to connect: leave out host, port and "
				 "unixSocket");
	if (settings->unix_socket && has_host)
		return error_set(error,
				 "unixSocket already says where to connect: leave out host and "
				 "port");
	if (!has_url && !has_host && !settings->unix_socket)
		return error_set(error, "one of url, host, port and unixSocket is needed");
	if (settings->tls_settings.key_file && !settings->tls_settings.certificate_file)
		return error_set(error, "keyFile needs certFile, the certificate of this key");
	/* A URL in a file is checked when it is used: the file may come later. */
	result = endpoint_set(&endpoint, settings, settings->url.value, error);
	redis_endpoint_clear(&endpoint);
	return result;
}

void redis_settings_describe(const void *conf, char *text, size_t size)
{
	const struct redis_settings *settings = conf;
	const char *user = settings->user ? settings->user : "";
	const char *at = settings->user ? "@" : "";
	const char *host = settings->host ? settings->host : "127.0.0.1";
	bool bare_ipv6 = strchr(host, ':') && host[0] != '[';
	char database[32] = "";

	if (settings->database != 0)
		snprintf(database, sizeof(database), "%s%" PRId64,
			 settings->unix_socket ? "?db=" : "/", settings->database);
	if (settings->url.value)
		url_mask(settings->url.value, text, size);
	else if (settings->url.file)
		snprintf(text, size, "redis: the URL in %s", settings->url.file);
	else if (settings->unix_socket)
		snprintf(text, size, "redis+unix://%s%s%s%s", user, at, settings->unix_socket,
			 database);
	else
		snprintf(text, size, "redis%s://%s%s%s%s%s:%" PRId64 "%s", settings->tls ? "s" : "",
			 user, at, bare_ipv6 ? "[" : "", host, bare_ipv6 ? "]" : "",
			 settings->port != 0 ? settings->port : DEFAULT_PORT, database);
}
