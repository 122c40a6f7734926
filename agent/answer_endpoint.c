#include <string.h>

#include "agent/answer_parts.h"
#include "agent/report.h"

const char answer_readable_methods[] = "GET, HEAD, OPTIONS";

enum {
	PROBE_ANSWER_CEILING = 64 * 1024,
	BARE_CEILING = 256,
	/* More probes than this are sent in parts, made as the asker takes them. */
	WHOLE_MAX = 100,
};

void answer_say(struct answer *answer, unsigned status, const char *text)
{
	*answer = (struct answer){.kind = ANSWER_TEXT,
				  .status = status,
				  .content_type = format_content_type(FORMAT_TEXT),
				  .text = text,
				  .text_len = strlen(text)};
}

struct buffer *answer_begin_body(struct answer *answer, unsigned status, enum format format,
				 size_t ceiling)
{
	answer->kind = ANSWER_BODY;
	answer->status = status;
	answer->content_type = format_content_type(format);
	buffer_init(&answer->body, ceiling);
	return &answer->body;
}

void answer_begin_stream(const struct answer_source *source, struct stream *stream,
			 const char *content_type, struct answer *answer)
{
	*answer = (struct answer){.kind = stream ? ANSWER_STREAM : ANSWER_NONE,
				  .status = STATUS_OK,
				  .content_type = content_type,
				  .stream = stream};
	if (!stream || engine_probe_count(source->engine) > WHOLE_MAX)
		return;
	answer->kind = ANSWER_BODY;
	buffer_init(&answer->body, (size_t)PROBE_ANSWER_CEILING * (WHOLE_MAX + 1));
	stream_read_all(stream, &answer->body);
	stream_destroy(stream);
	answer->stream = NULL;
}

bool answer_choose_format(const struct question *question, unsigned offered, enum format usual,
			  enum format *ret_format, struct answer *answer)
{
	struct buffer *body;

	*ret_format = usual;
	if (!question->format_name) {
		*ret_format = negotiate_format(question->accept, offered, usual);
		return true;
	}
	if (format_by_name(question->format_name, offered, ret_format))
		return true;
	body = answer_begin_body(answer, STATUS_BAD_REQUEST, FORMAT_TEXT, BARE_CEILING);
	buffer_text(body, "this is not answered in that format; try ?format= with ");
	format_write_names(offered, body);
	buffer_text(body, "\n");
	return false;
}

/* The ways to tell of an endpoint or a probe, but for the bare text. */
static void (*const reports[FORMAT_COUNT])(const struct engine *engine,
					   const struct report_request *request,
					   struct buffer *buffer) = {
	[FORMAT_KUBERNETES] = report_verbose,      [FORMAT_JSON] = report_json,
	[FORMAT_HEALTH_JSON] = report_health_json, [FORMAT_MICROPROFILE] = report_microprofile,
	[FORMAT_SPRING] = report_spring,           [FORMAT_NAGIOS] = report_nagios,
};

unsigned answer_status_of(const struct engine *engine, struct verdict verdict, bool admin)
{
	if (verdict.ok)
		return STATUS_OK;
	if (verdict.hindrance == HINDRANCE_DRAINING && !admin &&
	    engine_config(engine)->settings.drain_status == DRAIN_STATUS_404)
		return STATUS_NOT_FOUND;
	return STATUS_UNAVAILABLE;
}

static void set_headers(const struct engine *engine, enum endpoint endpoint, struct verdict verdict,
			struct answer *answer)
{
	answer->close = endpoint == ENDPOINT_READINESS && engine_is_draining(engine);
	answer->degraded = endpoint == ENDPOINT_READINESS && verdict.degraded;
	answer->allow = answer_readable_methods;
}

static void write_bare(struct verdict verdict, struct buffer *buffer)
{
	buffer_text(buffer, verdict.ok ? "ok" : hindrance_text(verdict.hindrance));
	buffer_text(buffer, "\n");
}

void answer_bare(const struct engine *engine, enum endpoint endpoint, bool admin,
		 struct answer *answer)
{
	struct verdict verdict = engine_verdict(engine, endpoint);

	*answer = (struct answer){.endpoint = endpoint};
	write_bare(verdict, answer_begin_body(answer, answer_status_of(engine, verdict, admin),
					      FORMAT_TEXT, BARE_CEILING));
	set_headers(engine, endpoint, verdict, answer);
}

void answer_endpoint(const struct answer_source *source, const struct question *question,
		     enum endpoint endpoint, struct answer *answer)
{
	const struct engine *engine = source->engine;
	struct report_request request = {.endpoint = endpoint,
					 .excluded = question->excluded,
					 .excluded_count = question->excluded_count,
					 .details = question->details};
	struct verdict verdict;
	enum format format;
	struct buffer *body;

	if (question->too_many_excluded) {
		answer_say(answer, STATUS_BAD_REQUEST, "too many exclude arguments\n");
		return;
	}
	if (!answer_choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	if (format == FORMAT_TEXT && question->verbose)
		format = FORMAT_KUBERNETES;
	if (format == FORMAT_TEXT && question->excluded_count == 0 && !question->admin) {
		verdict = engine_verdict(engine, endpoint);
		*answer = (struct answer){.kind = ANSWER_BARE,
					  .status = answer_status_of(engine, verdict, false),
					  .endpoint = endpoint};
		return;
	}
	verdict = engine_verdict_without(engine, endpoint, question->excluded,
					 question->excluded_count);
	body = answer_begin_body(answer, answer_status_of(engine, verdict, question->admin), format,
				 REPORT_ANSWER_MAX * 2);
	set_headers(engine, endpoint, verdict, answer);
	if (format == FORMAT_TEXT)
		write_bare(verdict, body);
	else
		reports[format](engine, &request, body);
}

void answer_probe(const struct answer_source *source, const struct question *question,
		  const struct engine_probe *probe, struct answer *answer)
{
	unsigned status = engine_probe_ok(probe) ? STATUS_OK : STATUS_UNAVAILABLE;
	static const enum endpoint endpoints[] = {[ROLE_LIVENESS] = ENDPOINT_LIVENESS,
						  [ROLE_READINESS] = ENDPOINT_READINESS,
						  [ROLE_STARTUP] = ENDPOINT_STARTUP};
	struct report_request request = {.endpoint = endpoints[probe->config->role],
					 .only = probe,
					 .details = question->details};
	enum format format;
	struct buffer *body;

	if (!answer_choose_format(question, ENDPOINT_FORMATS, FORMAT_TEXT, &format, answer))
		return;
	body = answer_begin_body(answer, status, format, PROBE_ANSWER_CEILING);
	if (format == FORMAT_TEXT) {
		report_probe_line(probe, question->details, body);
	} else if (format == FORMAT_JSON) {
		struct json_writer json;

		json_begin(&json, body);
		report_probe(&json, probe, question->details);
		buffer_text(body, "\n");
	} else {
		reports[format](source->engine, &request, body);
	}
}
