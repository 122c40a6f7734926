#include "agent/field_list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_MIN = 100, STATUS_MAX = 599 };

const char *node_found(const struct node *node, char *text, size_t size)
{
	if (node->kind == NODE_MAP)
		return "a map";
	if (node->kind == NODE_LIST)
		return "a list";
	if (node_is_null(node))
		return "nothing";
	snprintf(text, size, strlen(node->text) > 40 ? "\"%.37s...\"" : "\"%.40s\"", node->text);
	return text;
}

static int out_of_memory(struct faults *faults, const struct node *at)
{
	faults_add(faults, at, "out of memory");
	return -1;
}

/* Appends one element of `size` bytes, zeroed, and always keeps one zeroed element behind the last.
 */
static void *grow(void **items, size_t *count, size_t size)
{
	/* Powers of two: growing is needed when the count (with the one behind) reaches one. */
	if ((*count & (*count + 1)) == 0) {
		void *grown = realloc(*items, (*count + 1) * 2 * size);

		if (!grown)
			return NULL;
		*items = grown;
	}
	(*count)++;
	memset((char *)*items + (*count - 1) * size, 0, 2 * size);
	return (char *)*items + (*count - 1) * size;
}

static bool append_text(struct text_list *list, const char *text, size_t len)
{
	void *items = list->items;
	char *copy = strndup(text, len),
	     **item = copy ? grow(&items, &list->count, sizeof(copy)) : NULL;

	list->items = items;
	if (!item) {
		free(copy);
		return false;
	}
	*item = copy;
	return true;
}

static int add_text(struct text_list *list, const char *text, size_t len, struct faults *faults,
		    const struct node *at)
{
	return append_text(list, text, len) ? 0 : out_of_memory(faults, at);
}

/* ---- lists of texts ---- */

/* A variable or an option holds several texts separated by commas. */
static int split_commas(struct text_list *list, const struct node *value, struct faults *faults)
{
	const char *text = value->text;

	for (;;) {
		size_t len = strcspn(text, ","), begin = 0, end = len;

		while (begin < end && isspace((unsigned char)text[begin]))
			begin++;
		while (end > begin && isspace((unsigned char)text[end - 1]))
			end--;
		if (end > begin && add_text(list, text + begin, end - begin, faults, value) != 0)
			return -1;
		if (text[len] == '\0')
			return 0;
		text += len + 1;
	}
}

/* The same for an option that was given again. */
static int split_all_commas(struct text_list *list, const struct node *values,
			    struct faults *faults)
{
	for (const struct node *value = values->first_child; value; value = value->next) {
		if (split_commas(list, value, faults) != 0)
			return -1;
	}
	return 0;
}

static int items_assign(struct text_list *list, const struct field *field, const struct node *value,
			struct faults *faults)
{
	int result = 0;

	for (const struct node *item = value->first_child; item; item = item->next) {
		if (item->kind != NODE_SCALAR || node_is_null(item)) {
			char found[64];

			faults_add(faults, item, "an item of %s must be a text, found %s",
				   field->name, node_found(item, found, sizeof(found)));
			result = -1;
		} else if (add_text(list, item->text, strlen(item->text), faults, item) != 0) {
			return -1;
		}
	}
	return result;
}

int text_list_assign(struct text_list *list, const struct field *field, const struct node *value,
		     struct faults *faults)
{
	if (value->kind == NODE_LIST && value->variable)
		return split_all_commas(list, value, faults);
	if (value->kind == NODE_LIST)
		return items_assign(list, field, value, faults);
	if (value->kind == NODE_MAP) {
		faults_add(faults, value, "%s must be a text or a list of texts, found a map",
			   field->name);
		return -1;
	}
	if (value->variable)
		return split_commas(list, value, faults);
	return add_text(list, value->text, strlen(value->text), faults, value);
}

/* ---- commands ---- */

/* Takes the next word off *text into `word` (as large as *text), without its quotes. Returns its
 * length, -1 at the end, -2 when a quote is not closed. */
