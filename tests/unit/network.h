/* For tests of connecting: listeners of several kinds, dials whose end is noted, and a count of
 * what is open. All of it fails the test when something is not as expected. */
#ifndef READYD_TESTS_UNIT_NETWORK_H
#define READYD_TESTS_UNIT_NETWORK_H

#include <stddef.h>

#include "agent/dial.h"
#include "agent/error.h"
#include "agent/loop.h"

/* How many descriptors this process has open, give or take those that counting opens. */
size_t open_descriptors(void);

/* A socket bound to an IPv4 address and a port of the system's choice. It listens with a queue of
 * this length, or does not when `queue` is -1, so that connections are refused. */
int listen_on(const char *host, int queue, unsigned short *ret_port);

enum { FULL_SOCKETS = 4 };

/* A listener whose queue is full, so that connecting to it gets no answer; with what fills it. */
void listen_full(const char *host, int fds[FULL_SOCKETS], unsigned short *ret_port);

void close_all(const int *fds, size_t count);

/* One dial and what became of it. */
struct call {
	struct dial dial;
	int done, resolved; /* how often the callbacks came */
	int fd, error_number;
	struct error error;
};

/* Makes a call whose dial may be started. */
void call_prepare(struct call *call);

/* Turns the loop until the dial has ended, once. */
void call_wait(struct call *call, struct loop *loop);

#endif
