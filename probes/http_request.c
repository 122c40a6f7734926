#include "probes/http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/buffer.h"
#include "probes/http_settings.h"

enum { HEADER_MAX = 100 * 1024 }; /* bytes of one header, as libcurl has it */

/* Who takes the headers. */
struct taker {
	bool (*take)(void *owner, const char *line);
	void *owner;
};

/* The name of the certificate where that is another one than the host's; NULL = it is not. */
static const char *server_name(const struct http_request *request)
{
	return request->target->tls ? request->settings->tls.server_name : NULL;
}

char *http_request_url(const struct http_request *request)
{
	return http_target_url(request->target, server_name(request));
}

const char *http_request_user_agent(const struct http_request *request)
{
	const char *own = http_header_value(&request->settings->headers, "User-Agent");

	return own ? own : "readyd/" READYD_VERSION;
}

/* ---- headers ---- */

static bool add(const struct taker *taker, const char *name, const char *separator,
		const char *value)
{
	struct buffer line;
	bool taken;

	buffer_init(&line, HEADER_MAX);
	buffer_format(&line, "%s%s", name, separator);
	buffer_text(&line, value);
	taken = !line.overflow && taker->take(taker->owner, line.data);
	buffer_free(&line);
	return taken;
}

/* One of the user's headers, with what an empty value means to the kubelet. */
static bool add_own(const struct http_request *request, const struct pair *header,
		    const struct taker *taker)
{
	bool empty = header->value[0] == '\0';
	bool same_origin = http_target_same_origin(request->target, request->first);

	/* User-Agent has an option of its own, which keeps it in front; the others follow from the
	 * request. */
	if (strcasecmp(header->name, "User-Agent") == 0 ||
	    strcasecmp(header->name, "Content-Length") == 0 ||
	    strcasecmp(header->name, "Transfer-Encoding") == 0)
		return true;
	if (strcasecmp(header->name, "Host") == 0)
		return empty || !same_origin || add(taker, "Host", ": ", header->value);
	if (!same_origin && (strcasecmp(header->name, "Authorization") == 0 ||
			     strcasecmp(header->name, "Cookie") == 0))
		return true;
	if (strcasecmp(header->name, "Accept") == 0 && empty)
		return add(taker, "Accept", ":", "");
	return add(taker, header->name, empty ? ";" : ": ", header->value);
}

/* With serverName the URL has the name of the certificate; the request has the name of the host. */
static bool add_host(const struct http_request *request, const struct taker *taker)
{
	char *host = http_target_authority(request->target, NULL);
	bool added = host && add(taker, "Host", ": ", host);

	free(host);
	return added;
}

bool http_request_headers(const struct http_request *request,
			  bool (*take)(void *owner, const char *line), void *owner)
{
	const struct taker taker = {take, owner};
	const struct pair_list *own = &request->settings->headers;
	bool complete = true;

	for (size_t i = 0; complete && i < own->count; i++)
		complete = add_own(request, &own->items[i], &taker);
	if (complete && server_name(request) && !http_header_value(own, "Host"))
		complete = add_host(request, &taker);
	/* Who wants a Content-Type says which. */
	if (complete && !http_header_value(own, "Content-Type"))
		complete = add(&taker, "Content-Type", ":", "");
	if (complete && request->settings->version != HTTP_VERSION_2 &&
	    !http_header_value(own, "Connection"))
		complete = add(&taker, "Connection", ": ", "close");
	return complete;
}

/* ---- body ---- */

const char *http_request_body(const struct http_request *request)
{
	const char *method = request->method;
	const char *own = request->settings->request_body;

	/* A redirect that changes the method leaves the body behind. */
	if (own && own[0] != '\0' && strcmp(method, http_settings_method(request->settings)) == 0)
		return own;
	/* These say the length of their body even when there is none (RFC 9110, 8.6). */
	if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	    strcmp(method, "PATCH") == 0)
		return "";
	return NULL;
}

/* ---- credentials ---- */

struct http_credentials http_request_credentials(const struct http_request *request)
{
	const struct http_settings *settings = request->settings;
	const struct http_target *first = request->first;
	struct http_credentials credentials = {.url_password = ""};

	/* They go to the very server that they are for, and to no other port of its host. */
	if (!http_target_same_origin(request->target, first))
		return credentials;
	if (secret_is_set(&settings->bearer_token)) {
		credentials.bearer_token = &settings->bearer_token;
		return credentials;
	}
	credentials.user = settings->user ? settings->user : first->user;
	if (secret_is_set(&settings->password))
		credentials.password = &settings->password;
	if (!settings->user && first->password)
		credentials.url_password = first->password;
	return credentials;
}
