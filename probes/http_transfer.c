/* The only user of libcurl's header.
 *
 * libcurl never resolves a name and never connects: it is told to use a unix socket, so it looks
 * nothing up, and when it wants that socket it is handed the connected descriptor. It follows no
 * redirects and verifies no certificates either; probes/http.c and agent/tls.c do. */
#include "probes/http_transfer.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/loop.h"
#include "probes/http_settings.h"

enum { IDLE_HANDLES_MAX = 16 };

_Static_assert(HTTP_CURL_ERROR_SIZE >= CURL_ERROR_SIZE, "libcurl writes that much");

/* A connected descriptor. libcurl decides when it is closed, which may be after the transfer. */
struct http_connection {
	int fd;
	bool taken;                     /* by libcurl */
	struct http_transfer *transfer; /* NULL = stopped */
	struct loop_io io;
};

/* What all transfers share; made for the first one. */
static struct {
	CURLM *multi;
	struct loop *loop;
	struct loop_timer timer;
	CURL *idle[IDLE_HANDLES_MAX];
	size_t idle_count;
} shared;

/* ---- the end ---- */

static void fail(struct http_transfer *transfer, enum probe_reason reason, const char *sentence)
{
	struct error error;

	if (transfer->ended)
		return;
	transfer->ended = true;
	error_set(&error, "%s", sentence);
	transfer->on_failure(transfer, reason, &error);
}

static void fail_memory(struct http_transfer *transfer)
{
	fail(transfer, REASON_RESOURCES, "out of memory");
}

/* The connection ended, one way or another, before the head of an answer was complete. */
static void fail_connection(struct http_transfer *transfer)
{
	const char *when = transfer->stage == HTTP_STAGE_TLS ? "during the TLS handshake"
			   : transfer->first_byte_came       ? "in the middle of the headers"
							     : "before it answered";
	long error_number = 0;
	bool reset;
	struct error error;

	curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error_number);
	reset = error_number == ECONNRESET || error_number == EPIPE;
	error_set(&error, "the server %s the connection %s", reset ? "reset" : "closed", when);
	fail(transfer, reset ? REASON_CONNECTION_RESET : REASON_CONNECTION_CLOSED, error.text);
}

/* OpenSSL's code in libcurl's "TLS connect error: error:0A00010B:SSL routines::text"; 0 = none. */
static unsigned long tls_error_code(const struct http_transfer *transfer)
{
	static const char mark[] = "error:";

	for (const char *at = transfer->curl_error; (at = strstr(at, mark));) {
		at += sizeof(mark) - 1;
		if (strspn(at, "0123456789ABCDEF") == 8)
			return strtoul(at, NULL, 16);
	}
	return 0;
}

static void fail_handshake(struct http_transfer *transfer)
{
	unsigned long code = tls_error_code(transfer);
	enum tls_outcome outcome;
	struct error error;

	if (code == 0) {
		fail_connection(transfer);
		return;
	}
	outcome = tls_outcome_of_error_code(code, &error);
	fail(transfer, tls_reason(outcome), error.text);
}

/* No complete head came. */
static void fail_as(struct http_transfer *transfer, CURLcode code)
{
	if (transfer->peer.outcome != TLS_OK) {
		fail(transfer, tls_reason(transfer->peer.outcome), transfer->peer.error.text);
		return;
	}
	if (transfer->answer.head.fault) {
		fail(transfer, REASON_PROTOCOL_ERROR, transfer->answer.head.fault);
		return;
	}
	switch (code) {
	case CURLE_OK: /* the connection was closed amid the headers */
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		fail_connection(transfer);
		break;
	case CURLE_SSL_CONNECT_ERROR:
		fail_handshake(transfer);
		break;
	case CURLE_OUT_OF_MEMORY:
		fail_memory(transfer);
		break;
	case CURLE_TOO_LARGE:
		fail(transfer, REASON_PROTOCOL_ERROR, "the headers of the answer do not end");
		break;
	case CURLE_COULDNT_CONNECT: /* libcurl wanted a second connection */
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		/* Without a complaint the connection has just ended. */
		if (transfer->curl_error[0] == '\0')
			fail_connection(transfer);
		else
			fail(transfer, REASON_PROTOCOL_ERROR,
			     "the server does not take the request in HTTP/2");
		break;
	default:
		fail(transfer, REASON_PROTOCOL_ERROR, "the answer is not HTTP");
		break;
	}
}

