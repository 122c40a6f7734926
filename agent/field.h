/* Tables of typed settings. One table serves the configuration file, the environment, `-o
 * NAME=VALUE`, the JSON Schema and --help, so they cannot disagree. */
#ifndef READYD_AGENT_FIELD_H
#define READYD_AGENT_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"

struct node;
struct faults;

enum field_kind {
	FIELD_TEXT,      /* char *                 a text; NULL = not set */
	FIELD_SECRET,    /* struct secret          a text, also as NAMEFile; masked everywhere */
	FIELD_BOOLEAN,   /* bool                   true/false, yes/no, on/off */
	FIELD_INTEGER,   /* int64_t                within minimum..maximum */
	FIELD_NUMBER,    /* double                 within minimum..maximum */
	FIELD_SECONDS,   /* int64_t microseconds   seconds with decimals, also 500ms, 2s, 1m, 1h */
	FIELD_CHOICE,    /* int                    index into choices */
	FIELD_TEXT_LIST, /* struct text_list       a list; a single scalar is a list of one */
	FIELD_COMMAND,   /* struct text_list       a list; a scalar is split at spaces, quotes kept
			  *                        together, no shell */
	FIELD_PAIR_LIST, /* struct pair_list       a map NAME: VALUE, or Kubernetes' list of
			  *                        {name:, value:}, or scalars "NAME: VALUE" */
	FIELD_STATUS_RANGES, /* struct status_ranges  "200-299,301", a number, or a list of these */
};

/* One setting. Designated initialisers only; a table ends with .name == NULL. */
struct field {
	const char *name; /* Kubernetes' word where it has one, camelCase */
	enum field_kind kind;
	size_t offset;              /* of the value in the structure */
	const char *fallback;       /* the default, spelt as in the file; NULL = zero or not set */
	double minimum, maximum;    /* for numbers (seconds in seconds); both 0 = any */
	const char *const *choices; /* FIELD_CHOICE: ends with NULL */
	const char *help;           /* one line without a full stop */
};

/* A text that must not be shown, or the file that holds it. Both NULL = not set. */
struct secret {
	char *value;
	char *file;
};

struct text_list {
	char **items; /* ends with NULL as well, so a command is an argv */
	size_t count;
};

struct pair {
	char *name;
	char *value;
};

struct pair_list {
	struct pair *items;
	size_t count;
};

struct status_range {
	int first, last;
};

struct status_ranges {
	struct status_range *items;
	size_t count;
};

/* Sets every field to its default (zeroes the structure's fields first). The defaults are part of
 * the program and right, so -1 means that memory is lacking; the structure can be freed then too.
 */
int fields_set_defaults(const struct field *fields, void *structure);

/* The field called `name`; NULL if there is none. For a FIELD_SECRET "x" also "xFile" is found, and
 * `ret_as_file` (may be NULL) says so. */
const struct field *field_find(const struct field *fields, const char *name, bool *ret_as_file);

/* Takes a node's value into the structure, replacing what was there. Returns 0, or -1 after adding
 * faults that say where, what was expected and what was found (or without one if the node is
 * unusable). */
int field_assign(const struct field *field, bool as_file, void *structure, const struct node *value,
		 struct faults *faults);

/* Frees the values of all fields and clears them. */
void fields_free(const struct field *fields, void *structure);

/* Reads a secret: its value, or its file's contents without the newline at the end, read anew at
 * each call because secrets are rotated. Only regular files, at most 64 KiB. The result is
 * allocated; NULL with a sentence (that does not contain the secret) on failure, and NULL with an
 * empty sentence when the secret is not set. The caller clears it with secret_wipe(). */
char *secret_read(const struct secret *secret, struct error *error);

/* Overwrites and frees what secret_read() returned; harmless on NULL. */
void secret_wipe(char *text);

/* Whether it is set, by value or by file. */
bool secret_is_set(const struct secret *secret);

/* Splits a command line into words as FIELD_COMMAND does with a scalar: at spaces, with quotes and
 * backslashes but without a shell. Appends to the list, which may hold a part on failure and is
 * freed as usual. Returns 0, or -1 with a sentence. */
int field_split_command(const char *text, struct text_list *list, struct error *error);

/* Parses seconds as FIELD_SECONDS does ("0.5", "500ms"); microseconds, or -1. */
int64_t parse_seconds(const char *text);

#endif
