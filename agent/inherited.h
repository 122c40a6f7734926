/* What a process has from the one that started it and what we change for ourselves, so that the
 * program that takes our place finds it as it was. */
#ifndef READYD_AGENT_INHERITED_H
#define READYD_AGENT_INHERITED_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

struct inherited {
	sigset_t blocked;
	sigset_t ignored; /* signals; exec turns all other dispositions into the default */
	struct rlimit descriptors;
	bool has_descriptors;
	int subreaper;
};

/* Remembers it; before anything is changed. */
void inherited_save(struct inherited *inherited);

/* Puts it back. Signals that are pending may end the process here. */
void inherited_restore(const struct inherited *inherited);

#endif
