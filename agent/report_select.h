/* Which probes a report is about, and what they come to together; for report_*.c only. */
#ifndef READYD_AGENT_REPORT_SELECT_H
#define READYD_AGENT_REPORT_SELECT_H

#include "agent/report.h"

/* Whether probes of this role decide over the endpoint. */
bool report_concerns(enum role role, enum endpoint endpoint);

/* The probes called as this one that the report is about, at most one of each role; how many. */
size_t report_same_name(const struct report_request *request, const struct engine_probe *probe,
			const struct engine_probe *ret_probes[ROLE_COUNT]);

bool report_is_excluded(const struct report_request *request, const char *name);

/* Whether the report is about this probe. */
bool report_includes(const struct report_request *request, const struct engine_probe *probe);

/* The endpoint's verdict without what is excluded, or that of the only probe. */
struct verdict report_verdict(const struct engine *engine, const struct report_request *request);

/* Why a probe is not as it should be, in a word that needs no further knowledge. */
const char *report_trouble(const struct engine_probe *probe);

/* "pass", "warn" when something warns although nothing hinders, or "fail". */
const char *report_overall(const struct engine *engine, const struct report_request *request,
			   bool ok);

/* Calls `add` for the probes of an endpoint, those in trouble first, as long as the buffer holds no
 * more than `limit` bytes then; returns how many were left out. */
size_t report_each_probe(const struct engine *engine, const struct report_request *request,
			 struct buffer *buffer, size_t limit,
			 void (*add)(const struct engine_probe *probe, void *context),
			 void *context);

#endif