static void end(struct http_transfer *transfer, CURLcode code)
{
	struct http_answer *answer = &transfer->answer;
	curl_off_t announced = -1;

	if (transfer->ended)
		return;
	if (transfer->stage != HTTP_STAGE_BODY) {
		fail_as(transfer, code);
		return;
	}
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
	if (transfer->cut_off)
		answer->body_end = announced >= 0 ? HTTP_BODY_CUT : HTTP_BODY_ENDLESS;
	else
		answer->body_end = code == CURLE_OK ? HTTP_BODY_WHOLE : HTTP_BODY_BROKEN;
	if (http_settings_judge_body(transfer->settings)) {
		/* An empty body is a body too. */
		buffer_text(&transfer->body, "");
		if (!transfer->body.data) {
			fail_memory(transfer);
			return;
		}
		answer->body = transfer->body.data;
		answer->body_len = transfer->body.len;
	}
	transfer->ended = true;
	transfer->on_answer(transfer);
}

/* ---- connections ---- */

static struct http_connection *connection_create(struct http_transfer *transfer, int fd)
{
	struct http_connection *connection = calloc(1, sizeof(*connection));
	int on = 1;

	if (!connection)
		return NULL;
	connection->fd = fd;
	connection->transfer = transfer;
	connection->io.owner = connection;
	/* A request of several segments must not wait for acknowledgements. Fails on unix sockets,
	 * which have no such wait. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connection;
}

static void connection_close(struct http_connection *connection)
{
	loop_io_clear(shared.loop, &connection->io);
	close(connection->fd);
	if (connection->transfer)
		connection->transfer->connection = NULL;
	free(connection);
}

/* Called once the transfer has no use for it any more. */
static void connection_drop(struct http_connection *connection)
{
	int running;

	if (!connection->taken) {
		connection_close(connection);
		return;
	}
	/* libcurl has said goodbye in TLS and waits for the peer to do the same, for which there is
	 * no reason. Once it reads the end of the stream it closes. Should there be a flood in
	 * front of that end, it gives up by itself within seconds. */
	connection->transfer->connection = NULL;
	connection->transfer = NULL;
	shutdown(connection->fd, SHUT_RDWR);
	curl_multi_socket_action(shared.multi, connection->fd, CURL_CSELECT_IN, &running);
}

static curl_socket_t on_open_socket(void *owner, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct http_transfer *transfer = owner;

	(void)purpose;
	(void)address;
	/* Asked for a second time when a server refuses an HTTP/2 stream and libcurl wants to try
	 * again, which is not its business. */
	if (!transfer->connection || transfer->connection->taken)
		return CURL_SOCKET_BAD;
	transfer->connection->taken = true;
	return transfer->connection->fd;
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

/* ---- what libcurl delivers ---- */

/* Called when the connection stands, TLS included, and before the request goes out. */
static int on_established(void *owner, char *peer, /* NOLINT(readability-non-const-parameter) */
			  char *own,               /* NOLINT(readability-non-const-parameter) */
			  int peer_port, int own_port)
{
	struct http_transfer *transfer = owner;

	(void)peer;
	(void)own;
	(void)peer_port;
	(void)own_port;
	if (transfer->stage == HTTP_STAGE_TLS)
		transfer->on_phase(transfer, PHASE_TLS);
	transfer->stage = HTTP_STAGE_WAITING;
	return CURL_PREREQFUNC_OK;
}

static CURLcode on_tls_context(CURL *easy, void *ssl_context, void *owner)
{
	struct http_transfer *transfer = owner;
	struct error error;

	(void)easy;
	if (tls_context_lend(transfer->tls_context, &transfer->settings->tls,
			     transfer->target->host, ssl_context, &transfer->peer, &error) == 0)
		return CURLE_OK;
	fail(transfer, tls_reason(TLS_LOCAL), error.text);
	return CURLE_SSL_CERTPROBLEM;
}

/* The head is complete, with this status; false when the answer can not be accepted. */
static bool take_head(struct http_transfer *transfer)
{
	int status = transfer->answer.head.status;
	long version = 0;

	if (status == 101) {
		transfer->answer.head.fault =
			"the server switches to a protocol that was not asked for";
		return false;
	}
	if (status < 200)
		return true; /* an interim answer; the real one follows */
	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version);
	if (transfer->settings->version == HTTP_VERSION_2 && version != CURL_HTTP_VERSION_2) {
		transfer->answer.head.fault = "the server answers in HTTP/1, expected HTTP/2";
		return false;
	}
	transfer->stage = HTTP_STAGE_BODY;
	transfer->on_head(transfer);
	return true;
}

/* Called for each line of the head, the status line and the empty line at its end included, for
 * interim answers, and for trailers behind the body. */
static size_t on_header(char *line, size_t size, size_t count, void *owner)
{
	struct http_transfer *transfer = owner;
	struct http_head *head = &transfer->answer.head;
	size_t len = size * count;

	if (transfer->stage == HTTP_STAGE_BODY)
		return len;
	if (!transfer->first_byte_came)
		transfer->on_phase(transfer, PHASE_FIRST_BYTE);
	transfer->first_byte_came = true;
	if (!http_head_take(head, transfer->settings, line, len))
		return CURL_WRITEFUNC_ERROR;
	return !head->complete || take_head(transfer) ? len : CURL_WRITEFUNC_ERROR;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *owner)
{
	struct http_transfer *transfer = owner;
	size_t len = size * count;

	transfer->answer.body_received += len;
	if (http_settings_judge_body(transfer->settings))
		buffer_append(&transfer->body, bytes, len);
	if (transfer->answer.body_received <= HTTP_BODY_MAX)
		return len;
	transfer->cut_off = true;
	return CURL_WRITEFUNC_ERROR;
}

/* ---- the request ---- */

static bool add_header(struct http_transfer *transfer, const char *name, const char *separator,
		       const char *value)
{
	struct buffer line;
	struct curl_slist *headers;

	buffer_init(&line, CURL_MAX_HTTP_HEADER);
	buffer_format(&line, "%s%s", name, separator);
	buffer_text(&line, value);
	headers = line.overflow ? NULL : curl_slist_append(transfer->headers, line.data);
	buffer_free(&line);
	if (!headers)
		return false;
	transfer->headers = headers;
	return true;
}

/* One of the user's headers, with what an empty value means to the kubelet. */
static bool add_own_header(struct http_transfer *transfer, const struct pair *header)
{
	bool empty = header->value[0] == '\0';
	bool same_origin = http_target_same_origin(transfer->target, transfer->first);

	/* User-Agent has an option of its own, which keeps it in front; the others follow from the
	 * request. */
	if (strcasecmp(header->name, "User-Agent") == 0 ||
	    strcasecmp(header->name, "Content-Length") == 0 ||
	    strcasecmp(header->name, "Transfer-Encoding") == 0)
		return true;
	if (strcasecmp(header->name, "Host") == 0)
		return empty || !same_origin || add_header(transfer, "Host", ": ", header->value);
	if (!same_origin && (strcasecmp(header->name, "Authorization") == 0 ||
			     strcasecmp(header->name, "Cookie") == 0))
		return true;
	if (strcasecmp(header->name, "Accept") == 0 && empty)
		return add_header(transfer, "Accept", ":", ""); /* to libcurl: do not send it */
	return add_header(transfer, header->name, empty ? ";" : ": ", header->value);
}

/* With serverName the URL has the name of the certificate; the request has the name of the host. */
static bool add_host_header(struct http_transfer *transfer)
{
	char *host = http_target_authority(transfer->target, NULL);
	bool added = host && add_header(transfer, "Host", ": ", host);

	free(host);
	return added;
}

/* The headers, in the kubelet's order: Host, User-Agent, Accept, own ones, Connection. */
static bool set_headers(struct http_transfer *transfer)
{
	const struct pair_list *own = &transfer->settings->headers;
	const char *agent = http_header_value(own, "User-Agent");
	bool complete = true;

	for (size_t i = 0; complete && i < own->count; i++)
		complete = add_own_header(transfer, &own->items[i]);
	if (complete && transfer->target->tls && transfer->settings->tls.server_name &&
	    !http_header_value(own, "Host"))
		complete = add_host_header(transfer);
	/* Who wants a Content-Type says which. */
	if (complete && !http_header_value(own, "Content-Type"))
		complete = add_header(transfer, "Content-Type", ":", "");
	if (complete && transfer->settings->version != HTTP_VERSION_2 &&
	    !http_header_value(own, "Connection"))
		complete = add_header(transfer, "Connection", ": ", "close");
	if (!complete)
		return false;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER,
			 (struct curl_slist *)transfer->headers);
	return curl_easy_setopt(transfer->easy, CURLOPT_USERAGENT,
				agent ? agent : "readyd/" READYD_VERSION) == CURLE_OK;
}

