/* Answers HAProxy's agent-check (HAProxy configuration manual, "agent-check"): whoever connects is
 * sent one line of ASCII at once, and the connection ends.
 *
 *   up ready 100%     ready; the weight is haproxyDegradedWeight while a probe only warns
 *   drain             draining, whoever wants it
 *   down #REASON      not ready for another reason
 *
 * What was said sticks with HAProxy: after "down" only "up" reverts, after "drain" only "ready", a
 * weight stays until another is told. So being ready is always told with all three. */
#ifndef READYD_AGENT_HAPROXY_AGENT_H
#define READYD_AGENT_HAPROXY_AGENT_H

#include "agent/engine.h"
#include "agent/error.h"
#include "agent/loop.h"
#include "agent/requests.h"

struct haproxy_agent;

/* Listens where the setting haproxyAgent says, and counts in `requests`, which must outlive it.
 * NULL with a sentence. */
struct haproxy_agent *haproxy_agent_create(struct loop *loop, const struct engine *engine,
					   struct requests *requests, struct error *error);

/* Closes everything. Harmless on NULL. */
void haproxy_agent_destroy(struct haproxy_agent *agent);

#endif
