/* A growing byte buffer that is born with its ceiling. */
#ifndef READYD_AGENT_BUFFER_H
#define READYD_AGENT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* `data` is always NUL-terminated (or NULL while nothing was ever added); `len` does not count the
 * NUL. `overflow` is set for good once something did not fit: what fitted is kept. */
struct buffer {
	char *data;
	size_t len;
	size_t capacity;
	size_t ceiling;
	bool overflow;
	bool borrowed; /* `data` is the caller's storage, not from the heap */
};

/* Prepares an empty buffer that never holds more than `ceiling` bytes. Allocates nothing. */
void buffer_init(struct buffer *buffer, size_t ceiling);

/* The same with `size` bytes of the caller's (at least one) to begin with: as long as the content
 * and its NUL fit into them, nothing is allocated. */
void buffer_init_with(struct buffer *buffer, size_t ceiling, char *storage, size_t size);

/* Appends `len` bytes, or as many as fit. Returns 0, or -1 with `overflow` set when something was
 * cut off (by the ceiling or for want of memory). */
int buffer_append(struct buffer *buffer, const void *bytes, size_t len);

/* Room for `len` more bytes and the NUL, to be written there and then told of by buffer_filled();
 * NULL, with `overflow` set, when there is not so much. */
char *buffer_space(struct buffer *buffer, size_t len);

/* Takes what was written into the room up to `end`. */
void buffer_filled(struct buffer *buffer, const char *end);

/* Appends a NUL-terminated string; as buffer_append(). */
int buffer_text(struct buffer *buffer, const char *text);

/* Appends formatted text; as buffer_append(). */
int buffer_format(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Empties the buffer and keeps its memory. */
void buffer_clear(struct buffer *buffer);

/* Forgets what came after the first `len` bytes, an overflow too; harmless when there are fewer. */
void buffer_truncate(struct buffer *buffer, size_t len);

/* Frees the memory; the buffer may be used again. */
void buffer_free(struct buffer *buffer);

#endif