static bool set_url(struct http_transfer *transfer)
{
	const char *server_name =
		transfer->target->tls ? transfer->settings->tls.server_name : NULL;
	char *url = http_target_url(transfer->target, server_name);
	bool set = url && curl_easy_setopt(transfer->easy, CURLOPT_URL, url) == CURLE_OK;

	free(url);
	curl_easy_setopt(transfer->easy, CURLOPT_PATH_AS_IS, 1L);
	/* Any path does: nothing is ever opened there. */
	return set && curl_easy_setopt(transfer->easy, CURLOPT_UNIX_SOCKET_PATH, "/") == CURLE_OK;
}

static void set_version(struct http_transfer *transfer)
{
	long version = CURL_HTTP_VERSION_1_1;

	if (transfer->settings->version == HTTP_VERSION_1_0)
		version = CURL_HTTP_VERSION_1_0;
	else if (transfer->settings->version == HTTP_VERSION_2)
		version = transfer->target->tls ? CURL_HTTP_VERSION_2TLS
						: CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION, version);
}

static bool set_method(struct http_transfer *transfer)
{
	const char *method = transfer->method;
	const char *own_body = transfer->settings->request_body;
	/* A redirect that changes the method leaves the body behind. */
	bool has_body = own_body && own_body[0] != '\0' &&
			strcmp(method, http_settings_method(transfer->settings)) == 0;

	if (strcmp(method, "GET") == 0)
		return true;
	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(transfer->easy, CURLOPT_NOBODY, 1L);
		return true;
	}
	/* These say the length of their body even when there is none (RFC 9110, 8.6). */
	if (has_body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	    strcmp(method, "PATCH") == 0) {
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, has_body ? own_body : "");
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)(has_body ? strlen(own_body) : 0));
	}
	return curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* Reads a secret into an option, which copies it. */
