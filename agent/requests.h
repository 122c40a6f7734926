/* Who asked what, what they were told, and when last: in numbers, for /metrics. Who still asks
 * while the instance drains is askers.h's business. */
#ifndef READYD_AGENT_REQUESTS_H
#define READYD_AGENT_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/verdict.h"

/* What is asked for: an endpoint, or something besides. SUBJECT_LIVENESS to SUBJECT_STARTUP are the
 * endpoints. */
enum request_subject {
	SUBJECT_LIVENESS = ENDPOINT_LIVENESS,
	SUBJECT_READINESS = ENDPOINT_READINESS,
	SUBJECT_STARTUP = ENDPOINT_STARTUP,
	SUBJECT_PROBE, /* one probe: /ready/NAME and so on */
	SUBJECT_METRICS,
	SUBJECT_AGENT_CHECK, /* HAProxy's, which is no HTTP */
	SUBJECT_OTHER,
	SUBJECT_COUNT,
};

/* "healthz", "ready", "startup", "probe", "metrics", "agent-check", "other". */
const char *request_subject_name(enum request_subject subject);

enum asker_kind {
	ASKER_KUBELET,
	ASKER_CHECK, /* `readyd check`, by which Docker, Podman, Compose and Swarm ask */
	ASKER_HAPROXY,
	ASKER_ENVOY,
	ASKER_TRAEFIK,
	ASKER_PROMETHEUS,
	ASKER_GO, /* a Go program that does not say which: Traefik and Caddy unless told to; nothing
		   * else in their requests differs from those of any other */
	ASKER_OTHER,
	ASKER_KINDS,
};

/* "kubelet", "check", "haproxy", "envoy", "traefik", "prometheus", "go", "other". */
const char *asker_kind_name(enum asker_kind kind);

/* Who it may be that asks over HTTP. HAProxy's checks have no User-Agent (NULL) unless their
 * configuration gives them one, and hardly anybody else has none; the others are known by theirs.
 */
enum asker_kind asker_kind_of(const char *user_agent);

enum { REQUEST_STATUSES = 12 };

/* What was answered: a status code of HTTP, or what HAProxy's agent-check was told. */
enum { REQUEST_UP = 1, REQUEST_DRAIN, REQUEST_DOWN };

/* The answers that are counted, in that order; the last one stands for any other: 0. */
unsigned request_status(int index);

/* "200", "up", "other". */
const char *request_status_name(int index);

/* Whether this asker may be answered so when asking for this: the others are not worth a series
 * before they were seen. */
bool request_is_expected(enum request_subject subject, enum asker_kind kind, int index);

struct request_counts {
	uint64_t by_status[REQUEST_STATUSES];
	int64_t last_wall_ms; /* 0 = has never asked */
};

/* Zero-filled is valid and empty. */
struct requests {
	struct request_counts counts[SUBJECT_COUNT][ASKER_KINDS];
};

/* Notes that somebody was answered now. */
void requests_note(struct requests *requests, enum request_subject subject, enum asker_kind kind,
		   unsigned status);

#endif
