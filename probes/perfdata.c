#include "probes/perfdata.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What is still to be read. */
struct cursor {
	const char *at;
	const char *end;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static void skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end && is_space(*cursor->at))
		cursor->at++;
}

static bool take(struct cursor *cursor, char wanted)
{
	if (cursor->at == cursor->end || *cursor->at != wanted)
		return false;
	cursor->at++;
	return true;
}

/* Up to the next ";" or space. */
static struct cursor take_part(struct cursor *cursor)
{
	struct cursor part = {cursor->at, cursor->at};

	while (cursor->at < cursor->end && *cursor->at != ';' && !is_space(*cursor->at))
		cursor->at++;
	part.end = cursor->at;
	return part;
}

/* Copies a part that fits; a cut one would be another value, so then it is left empty. */
static void copy_part(struct cursor part, char *text, size_t size)
{
	size_t len = (size_t)(part.end - part.at);

	if (len >= size)
		len = 0;
	memcpy(text, part.at, len);
	text[len] = '\0';
}

/* Ends the text at `len` bytes or before, so that no character of several bytes is cut in two. */
static void end_cut_text(char *text, size_t len)
{
	while (len > 0 && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
		len--;
	if (len > 0 && (unsigned char)text[len - 1] & 0x80)
		len--;
	text[len] = '\0';
}

/* A label, cut to fit, with the "=" after it. In quotes it may hold spaces, and a doubled quote
 * stands for one. */
static bool take_label(struct cursor *cursor, char *label, size_t size)
{
	bool quoted = take(cursor, '\''), cut = false;
	size_t len = 0;

	for (; cursor->at < cursor->end; cursor->at++) {
		char c = *cursor->at;

		if (quoted && c == '\'') {
			cursor->at++;
			if (cursor->at == cursor->end || *cursor->at != '\'')
				break;
		} else if (!quoted && (c == '=' || c == '\'' || is_space(c))) {
			break;
		}
		if (is_control(c))
			return false;
		cut = cut || len + 1 == size;
		if (!cut)
			label[len++] = c;
	}
	if (cut)
		end_cut_text(label, len);
	else
		label[len] = '\0';
	return label[0] != '\0' && take(cursor, '=');
}

static size_t skip_digits(struct cursor *cursor)
{
	const char *start = cursor->at;

	while (cursor->at < cursor->end && is_digit(*cursor->at))
		cursor->at++;
	return (size_t)(cursor->at - start);
}

static void take_sign(struct cursor *cursor)
{
	if (!take(cursor, '-'))
		take(cursor, '+');
}

/* A decimal number at the cursor; false when there is none. */
static bool take_number(struct cursor *cursor, double *ret_number)
{
	const char *start = cursor->at;
	struct cursor exponent;
	size_t digits, len;
	char text[64];

	take_sign(cursor);
	digits = skip_digits(cursor);
	if (take(cursor, '.'))
		digits += skip_digits(cursor);
	if (digits == 0)
		return false;
	/* "1e-05" has an exponent, "1e" would have a unit. */
	exponent = *cursor;
	if (take(&exponent, 'e') || take(&exponent, 'E')) {
		take_sign(&exponent);
		if (skip_digits(&exponent) > 0)
			*cursor = exponent;
	}
	len = (size_t)(cursor->at - start);
	if (len >= sizeof(text))
		return false;
	memcpy(text, start, len);
	text[len] = '\0';
	*ret_number = strtod(text, NULL);
	return isfinite(*ret_number);
}

/* "12.5ms", or "U" for a value that could not be determined. */
static bool take_value(struct cursor *cursor, struct perfdata *item)
{
	struct cursor unit;

	if (take(cursor, 'U')) {
		unit = take_part(cursor);
		item->value = NAN;
		return unit.at == unit.end;
	}
	if (!take_number(cursor, &item->value))
		return false;
	unit = take_part(cursor);
	if ((size_t)(unit.end - unit.at) >= sizeof(item->unit))
		return false;
	for (const char *c = unit.at; c < unit.end; c++) {
		if (is_digit(*c) || is_control(*c) || strchr("'\"=,.+-", *c))
			return false;
	}
	copy_part(unit, item->unit, sizeof(item->unit));
	return true;
}

static double take_limit(struct cursor *cursor)
{
	struct cursor part = take_part(cursor);
	double number;

	return take_number(&part, &number) && part.at == part.end ? number : NAN;
}

static bool take_item(struct cursor *cursor, struct perfdata *item)
{
	*item = (struct perfdata){.minimum = NAN, .maximum = NAN};
	if (!take_label(cursor, item->label, sizeof(item->label)) || !take_value(cursor, item))
		return false;
	if (take(cursor, ';'))
		copy_part(take_part(cursor), item->warning, sizeof(item->warning));
	if (take(cursor, ';'))
		copy_part(take_part(cursor), item->critical, sizeof(item->critical));
	if (take(cursor, ';'))
		item->minimum = take_limit(cursor);
	if (take(cursor, ';'))
		item->maximum = take_limit(cursor);
	return true;
}

static bool has_label(const struct perfdata_list *list, const char *label)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].label, label) == 0)
			return true;
	}
	return false;
}

static void parse_values(struct cursor cursor, struct perfdata_list *list)
{
	for (skip_space(&cursor); cursor.at < cursor.end; skip_space(&cursor)) {
		struct perfdata item;
		struct cursor ahead = cursor;

		if (take_item(&ahead, &item)) {
			cursor = ahead;
			if (list->count < PERFDATA_MAX && !has_label(list, item.label))
				list->items[list->count++] = item;
		}
		/* what is left of a word that was not understood; a quote that is never closed
		 * thus costs one word and not all the rest */
		while (cursor.at < cursor.end && !is_space(*cursor.at))
			cursor.at++;
	}
}

void perfdata_parse(const char *output, size_t len, struct perfdata_list *list)
{
	const char *end = output + len, *line_end, *bar;

	list->count = 0;
	if (len == 0)
		return;
	line_end = memchr(output, '\n', len);
	if (!line_end)
		line_end = end;
	bar = memchr(output, '|', (size_t)(line_end - output));
	if (bar)
		parse_values((struct cursor){bar + 1, line_end}, list);
	/* From the first bar in the lines after the first, all is values. */
	bar = memchr(line_end, '|', (size_t)(end - line_end));
	if (bar)
		parse_values((struct cursor){bar + 1, end}, list);
}
