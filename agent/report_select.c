#include "agent/report_select.h"

#include <stdlib.h>
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

static bool is_troubled(const struct engine_probe *probe)
{
	return !engine_probe_ok(probe) || (probe->runs > 0 && probe->result.state != PROBE_PASS);
}

bool report_includes(const struct report_request *request, const struct engine_probe *probe)
{
	if (request->only && probe != request->only)
		return false;
	if ((request->choice == REPORT_HINDERING && engine_probe_ok(probe)) ||
	    (request->choice == REPORT_TROUBLED && !is_troubled(probe)))
		return false;
	return report_concerns(probe->config->role, request->endpoint);
}

size_t report_same_name(const struct report_request *request, const struct engine_probe *probe,
			const struct engine_probe *ret_probes[ROLE_COUNT])
{
	size_t count = 0;

	for (int role = 0; role < ROLE_COUNT; role++) {
		const struct engine_probe *other =
			engine_find(probe->engine, (enum role)role, probe->config->name);

		if (other && report_includes(request, other))
			ret_probes[count++] = other;
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

static struct verdict verdict_of_probe(const struct engine_probe *probe)
{
	static const enum hindrance hindrances[] = {[ROLE_LIVENESS] = HINDRANCE_LIVENESS,
						    [ROLE_READINESS] = HINDRANCE_READINESS,
						    [ROLE_STARTUP] = HINDRANCE_STARTUP};

	if (engine_probe_ok(probe))
		return (struct verdict){.ok = true};
	return (struct verdict){.hindrance = probe->stale ? HINDRANCE_STALE
							  : hindrances[probe->config->role]};
}

struct verdict report_verdict(const struct engine *engine, const struct report_request *request)
{
	if (request->only)
		return verdict_of_probe(request->only);
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

		if (report_includes(request, probe) && probe->runs > 0 &&
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

			if (!report_includes(request, probe) ||
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

int report_select_probes(const struct engine *engine, size_t limit,
			 struct probe_selection *selection)
{
	size_t all = engine_probe_count(engine), chosen = 0;

	*selection = (struct probe_selection){.count = all < limit ? all : limit};
	selection->left_out = all - selection->count;
	/* One more, so that it is never of size zero. */
	selection->probes = calloc(selection->count + 1, sizeof(const struct engine_probe *));
	if (!selection->probes)
		return -1;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < all && chosen < selection->count; i++) {
			const struct engine_probe *probe = engine_probe_at(engine, i);

			if (selection->left_out == 0 ? pass == 0
						     : is_troubled(probe) == (pass == 0))
				selection->probes[chosen++] = probe;
		}
	}
	return 0;
}
