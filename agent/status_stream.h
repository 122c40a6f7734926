/* /status as JSON, made piece by piece as it is taken, so that ten thousand probes make nobody else
 * wait. */
#ifndef READYD_AGENT_STATUS_STREAM_H
#define READYD_AGENT_STATUS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/buffer.h"
#include "agent/engine.h"

struct status_stream;

/* Begins one; NULL when out of memory. */
struct status_stream *status_stream_create(const struct engine *engine, bool details);
void status_stream_destroy(struct status_stream *stream);

/* Writes the next bytes, at most `max`. Returns how many; 0 at the end; -1 when a reload has made
 * void what was written before. */
ssize_t status_stream_read(struct status_stream *stream, char *bytes, size_t max);

/* Writes all of it, as far as it fits. */
void status_stream_read_all(struct status_stream *stream, struct buffer *buffer);

#endif
