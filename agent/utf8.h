/* UTF-8 (RFC 3629). */
#ifndef READYD_AGENT_UTF8_H
#define READYD_AGENT_UTF8_H

#include <stddef.h>

/* Reads one character of at most `len` (at least 1) bytes. Returns how many bytes it has and puts
 * its number into *ret_code, or 0 when no valid character begins there. */
size_t utf8_decode(const char *text, size_t len, unsigned *ret_code);

#endif
