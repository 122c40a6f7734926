/* Probes an HTTP or HTTPS server: connects (agent/dial.c), asks (probes/http_transfer.c), follows
 * redirects, and has the answer judged (probes/http_verdict.c).
 *
 * Every request has a connection of its own, as the kubelet's have. Redirects are followed here
 * because whether to follow one depends on where it leads. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/http_settings.h"
#include "probes/http_transfer.h"
#include "probes/http_verdict.h"
#include "probes/probe.h"

enum {
	REQUESTS_MAX = 10, /* the kubelet's: a tenth redirect is a failure */
	WAITING_FOR_SIZE = 160,
};

/* What is kept between the runs of a probe. */
struct http_kept {
	struct tls_context *tls_context; /* NULL = not needed yet */
};

struct http_run {
	struct probe_run *run;
	const struct http_settings *settings;
	struct http_kept *kept;
	int64_t started_us;
	char waiting_for[WAITING_FOR_SIZE];
	struct dial dial;
	struct http_transfer transfer;

	const struct http_target *first;  /* of the first request */
	const struct http_target *target; /* of this request: `first` or `redirected` */
	struct http_target own_first;     /* read from urlFile for this run; else empty */
	struct http_target redirected;
	struct http_target not_followed;
	const char *method;
	unsigned requests;
};

/* ---- the end of a run ---- */

