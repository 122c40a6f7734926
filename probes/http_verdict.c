#include "probes/http_verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/json.h"
#include "probes/http_settings.h"

static void set(struct http_verdict *verdict, enum probe_state state, enum probe_reason reason,
		const char *format, ...) __attribute__((format(printf, 4, 5)));

static void set(struct http_verdict *verdict, enum probe_state state, enum probe_reason reason,
		const char *format, ...)
{
	va_list arguments;

	verdict->state = state;
	verdict->reason = reason;
	va_start(arguments, format);
	vsnprintf(verdict->sentence, sizeof(verdict->sentence), format, arguments);
	va_end(arguments);
}

/* ---- status and redirects ---- */

bool http_status_accepted(const struct http_settings *settings, int status)
{
	for (size_t i = 0; i < settings->status.count; i++) {
		if (status >= settings->status.items[i].first &&
		    status <= settings->status.items[i].last)
			return true;
	}
	return false;
}

bool http_status_redirects(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

const char *http_redirected_method(int status, const char *method)
{
	bool changes = status == 303
			       ? strcmp(method, "HEAD") != 0
			       : (status == 301 || status == 302) && strcmp(method, "POST") == 0;

	return changes ? "GET" : method;
}

static void ranges_text(const struct http_settings *settings, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < settings->status.count && len < size; i++) {
		const struct status_range *range = &settings->status.items[i];
		const char *comma = i > 0 ? "," : "";

		if (range->first == range->last)
			len += (size_t)snprintf(text + len, size - len, "%s%d", comma,
						range->first);
		else
			len += (size_t)snprintf(text + len, size - len, "%s%d-%d", comma,
						range->first, range->last);
	}
}

static bool judge_status(const struct http_settings *settings, const struct http_answer *answer,
			 struct http_verdict *verdict)
{
	char ranges[80], after[40] = "";

	if (http_status_accepted(settings, answer->head.status))
		return true;
	ranges_text(settings, ranges, sizeof(ranges));
	if (answer->redirects > 0)
		snprintf(after, sizeof(after), " after %u redirect%s", answer->redirects,
			 answer->redirects > 1 ? "s" : "");
	set(verdict, PROBE_FAIL, REASON_HTTP_STATUS, "status %d%s, expected %s",
	    answer->head.status, after, ranges);
	return false;
}

/* ---- headers ---- */

static bool judge_headers(const struct http_settings *settings, const struct http_answer *answer,
			  struct http_verdict *verdict)
{
	const struct http_head *head = &answer->head;

	for (size_t i = 0; i < settings->response_headers.count; i++) {
		const struct pair *rule = &settings->response_headers.items[i];
		uint64_t bit = (uint64_t)1 << i;

		if (head->met & bit)
			continue;
		if (!(head->seen & bit))
			set(verdict, PROBE_FAIL, REASON_HEADER_MISMATCH,
			    "status %d, but the answer has no header \"%.60s\"",
			    answer->head.status, rule->name);
		else
			set(verdict, PROBE_FAIL, REASON_HEADER_MISMATCH,
			    "status %d, but the header \"%.60s\" is \"%s\", expected \"%.60s\"",
			    answer->head.status, rule->name,
			    head->found_rule == i ? head->found : "", rule->value);
		return false;
	}
	return true;
}

/* ---- body ---- */

/* A rule about text that was not met in the part of the body that was read. */
static void text_missing(const struct http_answer *answer, const char *what, const char *wanted,
			 struct http_verdict *verdict)
{
	if (answer->body_end == HTTP_BODY_CUT)
		set(verdict, PROBE_FAIL, REASON_BODY_TOO_LARGE,
		    "status %d, but the first %d KiB of the body do not %s \"%.80s\"",
		    answer->head.status, HTTP_BODY_MAX / 1024, what, wanted);
	else
		set(verdict, PROBE_FAIL, REASON_BODY_MISMATCH,
		    "status %d, but the body does not %s \"%.80s\"", answer->head.status, what,
		    wanted);
}

static bool judge_text(const struct http_settings *settings, struct http_answer *answer,
		       struct http_verdict *verdict)
{
	if (settings->body && settings->body[0] != '\0' &&
	    !memmem(answer->body, answer->body_len, settings->body, strlen(settings->body))) {
		text_missing(answer, "contain", settings->body, verdict);
		return false;
	}
	if (!settings->body_regex)
		return true;
	/* A NUL byte would hide the rest of the body from regexec(). */
	for (size_t i = 0; i < answer->body_len; i++) {
		if (answer->body[i] == '\0')
			answer->body[i] = '\n';
	}
	if (regexec(settings->body_regex, answer->body, 0, NULL, 0) == 0)
		return true;
	text_missing(answer, "match", settings->body_pattern, verdict);
	return false;
}