static bool set_secret(struct http_transfer *transfer, CURLoption option,
		       const struct secret *secret)
{
	struct error error;
	char *text = secret_read(secret, &error);
	bool set = text && curl_easy_setopt(transfer->easy, option, text) == CURLE_OK;

	if (!text)
		fail(transfer, REASON_SECRET_UNAVAILABLE, error.text);
	secret_wipe(text);
	return set;
}

/* The secrets go to the very server that they are for, and to no other port of its host. */
static bool set_credentials(struct http_transfer *transfer)
{
	const struct http_settings *settings = transfer->settings;
	const char *user = settings->user ? settings->user : transfer->first->user;
	const char *password = settings->user ? NULL : transfer->first->password;

	if (!http_target_same_origin(transfer->target, transfer->first))
		return true;
	if (secret_is_set(&settings->bearer_token)) {
		curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		return set_secret(transfer, CURLOPT_XOAUTH2_BEARER, &settings->bearer_token);
	}
	if (!user)
		return true;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	if (curl_easy_setopt(transfer->easy, CURLOPT_USERNAME, user) != CURLE_OK)
		return false;
	if (secret_is_set(&settings->password))
		return set_secret(transfer, CURLOPT_PASSWORD, &settings->password);
	return curl_easy_setopt(transfer->easy, CURLOPT_PASSWORD, password ? password : "") ==
	       CURLE_OK;
}

static void set_tls(struct http_transfer *transfer)
{
	/* agent/tls.c verifies, by what on_tls_context() sets; libcurl need not do it again. */
	curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(transfer->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
	curl_easy_setopt(transfer->easy, CURLOPT_SSL_CTX_DATA, transfer);
	/* A resumed session shows no certificate, so what expired since would never be seen. */
	curl_easy_setopt(transfer->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

static void set_callbacks(struct http_transfer *transfer)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket_opened);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->connection);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_established);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

