#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/tree.h"

enum {
	FAULTS_KEPT_MAX = 1000, /* a hostile file has hundreds of thousands */
	FAULT_TEXT_SIZE = 1024,
	NAME_SIZE = 64,
};

/* In which group of faults a node's belong. */
enum { RANK_FILE, RANK_ENVIRONMENT, RANK_COMMAND_LINE, RANK_NOWHERE };

static unsigned node_rank(const struct node *at)
{
	if (!at || !at->origin)
		return RANK_NOWHERE;
	if (at->line == 0 && strcmp(at->origin, "environment") == 0)
		return RANK_ENVIRONMENT;
	if (at->line == 0 && strcmp(at->origin, "command line") == 0)
		return RANK_COMMAND_LINE;
	return RANK_FILE;
}

/* Writes "FILE:LINE:COLUMN: ", "environment READYD_X: " or the like; returns its length. */
static size_t write_place(char *text, size_t size, const struct node *at, unsigned line,
			  unsigned column)
{
	int len = 0;

	if (!at || !at->origin)
		return 0;
	if (line != 0)
		len = snprintf(text, size, "%s:%u:%u: ", at->origin, line, column);
	else if (!at->variable)
		len = snprintf(text, size, "%s: ", at->origin);
	else if (node_rank(at) == RANK_COMMAND_LINE)
		len = snprintf(text, size, "%s -o %s: ", at->origin, at->variable);
	else
		len = snprintf(text, size, "%s %s: ", at->origin, at->variable);
	if (len < 0)
		return 0;
	return (size_t)len < size ? (size_t)len : size - 1;
}

static bool fault_before(const struct fault *a, const struct fault *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	if (a->line != b->line)
		return a->line < b->line;
	return a->column < b->column;
}

static void fault_insert(struct faults *faults, struct fault *fault)
{
	struct fault **link = &faults->first;

	/* They mostly come in order. */
	if (faults->last && !fault_before(fault, faults->last))
		link = &faults->last->next;
	else
		while (*link && !fault_before(fault, *link))
			link = &(*link)->next;
	fault->next = *link;
	*link = fault;
	if (!fault->next)
		faults->last = fault;
}

bool faults_full(const struct faults *faults)
{
	return faults->kept >= FAULTS_KEPT_MAX;
}

static void add(struct faults *faults, const struct node *at, bool at_key, bool warning,
		const char *format, va_list arguments) __attribute__((format(printf, 5, 0)));

static void add(struct faults *faults, const struct node *at, bool at_key, bool warning,
		const char *format, va_list arguments)
{
	char text[FAULT_TEXT_SIZE];
	unsigned line = !at ? 0 : at_key ? at->key_line : at->line;
	unsigned column = !at ? 0 : at_key ? at->key_column : at->column;
	struct fault *fault;
	size_t len;

	if (warning)
		faults->warnings++;
	else
		faults->errors++;
	if (faults_full(faults))
		return;
	len = write_place(text, sizeof(text), at, line, column);
	vsnprintf(text + len, sizeof(text) - len, format, arguments);
	/* What a file contains must not steer the reader's terminal or break a log into lines. */
	for (char *byte = text; *byte; byte++) {
		if (iscntrl((unsigned char)*byte))
			*byte = '?';
	}
	fault = calloc(1, sizeof(*fault));
	if (!fault)
		return;
	fault->text = strdup(text);
	if (!fault->text) {
		free(fault);
		return;
	}
	fault->warning = warning;
	fault->rank = node_rank(at);
	fault->line = line;
	fault->column = column;
	faults->kept++;
	fault_insert(faults, fault);
}

void faults_add(struct faults *faults, const struct node *at, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(faults, at, false, false, format, arguments);
	va_end(arguments);
}

void faults_add_key(struct faults *faults, const struct node *at, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(faults, at, true, false, format, arguments);
	va_end(arguments);
}

void faults_warn(struct faults *faults, const struct node *at, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(faults, at, false, true, format, arguments);
	va_end(arguments);
}

void faults_free(struct faults *faults)
{
	while (faults->first) {
		struct fault *next = faults->first->next;

		free(faults->first->text);
		free(faults->first);
		faults->first = next;
	}
	*faults = (struct faults){0};
}

/* Copies a name in lower case and without separators, so that period_seconds is near to
 * periodSeconds. Returns the length, or 0 when it does not fit. */
static size_t plain_name(char *plain, const char *name)
{
	size_t len = 0;

	for (; *name; name++) {
		if (*name == '_' || *name == '-')
			continue;
		if (len == NAME_SIZE - 1)
			return 0;
		plain[len++] = (char)tolower((unsigned char)*name);
	}
	plain[len] = '\0';
	return len;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* How many letters must be put in, left out, changed or swapped with their neighbour to make one
 * text of the other (the "optimal string alignment" distance). */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][NAME_SIZE];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *oldest = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned changed = above[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = least(changed, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[b_len];
}

const char *nearest_name(const char *word, const char *const *candidates, size_t count)
{
	char plain_word[NAME_SIZE], plain_candidate[NAME_SIZE];
	size_t word_len = plain_name(plain_word, word);
	unsigned best_distance;
	const char *best = NULL;

	if (word_len == 0)
		return NULL;
	/* One slip in a short word, up to three in a long one. */
	best_distance = least(((unsigned)word_len + 5) / 4, 4);
	for (size_t i = 0; i < count; i++) {
		size_t len = plain_name(plain_candidate, candidates[i]);
		unsigned distance;

		if (len == 0)
			continue;
		/* "warn" for "warning", "timeout" for "timeoutSeconds" */
		if (!best && word_len >= 4 && strncmp(plain_candidate, plain_word, word_len) == 0)
			best = candidates[i];
		/* Each letter more or less is one slip at least, and counting them all takes time.
		 */
		if (len >= word_len + best_distance || word_len >= len + best_distance)
			continue;
		distance = edit_distance(plain_word, word_len, plain_candidate, len);
		if (distance < best_distance) {
			best_distance = distance;
			best = candidates[i];
		}
	}
	return best;
}
