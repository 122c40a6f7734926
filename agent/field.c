#include "agent/field.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/field_list.h"
#include "agent/number.h"
#include "agent/tree.h"

/* The value's place. The structures' fields have the type that the field's kind says. */
static void *place(const struct field *field, void *structure)
{
	return (char *)structure + field->offset;
}

static size_t kind_size(enum field_kind kind)
{
	switch (kind) {
	case FIELD_TEXT:
		return sizeof(char *);
	case FIELD_SECRET:
		return sizeof(struct secret);
	case FIELD_BOOLEAN:
		return sizeof(bool);
	case FIELD_INTEGER:
	case FIELD_SECONDS:
		return sizeof(int64_t);
	case FIELD_NUMBER:
		return sizeof(double);
	case FIELD_CHOICE:
		return sizeof(int);
	case FIELD_TEXT_LIST:
	case FIELD_COMMAND:
		return sizeof(struct text_list);
	case FIELD_PAIR_LIST:
		return sizeof(struct pair_list);
	case FIELD_STATUS_RANGES:
		return sizeof(struct status_ranges);
	}
	return 0;
}

static void secret_free(struct secret *secret)
{
	secret_wipe(secret->value);
	free(secret->file);
	*secret = (struct secret){0};
}

static void field_free(const struct field *field, void *structure)
{
	void *value = place(field, structure);

	switch (field->kind) {
	case FIELD_TEXT:
		free(*(char **)value);
		break;
	case FIELD_SECRET:
		secret_free(value);
		break;
	case FIELD_TEXT_LIST:
	case FIELD_COMMAND:
		text_list_free(value);
		break;
	case FIELD_PAIR_LIST:
		pair_list_free(value);
		break;
	case FIELD_STATUS_RANGES:
		status_ranges_free(value);
		break;
	case FIELD_BOOLEAN:
	case FIELD_INTEGER:
	case FIELD_NUMBER:
	case FIELD_SECONDS:
	case FIELD_CHOICE:
		break;
	}
	memset(value, 0, kind_size(field->kind));
}

void fields_free(const struct field *fields, void *structure)
{
	for (; fields->name; fields++)
		field_free(fields, structure);
}

/* ---- values of one scalar ---- */

static bool in_limits(const struct field *field, double number)
{
	bool limited = field->minimum != 0 || field->maximum != 0;

	return !limited || (number >= field->minimum && number <= field->maximum);
}

/* Says what a number should have been. */
static int fault_number(const struct field *field, const struct node *value, const char *expected,
			struct faults *faults)
{
	char found[64];

	node_found(value, found, sizeof(found));
	if (field->minimum != 0 || field->maximum != 0)
		faults_add(faults, value, "%s is %s, expected %s from %.15g to %.15g", field->name,
			   found, expected, field->minimum, field->maximum);
	else
		faults_add(faults, value, "%s is %s, expected %s", field->name, found, expected);
	return -1;
}

static int assign_number(const struct field *field, void *structure, const struct node *value,
			 struct faults *faults)
{
	double number = 0;
	int64_t microseconds;

	switch (field->kind) {
	case FIELD_INTEGER:
		if (!parse_whole(value->text, &number) || !in_limits(field, number))
			return fault_number(field, value, "a whole number", faults);
		*(int64_t *)place(field, structure) = (int64_t)number;
		return 0;
	case FIELD_NUMBER:
		if (!parse_decimal(value->text, &number) || !in_limits(field, number))
			return fault_number(field, value, "a number", faults);
		*(double *)place(field, structure) = number;
		return 0;
	default:
		microseconds = parse_seconds(value->text);
		if (microseconds < 0 || !in_limits(field, (double)microseconds / 1e6))
			return fault_number(field, value, "seconds (such as 0.5, 10, 500ms or 1m)",
					    faults);
		*(int64_t *)place(field, structure) = microseconds;
		return 0;
	}
}

static int assign_choice(const struct field *field, void *structure, const struct node *value,
			 struct faults *faults)
{
	char expected[256] = "", found[64];
	size_t count = 0, len = 0;
	const char *meant;

	for (; field->choices[count]; count++) {
		if (strcmp(field->choices[count], value->text) == 0) {
			*(int *)place(field, structure) = (int)count;
			return 0;
		}
		if (len < sizeof(expected))
			len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%s%s",
						count > 0 ? ", " : "", field->choices[count]);
	}
	node_found(value, found, sizeof(found));
	meant = nearest_name(value->text, field->choices, count);
	if (meant)
		faults_add(faults, value, "%s is %s, did you mean \"%s\"? expected one of %s",
			   field->name, found, meant, expected);
	else
		faults_add(faults, value, "%s is %s, expected one of %s", field->name, found,
			   expected);
	return -1;
}

