#include "agent/requests.h"

#include <string.h>
#include <strings.h>

#include "agent/loop.h"

const char *request_subject_name(enum request_subject subject)
{
	static const char *const names[SUBJECT_COUNT] = {
		[SUBJECT_PROBE] = "probe",
		[SUBJECT_METRICS] = "metrics",
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

unsigned request_status(int index)
{
	static const unsigned statuses[REQUEST_STATUSES] = {200, 503, 400, 403, 404,
							    405, 409, 429, 0};

	return statuses[index];
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
