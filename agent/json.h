/* JSON: read by yyjson (this is the only user of its header), written straight into a buffer. */
#ifndef READYD_AGENT_JSON_H
#define READYD_AGENT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/buffer.h"

/* ---- reading ---- */

enum json_match {
	JSON_MATCH,
	JSON_DIFFERENT, /* the member has another value */
	JSON_MISSING,   /* there is no such member */
	JSON_INVALID,   /* the text is no JSON */
};

/* Compares one member of a JSON text. `path` is "status", "checks.db.status" or "items.0.name" (a
 * number is an index of an array), or a JSON Pointer (RFC 6901) when it begins with "/". A string
 * is compared with its text, a number by value, true, false and null by their words. What was found
 * is written to `found` (cut to fit, "" if nothing). */
enum json_match json_compare(const char *text, size_t len, const char *path, const char *expected,
			     char *found, size_t found_size);

/* ---- writing ----
 * Appends to a buffer, one value after the other; the writer places the commas. Texts need not be
 * valid UTF-8: bad bytes become U+FFFD. */

struct json_writer {
	struct buffer *buffer;
	bool comma; /* the next value needs one in front */
};

void json_begin(struct json_writer *writer, struct buffer *buffer);
void json_object_begin(struct json_writer *writer, const char *name); /* name NULL inside arrays */
void json_object_end(struct json_writer *writer);
void json_array_begin(struct json_writer *writer, const char *name);
void json_array_end(struct json_writer *writer);
void json_text(struct json_writer *writer, const char *name, const char *text); /* NULL = null */
void json_text_len(struct json_writer *writer, const char *name, const char *text, size_t len);
void json_boolean(struct json_writer *writer, const char *name, bool value);
void json_integer(struct json_writer *writer, const char *name, int64_t value);
/* Microseconds as milliseconds with up to three decimals. */
void json_milliseconds(struct json_writer *writer, const char *name, int64_t microseconds);
void json_number(struct json_writer *writer, const char *name, double value); /* NaN = null */
/* Milliseconds since 1970 as "2026-01-02T03:04:05.678Z" (RFC 3339). */
void json_time(struct json_writer *writer, const char *name, int64_t unix_ms);

/* The yyjson version that is linked. */
const char *json_library_version(void);

#endif
