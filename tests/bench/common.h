/* What the programs of the benchmark have in common. */
#ifndef READYD_TESTS_BENCH_COMMON_H
#define READYD_TESTS_BENCH_COMMON_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* Microseconds on the monotonic clock. */
static inline long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Keeps the caller on one processor, by its number. 0, or -1 with errno. */
static inline int pin(const char *cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(strtoul(cpu, NULL, 10), &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* 127.0.0.1 with this port. */
static inline struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
}

#endif
