/* FNV-1a: for telling things apart, not for secrets. */
#ifndef READYD_AGENT_HASH_H
#define READYD_AGENT_HASH_H

#include <stddef.h>
#include <stdint.h>

/* What a hash begins with. */
#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Adds bytes to a hash. */
void hash_bytes(uint64_t *hash, const void *bytes, size_t len);

/* Adds a text with its end, so that "ab", "c" and "a", "bc" differ; NULL differs from "". */
void hash_text(uint64_t *hash, const char *text);

#endif
