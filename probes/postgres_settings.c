#include "probes/postgres_settings.h"

#include <stdio.h>
#include <string.h>

#include "agent/buffer.h"

enum { QUERY_SIZE_MAX = 64 * 1024 };

/* Where libpq and Debian's servers agree to meet when no host is given. */
static const char default_host[] = "/var/run/postgresql";
static const char default_port[] = "5432";

const char *const postgres_wanted_names[] = {"any",       "primary",        "standby", "read-write",
					     "read-only", "prefer-standby", NULL};
static const char *const role_choices[] = {"any", "primary", "standby", NULL};
static const char *const connection_choices[] = {"fresh", "persistent", NULL};

const char *const postgres_schemes[] = {"postgres", "postgresql", NULL};

#define FIELD(field_kind, member) \
	.kind = field_kind, .offset = offsetof(struct postgres_conf, member)

const struct field postgres_fields[] = {
	{.name = "url",
	 FIELD(FIELD_SECRET, url),
	 .help = "URL or connection string of libpq (default: its environment, PGHOST and so on)"},
	{.name = "password",
	 FIELD(FIELD_SECRET, password),
	 .help = "password (default: the URL's, PGPASSWORD or ~/.pgpass)"},
	{.name = "host",
	 FIELD(FIELD_TEXT, overrides.host),
	 .help = "host, or the unix socket's directory, instead of the URL's (default: "
		 "/var/run/postgresql)"},
	{.name = "port", FIELD(FIELD_TEXT, overrides.port), .help = "port instead of the URL's"},
	{.name = "user", FIELD(FIELD_TEXT, overrides.user), .help = "user instead of the URL's"},
	{.name = "database",
	 FIELD(FIELD_TEXT, overrides.database),
	 .help = "database instead of the URL's"},
	{.name = "sslmode",
	 FIELD(FIELD_TEXT, overrides.sslmode),
	 .help = "disable, allow, prefer, require, verify-ca or verify-full (default: the URL's)"},
	{.name = "role",
	 FIELD(FIELD_CHOICE, role),
	 .fallback = "any",
	 .choices = role_choices,
	 .help = "what the server must be"},
	{.name = "maxLagSeconds",
	 FIELD(FIELD_SECONDS, max_lag_us),
	 .help = "how far a standby may be behind (default: any far)"},
	{.name = "query", FIELD(FIELD_TEXT, query), .help = "query that must return a row"},
	{.name = "expect",
	 FIELD(FIELD_TEXT, expect),
	 .help = "what the first column of the query's first row must be"},
	{.name = "connection",
	 FIELD(FIELD_CHOICE, connection),
	 .fallback = "fresh",
	 .choices = connection_choices,
	 .help = "open a session for each run, or keep one open between runs"},
	{.name = "warnAboveSeconds",
	 FIELD(FIELD_SECONDS, warn_above_us),
	 .help = "warn when it takes longer (default: never)"},
	{0},
};

enum postgres_wanted postgres_wanted_role(const struct postgres_conf *conf,
					  const struct postgres_parameters *parameters)
{
	const char *attributes = postgres_parameter(parameters, "target_session_attrs");

	if (conf->role != POSTGRES_ANY)
		return (enum postgres_wanted)conf->role;
	for (int i = 0; postgres_wanted_names[i]; i++) {
		if (strcmp(postgres_wanted_names[i], attributes) == 0)
			return (enum postgres_wanted)i;
	}
	return POSTGRES_ANY;
}

size_t postgres_host_count(const struct postgres_parameters *parameters)
{
	const char *literals = postgres_parameter(parameters, "hostaddr");

	return postgres_list_count(*literals ? literals : postgres_parameter(parameters, "host"));
}

void postgres_host_at(const struct postgres_parameters *parameters, size_t index,
		      char host[POSTGRES_HOST_SIZE], char literal[POSTGRES_HOST_SIZE],
		      char port[POSTGRES_PORT_SIZE])
{
	const char *ports = postgres_parameter(parameters, "port");

	/* postgres_check_hosts() has seen to it that they fit. */
	postgres_list_item(postgres_parameter(parameters, "host"), index, host, POSTGRES_HOST_SIZE);
	postgres_list_item(postgres_parameter(parameters, "hostaddr"), index, literal,
			   POSTGRES_HOST_SIZE);
	/* One port is for all hosts. */
	postgres_list_item(ports, postgres_list_count(ports) > 1 ? index : 0, port,
			   POSTGRES_PORT_SIZE);
	if (!*host && !*literal)
		memcpy(host, default_host, sizeof(default_host));
	if (!*port)
		memcpy(port, default_port, sizeof(default_port));
}

int postgres_settings_check(void *conf_memory, bool kubernetes_form, struct error *error)
{
	struct postgres_conf *conf = conf_memory;
	enum probe_reason reason;

	(void)kubernetes_form;
	if (conf->expect && !conf->query)
		return error_set(error, "expect is compared with a query's answer, and there is no "
					"query");
	if (conf->query && strlen(conf->query) > QUERY_SIZE_MAX)
		return error_set(error, "query is longer than %d KiB", QUERY_SIZE_MAX / 1024);
	if (conf->max_lag_us > 0 && conf->role == POSTGRES_PRIMARY)
		return error_set(error, "maxLagSeconds is about standbys, and role is primary");
	if (conf->url.file)
		return 0;
	conf->parameters =
		postgres_parameters_create(conf->url.value, &conf->overrides, &reason, error);
	return conf->parameters ? 0 : -1;
}

void postgres_settings_release(void *conf_memory)
{
	struct postgres_conf *conf = conf_memory;

	postgres_parameters_free(conf->parameters);
	conf->parameters = NULL;
}

static void describe_hosts(const struct postgres_parameters *parameters, struct buffer *text)
{
	char host[POSTGRES_HOST_SIZE], literal[POSTGRES_HOST_SIZE], port[POSTGRES_PORT_SIZE];

	for (size_t i = 0; i < postgres_host_count(parameters); i++) {
		const char *shown = host;

		postgres_host_at(parameters, i, host, literal, port);
		if (!*host)
			shown = literal;
		buffer_format(text, strchr(shown, ':') ? "%s[%s]:%s" : "%s%s:%s", i > 0 ? "," : "",
			      shown, port);
	}
}

void postgres_settings_describe(const void *conf_memory, char *text, size_t size)
{
	const struct postgres_conf *conf = conf_memory;
	const struct postgres_parameters *parameters = conf->parameters;
	struct buffer target;

	if (!parameters) {
		snprintf(text, size, "postgres: (urlFile %s)",
			 conf->url.file ? conf->url.file : "");
		return;
	}
	buffer_init(&target, size - 1);
	buffer_text(&target, "postgres://");
	if (*postgres_parameter(parameters, "user"))
		buffer_format(&target, "%s@", postgres_parameter(parameters, "user"));
	describe_hosts(parameters, &target);
	if (*postgres_parameter(parameters, "dbname"))
		buffer_format(&target, "/%s", postgres_parameter(parameters, "dbname"));
	snprintf(text, size, "%s", target.data ? target.data : "postgres:");
	buffer_free(&target);
}
