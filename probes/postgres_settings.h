/* The settings of the PostgreSQL probe. */
#ifndef READYD_PROBES_POSTGRES_SETTINGS_H
#define READYD_PROBES_POSTGRES_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/field.h"
#include "probes/postgres_parameters.h"
#include "probes/postgres_text.h"

/* What the server must be: the words of libpq's target_session_attrs, of which the first three are
 * the choices of our `role` as well. */
enum postgres_wanted {
	POSTGRES_ANY,
	POSTGRES_PRIMARY,
	POSTGRES_STANDBY,
	POSTGRES_READ_WRITE,
	POSTGRES_READ_ONLY,
	POSTGRES_PREFER_STANDBY,
};

/* The words, by their number; ends with NULL. */
extern const char *const postgres_wanted_names[];

enum postgres_connection { POSTGRES_FRESH, POSTGRES_PERSISTENT };

struct postgres_conf {
	struct secret url;
	struct secret password;
	struct postgres_overrides overrides;
	int role;           /* enum postgres_wanted */
	int64_t max_lag_us; /* 0 = any */
	char *query;
	char *expect;
	int connection;        /* enum postgres_connection */
	int64_t warn_above_us; /* 0 = never */

	/* Made by check(), but NULL when the URL is in a file, which each run reads anew. */
	struct postgres_parameters *parameters;
};

/* The hooks of probe_type (probes/probe.h); `conf` is a struct postgres_conf. */
extern const struct field postgres_fields[];
extern const char *const postgres_schemes[];
int postgres_settings_check(void *conf, bool kubernetes_form, struct error *error);
void postgres_settings_describe(const void *conf, char *text, size_t size);
void postgres_settings_release(void *conf);

/* The wanted role, by the settings or else by the connection string. */
enum postgres_wanted postgres_wanted_role(const struct postgres_conf *conf,
					  const struct postgres_parameters *parameters);

/* How many hosts there are, at least one. */
size_t postgres_host_count(const struct postgres_parameters *parameters);

/* The host at `index`, its literal address or "", and its port. */
void postgres_host_at(const struct postgres_parameters *parameters, size_t index,
		      char host[POSTGRES_HOST_SIZE], char literal[POSTGRES_HOST_SIZE],
		      char port[POSTGRES_PORT_SIZE]);

#endif
