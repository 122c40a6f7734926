/* What has happened to the instance lately: a bounded ring of transitions. */
#ifndef READYD_AGENT_HISTORY_H
#define READYD_AGENT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/health.h"
#include "agent/verdict.h"
#include "probes/probe.h"

enum { HISTORY_TRANSITIONS = 256 };

enum transition_kind {
	TRANSITION_PROBE,   /* a probe's standing has changed */
	TRANSITION_VERDICT, /* an endpoint's answer has changed */
	TRANSITION_DRAIN,   /* somebody drains the instance, or does so no longer */
	TRANSITION_RELOAD,  /* another configuration */
	TRANSITION_RESTART, /* what is watched has been started anew */
};

/* "probe", "verdict", "drain", "reload", "restart". */
const char *transition_kind_name(enum transition_kind kind);

struct transition {
	enum transition_kind kind;
	int64_t at_wall_ms;
	union {
		struct {
			enum role role;
			enum standing from, to;
			enum probe_reason reason;
			const char *name;
			const char *message; /* a detail; may be cut, "" if none */
		} probe;
		struct {
			enum endpoint endpoint;
			struct verdict verdict;
		} verdict;
		struct {
			const char *source; /* a literal */
			bool draining;
		} drain;
		size_t probe_count; /* of a reload */
	};
};

/* Zero-filled is valid and empty. */
struct history {
	uint64_t count;                                      /* of all there ever were */
	struct transition *transitions[HISTORY_TRANSITIONS]; /* number N is at N % the size */
};

/* Remembers a copy, with a copy of the probe's name and message. Without memory for it, the place
 * stays empty. */
void history_add(struct history *history, const struct transition *transition);

/* The number of the oldest that may still be there; up to `count`. */
uint64_t history_first(const struct history *history);

/* Number `number` between these; NULL if it was lost. */
const struct transition *history_at(const struct history *history, uint64_t number);

void history_free(struct history *history);

#endif
