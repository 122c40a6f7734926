/* What the verbs that probe by themselves take on the command line: targets, each followed by the
 * -o options that are its settings, and names of probes. */
#ifndef READYD_AGENT_TARGETS_H
#define READYD_AGENT_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/config.h"

enum { TARGET_NAME_MAX = 200 };

struct target {
	const char *word; /* a target URL, or a name */
	bool is_url;
	size_t first_option, option_count;
};

/* The -o options of all targets, in the caller's storage. */
struct target_options {
	const char *verb; /* whose command line it is */
	struct override *items;
	size_t max, count;
	struct target *last; /* that was taken; NULL = none yet */
};

/* Takes a word as the next target. The first one also gets the options that stood before it.
 * Returns 0, or -1 after saying what is wrong. */
int target_take(struct target_options *options, char *word, struct target *target);

/* Takes -o's "NAME=VALUE" as a setting of the last target, or if there is none yet, of the first.
 * Returns 0, or -1 after saying what is wrong. */
int target_take_option(struct target_options *options, char *word);

/* Builds the probe of a target that is a URL, with its settings. `weakest` is a setting that yields
 * to them (NULL = none). Its name in results is the target, masked; if `short_name`, cut to leave
 * room for a reason on the same line. NULL with faults. */
struct probe_config *target_configure(const struct target *target,
				      const struct target_options *options,
				      const struct override *weakest, bool short_name,
				      struct faults *faults);

#endif
