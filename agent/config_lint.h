/* What is odd in a configuration and yet no fault; a part of config.c. */
#ifndef READYD_AGENT_CONFIG_LINT_H
#define READYD_AGENT_CONFIG_LINT_H

#include "agent/config.h"

/* Warns about settings of a probe that are seldom meant. */
void config_lint_probe(const struct probe_config *probe, const struct node *node,
		       struct faults *faults);

/* Whether the target (as described for people) is on another host than this one; false as well when
 * one cannot tell. */
bool target_is_elsewhere(const char *target);

#endif
