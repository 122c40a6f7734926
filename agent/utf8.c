#include "agent/utf8.h"

size_t utf8_decode(const char *text, size_t len, unsigned *ret_code)
{
	const unsigned char *bytes = (const unsigned char *)text;
	unsigned minimum, code;
	size_t width;

	if (bytes[0] < 0x80) {
		*ret_code = bytes[0];
		return 1;
	}
	if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf) {
		width = 2;
		minimum = 0x80;
		code = bytes[0] & 0x1fU;
	} else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef) {
		width = 3;
		minimum = 0x800;
		code = bytes[0] & 0x0fU;
	} else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4) {
		width = 4;
		minimum = 0x10000;
		code = bytes[0] & 0x07U;
	} else {
		return 0;
	}
	if (width > len)
		return 0;
	for (size_t i = 1; i < width; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (bytes[i] & 0x3fU);
	}
	if (code < minimum || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return width;
}
