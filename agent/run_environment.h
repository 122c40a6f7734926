/* The environment of the command of `run`. */
#ifndef READYD_AGENT_RUN_ENVIRONMENT_H
#define READYD_AGENT_RUN_ENVIRONMENT_H

#include "agent/field.h"

/* Ours without what is meant for readyd: READYD_*, and what the service manager that started us
 * told us alone. `pass` names what is kept all the same; `added` ("NAME=VALUE", ends with NULL;
 * NULL = none) comes on top. Returns the array, to be freed, whose texts stay their owners'; NULL
 * when out of memory. */
char **run_environment(const struct text_list *pass, char *const *added);

#endif
