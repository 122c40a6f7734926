#include "agent/hash.h"

#include <string.h>

void hash_bytes(uint64_t *hash, const void *bytes, size_t len)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < len; i++)
		*hash = (*hash ^ byte[i]) * UINT64_C(0x100000001b3);
}

void hash_text(uint64_t *hash, const char *text)
{
	if (text)
		hash_bytes(hash, text, strlen(text) + 1);
	else
		hash_bytes(hash, "\xff", 1);
}
