#include "agent/exposition.h"

#include <math.h>
#include <string.h>

#include "agent/utf8.h"

enum {
	/* The largest number has twenty digits; then a point with six, a blank and the line's end.
	 */
	VALUE_SIZE = 32,
};

const char *exposition_suffix(enum metric_type type)
{
	if (type == METRIC_COUNTER)
		return "_total";
	return type == METRIC_INFO ? "_info" : "";
}

/* OpenMetrics names a family without what its type adds; the older format knows no info. */
void exposition_family(struct buffer *buffer, const struct metric_family *family, bool openmetrics)
{
	static const char *const types[] = {[METRIC_GAUGE] = "gauge",
					    [METRIC_COUNTER] = "counter",
					    [METRIC_HISTOGRAM] = "histogram",
					    [METRIC_SUMMARY] = "summary",
					    [METRIC_INFO] = "info"};
	const char *suffix = openmetrics ? "" : exposition_suffix(family->type);
	enum metric_type type =
		family->type == METRIC_INFO && !openmetrics ? METRIC_GAUGE : family->type;

	buffer_format(buffer, "# HELP %s%s %s\n", family->name, suffix, family->help);
	buffer_format(buffer, "# TYPE %s%s %s\n", family->name, suffix, types[type]);
	if (openmetrics && family->unit)
		buffer_format(buffer, "# UNIT %s %s\n", family->name, family->unit);
}

/* How many characters there are that need no second look, which are nearly all. */
static size_t plain_span(const char *text)
{
	size_t len = 0;

	while (text[len] >= ' ' && text[len] <= '~' && text[len] != '"' && text[len] != '\\')
		len++;
	return len;
}

void exposition_label(struct buffer *buffer, bool first, const char *name, const char *value)
{
	size_t len = strlen(value);
	unsigned code;

	if (!first)
		buffer_append(buffer, ",", 1);
	buffer_text(buffer, name);
	buffer_append(buffer, "=\"", 2);
	for (size_t i = 0; i < len;) {
		size_t plain = plain_span(value + i);
		size_t width;

		if (plain > 0) {
			buffer_append(buffer, value + i, plain);
			i += plain;
			continue;
		}
		width = utf8_decode(value + i, len - i, &code);
		if (width == 0)
			buffer_text(buffer, "\xef\xbf\xbd");
		else if (value[i] == '\n')
			buffer_append(buffer, "\\n", 2);
		else if (value[i] == '"' || value[i] == '\\')
			buffer_append(buffer, value[i] == '"' ? "\\\"" : "\\\\", 2);
		else
			buffer_append(buffer, value + i, width);
		i += width ? width : 1;
	}
	buffer_append(buffer, "\"", 1);
}

/* There are hundreds of thousands of numbers in one answer, too many for printf(). */
static size_t put_digits(char *text, uint64_t value)
{
	char digits[20];
	size_t count = 0;

	do {
		digits[count++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	for (size_t i = 0; i < count; i++)
		text[i] = digits[count - 1 - i];
	return count;
}

size_t exposition_put_integer(char *text, uint64_t value)
{
	size_t len = 0;

	text[len++] = ' ';
	len += put_digits(text + len, value);
	text[len++] = '\n';
	return len;
}

size_t exposition_put_microseconds(char *text, uint64_t value_us)
{
	uint32_t part = (uint32_t)(value_us % 1000000);
	char decimals[6];
	size_t len = 0, count = part > 0 ? sizeof(decimals) : 0;

	if (count > 0 && part % 1000 == 0) { /* most are milliseconds */
		part /= 1000;
		count = 3;
	}
	for (size_t i = count; i > 0; i--) {
		decimals[i - 1] = (char)('0' + part % 10);
		part /= 10;
	}
	while (count > 0 && decimals[count - 1] == '0')
		count--;

	text[len++] = ' ';
	len += put_digits(text + len, value_us / 1000000);
	if (count > 0)
		text[len++] = '.';
	for (size_t i = 0; i < count; i++)
		text[len++] = decimals[i];
	text[len++] = '\n';
	return len;
}

void exposition_integer(struct buffer *buffer, uint64_t value)
{
	char text[EXPOSITION_VALUE_SIZE];

	buffer_append(buffer, text, exposition_put_integer(text, value));
}

void exposition_microseconds(struct buffer *buffer, uint64_t value_us)
{
	char text[EXPOSITION_VALUE_SIZE];

	buffer_append(buffer, text, exposition_put_microseconds(text, value_us));
}

void exposition_milliseconds(struct buffer *buffer, int64_t value_ms)
{
	exposition_microseconds(buffer, (uint64_t)value_ms * 1000);
}

void exposition_number(struct buffer *buffer, double value)
{
	if (isnan(value))
		buffer_text(buffer, " NaN\n");
	else if (isinf(value))
		buffer_text(buffer, value > 0 ? " +Inf\n" : " -Inf\n");
	else
		buffer_format(buffer, " %.15g\n", value);
}

void exposition_end(struct buffer *buffer, bool openmetrics)
{
	if (openmetrics)
		buffer_text(buffer, "# EOF\n");
}
