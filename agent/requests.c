#include "agent/requests.h"

#include <string.h>
#include <strings.h>

#include "agent/loop.h"

const char *request_subject_name(enum request_subject subject)
{
	static const char *const names[SUBJECT_COUNT] = {
		[SUBJECT_PROBE] = "probe",
		[SUBJECT_METRICS] = "metrics",
		[SUBJECT_AGENT_CHECK] = "agent-check",
		[SUBJECT_OTHER] = "other",
	};

	return names[subject] ? names[subject] : endpoint_name((enum endpoint)subject);
}

const char *asker_kind_name(enum asker_kind kind)
{
	static const char *const names[ASKER_KINDS] = {
		[ASKER_KUBELET] = "kubelet", [ASKER_CHECK] = "check",
		[ASKER_HAPROXY] = "haproxy", [ASKER_ENVOY] = "envoy",
		[ASKER_TRAEFIK] = "traefik", [ASKER_PROMETHEUS] = "prometheus",
		[ASKER_GO] = "go",           [ASKER_OTHER] = "other",
	};

	return names[kind];
}

struct agent_prefix {
	const char *prefix; /* of the User-Agent, in lower case */
	enum asker_kind kind;
};

static const struct agent_prefix prefixes[] = {
	{"kube-probe/", ASKER_KUBELET},    {"envoy/", ASKER_ENVOY},
	{"prometheus/", ASKER_PROMETHEUS}, {"go-http-client/", ASKER_GO},
	{"haproxy", ASKER_HAPROXY},        {"traefik", ASKER_TRAEFIK},
};

enum asker_kind asker_kind_of(const char *user_agent)
{
	if (!user_agent)
		return ASKER_HAPROXY;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncasecmp(user_agent, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
			return prefixes[i].kind;
	}
	return ASKER_OTHER;
}

struct counted_answer {
	unsigned status;
	const char *name;
};

static const struct counted_answer answers[REQUEST_STATUSES] = {
	{200, "200"},           {503, "503"},
	{400, "400"},           {403, "403"},
	{404, "404"},           {405, "405"},
	{409, "409"},           {429, "429"},
	{REQUEST_UP, "up"},     {REQUEST_DRAIN, "drain"},
	{REQUEST_DOWN, "down"}, {0, "other"},
};

unsigned request_status(int index)
{
	return answers[index].status;
}

const char *request_status_name(int index)
{
	return answers[index].name;
}

bool request_is_expected(enum request_subject subject, enum asker_kind kind, int index)
{
	/* 404 of /ready is what drain.statusCode may say. */
	static const unsigned expected[SUBJECT_COUNT][REQUEST_STATUSES] = {
		[SUBJECT_LIVENESS] = {200, 503, 400, 405},
		[SUBJECT_READINESS] = {200, 503, 400, 404, 405, 429},
		[SUBJECT_STARTUP] = {200, 503, 400, 405, 429},
		[SUBJECT_PROBE] = {200, 503, 400, 404, 405},
		[SUBJECT_METRICS] = {200, 400, 405},
		[SUBJECT_AGENT_CHECK] = {REQUEST_UP, REQUEST_DRAIN, REQUEST_DOWN},
		[SUBJECT_OTHER] = {200, 400, 403, 404, 405, 409, 429},
	};
	unsigned status = request_status(index);
	bool is_admins = status == 403 || status == 409 || status == 429;

	if (subject == SUBJECT_AGENT_CHECK && kind != ASKER_HAPROXY)
		return false;
	/* Only over the admin socket. */
	if (status == 0 || (is_admins && kind != ASKER_CHECK && kind != ASKER_OTHER))
		return false;
	for (int i = 0; i < REQUEST_STATUSES; i++) {
		if (expected[subject][i] == status)
			return true;
	}
	return false;
}

void requests_note(struct requests *requests, enum request_subject subject, enum asker_kind kind,
		   unsigned status)
{
	struct request_counts *counts = &requests->counts[subject][kind];
	int index = 0;

	while (index < REQUEST_STATUSES - 1 && request_status(index) != status)
		index++;
	counts->by_status[index]++;
	counts->last_wall_ms = clock_wall_ms();
}
