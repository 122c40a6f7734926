#include "agent/negotiate.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

const char *format_content_type(enum format format)
{
	static const char *const types[] = {
		[FORMAT_TEXT] = "text/plain; charset=utf-8",
		[FORMAT_JSON] = "application/json",
		[FORMAT_HEALTH_JSON] = "application/health+json",
	};

	return types[format];
}

/* The quality of one media range, in thousandths (RFC 9110, section 12.4.2). */
static int quality(const char *range, size_t len)
{
	for (size_t i = 0; i + 2 < len; i++) {
		int value = 0, scale = 1000;

		if (range[i] != ';')
			continue;
		i++;
		while (i < len && range[i] == ' ')
			i++;
		if (i + 2 >= len || strncasecmp(range + i, "q=", 2) != 0)
			continue;
		for (i += 2; i < len && scale > 0; i++) {
			if (range[i] == '.')
				continue;
			if (range[i] < '0' || range[i] > '9')
				break;
			value += (range[i] - '0') * scale;
			scale /= 10;
		}
		return value;
	}
	return 1000;
}

static bool range_is(const char *range, size_t len, const char *type)
{
	size_t wanted = strlen(type);

	return len >= wanted && strncasecmp(range, type, wanted) == 0 &&
	       (len == wanted || strchr("; \t", range[wanted]));
}

/* Whether a media range is one that we have; *ret_format tells which. */
static bool range_format(const char *range, size_t len, enum format *ret_format)
{
	if (range_is(range, len, "application/health+json"))
		*ret_format = FORMAT_HEALTH_JSON;
	else if (range_is(range, len, "application/json"))
		*ret_format = FORMAT_JSON;
	else if (range_is(range, len, "text/plain") || range_is(range, len, "text/*") ||
		 range_is(range, len, "*/*"))
		*ret_format = FORMAT_TEXT;
	else
		return false;
	return true;
}

enum format negotiate_format(const char *accept)
{
	enum format best = FORMAT_TEXT, format;
	int best_quality = 0;

	while (accept && *accept != '\0') {
		size_t len = strcspn(accept, ",");
		int value = quality(accept, len);

		if (value > best_quality && range_format(accept, len, &format)) {
			best = format;
			best_quality = value;
		}
		accept += len;
		accept += strspn(accept, ", \t");
	}
	return best;
}
