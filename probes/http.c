/* Probes an HTTP or HTTPS server. agent/dial.c connects, libcurl speaks HTTP and TLS over the
 * connected socket, probes/http_verdict.c judges. The only user of libcurl's header.
 *
 * libcurl never resolves a name and never connects: it is told to use a unix socket, so it looks
 * nothing up, and when it wants that socket it is handed the connected descriptor. Every request
 * has a connection of its own, as the kubelet's have, and redirects are followed here, because
 * whether to follow one depends on where it leads. */
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/http_settings.h"
#include "probes/http_verdict.h"
#include "probes/probe.h"

enum {
	REQUESTS_MAX = 10, /* the kubelet's: a tenth redirect is a failure */
	EARLY_US = 1000,   /* how long before the deadline a run ends with its own words */
	IDLE_HANDLES_MAX = 16,
	LENGTH_SIZE = 24,
};

enum stage { STAGE_RESOLVING, STAGE_CONNECTING, STAGE_TLS, STAGE_WAITING, STAGE_BODY };

/* A connected descriptor. libcurl decides when it is closed, which may be after the run is over. */
struct connection {
	int fd;
	bool taken;           /* by libcurl */
	struct http_run *run; /* NULL = the run is over */
	struct loop_io io;
};

/* What is kept between the runs of a probe. */
struct http_kept {
	struct tls_context *tls_context; /* NULL = not needed yet */
};

struct http_run {
	struct probe_run *run;
	struct http_kept *kept;
	const struct http_settings *settings;
	int64_t started_us;
	struct loop_timer early;

	const struct http_target *first;  /* of the first request */
	const struct http_target *target; /* of this request: `first` or `redirected` */
	struct http_target own_first;     /* read from urlFile for this run; else empty */
	struct http_target redirected;
	struct http_target not_followed;
	const char *method;
	unsigned requests;

	/* This request. */
	enum stage stage;
	struct dial dial;
	struct connection *connection;
	CURL *easy;
	struct curl_slist *headers;
	struct http_answer answer;
	struct buffer body;
	char content_length[LENGTH_SIZE];
	struct tls_peer peer;
	const char *protocol_fault; /* what is wrong with the answer; NULL = nothing */
	bool reading_stopped;       /* by us, with the verdict possible */
	char curl_error[CURL_ERROR_SIZE];
};

/* What all runs share; made for the first one. */
static struct {
	CURLM *multi;
	struct loop *loop;
	struct loop_timer timer;
	CURL *idle[IDLE_HANDLES_MAX];
	size_t idle_count;
} shared;

static void request_begin(struct http_run *self);

/* ---- connections ---- */

static struct connection *connection_create(struct http_run *self, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int on = 1;

	if (!connection)
		return NULL;
	connection->fd = fd;
	connection->run = self;
	connection->io.owner = connection;
	/* A request of several segments must not wait for acknowledgements. Fails on unix sockets,
	 * which have no such wait. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connection;
}

static void connection_close(struct connection *connection)
{
	loop_io_clear(shared.loop, &connection->io);
	close(connection->fd);
	if (connection->run)
		connection->run->connection = NULL;
	free(connection);
}

/* Called once the run has no use for it any more. */
static void connection_drop(struct connection *connection)
{
	int running;

	if (!connection->taken) {
		connection_close(connection);
		return;
	}
	/* libcurl has said goodbye in TLS and waits for the peer to do the same, for which there is
	 * no reason. Once it reads the end of the stream it closes. Should there be a flood in
	 * front of that end, it gives up by itself within seconds. */
	connection->run->connection = NULL;
	connection->run = NULL;
	shutdown(connection->fd, SHUT_RDWR);
	curl_multi_socket_action(shared.multi, connection->fd, CURL_CSELECT_IN, &running);
}

static curl_socket_t on_open_socket(void *owner, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct http_run *self = owner;

	(void)purpose;
	(void)address;
	/* Asked for a second time when a server refuses an HTTP/2 stream and libcurl wants to try
	 * again, which is not its business. */
	if (!self->connection || self->connection->taken)
		return CURL_SOCKET_BAD;
	self->connection->taken = true;
	return self->connection->fd;
}

static int on_socket_opened(void *owner, curl_socket_t fd, curlsocktype purpose)
{
	(void)owner;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static int on_close_socket(void *owner, curl_socket_t fd)
{
	(void)fd;
	connection_close(owner);
	return 0;
}

/* ---- the end of a run ---- */

static void finish_late(struct http_run *self, double seconds)
{
	switch (self->stage) {
	case STAGE_RESOLVING:
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "no name server told the address of %.100s within %g s",
			     self->target->host, seconds);
		break;
	case STAGE_CONNECTING:
		probe_finish(self->run, PROBE_FAIL, REASON_CONNECT_TIMEOUT,
			     "no connection to %.100s within %g s", self->target->host, seconds);
		break;
	case STAGE_TLS:
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "connected, but the TLS handshake took longer than %g s", seconds);
		break;
	case STAGE_WAITING:
	case STAGE_BODY:
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "connected, but there was no answer within %g s", seconds);
		break;
	}
}