static int assign_boolean(const struct field *field, void *structure, const struct node *value,
			  struct faults *faults)
{
	char found[64];

	if (parse_boolean(value->text, place(field, structure)))
		return 0;
	faults_add(faults, value, "%s is %s, expected true or false", field->name,
		   node_found(value, found, sizeof(found)));
	return -1;
}

static int assign_text(char **text, const struct node *value, struct faults *faults)
{
	*text = strdup(value->text);
	if (*text)
		return 0;
	faults_add(faults, value, "out of memory");
	return -1;
}

static int assign_secret(const struct field *field, bool as_file, void *structure,
			 const struct node *value, struct faults *faults)
{
	struct secret *secret = place(field, structure);
	struct error error;
	char *text;

	if (assign_text(as_file ? &secret->file : &secret->value, value, faults) != 0)
		return -1;
	if (!as_file)
		return 0;
	/* A missing file is a fault now and not an hour later. */
	text = secret_read(secret, &error);
	if (!text) {
		faults_add(faults, value, "%sFile: %s", field->name, error.text);
		return -1;
	}
	secret_wipe(text);
	return 0;
}

/* ---- all values ---- */

static bool takes_lists(enum field_kind kind)
{
	return kind == FIELD_TEXT_LIST || kind == FIELD_COMMAND || kind == FIELD_PAIR_LIST ||
	       kind == FIELD_STATUS_RANGES;
}

/* Takes a value that is neither null nor of a shape that the kind cannot have. */
static int assign_value(const struct field *field, bool as_file, void *structure,
			const struct node *value, struct faults *faults)
{
	switch (field->kind) {
	case FIELD_TEXT:
		return assign_text(place(field, structure), value, faults);
	case FIELD_SECRET:
		return assign_secret(field, as_file, structure, value, faults);
	case FIELD_BOOLEAN:
		return assign_boolean(field, structure, value, faults);
	case FIELD_INTEGER:
	case FIELD_NUMBER:
	case FIELD_SECONDS:
		return assign_number(field, structure, value, faults);
	case FIELD_CHOICE:
		return assign_choice(field, structure, value, faults);
	case FIELD_TEXT_LIST:
		return text_list_assign(place(field, structure), field, value, faults);
	case FIELD_COMMAND:
		return command_assign(place(field, structure), field, value, faults);
	case FIELD_PAIR_LIST:
		return pair_list_assign(place(field, structure), field, value, faults);
	case FIELD_STATUS_RANGES:
		return status_ranges_assign(place(field, structure), field, value, faults);
	}
	return -1;
}

static int set_default(const struct field *field, void *structure)
{
	/* A variable's node, so that a list's default may be several texts with commas. */
	struct node node = {.kind = NODE_SCALAR,
			    .quoted = true,
			    .text = field->fallback,
			    .origin = "default",
			    .variable = field->name};
	struct faults faults = {0};
	int result = 0;

	memset(place(field, structure), 0, kind_size(field->kind));
	if (field->fallback)
		result = assign_value(field, false, structure, &node, &faults);
	faults_free(&faults);
	return result;
}

int field_assign(const struct field *field, bool as_file, void *structure, const struct node *value,
		 struct faults *faults)
{
	field_free(field, structure);
	if (value->unusable)
		return -1;
	/* An option that was given again. */
	if (value->kind == NODE_LIST && value->variable && !takes_lists(field->kind))
		value = value->last_child;
	if (node_is_null(value)) {
		if (set_default(field, structure) == 0)
			return 0;
		faults_add(faults, value, "out of memory");
		return -1;
	}
	if (value->kind != NODE_SCALAR && !takes_lists(field->kind)) {
		faults_add(faults, value, "%s%s must be a single value, found %s", field->name,
			   as_file ? "File" : "", value->kind == NODE_MAP ? "a map" : "a list");
		return -1;
	}
	return assign_value(field, as_file, structure, value, faults);
}

int fields_set_defaults(const struct field *fields, void *structure)
{
	int result = 0;

	for (; fields->name; fields++) {
		if (set_default(fields, structure) != 0)
			result = -1;
	}
	return result;
}

const struct field *field_find(const struct field *fields, const char *name, bool *ret_as_file)
{
	for (; fields->name; fields++) {
		size_t len = strlen(fields->name);

		if (strncmp(fields->name, name, len) != 0)
			continue;
		if (name[len] == '\0' ||
		    (fields->kind == FIELD_SECRET && strcmp(name + len, "File") == 0)) {
			if (ret_as_file)
				*ret_as_file = name[len] != '\0';
			return fields;
		}
	}
	return NULL;
}
