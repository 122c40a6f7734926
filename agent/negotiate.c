#include "agent/negotiate.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

struct form {
	const char *name;
	const char *content_type;
	const char *media_type; /* in Accept; NULL = none is this format's alone */
};

static const struct form forms[FORMAT_COUNT] = {
	[FORMAT_TEXT] = {"text", "text/plain; charset=utf-8", "text/plain"},
	[FORMAT_KUBERNETES] = {"kubernetes", "text/plain; charset=utf-8", NULL},
	[FORMAT_JSON] = {"json", "application/json", "application/json"},
	[FORMAT_HEALTH_JSON] = {"health", "application/health+json", "application/health+json"},
	[FORMAT_MICROPROFILE] = {"microprofile", "application/json", NULL},
	[FORMAT_SPRING] = {"spring", "application/vnd.spring-boot.actuator.v3+json",
			   "application/vnd.spring-boot.actuator.v3+json"},
	[FORMAT_NAGIOS] = {"nagios", "text/plain; charset=utf-8", NULL},
	[FORMAT_HTML] = {"html", "text/html; charset=utf-8", "text/html"},
	[FORMAT_PROMETHEUS] = {"prometheus", "text/plain; version=0.0.4; charset=utf-8",
			       "text/plain"},
	[FORMAT_OPENMETRICS] = {"openmetrics",
				"application/openmetrics-text; version=1.0.0; charset=utf-8",
				"application/openmetrics-text"},
};

const char *format_content_type(enum format format)
{
	return forms[format].content_type;
}

bool format_by_name(const char *name, unsigned offered, enum format *ret_format)
{
	for (unsigned i = 0; i < FORMAT_COUNT; i++) {
		if ((offered & FORMAT_BIT(i)) == 0 || strcmp(name, forms[i].name) != 0)
			continue;
		*ret_format = (enum format)i;
		return true;
	}
	return false;
}

void format_write_names(unsigned offered, struct buffer *buffer)
{
	const char *separator = "";

	for (unsigned i = 0; i < FORMAT_COUNT; i++) {
		if ((offered & FORMAT_BIT(i)) == 0)
			continue;
		buffer_format(buffer, "%s%s", separator, forms[i].name);
		separator = ", ";
	}
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

/* Whether a media range takes in one that is offered; *ret_format tells which. What takes in any
 * gets the usual one. */
static bool range_format(const char *range, size_t len, unsigned offered, enum format usual,
			 enum format *ret_format)
{
	for (unsigned i = 0; i < FORMAT_COUNT; i++) {
		if ((offered & FORMAT_BIT(i)) == 0 || !forms[i].media_type ||
		    !range_is(range, len, forms[i].media_type))
			continue;
		*ret_format = (enum format)i;
		return true;
	}
	*ret_format = usual;
	return range_is(range, len, "text/*") || range_is(range, len, "*/*");
}

enum format negotiate_format(const char *accept, unsigned offered, enum format usual)
{
	enum format best = usual, format;
	int best_quality = 0;

	while (accept && *accept != '\0') {
		size_t len = strcspn(accept, ",");
		int value = quality(accept, len);

		if (value > best_quality && range_format(accept, len, offered, usual, &format)) {
			best = format;
			best_quality = value;
		}
		accept += len;
		accept += strspn(accept, ", \t");
	}
	return best;
}