static void finish_judged(struct http_run *self, enum http_body_end body_end)
{
	struct http_answer *answer = &self->answer;
	struct http_verdict verdict;

	answer->body_end = body_end;
	answer->redirects = self->requests - 1;
	answer->duration_us = clock_monotonic_us() - self->started_us;
	answer->certificate_expires_s = self->peer.expires_s;
	if (http_settings_judge_body(self->settings)) {
		/* An empty body is a body too. */
		if (buffer_append(&self->body, "", 0) < 0 || !self->body.data) {
			probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
			return;
		}
		answer->body = self->body.data;
		answer->body_len = self->body.len;
	}
	http_judge(self->settings, answer, &verdict);
	probe_finish(self->run, verdict.state, verdict.reason, "%s", verdict.sentence);
}

static void on_early(struct loop_timer *timer)
{
	struct http_run *self = timer->owner;
	int64_t timeout_us = self->run->deadline_us - self->started_us;

	/* Just before the runner's own timer, which could only say that time is up. */
	self->answer.timeout_us = timeout_us;
	if (self->stage == STAGE_BODY)
		finish_judged(self, HTTP_BODY_LATE);
	else
		finish_late(self, (double)timeout_us / 1e6);
}

/* ---- what libcurl delivers ---- */

/* A second Content-Length that differs makes it unknown where the answer ends (RFC 9112, 6.3). */
static bool lengths_agree(struct http_run *self, const char *line, size_t len)
{
	static const char name[] = "Content-Length:";
	char value[LENGTH_SIZE];
	size_t value_len = 0;

	if (len < sizeof(name) - 1 || strncasecmp(line, name, sizeof(name) - 1) != 0)
		return true;
	for (size_t i = sizeof(name) - 1; i < len && value_len + 1 < sizeof(value); i++) {
		if (line[i] > ' ')
			value[value_len++] = line[i];
	}
	value[value_len] = '\0';
	if (self->content_length[0] != '\0')
		return strcmp(self->content_length, value) == 0;
	memcpy(self->content_length, value, value_len + 1);
	return true;
}

/* The headers are complete; false when the answer can not be accepted. */
static bool take_head(struct http_run *self)
{
	long status = 0, version = 0;

	curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return true; /* an interim answer; the real one follows */
	curl_easy_getinfo(self->easy, CURLINFO_HTTP_VERSION, &version);
	if (self->settings->version == HTTP_VERSION_2 && version != CURL_HTTP_VERSION_2) {
		self->protocol_fault = "the server answered in HTTP/1, expected HTTP/2";
		return false;
	}
	self->answer.status = (int)status;
	self->stage = STAGE_BODY;
	return true;
}

/* Called for each line of the head, the status line and the empty line at its end included, for
 * interim answers, and for trailers behind the body. Fewer than `count` returned ends the transfer.
 */
static size_t on_header(char *line, size_t size, size_t count, void *owner)
{
	struct http_run *self = owner;
	size_t len = size * count;

	if (self->stage == STAGE_BODY)
		return len;
	if (self->run->phase_us[PHASE_FIRST_BYTE] < 0)
		probe_phase_end(self->run, PHASE_FIRST_BYTE);
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		self->answer.headers = (struct http_header_search){0};
		self->content_length[0] = '\0';
		return len;
	}
	if (len == 0 || line[0] == '\r' || line[0] == '\n')
		return take_head(self) ? len : CURL_WRITEFUNC_ERROR;
	if (!lengths_agree(self, line, len)) {
		self->protocol_fault = "the answer has two different Content-Length headers";
		return CURL_WRITEFUNC_ERROR;
	}
	http_header_note(&self->answer.headers, self->settings, line, len);
	return len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *owner)
{
	struct http_run *self = owner;
	size_t len = size * count;

	self->answer.body_received += len;
	if (http_settings_judge_body(self->settings))
		buffer_append(&self->body, bytes, len);
	if (self->answer.body_received <= HTTP_BODY_MAX)
		return len;
	self->reading_stopped = true;
	return CURL_WRITEFUNC_ERROR;
}