static long next_word(const char **text, char *word)
{
	const char *from = *text;
	long len = 0;
	char quote = '\0';

	while (isspace((unsigned char)*from))
		from++;
	if (*from == '\0')
		return -1;
	for (; *from && (quote || !isspace((unsigned char)*from)); from++) {
		if (quote ? *from == quote : *from == '"' || *from == '\'')
			quote = quote ? '\0' : *from;
		else if (*from == '\\' && quote != '\'' && from[1] != '\0')
			word[len++] = *++from;
		else
			word[len++] = *from;
	}
	*text = from;
	return quote ? -2 : len;
}

int field_split_command(const char *text, struct text_list *list, struct error *error)
{
	char *word = malloc(strlen(text) + 1);
	int result = 0;
	long len;

	if (!word)
		return error_set(error, "out of memory");
	while (result == 0 && (len = next_word(&text, word)) != -1) {
		if (len == -2)
			result = error_set(error, "a quote in the command is not closed");
		else if (!append_text(list, word, (size_t)len))
			result = error_set(error, "out of memory");
	}
	free(word);
	return result;
}

static int split_words(struct text_list *list, const struct node *value, struct faults *faults)
{
	struct error error;

	if (field_split_command(value->text, list, &error) == 0)
		return 0;
	faults_add(faults, value, "%s", error.text);
	return -1;
}

int command_assign(struct text_list *list, const struct field *field, const struct node *value,
		   struct faults *faults)
{
	int result;

	if (value->kind == NODE_MAP) {
		faults_add(faults, value,
			   "%s must be a list such as [/app/check, --fast], found a map",
			   field->name);
		return -1;
	}
	result = value->kind == NODE_LIST ? items_assign(list, field, value, faults)
					  : split_words(list, value, faults);
	if (result == 0 && (list->count == 0 || list->items[0][0] == '\0')) {
		faults_add(faults, value, "%s is empty, expected a program and its arguments",
			   field->name);
		return -1;
	}
	return result;
}

void text_list_free(struct text_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){0};
}

/* ---- names with values ---- */

static int add_pair(struct pair_list *list, const char *name, size_t name_len, const char *value,
		    size_t value_len, struct faults *faults, const struct node *at)
{
	void *items = list->items;
	struct pair *pair = grow(&items, &list->count, sizeof(*pair));

	list->items = items;
	if (!pair)
		return out_of_memory(faults, at);
	pair->name = strndup(name, name_len);
	pair->value = strndup(value, value_len);
	return pair->name && pair->value ? 0 : out_of_memory(faults, at);
}

/* "NAME: VALUE" or "NAME=VALUE". Values may be secret, so no message shows one. */
static int add_pair_line(struct pair_list *list, const struct field *field, const char *line,
			 size_t len, struct faults *faults, const struct node *at)
{
	size_t name_len = 0, value_at;

	while (name_len < len && line[name_len] != ':' && line[name_len] != '=')
		name_len++;
	if (name_len == len || name_len == 0) {
		faults_add(faults, at, "an item of %s must be \"NAME: VALUE\"", field->name);
		return -1;
	}
	value_at = name_len + 1;
	if (line[name_len] == ':') {
		while (value_at < len && (line[value_at] == ' ' || line[value_at] == '\t'))
			value_at++;
	}
	return add_pair(list, line, name_len, line + value_at, len - value_at, faults, at);
}

static int add_pair_lines(struct pair_list *list, const struct field *field,
			  const struct node *value, struct faults *faults)
{
	int result = 0;

	for (const char *line = value->text; *line;) {
		size_t len = strcspn(line, "\n");

		if (len > 0 && add_pair_line(list, field, line, len, faults, value) != 0)
			result = -1;
		line += len;
		line += *line == '\n';
	}
	return result;
}

/* Kubernetes' {name: N, value: V}. */
static int add_pair_item(struct pair_list *list, const struct field *field, const struct node *item,
			 struct faults *faults)
{
	const struct node *name = node_member(item, "name"), *value = node_member(item, "value");
	const char *text = node_is_null(value) ? "" : value->text;

	for (const struct node *member = item->first_child; member; member = member->next) {
		/* Somebody may have put the value, a secret, into it. */
		size_t shown = strcspn(member->key, ":= \t\r\n");

		if (member != name && member != value) {
			faults_add_key(
				faults, member,
				"unknown key \"%.*s\" in an item of %s, expected name and value",
				shown < 40 ? (int)shown : 40, member->key, field->name);
			return -1;
		}
	}
	if (!name || name->kind != NODE_SCALAR || node_is_null(name) || name->text[0] == '\0' ||
	    (value && value->kind != NODE_SCALAR)) {
		faults_add(faults, item, "an item of %s must have a name and a value, both texts",
			   field->name);
		return -1;
	}
	return add_pair(list, name->text, strlen(name->text), text, strlen(text), faults, item);
}

