/* The settings of the HTTP probe and the places where its requests go. Nothing here knows how they
 * are sent. */
#ifndef READYD_PROBES_HTTP_SETTINGS_H
#define READYD_PROBES_HTTP_SETTINGS_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/field.h"
#include "agent/tls.h"

enum {
	HTTP_BODY_MAX = 64 * 1024, /* no more of a body is read */
	HTTP_RESPONSE_HEADERS_MAX = 64,
};

enum http_version { HTTP_VERSION_1_1, HTTP_VERSION_2, HTTP_VERSION_1_0 };

/* Where a request goes. The texts are allocated; a zero-filled target is valid and empty. */
struct http_target {
	bool tls;
	char *host; /* a name or a literal address without brackets, perhaps with a zone */
	unsigned short port;
	char *path;     /* with the query, begins with "/", fit to be sent */
	char *user;     /* of the URL; NULL = none */
	char *password; /* of the URL; NULL = none */
};

/* Parses an http:// or https:// URL. Returns 0, or -1 with a sentence without secrets. */
int http_target_parse(struct http_target *target, const char *url, struct error *error);
void http_target_free(struct http_target *target);

/* Whether both name the same host; ports and schemes may differ. */
bool http_target_same_host(const struct http_target *a, const struct http_target *b);

/* Whether scheme, host and port are all the same. */
bool http_target_same_origin(const struct http_target *a, const struct http_target *b);

/* Writes "host:port", or the host alone when the port is the scheme's own, into a new text; NULL =
 * no memory. `host` takes the place of the target's own when it is not NULL. */
char *http_target_authority(const struct http_target *target, const char *host);

/* Writes the target as a URL, without user and password, into a new text; NULL = no memory.
 * `host` takes the place of the target's own when it is not NULL. */
char *http_target_url(const struct http_target *target, const char *host);

struct http_settings {
	struct secret url;
	char *host;
	char *port;
	char *path;
	char *scheme;
	struct pair_list headers;
	char *method; /* NULL = GET, or POST with a body */
	char *request_body;
	struct status_ranges status;
	char *body;
	char *body_pattern;
	char *json_path;
	char *json_value;
	struct pair_list response_headers;
	int64_t warn_above_us; /* 0 = no limit */
	char *unix_socket;
	int version; /* enum http_version */
	char *user;
	struct secret password;
	struct secret bearer_token;
	bool follow_redirects;
	struct tls_settings tls;

	/* What http_settings_check() adds. */
	struct http_target
		target;      /* as the URL was then; a file with a URL is read anew each run */
	regex_t *body_regex; /* NULL = none */
};

extern const struct field http_fields[];

/* The hooks of probe_type (probes/probe.h); `conf` is a struct http_settings. */
int http_settings_check(void *conf, bool kubernetes_form, struct error *error);
void http_settings_describe(const void *conf, char *text, size_t size);
void http_settings_release(void *conf);

/* The method of the request. */
const char *http_settings_method(const struct http_settings *settings);

/* Whether what the body says counts. */
bool http_settings_judge_body(const struct http_settings *settings);

/* The text that names a header's value "NAME" in the list, the first one; NULL if there is none. */
const char *http_header_value(const struct pair_list *headers, const char *name);

#endif
