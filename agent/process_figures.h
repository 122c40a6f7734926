/* What this process takes of the machine. */
#ifndef READYD_AGENT_PROCESS_FIGURES_H
#define READYD_AGENT_PROCESS_FIGURES_H

#include <stdint.h>

struct process_figures {
	int64_t resident_bytes; /* 0 = /proc does not tell; so for descriptors */
	int64_t descriptors;
	int64_t descriptors_max; /* the soft limit */
	uint64_t cpu_us;         /* user and system, without children */
};

/* Reads them now. */
struct process_figures process_figures(void);

#endif