/* Called when the connection stands, TLS included, and before the request goes out. */
static int on_established(void *owner, char *peer, char *own, int peer_port, int own_port)
{
	struct http_run *self = owner;

	(void)peer;
	(void)own;
	(void)peer_port;
	(void)own_port;
	if (self->stage == STAGE_TLS)
		probe_phase_end(self->run, PHASE_TLS);
	self->run->certificate_expires_s = self->peer.expires_s;
	self->stage = STAGE_WAITING;
	return CURL_PREREQFUNC_OK;
}

static CURLcode on_tls_context(CURL *easy, void *tls_context, void *owner)
{
	struct http_run *self = owner;
	struct error error;

	(void)easy;
	if (tls_context_lend(self->kept->tls_context, &self->settings->tls, self->target->host,
			     tls_context, &self->peer, &error) == 0)
		return CURLE_OK;
	probe_finish(self->run, PROBE_FAIL, tls_reason(TLS_LOCAL), "%s", error.text);
	return CURLE_SSL_CERTPROBLEM;
}

/* ---- the transfer ---- */

static bool add_header(struct http_run *self, const char *name, const char *separator,
		       const char *value)
{
	struct buffer line;
	struct curl_slist *headers;

	buffer_init(&line, CURL_MAX_HTTP_HEADER);
	buffer_format(&line, "%s%s", name, separator);
	buffer_text(&line, value);
	headers = line.overflow ? NULL : curl_slist_append(self->headers, line.data);
	buffer_free(&line);
	if (!headers)
		return false;
	self->headers = headers;
	return true;
}

/* One of the user's headers, with what an empty value means to the kubelet. */
static bool add_own_header(struct http_run *self, const struct pair *header)
{
	bool empty = header->value[0] == '\0';
	bool same_origin = http_target_same_origin(self->target, self->first);

	/* User-Agent has an option of its own, which keeps it in front; the others follow from the
	 * request. */
	if (strcasecmp(header->name, "User-Agent") == 0 ||
	    strcasecmp(header->name, "Content-Length") == 0 ||
	    strcasecmp(header->name, "Transfer-Encoding") == 0)
		return true;
	if (strcasecmp(header->name, "Host") == 0)
		return empty || !same_origin || add_header(self, "Host", ": ", header->value);
	if (!same_origin && (strcasecmp(header->name, "Authorization") == 0 ||
			     strcasecmp(header->name, "Cookie") == 0))
		return true;
	if (strcasecmp(header->name, "Accept") == 0 && empty)
		return add_header(self, "Accept", ":", ""); /* libcurl: do not send it */
	return add_header(self, header->name, empty ? ";" : ": ", header->value);
}

static bool add_host_header(struct http_run *self)
{
	struct buffer host;
	bool added;

	if (http_header_value(&self->settings->headers, "Host"))
		return true;
	/* The URL names the server as its certificate does; the request names it as it is called.
	 */
	buffer_init(&host, CURL_MAX_HTTP_HEADER);
	buffer_text(&host, self->target->host);
	buffer_format(&host, ":%d", self->target->port);
	added = !host.overflow && add_header(self, "Host", ": ", host.data);
	buffer_free(&host);
	return added;
}

/* The headers in the order of the kubelet's: Host, User-Agent, Accept, own ones, Connection. */
static bool set_headers(struct http_run *self)
{
	const struct pair_list *own = &self->settings->headers;
	const char *agent = http_header_value(own, "User-Agent");
	bool complete = true;

	for (size_t i = 0; complete && i < own->count; i++)
		complete = add_own_header(self, &own->items[i]);
	if (complete && self->target->tls && self->settings->tls.server_name)
		complete = add_host_header(self);
	/* Who wants a Content-Type says which. */
	if (complete && !http_header_value(own, "Content-Type"))
		complete = add_header(self, "Content-Type", ":", "");
	if (complete && self->settings->version != HTTP_VERSION_2 &&
	    !http_header_value(own, "Connection"))
		complete = add_header(self, "Connection", ": ", "close");
	if (!complete)
		return false;
	return curl_easy_setopt(self->easy, CURLOPT_HTTPHEADER, self->headers) == CURLE_OK &&
	       curl_easy_setopt(self->easy, CURLOPT_USERAGENT,
				agent ? agent : "readyd/" READYD_VERSION) == CURLE_OK;
}

