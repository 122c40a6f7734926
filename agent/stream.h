/* A long text that is made piece by piece as it is taken, so that ten thousand probes make nobody
 * else wait. What it is about is its maker's business, in whose structure it is embedded. */
#ifndef READYD_AGENT_STREAM_H
#define READYD_AGENT_STREAM_H

#include <stddef.h>
#include <sys/types.h>

#include "agent/buffer.h"

struct stream {
	/* Writes the next piece into `piece`, which is empty; leaves it so at the end. Returns 0,
	 * or -1 when what was written before has become void (a reload). */
	int (*next_piece)(struct stream *stream, struct buffer *piece);
	void (*destroy)(struct stream *stream);
	struct buffer piece; /* stream.c's own, as is the rest */
	size_t sent;
};

/* Prepares an embedded one; pieces are cut at `piece_ceiling` bytes. */
void stream_init(struct stream *stream, int (*next_piece)(struct stream *, struct buffer *),
		 void (*destroy)(struct stream *), size_t piece_ceiling);

/* Writes the next bytes, at most `max`. Returns how many; 0 at the end; -1 when it is void. */
ssize_t stream_read(struct stream *stream, char *bytes, size_t max);

/* Appends all that is left to `buffer`; 0, or -1 when it is void. */
int stream_read_all(struct stream *stream, struct buffer *buffer);

/* Frees it and its maker's structure; harmless on NULL. */
void stream_destroy(struct stream *stream);

#endif
