#include "probes/http_settings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/buffer.h"
#include "agent/regex.h"
#include "agent/url.h"

enum { PORT_HTTP = 80, PORT_HTTPS = 443, URL_MAX = 64 * 1024, AUTHORITY_MAX = 1024 };

static const char *const versions[] =
	{[HTTP_VERSION_1_1] = "1.1", [HTTP_VERSION_2] = "2", [HTTP_VERSION_1_0] = "1.0", NULL};

#define AT(member) offsetof(struct http_settings, member)

const struct field http_fields[] = {
	{.name = "url",
	 .kind = FIELD_SECRET,
	 .offset = AT(url),
	 .help = "the whole address, instead of scheme, host, port and path"},
	{.name = "host",
	 .kind = FIELD_TEXT,
	 .offset = AT(host),
	 .help = "name or address (default: 127.0.0.1)"},
	{.name = "port",
	 .kind = FIELD_TEXT,
	 .offset = AT(port),
	 .help = "number of the port (default: 80, with HTTPS 443)"},
	{.name = "path",
	 .kind = FIELD_TEXT,
	 .offset = AT(path),
	 .help = "path, perhaps with a query (default: /)"},
	{.name = "scheme",
	 .kind = FIELD_TEXT,
	 .offset = AT(scheme),
	 .help = "HTTP or HTTPS (default: HTTP)"},
	{.name = "httpHeaders",
	 .kind = FIELD_PAIR_LIST,
	 .offset = AT(headers),
	 .help = "headers to send; an empty User-Agent or Accept removes the default one"},
	{.name = "method",
	 .kind = FIELD_TEXT,
	 .offset = AT(method),
	 .help = "method of the request (default: GET, with requestBody POST)"},
	{.name = "requestBody",
	 .kind = FIELD_TEXT,
	 .offset = AT(request_body),
	 .help = "body to send"},
	{.name = "status",
	 .kind = FIELD_STATUS_RANGES,
	 .offset = AT(status),
	 .fallback = "200-399",
	 .help = "accepted statuses"},
	{.name = "body",
	 .kind = FIELD_TEXT,
	 .offset = AT(body),
	 .help = "text that the body must contain"},
	{.name = "bodyRegex",
	 .kind = FIELD_TEXT,
	 .offset = AT(body_pattern),
	 .help = "POSIX extended regular expression that the body must match"},
	{.name = "json",
	 .kind = FIELD_TEXT,
	 .offset = AT(json_path),
	 .help = "member of the JSON body, such as checks.db.status or /checks/db/status"},
	{.name = "jsonValue",
	 .kind = FIELD_TEXT,
	 .offset = AT(json_value),
	 .help = "value that this member must have"},
	{.name = "responseHeaders",
	 .kind = FIELD_PAIR_LIST,
	 .offset = AT(response_headers),
	 .help = "headers that the answer must have; an empty value means any value"},
	{.name = "warnAboveSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = AT(warn_above_us),
	 .maximum = 86400,
	 .help = "warn when the answer takes longer"},
	{.name = "unixSocket",
	 .kind = FIELD_TEXT,
	 .offset = AT(unix_socket),
	 .help = "connect to this unix socket (@NAME: an abstract one) and not to the host"},
	{.name = "httpVersion",
	 .kind = FIELD_CHOICE,
	 .offset = AT(version),
	 .choices = versions,
	 .help = "version to speak; 2 fails when the server does not speak it"},
	{.name = "user",
	 .kind = FIELD_TEXT,
	 .offset = AT(user),
	 .help = "user for basic authentication"},
	{.name = "password",
	 .kind = FIELD_SECRET,
	 .offset = AT(password),
	 .help = "password for basic authentication"},
	{.name = "bearerToken",
	 .kind = FIELD_SECRET,
	 .offset = AT(bearer_token),
	 .help = "token for bearer authentication"},
	{.name = "followRedirects",
	 .kind = FIELD_BOOLEAN,
	 .offset = AT(follow_redirects),
	 .fallback = "true",
	 .help = "follow redirects on the same host; false: judge their status as it is"},
	TLS_FIELDS(struct http_settings, tls),
	{.name = NULL},
};