static bool set_request(struct http_run *self)
{
	const struct http_settings *settings = self->settings;
	static const long versions[] = {
		[HTTP_VERSION_1_1] = CURL_HTTP_VERSION_1_1,
		[HTTP_VERSION_2] = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
		[HTTP_VERSION_1_0] = CURL_HTTP_VERSION_1_0,
	};
	const char *server_name = self->target->tls ? settings->tls.server_name : NULL;
	char *url = http_target_url(self->target, server_name);
	const char *body = "";
	bool set;

	if (!url)
		return false;
	set = curl_easy_setopt(self->easy, CURLOPT_URL, url) == CURLE_OK;
	free(url);
	curl_easy_setopt(self->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(self->easy, CURLOPT_HTTP_VERSION,
			 self->target->tls && settings->version == HTTP_VERSION_2
				 ? (long)CURL_HTTP_VERSION_2TLS
				 : versions[settings->version]);
	if (strcmp(self->method, "GET") == 0)
		return set;
	if (strcmp(self->method, "HEAD") == 0) {
		curl_easy_setopt(self->easy, CURLOPT_NOBODY, 1L);
		return set;
	}
	if (strcmp(self->method, http_settings_method(settings)) == 0 && settings->request_body)
		body = settings->request_body;
	/* These say the length of their body even when there is none (RFC 9110, 8.6). */
	if (body[0] != '\0' || strcmp(self->method, "POST") == 0 ||
	    strcmp(self->method, "PUT") == 0 || strcmp(self->method, "PATCH") == 0) {
		curl_easy_setopt(self->easy, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(self->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
	}
	return set && curl_easy_setopt(self->easy, CURLOPT_CUSTOMREQUEST, self->method) == CURLE_OK;
}

/* Reads a secret into an option, which copies it. False when the run has ended over it. */
static bool set_secret(struct http_run *self, CURLoption option, const struct secret *secret)
{
	struct error error;
	char *text = secret_read(secret, &error);
	bool set = text && curl_easy_setopt(self->easy, option, text) == CURLE_OK;

	if (!text)
		probe_finish(self->run, PROBE_FAIL, REASON_SECRET_UNAVAILABLE, "%s", error.text);
	secret_wipe(text);
	return set;
}

/* The secrets go to the very server that they were configured for and to no other port of it. */
static bool set_credentials(struct http_run *self)
{
	const struct http_settings *settings = self->settings;
	const char *user = settings->user ? settings->user : self->first->user;

	if (!http_target_same_origin(self->target, self->first))
		return true;
	if (secret_is_set(&settings->bearer_token)) {
		curl_easy_setopt(self->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		return set_secret(self, CURLOPT_XOAUTH2_BEARER, &settings->bearer_token);
	}
	if (!user)
		return true;
	curl_easy_setopt(self->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	if (curl_easy_setopt(self->easy, CURLOPT_USERNAME, user) != CURLE_OK)
		return false;
	if (secret_is_set(&settings->password))
		return set_secret(self, CURLOPT_PASSWORD, &settings->password);
	return curl_easy_setopt(self->easy, CURLOPT_PASSWORD,
				self->first->password && !settings->user ? self->first->password
									 : "") == CURLE_OK;
}

/* False when the run has ended over it. */
static bool set_tls(struct http_run *self)
{
	struct error error;

	if (tls_context_renew(&self->kept->tls_context, &self->settings->tls, &error) < 0) {
		probe_finish(self->run, PROBE_FAIL, tls_reason(TLS_LOCAL), "%s", error.text);
		return false;
	}
	/* agent/tls.c verifies, in on_tls_context(), and libcurl need not do it again. */
	curl_easy_setopt(self->easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(self->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(self->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
	curl_easy_setopt(self->easy, CURLOPT_SSL_CTX_DATA, self);
	/* A resumed session shows no certificate, so what expired since would never be seen. */
	curl_easy_setopt(self->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	return true;
}

static void set_callbacks(struct http_run *self)
{
	CURL *easy = self->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, self);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, self->curl_error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, self);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket_opened);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, self->connection);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_established);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, self);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, self);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
}

/* Gives everything of this request back, whatever state it is in. */
static void transfer_release(struct http_run *self)
{
	if (self->easy) {
		curl_multi_remove_handle(shared.multi, self->easy);
		curl_easy_reset(self->easy);
		if (shared.idle_count < IDLE_HANDLES_MAX)
			shared.idle[shared.idle_count++] = self->easy;
		else
			curl_easy_cleanup(self->easy);
		self->easy = NULL;
	}
	curl_slist_free_all(self->headers);
	self->headers = NULL;
	if (self->connection)
		connection_drop(self->connection);
}

static bool transfer_prepare(struct http_run *self)
{
	self->easy = shared.idle_count > 0 ? shared.idle[--shared.idle_count] : curl_easy_init();
	if (!self->easy)
		return false;
	set_callbacks(self);
	/* Any path does: nothing is ever opened there. */
	return curl_easy_setopt(self->easy, CURLOPT_UNIX_SOCKET_PATH, "/") == CURLE_OK &&
	       set_request(self) && set_headers(self) && set_credentials(self) &&
	       (!self->target->tls || set_tls(self));
}

/* ---- how a transfer failed ---- */

/* The connection ended, one way or another, before the head of an answer was complete. */
static void fail_connection(struct http_run *self)
{
	bool begun = self->run->phase_us[PHASE_FIRST_BYTE] >= 0;
	const char *when = self->stage == STAGE_TLS ? "during the TLS handshake"
			   : begun                  ? "in the middle of the headers"
						    : "before it answered";
	long error_number = 0;

	curl_easy_getinfo(self->easy, CURLINFO_OS_ERRNO, &error_number);
	if (error_number == ECONNRESET || error_number == EPIPE)
		probe_finish(self->run, PROBE_FAIL, REASON_CONNECTION_RESET,
			     "the server reset the connection %s", when);
	else
		probe_finish(self->run, PROBE_FAIL, REASON_CONNECTION_CLOSED,
			     "the server closed the connection %s", when);
}

/* OpenSSL's code in libcurl's "TLS connect error: error:0A00010B:SSL routines::text"; 0 = none. */
static unsigned long tls_error_code(const struct http_run *self)
{
	static const char mark[] = "error:";
	const char *found = strstr(self->curl_error, mark);

	return found ? strtoul(found + sizeof(mark) - 1, NULL, 16) : 0;
}

static void fail_handshake(struct http_run *self)
{
	unsigned long code = tls_error_code(self);
	enum tls_outcome outcome;
	struct error error;

	if (code == 0) {
		fail_connection(self);
		return;
	}
	outcome = tls_outcome_of_error_code(code, &error);
	probe_finish(self->run, PROBE_FAIL, tls_reason(outcome), "%s", error.text);
}

static void fail_transfer(struct http_run *self, CURLcode code)
{
	if (self->peer.outcome != TLS_OK) {
		probe_finish(self->run, PROBE_FAIL, tls_reason(self->peer.outcome), "%s",
			     self->peer.error.text);
		return;
	}
	if (self->protocol_fault) {
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR, "%s",
			     self->protocol_fault);
		return;
	}
	switch (code) {
	case CURLE_OK: /* ended without an error, but also without a complete head */
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		fail_connection(self);
		break;
	case CURLE_OUT_OF_MEMORY:
		probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		break;
	case CURLE_TOO_LARGE:
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
			     "the headers of the answer do not end");
		break;
	case CURLE_COULDNT_CONNECT: /* libcurl wanted a second connection */
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
			     "the server does not take the request in HTTP/2");
		break;
	case CURLE_SSL_CONNECT_ERROR:
		fail_handshake(self);
		break;
	default:
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
			     "the answer is not HTTP");
		break;
	}
}

