/* What a request says: its URL, headers, body and credentials. Pure; probes/http_transfer.c sends
 * it. */
#ifndef READYD_PROBES_HTTP_REQUEST_H
#define READYD_PROBES_HTTP_REQUEST_H

#include <stdbool.h>

struct http_settings;
struct http_target;
struct secret;

struct http_request {
	const struct http_settings *settings;
	const struct http_target *target;
	const struct http_target *first; /* where secrets may go: no other scheme, host or port */
	const char *method;
};

/* The URL, in a new text; NULL = no memory. */
char *http_request_url(const struct http_request *request);

const char *http_request_user_agent(const struct http_request *request);

/* Hands the headers over, one by one and in the kubelet's order: Host, User-Agent (which is not
 * among them), Accept, own ones, Connection. A line is in libcurl's form: "Name: value", "Name;"
 * for an empty value, and "Name:" for a header that must not be sent although it usually is.
 * Returns false as soon as `take` does, and for want of memory. */
bool http_request_headers(const struct http_request *request,
			  bool (*take)(void *owner, const char *line), void *owner);

/* The body; "" for one that is announced as empty, NULL when there is none. */
const char *http_request_body(const struct http_request *request);

/* Who asks, as far as this very target may know; all NULL = nobody. */
struct http_credentials {
	const struct secret *bearer_token;
	const char *user;
	const struct secret *password; /* of the settings; NULL = the next one */
	const char *url_password;      /* of the URL, or "" */
};

struct http_credentials http_request_credentials(const struct http_request *request);

#endif
