#include "agent/number.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/field.h"

enum { DIGITS_MAX = 32 };

static size_t count_digits(const char *text)
{
	size_t count = 0;

	while (isdigit((unsigned char)text[count]))
		count++;
	return count;
}

/* The length of the decimal number that `text` begins with; 0 if it begins with none. */
static size_t decimal_length(const char *text)
{
	size_t sign = text[0] == '-' || text[0] == '+';
	size_t whole = count_digits(text + sign), len = sign + whole, fraction = 0;

	/* 010 is ten to some and eight to others. */
	if (whole > 1 && text[sign] == '0')
		return 0;
	if (text[len] == '.') {
		fraction = count_digits(text + len + 1);
		len += 1 + fraction;
	}
	return whole + fraction > 0 && whole + fraction <= DIGITS_MAX ? len : 0;
}

bool parse_decimal(const char *text, double *ret_number)
{
	size_t len = decimal_length(text);

	if (len == 0 || text[len] != '\0')
		return false;
	*ret_number = strtod(text, NULL); /* the program stays in the C locale */
	return true;
}

bool parse_whole(const char *text, double *ret_number)
{
	double number;

	if (!parse_decimal(text, &number) || fabs(number) > 9007199254740992.0 ||
	    number != (double)(int64_t)number)
		return false;
	*ret_number = number;
	return true;
}

bool parse_boolean(const char *text, bool *ret_value)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*ret_value = i % 2 == 1;
			return true;
		}
	}
	return false;
}

int64_t parse_seconds(const char *text)
{
	static const struct {
		const char *name;
		double microseconds;
	} units[] = {{"", 1e6}, {"s", 1e6}, {"ms", 1e3}, {"m", 60e6}, {"h", 3600e6}};
	size_t len = decimal_length(text);

	if (len == 0)
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		double microseconds;

		if (strcmp(text + len, units[i].name) != 0)
			continue;
		/* strtod() stops at the unit. */
		microseconds = strtod(text, NULL) * units[i].microseconds;
		if (microseconds < 0 || microseconds > 9007199254740992.0)
			return -1;
		return (int64_t)(microseconds + 0.5);
	}
	return -1;
}
