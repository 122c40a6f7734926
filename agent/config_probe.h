/* From a probe's node to a typed and checked probe; a part of config.c. */
#ifndef READYD_AGENT_CONFIG_PROBE_H
#define READYD_AGENT_CONFIG_PROBE_H

#include "agent/config.h"

/* Whether a probe may have this name: letters, digits, ".", "_" and "-", at most 63, and none of
 * the names of roles. */
bool probe_name_is_good(const char *name);

/* Makes the probe that `node` (a target URL or a map) describes. NULL after adding faults. */
struct probe_config *probe_config_create(enum role role, const char *name, const struct node *node,
					 struct faults *faults);

/* Whether `key`, a member of a probe's map, is none of the type's settings: a type's key, "target"
 * or one of the settings that every probe has. */
bool probe_key_is_common(const char *key);

/* A hash over everything that was configured, of typed values, so that neither order nor spelling
 * counts. `target` is what the type took by its own hand; NULL if nothing. The settings must not
 * have been through the type's check(). */
uint64_t probe_config_identity(const struct probe_config *probe, const char *target,
			       bool kubernetes_form);

#endif
