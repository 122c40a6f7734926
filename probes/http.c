/* Probes an HTTP or HTTPS server: connects (agent/dial.c), asks (probes/http_transfer.c), follows
 * redirects, and has the answer judged (probes/http_verdict.c).
 *
 * Every request has a connection of its own, as the kubelet's have. Redirects are followed here
 * because whether to follow one depends on where it leads. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/dial.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "probes/http_settings.h"
#include "probes/http_transfer.h"
#include "probes/http_verdict.h"
#include "probes/probe.h"

enum {
	REQUESTS_MAX = 10, /* the kubelet's: a tenth redirect is a failure */
	EARLY_US = 1000,   /* how long before the deadline a run ends with its own words */
};

enum stage { STAGE_RESOLVING, STAGE_CONNECTING, STAGE_TRANSFER };

/* What is kept between the runs of a probe. */
struct http_kept {
	struct tls_context *tls_context; /* NULL = not needed yet */
};

struct http_run {
	struct probe_run *run;
	const struct http_settings *settings;
	struct http_kept *kept;
	int64_t started_us;
	struct loop_timer early;
	enum stage stage;
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
	answer->timeout_us = self->run->deadline_us - self->started_us;
	answer->certificate_expires_s = self->transfer.peer.expires_s;
	http_judge(self->settings, answer, &verdict);
	probe_finish(self->run, verdict.state, verdict.reason, "%s", verdict.sentence);
}

static void finish_late(struct http_run *self)
{
	double seconds = (double)(self->run->deadline_us - self->started_us) / 1e6;

	if (self->stage == STAGE_RESOLVING)
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "no name server told the address of %.100s within %.3g s",
			     self->target->host, seconds);
	else if (self->stage == STAGE_CONNECTING)
		probe_finish(self->run, PROBE_FAIL, REASON_CONNECT_TIMEOUT,
			     "no connection to %.100s within %.3g s", self->target->host, seconds);
	else if (self->transfer.stage == HTTP_STAGE_TLS)
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "connected, but the TLS handshake took longer than %.3g s", seconds);
	else if (self->transfer.first_byte_came)
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "an answer began, but its headers did not end within %.3g s", seconds);
	else
		probe_finish(self->run, PROBE_FAIL, REASON_TIMEOUT,
			     "connected, but no answer came within %.3g s", seconds);
}

/* Just before the runner's own timer, which could only say that time is up. */
static void on_early(struct loop_timer *timer)
{
	struct http_run *self = timer->owner;

	if (self->stage != STAGE_TRANSFER || self->transfer.stage != HTTP_STAGE_BODY) {
		finish_late(self);
		return;
	}
	self->transfer.answer.body_end = HTTP_BODY_LATE;
	finish_judged(self);
}

/* ---- requests ---- */

/* Begins the request to self->target. */
static void request_begin(struct http_run *self)
{
	struct probe_run *run = self->run;
	struct error error;

	self->requests++;
	self->stage = STAGE_RESOLVING;
	if (self->target->tls &&
	    tls_context_renew(&self->kept->tls_context, &self->settings->tls, &error) < 0)
		probe_finish(run, PROBE_FAIL, tls_reason(TLS_LOCAL), "%s", error.text);
	else if (self->settings->unix_socket)
		dial_start_unix(&self->dial, run->env->loop, self->settings->unix_socket);
	else
		dial_start(&self->dial, run->env->loop, run->env->resolver, self->target->host,
			   self->target->port);
}

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
	self->stage = STAGE_TRANSFER;
	self->transfer.target = self->target;
	self->transfer.first = self->first;
	self->transfer.method = self->method;
	self->transfer.tls_context = self->kept->tls_context;
	http_transfer_start(&self->transfer, self->run->env->loop, fd);
}

static void on_phase(struct http_transfer *transfer, enum probe_phase phase)
{
	struct http_run *self = transfer->owner;

	probe_phase_end(self->run, phase);
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
	self->early.owner = self;
	self->early.on_expire = on_early;
	self->dial.owner = self;
	self->dial.on_resolved = on_resolved;
	self->dial.on_done = on_dialled;
	self->transfer.owner = self;
	self->transfer.settings = self->settings;
	self->transfer.on_phase = on_phase;
	self->transfer.on_answer = on_answer;
	self->transfer.on_failure = on_failure;
	self->first = &self->settings->target;
	self->method = http_settings_method(self->settings);
	if (loop_timer_set(run->env->loop, &self->early, run->deadline_us - EARLY_US) < 0) {
		finish_memory(self);
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