/* ---- targets ---- */

void http_target_free(struct http_target *target)
{
	free(target->host);
	free(target->path);
	free(target->user);
	secret_wipe(target->password);
	*target = (struct http_target){0};
}

/* Moves a text out of a structure that will be freed. */
static char *take(char **text)
{
	char *taken = *text;

	*text = NULL;
	return taken;
}

/* Makes a path that can stand in a request out of what people write: no fragment, a slash in front,
 * and no byte that would end the request line or is not ASCII. Everything else goes out as written.
 * NULL = no memory. */
static char *sendable_path(const char *path, const char *query)
{
	const char *const parts[] = {path ? path : "", query ? "?" : "", query ? query : ""};
	struct buffer text;

	buffer_init(&text, URL_MAX);
	if (!path || path[0] != '/')
		buffer_text(&text, "/");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t len = strcspn(parts[i], "#");

		for (size_t at = 0; at < len; at++) {
			unsigned char c = (unsigned char)parts[i][at];

			if (c <= ' ' || c >= 0x7f)
				buffer_format(&text, "%%%02X", c);
			else
				buffer_append(&text, &c, 1);
		}
	}
	if (text.overflow)
		buffer_free(&text);
	return text.data;
}

int http_target_parse(struct http_target *target, const char *url, struct error *error)
{
	struct url parts;

	*target = (struct http_target){0};
	if (url_parse(&parts, url, error) < 0)
		return -1;
	target->tls = strcmp(parts.scheme, "https") == 0;
	if (!target->tls && strcmp(parts.scheme, "http") != 0) {
		error_set(error, "the URL begins with \"%.20s:\", expected http:// or https://",
			  parts.scheme);
		url_free(&parts);
		return -1;
	}
	if (!parts.host) {
		url_free(&parts);
		return error_set(error, "the URL has no host, expected http://HOST:PORT/PATH");
	}
	target->host = take(&parts.host);
	target->port = parts.port;
	if (target->port == 0)
		target->port = target->tls ? PORT_HTTPS : PORT_HTTP;
	target->path = sendable_path(parts.path, parts.query);
	target->user = take(&parts.user);
	target->password = take(&parts.password);
	url_free(&parts);
	if (target->path)
		return 0;
	http_target_free(target);
	return error_set(error, "the URL is too long, or memory is lacking");
}

bool http_target_same_host(const struct http_target *a, const struct http_target *b)
{
	return strcasecmp(a->host, b->host) == 0;
}

bool http_target_same_origin(const struct http_target *a, const struct http_target *b)
{
	return a->tls == b->tls && a->port == b->port && http_target_same_host(a, b);
}

char *http_target_authority(const struct http_target *target, const char *host)
{
	const char *name = host ? host : target->host;
	bool bracketed = strchr(name, ':') != NULL;
	struct buffer text;

	buffer_init(&text, AUTHORITY_MAX);
	/* A zone says by which of our own interfaces to go; the server has no use for it. */
	buffer_format(&text, "%s%.*s%s", bracketed ? "[" : "", (int)strcspn(name, "%"), name,
		      bracketed ? "]" : "");
	if (target->port != (target->tls ? PORT_HTTPS : PORT_HTTP))
		buffer_format(&text, ":%d", target->port);
	if (text.overflow)
		buffer_free(&text);
	return text.data;
}

char *http_target_url(const struct http_target *target, const char *host)
{
	char *authority = http_target_authority(target, host);
	struct buffer url;

	if (!authority)
		return NULL;
	buffer_init(&url, URL_MAX + AUTHORITY_MAX);
	buffer_format(&url, "%s://%s", target->tls ? "https" : "http", authority);
	buffer_text(&url, target->path);
	free(authority);
	if (url.overflow)
		buffer_free(&url);
	return url.data;
}

/* ---- completing and checking ---- */

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

const char *http_settings_method(const struct http_settings *settings)
{
	if (is_set(settings->method))
		return settings->method;
	return is_set(settings->request_body) ? "POST" : "GET";
}

bool http_settings_judge_body(const struct http_settings *settings)
{
	return is_set(settings->body) || settings->body_regex || is_set(settings->json_path);
}