static bool judge_json(const struct http_settings *settings, const struct http_answer *answer,
		       struct http_verdict *verdict)
{
	const char *path = settings->json_path;
	char found[HTTP_FOUND_SIZE] = "";

	if (!path || path[0] == '\0')
		return true;
	if (answer->body_end == HTTP_BODY_CUT) {
		set(verdict, PROBE_FAIL, REASON_BODY_TOO_LARGE,
		    "status %d, but the body is longer than the %d KiB of JSON that are read",
		    answer->head.status, HTTP_BODY_MAX / 1024);
		return false;
	}
	switch (json_compare(answer->body, answer->body_len, path, settings->json_value, found,
			     sizeof(found))) {
	case JSON_MATCH:
		return true;
	case JSON_DIFFERENT:
		set(verdict, PROBE_FAIL, REASON_JSON_MISMATCH,
		    "status %d, but \"%.60s\" in the body is \"%s\", expected \"%.60s\"",
		    answer->head.status, path, found, settings->json_value);
		return false;
	case JSON_MISSING:
		set(verdict, PROBE_FAIL, REASON_JSON_MISMATCH,
		    "status %d, but the body has no \"%.60s\", expected \"%.60s\" there",
		    answer->head.status, path, settings->json_value);
		return false;
	case JSON_INVALID:
		break;
	}
	set(verdict, PROBE_FAIL, REASON_JSON_MISMATCH,
	    "status %d, but the body is no JSON, expected \"%.60s\" in it", answer->head.status,
	    path);
	return false;
}

static bool judge_body(const struct http_settings *settings, struct http_answer *answer,
		       struct http_verdict *verdict)
{
	switch (answer->body_end) {
	case HTTP_BODY_BROKEN:
		set(verdict, PROBE_FAIL, REASON_BODY_TRUNCATED,
		    "status %d, but the body broke off after %" PRIu64 " bytes",
		    answer->head.status, answer->body_received);
		return false;
	case HTTP_BODY_ENDLESS:
		set(verdict, PROBE_FAIL, REASON_BODY_TOO_LARGE,
		    "status %d, but the body goes on after %d KiB and does not say how long",
		    answer->head.status, HTTP_BODY_MAX / 1024);
		return false;
	case HTTP_BODY_WHOLE:
	case HTTP_BODY_CUT:
		break;
	}
	if (!answer->body)
		return true;
	return judge_text(settings, answer, verdict) && judge_json(settings, answer, verdict);
}

/* ---- the rest ---- */

static bool judge_redirect(const struct http_settings *settings, const struct http_answer *answer,
			   struct http_verdict *verdict)
{
	if (!settings->follow_redirects || answer->head.status < 300 || answer->head.status > 399)
		return true;
	if (answer->redirect_host)
		set(verdict, PROBE_WARN, REASON_REDIRECT,
		    "status %d, a redirect to another host (%.100s), which was not followed",
		    answer->head.status, answer->redirect_host);
	else
		set(verdict, PROBE_WARN, REASON_REDIRECT,
		    "status %d without a redirect that could be followed", answer->head.status);
	return false;
}

static bool judge_speed(const struct http_settings *settings, const struct http_answer *answer,
			struct http_verdict *verdict)
{
	if (settings->warn_above_us == 0 || answer->duration_us <= settings->warn_above_us)
		return true;
	set(verdict, PROBE_WARN, REASON_SLOW, "status %d after %.3g s, expected within %g s",
	    answer->head.status, (double)answer->duration_us / 1e6,
	    (double)settings->warn_above_us / 1e6);
	return false;
}

void http_judge(const struct http_settings *settings, struct http_answer *answer,
		struct http_verdict *verdict)
{
	struct error lifetime_sentence;
	enum tls_lifetime lifetime =
		tls_judge_expiry(&settings->tls, answer->certificate_expires_s, &lifetime_sentence);

	/* What fails comes before what warns; and the status before the body, because an error
	 * page that breaks off is first of all an error page. */
	if (!judge_status(settings, answer, verdict) || !judge_headers(settings, answer, verdict) ||
	    !judge_body(settings, answer, verdict))
		return;
	if (lifetime == TLS_LIFETIME_FAIL)
		set(verdict, PROBE_FAIL, REASON_TLS_EXPIRING, "%s", lifetime_sentence.text);
	else if (!judge_redirect(settings, answer, verdict))
		return;
	else if (lifetime == TLS_LIFETIME_WARN)
		set(verdict, PROBE_WARN, REASON_TLS_EXPIRING, "%s", lifetime_sentence.text);
	else if (judge_speed(settings, answer, verdict))
		set(verdict, PROBE_PASS, REASON_OK, "%s", "");
}