/* ---- the end of a transfer ---- */

/* Goes on to where the answer redirects; false when it does not, or when the redirect is not to be
 * followed. */
static bool follow_redirect(struct http_run *self)
{
	const char *server_name = self->settings->tls.server_name;
	struct http_target next;
	struct error error;
	char *location = NULL;

	curl_easy_getinfo(self->easy, CURLINFO_REDIRECT_URL, &location);
	if (!self->settings->follow_redirects || !http_status_redirects(self->answer.status) ||
	    !location)
		return false;
	if (http_target_parse(&next, location, &error) < 0) {
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
			     "status %d, but the redirect leads nowhere: %.120s",
			     self->answer.status, error.text);
		return true;
	}
	if (!http_target_same_host(&next, self->first) &&
	    !(server_name && strcasecmp(next.host, server_name) == 0)) {
		self->not_followed = next;
		self->answer.redirect_host = next.host;
		return false;
	}
	if (self->requests >= REQUESTS_MAX) {
		http_target_free(&next);
		probe_finish(self->run, PROBE_FAIL, REASON_TOO_MANY_REDIRECTS,
			     "status %d, the redirect number %u, which is one too many",
			     self->answer.status, self->requests);
		return true;
	}
	/* The connection goes to the host that was configured, in its own spelling. */
	free(next.host);
	next.host = strdup(self->first->host);
	if (!next.host) {
		http_target_free(&next);
		probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		return true;
	}
	self->method = http_redirected_method(self->answer.status, self->method);
	transfer_release(self);
	http_target_free(&self->redirected);
	self->redirected = next;
	self->target = &self->redirected;
	request_begin(self);
	return true;
}

