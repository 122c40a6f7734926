/* What is known of a probe while it is being made from its node; a part of config_probe.c. */
#ifndef READYD_AGENT_CONFIG_PLAN_H
#define READYD_AGENT_CONFIG_PLAN_H

#include "agent/config.h"

enum { PLAN_FIELDS_MAX = 96 };

/* The node that is to be taken for a field. */
struct pick {
	const struct node *node;
	bool as_file;
};

/* What a probe's node says, before it has types. */
struct plan {
	enum role role;
	const char *name;
	const struct node *node; /* the probe's: its target or a map */
	const struct probe_type *type;
	bool kubernetes_form;
	const struct node *block;   /* the member under the type's key; NULL in the target form */
	const struct node *target;  /* a scalar; NULL if there is none */
	const struct node *command; /* exec's, when the block is no map and no target */
	bool broken;                /* a value is unusable, so nothing can be said of the whole */
	struct pick picks[PLAN_FIELDS_MAX]; /* by the type's fields */
	struct faults *faults;
};

/* Finds what says the type, which is exactly one of the types' keys or the target, and sets `type`,
 * `kubernetes_form`, `block`, `target` and `command` by it. `type` stays NULL after a fault. */
void plan_find_type(struct plan *plan);

#endif
