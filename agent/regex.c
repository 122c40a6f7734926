#include "agent/regex.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* Each byte of a text takes at worst as many steps as there are links. */
	LINKS_MAX = 2000,
	COPIES_MAX = 5000,
	REPEAT_MAX = 255, /* RE_DUP_MAX; regcomp() refuses more */
	ENOUGH = 1000000, /* no number grows beyond, so that a product of two fits */
};

/* What an expression comes to when all its repetitions are written out: an automaton with a state
 * for each character, and links from each to those that can follow it. */
struct extent {
	uint64_t copies; /* of all its parts, also of those that match nothing */
	uint64_t first;  /* characters that can begin a match */
	uint64_t last;   /* characters that can end one */
	uint64_t links;
	bool empty; /* can match nothing */
};

static const struct extent nothing = {.copies = 1, .empty = true};

static uint64_t capped(uint64_t number)
{
	return number < ENOUGH ? number : ENOUGH;
}

static struct extent sequence(struct extent a, struct extent b)
{
	return (struct extent){
		.copies = capped(a.copies + b.copies),
		.first = capped(a.first + (a.empty ? b.first : 0)),
		.last = capped(b.last + (b.empty ? a.last : 0)),
		.links = capped(a.links + b.links + a.last * b.first),
		.empty = a.empty && b.empty,
	};
}

static struct extent alternative(struct extent a, struct extent b)
{
	return (struct extent){
		.copies = capped(a.copies + b.copies),
		.first = capped(a.first + b.first),
		.last = capped(a.last + b.last),
		.links = capped(a.links + b.links),
		.empty = a.empty || b.empty,
	};
}

static struct extent any_number(struct extent part)
{
	part.links = capped(part.links + part.last * part.first);
	part.empty = true;
	return part;
}

static struct extent repeated(struct extent part, unsigned least, unsigned most, bool endless)
{
	struct extent all = endless ? any_number(part) : nothing;

	/* The optional ones stand in each other: (a(a(a)?)?)? */
	for (unsigned i = least; i < most && !endless; i++) {
		all = sequence(part, all);
		all.empty = true;
	}
	for (unsigned i = 0; i < least; i++)
		all = sequence(part, all);
	return all;
}

/* ---- reading ---- */

/* Malformed patterns are read somehow: regcomp() will have its say. */
static struct extent read_alternatives(const char **at);

static unsigned read_count(const char **at)
{
	unsigned count = 0;

	for (; isdigit((unsigned char)**at); ++*at) {
		if (count <= REPEAT_MAX)
			count = count * 10 + (unsigned)(**at - '0');
	}
	return count <= REPEAT_MAX ? count : REPEAT_MAX;
}

/* After the "[". Each character and range in it is a state of its own, with the same followers. */
static struct extent read_bracket(const char **at)
{
	struct extent set = {.copies = 0, .first = 1};
	const char *c = *at;

	if (*c == '^')
		c++;
	do {
		const char *name_end = c[0] == '[' && c[1] == ':' ? strstr(c + 2, ":]") : NULL;

		if (*c == '\0')
			break;
		if (name_end)
			c = name_end + 2;
		else if (c[1] == '-' && c[2] != ']' && c[2] != '\0')
			c += 3;
		else
			c++;
		set.copies++;
	} while (*c != ']');
	set.last = set.copies;
	*at = *c ? c + 1 : c;
	return set;
}

/* One character, set or group, without what says how often. */
static struct extent read_part(const char **at)
{
	static const struct extent character = {.copies = 1, .first = 1, .last = 1};
	struct extent group;

	switch (*(*at)++) {
	case '(':
		group = read_alternatives(at);
		if (**at == ')')
			++*at;
		group.copies = capped(group.copies + 1);
		return group;
	case '[':
		return read_bracket(at);
	case '^':
	case '$':
		return nothing;
	case '\\':
		if (**at)
			++*at;
		return character;
	default:
		return character;
	}
}

/* Applies the repetitions after a part, of which there may be several. */
static struct extent read_repetitions(const char **at, struct extent part)
{
	for (;;) {
		unsigned least = 0, most = 1;
		bool endless = false;

		switch (**at) {
		case '+':
			least = 1;
			endless = true;
			break;
		case '*':
			endless = true;
			break;
		case '?':
			break;
		case '{':
			++*at;
			least = most = read_count(at);
			if (**at == ',') {
				++*at;
				endless = !isdigit((unsigned char)**at);
				most = read_count(at);
			}
			if (**at != '}')
				return repeated(part, least, most, endless);
			break;
		default:
			return part;
		}
		++*at;
		part = repeated(part, least, most, endless);
	}
}

static struct extent read_alternatives(const char **at)
{
	struct extent all = {0};
	bool more;

	do {
		struct extent branch = nothing;

		while (**at && **at != '|' && **at != ')') {
			struct extent part = read_part(at);

			branch = sequence(branch, read_repetitions(at, part));
		}
		all = alternative(all, branch);
		more = **at == '|';
		if (more)
			++*at;
	} while (more);
	return all;
}

/* Whether what the pattern comes to is small enough. */
static bool is_moderate(const char *pattern)
{
	const char *at = pattern;
	struct extent all = read_alternatives(&at);

	/* A ")" without "(" is a character to some. */
	while (*at) {
		at++;
		all = sequence(all, read_alternatives(&at));
	}
	return all.links <= LINKS_MAX && all.copies <= COPIES_MAX;
}

/* ---- compiling ---- */

regex_t *regex_compile(const char *pattern, const char *setting, struct error *error)
{
	size_t len = strlen(pattern);
	regex_t *regex;
	char why[100];
	int code;

	if (len > REGEX_PATTERN_MAX) {
		error_set(error, "%s has %zu bytes, expected at most %d", setting, len,
			  REGEX_PATTERN_MAX);
		return NULL;
	}
	if (!is_moderate(pattern)) {
		error_set(error,
			  "%s repeats so much that matching it would be slow; make the counts in "
			  "{} smaller, or use * or +",
			  setting);
		return NULL;
	}
	regex = malloc(sizeof(*regex));
	if (!regex) {
		error_set(error, "out of memory");
		return NULL;
	}
	code = regcomp(regex, pattern, REG_EXTENDED | REG_NOSUB);
	if (code == 0)
		return regex;
	regerror(code, regex, why, sizeof(why));
	free(regex);
	error_set(error, "%s is no POSIX extended regular expression: %s", setting, why);
	return NULL;
}

void regex_free(regex_t *regex)
{
	if (regex)
		regfree(regex);
	free(regex);
}
