#include "agent/report_select.h"

#include <string.h>

bool report_concerns(enum role role, enum endpoint endpoint)
{
	switch (endpoint) {
	case ENDPOINT_STARTUP:
		return role == ROLE_STARTUP;
	case ENDPOINT_READINESS:
		return true;
	case ENDPOINT_LIVENESS:
	case ENDPOINT_COUNT:
		break;
	}
	return role == ROLE_LIVENESS;
}

size_t report_same_name(const struct engine *engine, enum endpoint endpoint, const char *name,
			const struct engine_probe *ret_probes[ROLE_COUNT])
{
	size_t count = 0;

	for (int role = 0; role < ROLE_COUNT; role++) {
		const struct engine_probe *probe = engine_find(engine, (enum role)role, name);

		if (probe && report_concerns((enum role)role, endpoint))
			ret_probes[count++] = probe;
	}
	return count;
}

bool report_is_excluded(const struct report_request *request, const char *name)
{
	for (size_t i = 0; i < request->excluded_count; i++) {
		if (strcmp(request->excluded[i], name) == 0)
			return true;
	}
	return false;
}

struct verdict report_verdict(const struct engine *engine, const struct report_request *request)
{
	if (request->excluded_count == 0)
		return engine_verdict(engine, request->endpoint);
	return engine_verdict_without(engine, request->endpoint, request->excluded,
				      request->excluded_count);
}

const char *report_trouble(const struct engine_probe *probe)
{
	if (probe->stale)
		return "stale";
	if (!probe->tried)
		return "no result yet";
	return probe_reason_name(probe->result.reason);
}

const char *report_overall(const struct engine *engine, const struct report_request *request,
			   bool ok)
{
	if (!ok)
		return "fail";
	for (size_t i = 0; i < engine_probe_count(engine); i++) {
		const struct engine_probe *probe = engine_probe_at(engine, i);

		if (report_concerns(probe->config->role, request->endpoint) && probe->runs > 0 &&
		    probe->result.state != PROBE_PASS &&
		    !report_is_excluded(request, probe->config->name))
			return "warn";
	}
	return "pass";
}

size_t report_each_probe(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer, size_t limit,
			 void (*add)(const struct engine_probe *probe, void *context),
			 void *context)
{
	size_t left_out = 0, before;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < engine_probe_count(engine); i++) {
			const struct engine_probe *probe = engine_probe_at(engine, i);

			if (!report_concerns(probe->config->role, request->endpoint) ||
			    engine_probe_ok(probe) != (pass == 1))
				continue;
			before = buffer->len;
			if (before < limit)
				add(probe, context);
			if (before >= limit || buffer->len > limit) {
				buffer_truncate(buffer, before);
				left_out++;
			}
		}
	}
	return left_out;
}
