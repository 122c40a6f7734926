#include "probes/tcp_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "agent/regex.h"
#include "agent/url.h"

static const char default_host[] = "127.0.0.1";

const char *const tcp_schemes[] = {"tcp", "unix", NULL};

const struct field tcp_fields[] = {
	{.name = "url",
	 .kind = FIELD_SECRET,
	 .offset = offsetof(struct tcp_settings, url),
	 .help = "tcp://HOST:PORT, unix:/PATH or unix:@NAME"},
	{.name = "host",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, host),
	 .help = "name or address, instead of url (default: 127.0.0.1)"},
	{.name = "port",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, port),
	 .help = "port at host"},
	{.name = "tls",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct tcp_settings, tls),
	 .help = "begin with a TLS handshake"},
	{.name = "send",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, send),
	 .help = "text to send, with \\r, \\n, \\t, \\xNN and \\\\"},
	{.name = "sendHex",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, send_hex),
	 .help = "bytes to send, in hexadecimal"},
	{.name = "expect",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, expect),
	 .help = "text to find in the answer, with \\r, \\n, \\t, \\xNN and \\\\"},
	{.name = "expectHex",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, expect_hex),
	 .help = "bytes to find in the answer, in hexadecimal"},
	{.name = "expectRegex",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct tcp_settings, expect_regex),
	 .help = "POSIX extended regular expression that the answer must match"},
	{.name = "warnAboveSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = offsetof(struct tcp_settings, warn_above_us),
	 .help = "warn when the whole run took longer"},
	TLS_FIELDS(struct tcp_settings, tls_settings),
	{.name = NULL},
};

/* ---- where to connect ---- */

void tcp_endpoint_free(struct tcp_endpoint *endpoint)
{
	free(endpoint->host);
	free(endpoint->unix_path);
	*endpoint = (struct tcp_endpoint){0};
}

static int out_of_memory(struct error *error)
{
	return error_set(error, "out of memory");
}