static void transfer_end(struct http_run *self, CURLcode code)
{
	curl_off_t announced = -1;

	self->run->certificate_expires_s = self->peer.expires_s;
	if (self->stage != STAGE_BODY) {
		fail_transfer(self, code);
		return;
	}
	if (self->reading_stopped) {
		curl_easy_getinfo(self->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
		finish_judged(self, announced >= 0 ? HTTP_BODY_CUT : HTTP_BODY_ENDLESS);
	} else if (code != CURLE_OK) {
		finish_judged(self, HTTP_BODY_BROKEN);
	} else if (!follow_redirect(self)) {
		finish_judged(self, HTTP_BODY_WHOLE);
	}
}

/* ---- libcurl on our loop ---- */

static void take_finished(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(shared.multi, &left))) {
		CURLcode code = message->data.result;
		char *owner = NULL;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
		transfer_end((struct http_run *)(void *)owner, code);
	}
}

static void on_ready(struct loop_io *io, unsigned events)
{
	struct connection *connection = io->owner;
	int mask = (events & LOOP_READ ? CURL_CSELECT_IN : 0) |
		   (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(shared.multi, connection->fd, mask, &running);
	take_finished();
}

static void on_timer(struct loop_timer *timer)
{
	int running;

	(void)timer;
	curl_multi_socket_action(shared.multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished();
}

/* libcurl wants `fd` to be watched. It must not be told of failures by -1, which would end all
 * transfers of the process for good. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *socket_owner)
{
	struct http_run *self;
	struct connection *connection;
	unsigned interest =
		(what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
	char *private = NULL;

	(void)owner;
	(void)socket_owner;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	self = (struct http_run *)(void *)private;
	/* libcurl's own handle asks for connections that it is about to close; see
	 * connection_drop(). */
	connection = self ? self->connection : NULL;
	if (!connection || connection->fd != fd)
		return 0;
	connection->io.on_ready = on_ready;
	if (what == CURL_POLL_REMOVE)
		loop_io_clear(shared.loop, &connection->io);
	else if (loop_io_set(shared.loop, &connection->io, fd, interest) < 0)
		probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES,
			     "the system does not let readyd watch another connection");
	return 0;
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *owner)
{
	(void)multi;
	(void)owner;
	if (timeout_ms < 0)
		loop_timer_clear(shared.loop, &shared.timer);
	else
		loop_timer_set(shared.loop, &shared.timer,
			       timeout_ms == 0 ? loop_now_us(shared.loop)
					       : clock_monotonic_us() + timeout_ms * 1000);
	return 0;
}

