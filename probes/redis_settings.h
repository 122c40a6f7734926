/* The settings of the Redis probe and where they say to connect. Nothing here knows a protocol. */
#ifndef READYD_PROBES_REDIS_SETTINGS_H
#define READYD_PROBES_REDIS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/field.h"
#include "agent/tls.h"
#include "agent/url.h"

struct redis_settings {
	struct secret url;
	char *host;
	int64_t port; /* 0 = not set */
	char *unix_socket;
	char *user;
	struct secret password;
	int64_t database;
	bool tls;
	int role; /* enum redis_role */
	bool require_replica_link;
	bool cluster;
	char *key_present;
	char *key_absent;
	int64_t warn_above_us; /* 0 = no limit */
	struct tls_settings tls_settings;
};

/* The hooks of probe_type (probes/probe.h); `conf` is a struct redis_settings. */
extern const struct field redis_fields[];
extern const char *const redis_schemes[];
int redis_settings_check(void *conf, bool kubernetes_form, struct error *error);
void redis_settings_describe(const void *conf, char *text, size_t size);

/* Where to connect and as whom. The texts belong to `url` or to the settings; only the password is
 * the endpoint's own. A zero-filled endpoint is valid and empty. */
struct redis_endpoint {
	struct url url;
	const char *host;
	unsigned short port;
	const char *unix_socket; /* instead of host and port; may be NULL */
	const char *user;        /* may be NULL */
	char *password;          /* may be NULL */
	int64_t database;
	bool tls;
};

/* Puts the settings and the URL together, reading what is in files. Returns 0, or -1 with a
 * sentence that has no secret in it; to be cleared in both cases. */
int redis_endpoint_read(struct redis_endpoint *endpoint, const struct redis_settings *settings,
			struct error *error);
void redis_endpoint_clear(struct redis_endpoint *endpoint);

#endif