static int set_unix(struct tcp_endpoint *endpoint, struct url *url, struct error *error)
{
	size_t len = strlen(url->path);

	if (url->host || url->port != 0 || url->user || url->query || len < 2 ||
	    (url->path[0] != '/' && url->path[0] != '@') || url_decode(url->path) < 0)
		return error_set(error, "a unix socket is written unix:/PATH or unix:@NAME");
	if (strlen(url->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return error_set(error, "the path of a unix socket has at most %zu characters",
				 sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	endpoint->unix_path = url->path;
	url->path = NULL;
	return 0;
}

static int set_host(struct tcp_endpoint *endpoint, struct url *url, struct error *error)
{
	if (url->user || url->query || (url->path[0] != '\0' && strcmp(url->path, "/") != 0))
		return error_set(error,
				 "a TCP target is written tcp://HOST:PORT, with nothing else");
	if (url->port == 0)
		return error_set(error, "the port is missing, as in tcp://%s:5432",
				 url->host ? url->host : default_host);
	endpoint->port = url->port;
	endpoint->host = url->host;
	url->host = NULL;
	if (!endpoint->host)
		endpoint->host = strdup(default_host);
	return endpoint->host ? 0 : out_of_memory(error);
}

int tcp_endpoint_parse(struct tcp_endpoint *endpoint, const char *text, struct error *error)
{
	struct url url;
	int result;

	*endpoint = (struct tcp_endpoint){0};
	if (url_parse(&url, text, error) < 0)
		return -1;
	if (strcmp(url.scheme, "unix") == 0)
		result = set_unix(endpoint, &url, error);
	else if (strcmp(url.scheme, "tcp") == 0)
		result = set_host(endpoint, &url, error);
	else
		result = error_set(error, "a TCP target begins with tcp:// or unix:");
	url_free(&url);
	return result;
}

/* From the settings host and port, with or without brackets around an IPv6 address. */
static int endpoint_from_settings(struct tcp_settings *settings, struct error *error)
{
	const char *host = settings->host ? settings->host : default_host;
	size_t len = strlen(host);

	if (!settings->port)
		return error_set(error, "the port is missing: set port, or url");
	if (url_parse_port(settings->port, &settings->endpoint.port, error) < 0)
		return error_set(error,
				 "port \"%.40s\" is not a number from 1 to 65535 (only the kubelet "
				 "knows the names of ports)",
				 settings->port);
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	settings->endpoint.host = strndup(host, len);
	return settings->endpoint.host ? 0 : out_of_memory(error);
}

/* ---- what to send and to expect ---- */

static int hex_value(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)((found - digits) % 16) : -1;
}

/* Takes one escape, whose backslash `in` points at. Returns its length, 0 if there is no such one.
 */
static size_t take_escape(const char *in, char *ret_byte)
{
	int high, low;

	switch (in[1]) {
	case 'r':
		*ret_byte = '\r';
		return 2;
	case 'n':
		*ret_byte = '\n';
		return 2;
	case 't':
		*ret_byte = '\t';
		return 2;
	case '\\':
		*ret_byte = '\\';
		return 2;
	case 'x':
		high = hex_value(in[2]);
		low = high < 0 ? -1 : hex_value(in[3]);
		*ret_byte = (char)(high * 16 + low);
		return low < 0 ? 0 : 4;
	default:
		return 0;
	}
}

static int parse_escaped(const char *name, const char *text, struct tcp_bytes *bytes,
			 struct error *error)
{
	bytes->data = malloc(strlen(text) + 1);
	if (!bytes->data)
		return out_of_memory(error);
	while (*text) {
		size_t len = 1;

		if (*text == '\\')
			len = take_escape(text, &bytes->data[bytes->len]);
		else
			bytes->data[bytes->len] = *text;
		if (len == 0)
			return error_set(error,
					 "%s: a backslash begins \\r, \\n, \\t, \\\\ or \\xNN with "
					 "two hexadecimal digits",
					 name);
		bytes->len++;
		text += len;
	}
	return 0;
}

static int parse_hex(const char *name, const char *text, struct tcp_bytes *bytes,
		     struct error *error)
{
	bytes->data = malloc(strlen(text) / 2 + 1);
	if (!bytes->data)
		return out_of_memory(error);
	while (*text) {
		int high, low;

		if (*text == ' ' || *text == ':') {
			text++;
			continue;
		}
		high = hex_value(text[0]);
		low = high < 0 ? -1 : hex_value(text[1]);
		if (low < 0)
			return error_set(error, "%s: pairs of hexadecimal digits are expected",
					 name);
		bytes->data[bytes->len++] = (char)(high * 16 + low);
		text += 2;
	}
	return 0;
}

static int check_exchange(struct tcp_settings *settings, struct error *error)
{
	int expectations = (settings->expect != NULL) + (settings->expect_hex != NULL) +
			   (settings->expect_regex != NULL);

	if (settings->send && settings->send_hex)
		return error_set(error, "send and sendHex exclude each other");
	if (expectations > 1)
		return error_set(error, "expect, expectHex and expectRegex exclude each other");
	if (settings->send && parse_escaped("send", settings->send, &settings->to_send, error) < 0)
		return -1;
	if (settings->send_hex &&
	    parse_hex("sendHex", settings->send_hex, &settings->to_send, error) < 0)
		return -1;
	if (settings->expect &&
	    parse_escaped("expect", settings->expect, &settings->expected, error) < 0)
		return -1;
	if (settings->expect_hex &&
	    parse_hex("expectHex", settings->expect_hex, &settings->expected, error) < 0)
		return -1;
	if (settings->expected.data && settings->expected.len == 0)
		return error_set(error, "what is expected must not be empty");
	if (settings->expected.len > TCP_ANSWER_MAX)
		return error_set(error, "at most %d bytes can be expected", TCP_ANSWER_MAX);
	if (!settings->expect_regex)
		return 0;
	settings->regex = regex_compile(settings->expect_regex, "expectRegex", error);
	return settings->regex ? 0 : -1;
}

const char *tcp_expected_text(const struct tcp_settings *settings)
{
	if (settings->expect)
		return settings->expect;
	if (settings->expect_hex)
		return settings->expect_hex;
	return settings->expect_regex ? settings->expect_regex : "";
}

bool tcp_answer_matches(const struct tcp_settings *settings, const char *answer, size_t len,
			size_t searched)
{
	size_t before = settings->expected.len - 1;

	if (settings->regex)
		return regexec(settings->regex, answer, 0, NULL, 0) == 0;
	if (searched > before)
		searched -= before;
	else
		searched = 0;
	return memmem(answer + searched, len - searched, settings->expected.data,
		      settings->expected.len) != NULL;
}

bool tcp_answer_is_due(const struct tcp_settings *settings, size_t len, size_t searched)
{
	enum { SHORT_ANSWER = 1024 };

	return !settings->regex || len <= SHORT_ANSWER || len - searched >= searched / 4;
}

/* ---- hooks ---- */

static int check_tls(const struct tcp_settings *settings, struct error *error)
{
	const struct tls_settings *tls = &settings->tls_settings;
	bool has_tls_setting = tls->ca_file || tls->certificate_file || tls->key_file ||
			       tls->server_name || tls->insecure_skip_verify ||
			       tls->warn_days != 0 || tls->fail_days != 0;

	if (has_tls_setting && !settings->tls)
		return error_set(error, "the settings of TLS need \"tls: true\"");
	if (settings->tls && !READYD_TLS)
		return error_set(error, TLS_UNAVAILABLE_SENTENCE);
	if (tls->key_file && !tls->certificate_file)
		return error_set(error, "keyFile needs certFile, the certificate of this key");
	if (settings->tls && settings->endpoint.unix_path && !tls->server_name &&
	    !tls->insecure_skip_verify)
		return error_set(error, "TLS over a unix socket needs serverName, the name to "
					"expect in the certificate");
	return 0;
}

int tcp_settings_check(void *conf, bool kubernetes_form, struct error *error)
{
	struct tcp_settings *settings = conf;
	int result = 0;

	/* The kubelet means by its words what we do: a connection is all it takes. */
	(void)kubernetes_form;
	if (!secret_is_set(&settings->url))
		result = endpoint_from_settings(settings, error);
	else if (settings->host || settings->port)
		result = error_set(error,
				   "url already says where to connect: leave out host and port");
	else if (settings->url.value)
		result = tcp_endpoint_parse(&settings->endpoint, settings->url.value, error);
	if (result == 0)
		result = check_tls(settings, error);
	return result == 0 ? check_exchange(settings, error) : result;
}

void tcp_settings_release(void *conf)
{
	struct tcp_settings *settings = conf;

	tcp_endpoint_free(&settings->endpoint);
	free(settings->to_send.data);
	free(settings->expected.data);
	regex_free(settings->regex);
	settings->to_send = settings->expected = (struct tcp_bytes){0};
	settings->regex = NULL;
}

void tcp_settings_describe(const void *conf, char *text, size_t size)
{
	const struct tcp_settings *settings = conf;
	const struct tcp_endpoint *endpoint = &settings->endpoint;

	if (settings->url.value)
		url_mask(settings->url.value, text, size);
	else if (settings->url.file)
		snprintf(text, size, "tcp: the URL in %s", settings->url.file);
	else if (endpoint->host && strchr(endpoint->host, ':'))
		snprintf(text, size, "tcp://[%s]:%u", endpoint->host, endpoint->port);
	else
		snprintf(text, size, "tcp://%s:%u", endpoint->host ? endpoint->host : "",
			 endpoint->port);
}
