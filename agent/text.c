#include "agent/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "agent/utf8.h"

/* Characters above U+007F that are no text. */
static bool is_control(unsigned code)
{
	return (code >= 0x80 && code <= 0x9f) ||                     /* C1 */
	       code == 0x061c || code == 0x200e || code == 0x200f || /* direction marks */
	       (code >= 0x2028 && code <= 0x202e) || /* separators, embeddings, overrides */
	       (code >= 0x2066 && code <= 0x2069);   /* isolates */
}

void text_make_printable(char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len;) {
		unsigned code = 0;
		size_t width = utf8_decode(text + i, len - i, &code);

		if (width == 0) {
			text[i++] = '?';
			continue;
		}
		if (code < 0x20 || code == 0x7f || is_control(code))
			memset(text + i, ' ', width);
		i += width;
	}
}

size_t text_append_columns(struct buffer *buffer, const char *text, size_t columns, bool pad)
{
	size_t used = 0, left = strlen(text);

	while (left > 0 && used < columns) {
		unsigned code;
		size_t width = utf8_decode(text, left, &code);

		if (width == 0)
			width = 1;
		buffer_append(buffer, text, width);
		text += width;
		left -= width;
		used++;
	}
	for (; pad && used < columns; used++)
		buffer_text(buffer, " ");
	return used;
}