static bool prepare(struct http_transfer *transfer)
{
	transfer->easy =
		shared.idle_count > 0 ? shared.idle[--shared.idle_count] : curl_easy_init();
	if (!transfer->easy)
		return false;
	set_callbacks(transfer);
	set_version(transfer);
	if (transfer->target->tls)
		set_tls(transfer);
	return set_url(transfer) && set_method(transfer) && set_headers(transfer) &&
	       set_credentials(transfer);
}

/* ---- libcurl on our loop ---- */

static void take_finished(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(shared.multi, &left))) {
		CURLcode code = message->data.result;
		char *transfer = NULL;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		end((struct http_transfer *)(void *)transfer, code);
	}
}

static void on_ready(struct loop_io *io, unsigned events)
{
	struct http_connection *connection = io->owner;
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

/* libcurl wants `fd` to be watched, or no longer. Failures are not returned to it: it would end all
 * transfers of the process for good. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *socket_owner)
{
	struct http_connection *connection = NULL;
	unsigned interest =
		(what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
	char *transfer = NULL;

	(void)owner;
	(void)socket_owner;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
	/* libcurl's own handle has no transfer: it asks for connections that connection_drop() will
	 * see to. */
	if (transfer)
		connection = ((struct http_transfer *)(void *)transfer)->connection;
	if (!connection || connection->fd != fd)
		return 0;
	connection->io.on_ready = on_ready;
	if (what == CURL_POLL_REMOVE)
		loop_io_clear(shared.loop, &connection->io);
	else if (loop_io_set(shared.loop, &connection->io, fd, interest) < 0)
		fail(connection->transfer, REASON_RESOURCES,
		     "the system does not let readyd watch another connection");
	return 0;
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *owner)
{
	int64_t at_us = loop_now_us(shared.loop);

	(void)multi;
	(void)owner;
	if (timeout_ms > 0)
		at_us = clock_monotonic_us() + timeout_ms * 1000;
	if (timeout_ms < 0)
		loop_timer_clear(shared.loop, &shared.timer);
	else
		loop_timer_set(shared.loop, &shared.timer, at_us);
	return 0;
}

/* libcurl would set OpenSSL up as soon as it is itself, reading openssl.cnf and taking longer than
 * a whole request to a plain server. The linker leads that call here (--wrap); agent/tls.c does
 * what is needed, when it is. */
int __wrap_Curl_ssl_init(void);

int __wrap_Curl_ssl_init(void)
{
	return 1;
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

void http_transfer_shutdown(void)
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

/* ---- transfers ---- */

void http_transfer_start(struct http_transfer *transfer, struct loop *loop, int fd)
{
	transfer->stage = transfer->target->tls ? HTTP_STAGE_TLS : HTTP_STAGE_WAITING;
	transfer->answer = (struct http_answer){0};
	transfer->peer = (struct tls_peer){.outcome = TLS_OK};
	transfer->ended = false;
	transfer->first_byte_came = false;
	transfer->cut_off = false;
	transfer->curl_error[0] = '\0';
	buffer_init(&transfer->body, HTTP_BODY_MAX);
	transfer->connection = shared_prepare(loop) ? connection_create(transfer, fd) : NULL;
	if (!transfer->connection) {
		close(fd);
		fail_memory(transfer);
	} else if (!prepare(transfer) ||
		   curl_multi_add_handle(shared.multi, transfer->easy) != CURLM_OK) {
		fail_memory(transfer);
	}
}

void http_transfer_stop(struct http_transfer *transfer)
{
	transfer->ended = true;
	if (transfer->easy) {
		curl_multi_remove_handle(shared.multi, transfer->easy);
		curl_easy_reset(transfer->easy);
		if (shared.idle_count < IDLE_HANDLES_MAX)
			shared.idle[shared.idle_count++] = transfer->easy;
		else
			curl_easy_cleanup(transfer->easy);
		transfer->easy = NULL;
	}
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->connection)
		connection_drop(transfer->connection);
	buffer_free(&transfer->body);
	transfer->answer.body = NULL;
}

const char *http_transfer_location(const struct http_transfer *transfer)
{
	char *location = NULL;

	curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &location);
	return location;
}

void http_transfer_libraries(char *text, size_t size)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	snprintf(text, size, "libcurl %s%s%s", info->version,
		 info->nghttp2_version ? ", nghttp2 " : "",
		 info->nghttp2_version ? info->nghttp2_version : "");
}