static int add_pair_member(struct pair_list *list, const struct field *field,
			   const struct node *member, struct faults *faults)
{
	const char *text = node_is_null(member) ? "" : member->text;

	if (member->kind != NODE_SCALAR || member->key[0] == '\0') {
		faults_add(faults, member, "%s must be a map of names with one text each",
			   field->name);
		return -1;
	}
	return add_pair(list, member->key, strlen(member->key), text, strlen(text), faults, member);
}

int pair_list_assign(struct pair_list *list, const struct field *field, const struct node *value,
		     struct faults *faults)
{
	int result = 0;

	if (value->kind == NODE_SCALAR)
		return add_pair_lines(list, field, value, faults);
	for (const struct node *item = value->first_child; item; item = item->next) {
		int added;

		if (value->kind == NODE_MAP)
			added = add_pair_member(list, field, item, faults);
		else if (item->kind == NODE_MAP)
			added = add_pair_item(list, field, item, faults);
		else if (item->kind == NODE_SCALAR && !node_is_null(item))
			added = add_pair_line(list, field, item->text, strlen(item->text), faults,
					      item);
		else {
			faults_add(faults, item, "an item of %s must be \"NAME: VALUE\"",
				   field->name);
			added = -1;
		}
		if (added != 0)
			result = -1;
	}
	return result;
}

void pair_list_free(struct pair_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].value);
	}
	free(list->items);
	*list = (struct pair_list){0};
}

/* ---- status ranges ---- */

/* Reads up to four digits; -1 if there are none or more. */
static int take_status(const char **text)
{
	int status = 0, digits = 0;

	for (; isdigit((unsigned char)**text) && digits < 4; (*text)++, digits++)
		status = status * 10 + (**text - '0');
	return digits > 0 && digits < 4 ? status : -1;
}

/* One "200-299" or "301"; -1 if it is none. */
static int take_range(const char **text, struct status_range *range)
{
	while (**text == ' ')
		(*text)++;
	range->first = range->last = take_status(text);
	if (**text == '-') {
		(*text)++;
		range->last = take_status(text);
	}
	while (**text == ' ')
		(*text)++;
	return range->first < STATUS_MIN || range->last > STATUS_MAX || range->first > range->last
		       ? -1
		       : 0;
}

static int add_ranges(struct status_ranges *ranges, const struct field *field,
		      const struct node *value, struct faults *faults)
{
	const char *text = value->text;
	char found[64];

	for (;;) {
		void *items = ranges->items;
		struct status_range range, *item;

		if (take_range(&text, &range) != 0 || (*text != ',' && *text != '\0')) {
			faults_add(faults, value,
				   "%s is %s, expected statuses from %d to %d such as "
				   "\"200-299,301\"",
				   field->name, node_found(value, found, sizeof(found)), STATUS_MIN,
				   STATUS_MAX);
			return -1;
		}
		item = grow(&items, &ranges->count, sizeof(*item));
		ranges->items = items;
		if (!item)
			return out_of_memory(faults, value);
		*item = range;
		if (*text++ == '\0')
			return 0;
	}
}

int status_ranges_assign(struct status_ranges *ranges, const struct field *field,
			 const struct node *value, struct faults *faults)
{
	int result = 0;

	if (value->kind == NODE_SCALAR)
		return add_ranges(ranges, field, value, faults);
	if (value->kind == NODE_MAP) {
		faults_add(faults, value,
			   "%s must be statuses such as \"200-299,301\", found a map", field->name);
		return -1;
	}
	for (const struct node *item = value->first_child; item; item = item->next) {
		if (item->kind != NODE_SCALAR) {
			faults_add(faults, item, "an item of %s must be a status or a range",
				   field->name);
			result = -1;
		} else if (add_ranges(ranges, field, item, faults) != 0) {
			result = -1;
		}
	}
	return result;
}

void status_ranges_free(struct status_ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct status_ranges){0};
}
