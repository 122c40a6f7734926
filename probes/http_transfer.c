/* The only user of libcurl's header. What a request says is in probes/http_request.c, why there was
 * no answer in probes/http_failure.c.
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
#include <sys/socket.h>
#include <unistd.h>

#include "agent/loop.h"
#include "probes/http_failure.h"
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

static const char out_of_memory[] = "out of memory";

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

static enum http_end_kind end_kind(CURLcode code)
{
	switch (code) {
	case CURLE_OK: /* the connection was closed amid the headers */
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return HTTP_END_CONNECTION;
	case CURLE_SSL_CONNECT_ERROR:
		return HTTP_END_HANDSHAKE;
	case CURLE_OUT_OF_MEMORY:
		return HTTP_END_MEMORY;
	case CURLE_TOO_LARGE:
		return HTTP_END_HEADERS;
	case CURLE_COULDNT_CONNECT: /* libcurl wanted a second connection */
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return HTTP_END_HTTP2;
	default:
		return HTTP_END_OTHER;
	}
}

/* No complete head came. */
static void fail_as(struct http_transfer *transfer, CURLcode code)
{
	struct http_end end = {
		.kind = end_kind(code),
		.message = transfer->curl_error,
		.in_handshake = transfer->stage == HTTP_STAGE_TLS,
		.first_byte_came = transfer->first_byte_came,
		.fault = transfer->answer.head.fault,
		.peer = &transfer->peer,
	};
	long error_number = 0;
	struct error error;

	curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error_number);
	end.error_number = (int)error_number;
	fail(transfer, http_explain_end(&end, &error), error.text);
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
	if (http_settings_judge_body(transfer->request.settings)) {
		/* An empty body is a body too. */
		buffer_text(&transfer->body, "");
		if (!transfer->body.data) {
			fail(transfer, REASON_RESOURCES, out_of_memory);
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
	if (tls_context_lend(transfer->tls_context, &transfer->request.settings->tls,
			     transfer->request.target->host, ssl_context, &transfer->peer,
			     &error) == 0)
		return CURLE_OK;
	fail(transfer, tls_reason(TLS_LOCAL), error.text);
	return CURLE_SSL_CERTPROBLEM;
}

/* The head is complete; false when the answer can not be accepted. */
static bool take_head(struct http_transfer *transfer)
{
	struct http_head *head = &transfer->answer.head;
	long version = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version);
	if (!http_head_accept(head, transfer->request.settings, version == CURL_HTTP_VERSION_2))
		return false;
	if (head->status < 200)
		return true; /* an interim answer; the real one follows */
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
	if (!http_head_take(head, transfer->request.settings, line, len))
		return CURL_WRITEFUNC_ERROR;
	return !head->complete || take_head(transfer) ? len : CURL_WRITEFUNC_ERROR;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *owner)
{
	struct http_transfer *transfer = owner;
	size_t len = size * count;

	transfer->answer.body_received += len;
	if (http_settings_judge_body(transfer->request.settings))
		buffer_append(&transfer->body, bytes, len);
	if (transfer->answer.body_received <= HTTP_BODY_MAX)
		return len;
	transfer->cut_off = true;
	return CURL_WRITEFUNC_ERROR;
}

/* ---- the request ---- */

static bool add_header(void *owner, const char *line)
{
	struct http_transfer *transfer = owner;
	struct curl_slist *headers = curl_slist_append(transfer->headers, line);

	if (headers)
		transfer->headers = headers;
	return headers != NULL;
}

static bool set_headers(struct http_transfer *transfer)
{
	if (!http_request_headers(&transfer->request, add_header, transfer))
		return false;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER,
			 (struct curl_slist *)transfer->headers);
	return curl_easy_setopt(transfer->easy, CURLOPT_USERAGENT,
				http_request_user_agent(&transfer->request)) == CURLE_OK;
}

static bool set_url(struct http_transfer *transfer)
{
	char *url = http_request_url(&transfer->request);
	bool set = url && curl_easy_setopt(transfer->easy, CURLOPT_URL, url) == CURLE_OK;

	free(url);
	curl_easy_setopt(transfer->easy, CURLOPT_PATH_AS_IS, 1L);
	/* Any path does: nothing is ever opened there. */
	return set && curl_easy_setopt(transfer->easy, CURLOPT_UNIX_SOCKET_PATH, "/") == CURLE_OK;
}

static void set_version(struct http_transfer *transfer)
{
	static const long plain[] = {
		[HTTP_VERSION_1_0] = CURL_HTTP_VERSION_1_0,
		[HTTP_VERSION_1_1] = CURL_HTTP_VERSION_1_1,
		[HTTP_VERSION_2] = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
	};
	int version = transfer->request.settings->version;
	bool negotiates = version == HTTP_VERSION_2 && transfer->request.target->tls;

	curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION,
			 negotiates ? (long)CURL_HTTP_VERSION_2TLS : plain[version]);
}

static bool set_method(struct http_transfer *transfer)
{
	const char *method = transfer->request.method;
	const char *body = http_request_body(&transfer->request);

	if (strcmp(method, "GET") == 0)
		return true;
	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(transfer->easy, CURLOPT_NOBODY, 1L);
		return true;
	}
	if (body) {
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(body));
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

static bool set_credentials(struct http_transfer *transfer)
{
	struct http_credentials who = http_request_credentials(&transfer->request);

	if (who.bearer_token) {
		curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		return set_secret(transfer, CURLOPT_XOAUTH2_BEARER, who.bearer_token);
	}
	if (!who.user)
		return true;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	if (curl_easy_setopt(transfer->easy, CURLOPT_USERNAME, who.user) != CURLE_OK)
		return false;
	if (who.password)
		return set_secret(transfer, CURLOPT_PASSWORD, who.password);
	return curl_easy_setopt(transfer->easy, CURLOPT_PASSWORD, who.url_password) == CURLE_OK;
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
	if (transfer->request.target->tls)
		set_tls(transfer);
	return set_url(transfer) && set_method(transfer) && set_headers(transfer) &&
	       set_credentials(transfer);
}

/* ---- libcurl on our loop ---- */

/* Lets libcurl do what is due. */
static void act(curl_socket_t fd, int mask)
{
	CURLMsg *message;
	int count;

	curl_multi_socket_action(shared.multi, fd, mask, &count);
	while ((message = curl_multi_info_read(shared.multi, &count))) {
		CURLcode code = message->data.result;
		char *transfer = NULL;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		end((struct http_transfer *)(void *)transfer, code);
	}
}

static void on_ready(struct loop_io *io, unsigned events)
{
	struct http_connection *connection = io->owner;

	act(connection->fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) |
				    (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct loop_timer *timer)
{
	(void)timer;
	act(CURL_SOCKET_TIMEOUT, 0);
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
	transfer->stage = transfer->request.target->tls ? HTTP_STAGE_TLS : HTTP_STAGE_WAITING;
	transfer->answer = (struct http_answer){0};
	transfer->peer = (struct tls_peer){.outcome = TLS_OK};
	transfer->ended = false;
	transfer->first_byte_came = false;
	transfer->cut_off = false;
	transfer->curl_error[0] = '\0';
	buffer_init(&transfer->body, HTTP_BODY_MAX);
	transfer->connection = shared_prepare(loop) ? connection_create(transfer, fd) : NULL;
	if (!transfer->connection)
		close(fd);
	if (!transfer->connection || !prepare(transfer) ||
	    curl_multi_add_handle(shared.multi, transfer->easy) != CURLM_OK)
		fail(transfer, REASON_RESOURCES, out_of_memory);
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
