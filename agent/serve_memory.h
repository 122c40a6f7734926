/* Keeps the memory of closed connections for the next ones.
 *
 * libmicrohttpd allocates a pool for each connection and frees it at the end, and musl's malloc()
 * hands memory of that size straight back to the kernel. To get it again, page by page, would be a
 * quarter of the cost of a short connection. */
#ifndef READYD_AGENT_SERVE_MEMORY_H
#define READYD_AGENT_SERVE_MEMORY_H

/* Frees one of the pools that are kept: to be called a few times a second. */
void serve_memory_trim(void);

/* Frees all that are kept. */
void serve_memory_free(void);

#endif