static void finish_memory(struct http_run *self)
{
	probe_finish(self->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
}

static void finish_judged(struct http_run *self)
{
	struct http_answer *answer = &self->transfer.answer;
	struct http_verdict verdict;

	answer->redirects = self->requests - 1;
	answer->duration_us = clock_monotonic_us() - self->started_us;
	answer->certificate_expires_s = self->transfer.peer.expires_s;
	http_judge(self->settings, answer, &verdict);
	probe_finish(self->run, verdict.state, verdict.reason, "%s", verdict.sentence);
}

/* Tells the runner what it means if the deadline comes from now on. */
static void wait_for(struct http_run *self, enum probe_reason reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void wait_for(struct http_run *self, enum probe_reason reason, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(self->waiting_for, sizeof(self->waiting_for), format, arguments);
	va_end(arguments);
	self->run->waiting_for = self->waiting_for;
	self->run->deadline_reason = reason;
}

/* ---- requests ---- */

/* Begins the request to self->target. */
static void request_begin(struct http_run *self)
{
	const struct probe_env *env = self->run->env;

	self->requests++;
	wait_for(self, REASON_TIMEOUT, "address of %.100s from a name server", self->target->host);
	if (self->target->tls && !tls_library_version())
		probe_finish(self->run, PROBE_FAIL, REASON_TLS_UNAVAILABLE, "%s",
			     TLS_UNAVAILABLE_SENTENCE);
	else if (self->settings->unix_socket)
		dial_start_unix(&self->dial, env->loop, self->settings->unix_socket);
	else
		dial_start(&self->dial, env->loop, env->resolver, self->target->host,
			   self->target->port);
}

static void on_resolved(struct dial *dial)
{
	struct http_run *self = dial->owner;

	probe_phase_end(self->run, PHASE_RESOLVE);
	if (self->settings->unix_socket)
		wait_for(self, REASON_CONNECT_TIMEOUT, "connection to %.100s",
			 self->settings->unix_socket);
	else
		wait_for(self, REASON_CONNECT_TIMEOUT, "connection to %.100s, port %d",
			 self->target->host, self->target->port);
}

static void on_dialled(struct dial *dial, int fd, int error_number, const struct error *error)
{
	struct http_run *self = dial->owner;
	struct error problem;

	if (fd < 0) {
		probe_finish(self->run, PROBE_FAIL,
			     error_number ? probe_reason_from_errno(error_number)
					  : REASON_DNS_FAILURE,
			     "%s", error->text);
		return;
	}
	probe_phase_end(self->run, PHASE_CONNECT);
	if (self->target->tls &&
	    tls_context_renew(&self->kept->tls_context, &self->settings->tls, &problem) < 0) {
		close(fd);
		probe_finish(self->run, PROBE_FAIL, tls_reason(TLS_LOCAL), "%s", problem.text);
		return;
	}
	if (self->target->tls)
		wait_for(self, REASON_TIMEOUT, "complete TLS handshake");
	else
		wait_for(self, REASON_TIMEOUT, "answer");
	self->transfer.request.target = self->target;
	self->transfer.request.first = self->first;
	self->transfer.request.method = self->method;
	self->transfer.tls_context = self->kept->tls_context;
	http_transfer_start(&self->transfer, self->run->env->loop, fd);
}

static void on_phase(struct http_transfer *transfer, enum probe_phase phase)
{
	struct http_run *self = transfer->owner;

	probe_phase_end(self->run, phase);
	if (phase == PHASE_TLS)
		wait_for(self, REASON_TIMEOUT, "answer");
	else
		wait_for(self, REASON_TIMEOUT, "complete headers");
}

static void on_head(struct http_transfer *transfer)
{
	struct http_run *self = transfer->owner;
	int status = transfer->answer.head.status;

	/* An error page that hangs is first of all an error page. */
	wait_for(self,
		 http_status_accepted(self->settings, status) ? REASON_BODY_TIMEOUT
							      : REASON_HTTP_STATUS,
		 "complete body after status %d", status);
}

static void on_failure(struct http_transfer *transfer, enum probe_reason reason,
		       const struct error *error)
{
	struct http_run *self = transfer->owner;

	self->run->certificate_expires_s = transfer->peer.expires_s;
	probe_finish(self->run, PROBE_FAIL, reason, "%s", error->text);
}

/* ---- redirects ---- */

/* Whether a redirect stays on the host that was asked first; serverName is its name as well. */
static bool stays_on_host(const struct http_run *self, const struct http_target *next)
{
	const char *server_name = self->settings->tls.server_name;

	return http_target_same_host(next, self->first) ||
	       (server_name && strcasecmp(next->host, server_name) == 0);
}

/* Asks at `next`, which passes on to the run. */
static void follow(struct http_run *self, struct http_target *next)
{
	char *host = strdup(self->first->host);

	if (!host) {
		http_target_free(next);
		finish_memory(self);
		return;
	}
	/* The connection goes to the host in the spelling of the configuration, with its zone. */
	free(next->host);
	next->host = host;
	self->method = http_redirected_method(self->transfer.answer.head.status, self->method);
	http_transfer_stop(&self->transfer);
	http_target_free(&self->redirected);
	self->redirected = *next;
	self->target = &self->redirected;
	request_begin(self);
}

/* Takes care of an answer that redirects; false when it is to be judged as it is. */
static bool take_redirect(struct http_run *self)
{
	struct http_answer *answer = &self->transfer.answer;
	const char *location;
	struct http_target next;
	struct error error;

	if (!self->settings->follow_redirects || !http_status_redirects(answer->head.status) ||
	    answer->body_end != HTTP_BODY_WHOLE)
		return false;
	location = http_transfer_location(&self->transfer);
	if (!location)
		return false;
	if (http_target_parse(&next, location, &error) < 0) {
		probe_finish(self->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
			     "status %d, but its Location can not be followed: %.140s",
			     answer->head.status, error.text);
		return true;
	}
	if (!stays_on_host(self, &next)) {
		self->not_followed = next;
		answer->redirect_host = next.host;
		return false;
	}
	if (self->requests < REQUESTS_MAX) {
		follow(self, &next);
		return true;
	}
	http_target_free(&next);
	probe_finish(self->run, PROBE_FAIL, REASON_TOO_MANY_REDIRECTS,
		     "status %d is redirect number %u, at most %d are followed",
		     answer->head.status, self->requests, REQUESTS_MAX - 1);
	return true;
}

static void on_answer(struct http_transfer *transfer)
{
	struct http_run *self = transfer->owner;

	self->run->certificate_expires_s = transfer->peer.expires_s;
	if (!take_redirect(self))
		finish_judged(self);
}

/* ---- runs ---- */

/* Reads the URL from its file; false when the run has ended over it. */
static bool read_target(struct http_run *self)
{
	struct error error;
	char *url = secret_read(&self->settings->url, &error);
	bool read = url && http_target_parse(&self->own_first, url, &error) == 0;

	secret_wipe(url);
	self->first = &self->own_first;
	if (!read)
		probe_finish(self->run, PROBE_FAIL, REASON_SECRET_UNAVAILABLE, "%s", error.text);
	return read;
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
	self->transfer.owner = self;
	self->transfer.request.settings = self->settings;
	self->transfer.on_phase = on_phase;
	self->transfer.on_head = on_head;
	self->transfer.on_answer = on_answer;
	self->transfer.on_failure = on_failure;
	self->first = &self->settings->target;
	self->method = http_settings_method(self->settings);
	if (self->settings->url.file && !read_target(self))
		return;
	self->target = self->first;
	request_begin(self);
}

static void http_stop(struct probe_run *run)
{
	struct http_run *self = run->state;

	dial_cancel(&self->dial);
	http_transfer_stop(&self->transfer);
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
	.reasons =
		PROBE_REASON_LIST(PROBE_NETWORK_REASONS, PROBE_TLS_REASONS, REASON_PROTOCOL_ERROR,
				  REASON_SLOW, REASON_HTTP_STATUS, REASON_REDIRECT,
				  REASON_TOO_MANY_REDIRECTS, REASON_HEADER_MISMATCH,
				  REASON_BODY_MISMATCH, REASON_JSON_MISMATCH, REASON_BODY_TIMEOUT,
				  REASON_BODY_TRUNCATED, REASON_BODY_TOO_LARGE),
	.phases = PROBE_ALL_PHASES,
	.conf_size = sizeof(struct http_settings),
	.state_size = sizeof(struct http_run),
	.kept_size = sizeof(struct http_kept),
	.check = http_settings_check,
	.describe = http_settings_describe,
	.release = http_settings_release,
	.start = http_start,
	.stop = http_stop,
	.forget = http_forget,
	.shutdown = http_transfer_shutdown,
	.libraries = http_transfer_libraries,
};
