/* The settings of the top level; a part of config.c. */
#ifndef READYD_AGENT_CONFIG_SETTINGS_H
#define READYD_AGENT_CONFIG_SETTINGS_H

#include "agent/config.h"

/* Takes all members of the root but the roles into the settings, which have their defaults, and
 * checks them. */
void config_settings_take(const struct node *root, struct settings *settings,
			  struct faults *faults);

#endif
