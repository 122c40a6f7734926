/* Environment variables and command-line options as edits of the configuration's tree; a part of
 * config.c. */
#ifndef READYD_AGENT_CONFIG_EDIT_H
#define READYD_AGENT_CONFIG_EDIT_H

#include "agent/config.h"

/* Makes an edit of every READYD_* variable of `environment`. */
void config_edit_by_environment(struct tree *tree, char *const *environment, struct faults *faults);

/* Makes an edit of every override. */
void config_edit_by_overrides(struct tree *tree, const struct override *overrides, size_t count,
			      struct faults *faults);

/* A value from outside of the file and where it came from. */
struct edit {
	struct tree *tree;
	const char *origin;   /* "environment", "command line" */
	const char *variable; /* the variable's or option's name */
	const char *value;
	struct faults *faults;
};

/* Sets a setting of the top level. */
void edit_setting(const struct edit *edit, const struct field *field);

/* Gives a probe another target, and with it another type perhaps: what the probe was before, but
 * for the settings that every probe has, goes. Makes the probe if there is none. */
void edit_probe_target(const struct edit *edit, enum role role, const char *name);

/* Sets one setting of a probe that exists. */
void edit_probe_setting(const struct edit *edit, enum role role, const char *name,
			const char *setting);

/* Adds a fault at the variable or option. */
void edit_fault(const struct edit *edit, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The map of a role's probes; NULL if the tree has none. */
const struct node *edit_role_map(const struct edit *edit, enum role role);

#endif
