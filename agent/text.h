/* Texts from outside, made fit to be shown. */
#ifndef READYD_AGENT_TEXT_H
#define READYD_AGENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/buffer.h"

/* Replaces, in place, everything that could forge a line or steer a terminal: control characters
 * (C0, DEL, C1), the separators U+2028 and U+2029 and the marks that turn the direction of writing
 * become spaces; bytes that are no UTF-8 (RFC 3629) become question marks. The length stays. */
void text_make_printable(char *text);

/* Appends at most `columns` characters of the text, and with `pad` as many blanks as are lacking.
 * Returns how many columns are used: one for each character. */
size_t text_append_columns(struct buffer *buffer, const char *text, size_t columns, bool pad);

#endif