const char *http_header_value(const struct pair_list *headers, const char *name)
{
	for (size_t i = 0; i < headers->count; i++) {
		if (strcasecmp(headers->items[i].name, name) == 0)
			return headers->items[i].value;
	}
	return NULL;
}

static int check_scheme(const struct http_settings *settings, bool *ret_tls, struct error *error)
{
	*ret_tls = false;
	if (!is_set(settings->scheme) || strcasecmp(settings->scheme, "http") == 0)
		return 0;
	*ret_tls = true;
	if (strcasecmp(settings->scheme, "https") == 0)
		return 0;
	return error_set(error, "scheme is \"%.40s\", expected HTTP or HTTPS", settings->scheme);
}

static int check_port(const struct http_settings *settings, struct http_target *target,
		      struct error *error)
{
	size_t len = is_set(settings->port) ? strlen(settings->port) : 0;
	unsigned long port = 0;

	if (len == 0) {
		target->port = target->tls ? PORT_HTTPS : PORT_HTTP;
		return 0;
	}
	if (strspn(settings->port, "0123456789") == len && len <= 5)
		port = strtoul(settings->port, NULL, 10);
	else if (strspn(settings->port, "0123456789") != len)
		return error_set(error,
				 "port is \"%.40s\": the names of ports are known to Kubernetes "
				 "alone, expected a number",
				 settings->port);
	if (port < 1 || port > 65535)
		return error_set(error, "port is %.40s, expected a number from 1 to 65535",
				 settings->port);
	target->port = (unsigned short)port;
	return 0;
}

/* Makes the target out of scheme, host, port and path. */
static int target_of_parts(const struct http_settings *settings, struct http_target *target,
			   struct error *error)
{
	const char *host = is_set(settings->host) ? settings->host : "127.0.0.1";
	unsigned short port;

	if (check_scheme(settings, &target->tls, error) < 0)
		return -1;
	if (url_split_host_port(host, &target->host, &port, error) < 0)
		return -1;
	if (port != 0 || target->host[0] == '\0')
		return error_set(error, "host is \"%.100s\", expected a name or an address alone",
				 host);
	if (check_port(settings, target, error) < 0)
		return -1;
	target->path = sendable_path(settings->path, NULL);
	return target->path ? 0 : error_set(error, "path is too long, or memory is lacking");
}

static int check_target(struct http_settings *settings, bool kubernetes_form, struct error *error)
{
	const char *const parts[] = {settings->host, settings->port, settings->path,
				     settings->scheme};
	static const char *const names[] = {"host", "port", "path", "scheme"};
	char *url;
	int result;

	if (!secret_is_set(&settings->url)) {
		if (kubernetes_form && !is_set(settings->port))
			return error_set(error, "port is missing, expected a number");
		return target_of_parts(settings, &settings->target, error);
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (is_set(parts[i]))
			return error_set(error, "%s and url are both set, expected one of them",
					 names[i]);
	}
	url = secret_read(&settings->url, error);
	if (!url)
		return -1;
	result = http_target_parse(&settings->target, url, error);
	secret_wipe(url);
	return result;
}

static bool is_token(const char *text)
{
	if (text[0] == '\0')
		return false;
	for (; *text; text++) {
		if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
			return false;
	}
	return true;
}

/* How much of a faulty name may be shown: somebody may have put the value, a secret, into it. */
static int header_name_shown(const char *name)
{
	size_t len = strcspn(name, ":= \t\r\n");

	return len < 60 ? (int)len : 60;
}

static int check_headers(const struct pair_list *headers, const char *setting, struct error *error)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct pair *header = &headers->items[i];

		if (!is_token(header->name))
			return error_set(error, "%s: \"%.*s\" can not be the name of a header",
					 setting, header_name_shown(header->name), header->name);
		for (const char *c = header->value; *c; c++) {
			if ((unsigned char)*c < ' ' && *c != '\t')
				return error_set(error,
						 "%s: the value of \"%.60s\" has a line end or "
						 "another control character",
						 setting, header->name);
		}
	}
	return 0;
}

