/* Signals by name and by number. */
#ifndef READYD_AGENT_SIGNALS_H
#define READYD_AGENT_SIGNALS_H

#include <stddef.h>

enum {
	SIGNALS_LAST = 64,
	/* As kill(1), Docker and systemd count. musl's own SIGRTMIN is one higher. */
	SIGNALS_REAL_TIME_FIRST = 34,
	SIGNAL_NAME_SIZE = 16,
};

/* The number of "SIGTERM", "TERM", "term", "15", "SIGRTMIN+3" or "RTMAX-1"; -1 when it is none. */
int signal_by_name(const char *text);

/* Writes "SIGTERM", "SIGRTMIN+3", or the number of a signal without a name. */
void signal_print_name(int number, char name[static SIGNAL_NAME_SIZE]);

#endif