static bool shared_prepare(struct loop *loop)
{
	if (shared.multi)
		return true;
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return false;
	shared.multi = curl_multi_init();
	if (!shared.multi)
		return false;
	shared.loop = loop;
	shared.timer.on_expire = on_timer;
	curl_multi_setopt(shared.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(shared.multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	return true;
}

static void http_shutdown(void)
{
	if (!shared.multi)
		return;
	while (shared.idle_count > 0)
		curl_easy_cleanup(shared.idle[--shared.idle_count]);
	curl_multi_cleanup(shared.multi);
	curl_global_cleanup();
	loop_timer_clear(shared.loop, &shared.timer);
	shared.multi = NULL;
}

/* ---- runs ---- */

static void on_resolved(struct dial *dial)
{
	struct http_run *self = dial->owner;

	probe_phase_end(self->run, PHASE_RESOLVE);
	self->stage = STAGE_CONNECTING;
}

static void on_dialled(struct dial *dial, int fd, int error_number, const struct error *error)
{
	struct http_run *self = dial->owner;

	if (fd < 0) {
		probe_finish(self->run, PROBE_FAIL,
			     error_number ? probe_reason_from_errno(error_number)
					  : REASON_DNS_FAILURE,
			     "%s", error->text);
		return;
	}
	probe_phase_end(self->run, PHASE_CONNECT);
	self->stage = self->target->tls ? STAGE_TLS : STAGE_WAITING;
	self->connection = connection_create(self, fd);
	if (!self->connection)
		close(fd);
	if (!self->connection || !transfer_prepare(self) ||
	    curl_multi_add_handle(shared.multi, self->easy) != CURLM_OK)
		probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
}

/* Begins the request to self->target. */
static void request_begin(struct http_run *self)
{
	struct probe_run *run = self->run;

	self->requests++;
	self->stage = STAGE_RESOLVING;
	self->answer = (struct http_answer){0};
	self->content_length[0] = '\0';
	self->curl_error[0] = '\0';
	self->peer = (struct tls_peer){0};
	buffer_clear(&self->body);
	run->phase_us[PHASE_FIRST_BYTE] = -1;
	if (self->target->tls && !tls_library_version())
		probe_finish(run, PROBE_FAIL, REASON_TLS_UNAVAILABLE, "%s",
			     TLS_UNAVAILABLE_SENTENCE);
	else if (self->settings->unix_socket)
		dial_start_unix(&self->dial, run->env->loop, self->settings->unix_socket);
	else
		dial_start(&self->dial, run->env->loop, run->env->resolver, self->target->host,
			   self->target->port);
}

/* Reads the URL from its file; false when the run has ended over it. */
static bool read_target(struct http_run *self)
{
	struct error error;
	char *url = secret_read(&self->settings->url, &error);
	enum probe_reason reason = REASON_SECRET_UNAVAILABLE;
	bool good = url && http_target_parse(&self->own_first, url, &error) == 0;

	secret_wipe(url);
	if (!good)
		probe_finish(self->run, PROBE_FAIL, reason, "%s", error.text);
	self->first = &self->own_first;
	return good;
}

static void http_start(struct probe_run *run)
{
	struct http_run *self = run->state;

	self->run = run;
	self->settings = run->conf;
	self->kept = run->kept;
	self->started_us = clock_monotonic_us();
	self->dial.owner = self;
	self->dial.on_resolved = on_resolved;
	self->dial.on_done = on_dialled;
	self->early.owner = self;
	self->early.on_expire = on_early;
	self->first = &self->settings->target;
	self->method = http_settings_method(self->settings);
	buffer_init(&self->body, HTTP_BODY_MAX);
	if (!shared_prepare(run->env->loop) ||
	    loop_timer_set(run->env->loop, &self->early, run->deadline_us - EARLY_US) < 0) {
		probe_finish(run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		return;
	}
	if (self->settings->url.file && !read_target(self))
		return;
	self->target = self->first;
	request_begin(self);
}

static void http_stop(struct probe_run *run)
{
	struct http_run *self = run->state;

	loop_timer_clear(run->env->loop, &self->early);
	dial_cancel(&self->dial);
	transfer_release(self);
	buffer_free(&self->body);
	http_target_free(&self->own_first);
	http_target_free(&self->redirected);
	http_target_free(&self->not_followed);
}

static void http_forget(const struct probe_env *env, const void *conf, void *kept_memory)
{
	struct http_kept *kept = kept_memory;

	(void)env;
	(void)conf;
	tls_context_destroy(kept->tls_context);
	kept->tls_context = NULL;
}

static const char *const http_schemes[] = {"http", "https", NULL};

const struct probe_type probe_http = {
	.name = "http",
	.kubernetes_name = "httpGet",
	.schemes = http_schemes,
	.summary = "sends an HTTP request and judges the answer",
	.example = "http://127.0.0.1:8080/healthz",
	.fields = http_fields,
	.conf_size = sizeof(struct http_settings),
	.state_size = sizeof(struct http_run),
	.kept_size = sizeof(struct http_kept),
	.check = http_settings_check,
	.describe = http_settings_describe,
	.release = http_settings_release,
	.start = http_start,
	.stop = http_stop,
	.forget = http_forget,
	.shutdown = http_shutdown,
};