static int check_request(const struct http_settings *settings, struct error *error)
{
	const char *method = http_settings_method(settings);

	if (!is_token(method) || strcasecmp(method, "CONNECT") == 0)
		return error_set(error,
				 "method is \"%.40s\", expected GET, HEAD, POST and the like",
				 method);
	if (is_set(settings->request_body) &&
	    (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0))
		return error_set(error, "requestBody is set, but a %s request has no body", method);
	if (check_headers(&settings->headers, "httpHeaders", error) < 0)
		return -1;
	if (is_set(settings->user) && strchr(settings->user, ':'))
		return error_set(error, "user must not contain \":\"");
	if (secret_is_set(&settings->password) && !is_set(settings->user))
		return error_set(error, "password is set, but user is not");
	if (secret_is_set(&settings->bearer_token) && is_set(settings->user))
		return error_set(error, "user and bearerToken are both set, expected one of them");
	if (http_header_value(&settings->headers, "Authorization") &&
	    (is_set(settings->user) || secret_is_set(&settings->bearer_token)))
		return error_set(error, "httpHeaders already has Authorization, expected it or %s",
				 is_set(settings->user) ? "user" : "bearerToken");
	return 0;
}

static int check_regex(struct http_settings *settings, struct error *error)
{
	if (!is_set(settings->body_pattern))
		return 0;
	settings->body_regex = regex_compile(settings->body_pattern, "bodyRegex", error);
	return settings->body_regex ? 0 : -1;
}

static int check_answer(struct http_settings *settings, struct error *error)
{
	if (is_set(settings->json_path) && !settings->json_value)
		return error_set(error,
				 "json needs jsonValue, the value that the member must have");
	if (settings->json_value && !is_set(settings->json_path))
		return error_set(error, "jsonValue needs json, the member that must have it");
	if (check_headers(&settings->response_headers, "responseHeaders", error) < 0)
		return -1;
	if (settings->response_headers.count > HTTP_RESPONSE_HEADERS_MAX)
		return error_set(error, "responseHeaders has %zu headers, expected at most %d",
				 settings->response_headers.count, HTTP_RESPONSE_HEADERS_MAX);
	if (check_regex(settings, error) < 0)
		return -1;
	if (strcmp(http_settings_method(settings), "HEAD") == 0 &&
	    http_settings_judge_body(settings))
		return error_set(error, "the answer to HEAD has no body that %s could be found in",
				 is_set(settings->body) ? "body"
				 : settings->body_regex ? "bodyRegex"
							: "json");
	return 0;
}

static int check_tls(struct http_settings *settings, bool kubernetes_form, struct error *error)
{
	struct tls_settings *tls = &settings->tls;

	/* The kubelet verifies no certificate; who names an authority or a name wants it done. */
	if (kubernetes_form && !tls->ca_file && !tls->server_name)
		tls->insecure_skip_verify = true;
	if (tls->key_file && !tls->certificate_file)
		return error_set(error, "keyFile needs certFile, the certificate of this key");
	if (settings->target.tls && !tls_library_version())
		return error_set(error, "https: %s", TLS_UNAVAILABLE_SENTENCE);
	return 0;
}

int http_settings_check(void *conf, bool kubernetes_form, struct error *error)
{
	struct http_settings *settings = conf;

	if (check_target(settings, kubernetes_form, error) < 0)
		return -1;
	if (check_request(settings, error) < 0 || check_answer(settings, error) < 0)
		return -1;
	return check_tls(settings, kubernetes_form, error);
}

void http_settings_release(void *conf)
{
	struct http_settings *settings = conf;

	http_target_free(&settings->target);
	regex_free(settings->body_regex);
	settings->body_regex = NULL;
}

void http_settings_describe(const void *conf, char *text, size_t size)
{
	const struct http_settings *settings = conf;
	char *url;

	if (settings->url.file) {
		snprintf(text, size, "the URL in %s", settings->url.file);
		return;
	}
	if (settings->url.value) {
		url_mask(settings->url.value, text, size);
	} else {
		url = http_target_url(&settings->target, NULL);
		url_mask(url ? url : "http", text, size);
		free(url);
	}
	if (settings->unix_socket) {
		size_t len = strlen(text);

		snprintf(text + len, size - len, " over %s", settings->unix_socket);
	}
}
