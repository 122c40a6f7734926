#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "agent/tree.h"

enum {
	DEPTH_MAX = 32,
	NODES_MAX = 400000,
};

struct reader {
	yaml_parser_t parser;
	struct tree *tree;
	struct faults *faults;
	const char *origin;
	struct node *open[DEPTH_MAX]; /* the maps and lists being filled */
	size_t depth;
	struct node *root;
	size_t node_count;
	unsigned documents;
	bool has_key; /* a map's key has been read, its value follows */
	const char *key;
	unsigned key_line, key_column;
	size_t skip;       /* whole nodes to pass over: a key that is none, and its value */
	size_t skip_depth; /* of maps and lists inside such a node */
	bool ended;
	bool failed;
};

/* ---- faults ---- */

static struct node here(const struct reader *reader, yaml_mark_t mark)
{
	return (struct node){.origin = reader->origin,
			     .line = (unsigned)mark.line + 1,
			     .column = (unsigned)mark.column + 1};
}

static void fault_at(struct reader *reader, yaml_mark_t mark, const char *sentence)
{
	struct node at = here(reader, mark);

	faults_add(reader->faults, &at, "%s", sentence);
}

static void fail_too_deep(struct reader *reader, yaml_mark_t mark)
{
	struct node at = here(reader, mark);

	faults_add(reader->faults, &at, "nested deeper than %d levels", DEPTH_MAX);
	reader->failed = true;
}

static void out_of_memory(struct reader *reader)
{
	faults_add(reader->faults, NULL, "out of memory");
	reader->failed = true;
}

/* The place of a byte; columns count characters. */
static struct node place_of(const char *origin, const char *text, size_t offset)
{
	struct node at = {.origin = origin, .line = 1, .column = 1};

	for (size_t i = 0; i < offset; i++) {
		if (text[i] == '\n') {
			at.line++;
			at.column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			at.column++;
		}
	}
	return at;
}

/* Whether the line (counted from 0) is indented with a tab, the commonest fault in YAML. */
static bool line_has_tab(const char *text, size_t len, size_t line)
{
	const char *end = text + len;

	for (; line > 0; line--) {
		text = memchr(text, '\n', (size_t)(end - text));
		if (!text)
			return false;
		text++;
	}
	while (text < end && *text == ' ')
		text++;
	return text < end && *text == '\t';
}

static void fault_syntax(struct reader *reader, const char *text, size_t len)
{
	const yaml_parser_t *parser = &reader->parser;
	const char *problem = parser->problem ? parser->problem : "it cannot be read";
	struct node at;

	reader->failed = true;
	if (parser->error == YAML_MEMORY_ERROR) {
		out_of_memory(reader);
		return;
	}
	if (parser->error == YAML_READER_ERROR) {
		size_t offset = parser->problem_offset < len ? parser->problem_offset : len;

		at = place_of(reader->origin, text, offset);
		faults_add(reader->faults, &at, "not valid UTF-8 text: %s", problem);
		return;
	}
	at = here(reader, parser->problem_mark);
	if (line_has_tab(text, len, parser->problem_mark.line))
		faults_add(reader->faults, &at,
			   "not valid YAML: indented with a tab, expected spaces");
	else if (strstr(problem, "cannot start any token"))
		faults_add(reader->faults, &at,
			   "not valid YAML: a text that begins with this character must be in "
			   "quotes");
	else if (parser->context)
		faults_add(reader->faults, &at, "not valid YAML: %s, %s that begins in line %zu",
			   problem, parser->context, parser->context_mark.line + 1);
	else
		faults_add(reader->faults, &at, "not valid YAML: %s", problem);
}

/* ---- duplicate keys ---- */

static int compare_members(const void *a, const void *b)
{
	const struct node *first = *(struct node *const *)a, *second = *(struct node *const *)b;
	int order = strcmp(first->key, second->key);

	if (order != 0)
		return order;
	if (first->key_line != second->key_line)
		return first->key_line < second->key_line ? -1 : 1;
	return first->key_column < second->key_column ? -1 : 1;
}

/* Sorts, because comparing each with each takes minutes with the keys that a hostile file can have.
 */
static void check_duplicates(struct reader *reader, const struct node *map)
{
	size_t count = 0;
	struct node **members;

	if (map->child_count < 2)
		return;
	members = malloc(map->child_count * sizeof(struct node *));
	if (!members) {
		out_of_memory(reader);
		return;
	}
	for (struct node *member = map->first_child; member; member = member->next)
		members[count++] = member;
	qsort(members, count, sizeof(struct node *), compare_members);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(members[i - 1]->key, members[i]->key) == 0)
			faults_add_key(reader->faults, members[i],
				       "%.60s is set twice, the first time in line %u",
				       members[i]->key, members[i - 1]->key_line);
	}
	free(members);
}

/* ---- nodes ---- */

static struct node *container(const struct reader *reader)
{
	return reader->depth > 0 ? reader->open[reader->depth - 1] : NULL;
}

static bool key_is_due(const struct reader *reader)
{
	return reader->depth > 0 && container(reader)->kind == NODE_MAP && !reader->has_key;
}

/* Makes the next node of the container that is being filled, or the root. */
static struct node *add_node(struct reader *reader, enum node_kind kind, yaml_mark_t mark)
{
	struct node *node, at;

	if (++reader->node_count > NODES_MAX) {
		at = here(reader, mark);
		faults_add(reader->faults, &at, "more than %d values", NODES_MAX);
		reader->failed = true;
		return NULL;
	}
	node = tree_node(reader->tree, kind, reader->origin);
	if (!node) {
		out_of_memory(reader);
		return NULL;
	}
	node->line = (unsigned)mark.line + 1;
	node->column = (unsigned)mark.column + 1;
	if (reader->has_key) {
		node->key = reader->key;
		node->key_line = reader->key_line;
		node->key_column = reader->key_column;
		reader->has_key = false;
	}
	if (container(reader))
		node_append(container(reader), node);
	else
		reader->root = node;
	return node;
}

static const char *scalar_text(struct reader *reader, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value, *text;
	size_t len = event->data.scalar.length;

	if (memchr(value, '\0', len)) {
		fault_at(reader, event->start_mark, "a text must not contain a NUL character");
		len = strlen(value);
	}
	text = tree_text(reader->tree, value, len);
	if (!text)
		out_of_memory(reader);
	return text;
}

static void read_key(struct reader *reader, const yaml_event_t *event)
{
	const char *text = scalar_text(reader, event);

	if (!text)
		return;
	if (strcmp(text, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		fault_at(reader, event->start_mark,
			 "merge keys (<<) are not supported, write the settings out");
		reader->skip = 1;
		return;
	}
	reader->key = text;
	reader->key_line = (unsigned)event->start_mark.line + 1;
	reader->key_column = (unsigned)event->start_mark.column + 1;
	reader->has_key = true;
}

static void read_scalar(struct reader *reader, const yaml_event_t *event)
{
	struct node *node;

	if (key_is_due(reader)) {
		read_key(reader, event);
		return;
	}
	node = add_node(reader, NODE_SCALAR, event->start_mark);
	if (!node)
		return;
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->text = scalar_text(reader, event);
}

static void read_alias(struct reader *reader, const yaml_event_t *event)
{
	bool was_key = key_is_due(reader);
	struct node *node;

	fault_at(reader, event->start_mark, "aliases (*) are not supported, write the value out");
	if (was_key) {
		reader->skip = 1;
		return;
	}
	node = add_node(reader, NODE_SCALAR, event->start_mark);
	if (node)
		node->text = "";
}

static void open_container(struct reader *reader, enum node_kind kind, const yaml_event_t *event)
{
	struct node *node;

	if (key_is_due(reader)) {
		fault_at(reader, event->start_mark, "a key must be a plain text");
		reader->skip = 2; /* the key, which begins here, and its value */
		reader->skip_depth = 1;
		return;
	}
	if (reader->depth == DEPTH_MAX) {
		fail_too_deep(reader, event->start_mark);
		return;
	}
	node = add_node(reader, kind, event->start_mark);
	if (node)
		reader->open[reader->depth++] = node;
}

static void close_container(struct reader *reader)
{
	struct node *closed = reader->open[--reader->depth];

	if (closed->kind == NODE_MAP)
		check_duplicates(reader, closed);
}

/* Passes over an event of a node that is not wanted. */
static void skip_event(struct reader *reader, const yaml_event_t *event)
{
	if (event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT) {
		if (++reader->skip_depth > DEPTH_MAX)
			fail_too_deep(reader, event->start_mark);
		return;
	}
	if (event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT)
		reader->skip_depth--;
	if (reader->skip_depth == 0)
		reader->skip--;
}

/* ---- events ---- */

static void refuse_properties(struct reader *reader, const yaml_event_t *event,
			      const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		fault_at(reader, event->start_mark,
			 "anchors (&) are not supported, write each value out");
	if (tag)
		fault_at(reader, event->start_mark, "tags (!) are not supported, leave it out");
}

static void check_properties(struct reader *reader, const yaml_event_t *event)
{
	if (event->type == YAML_SCALAR_EVENT)
		refuse_properties(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
	else if (event->type == YAML_MAPPING_START_EVENT)
		refuse_properties(reader, event, event->data.mapping_start.anchor,
				  event->data.mapping_start.tag);
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		refuse_properties(reader, event, event->data.sequence_start.anchor,
				  event->data.sequence_start.tag);
}

static void read_event(struct reader *reader, const yaml_event_t *event)
{
	check_properties(reader, event);
	if (reader->skip > 0) {
		skip_event(reader, event);
		return;
	}
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++reader->documents > 1) {
			fault_at(reader, event->start_mark,
				 "a second document begins here, expected a single one");
			reader->ended = true;
		}
		break;
	case YAML_STREAM_END_EVENT:
		reader->ended = true;
		break;
	case YAML_SCALAR_EVENT:
		read_scalar(reader, event);
		break;
	case YAML_ALIAS_EVENT:
		read_alias(reader, event);
		break;
	case YAML_MAPPING_START_EVENT:
		open_container(reader, NODE_MAP, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		open_container(reader, NODE_LIST, event);
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		close_container(reader);
		break;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
}

static void read_events(struct reader *reader, const char *text, size_t len)
{
	yaml_event_t event;

	while (!reader->ended && !reader->failed) {
		if (!yaml_parser_parse(&reader->parser, &event)) {
			fault_syntax(reader, text, len);
			return;
		}
		read_event(reader, &event);
		yaml_event_delete(&event);
	}
}

/* Puts what was read in the place of the tree's root. An empty file is an empty map. */
static int finish(struct reader *reader)
{
	struct node *root = reader->root;

	if (reader->failed)
		root = NULL;
	if (root && root->kind != NODE_MAP && !node_is_null(root)) {
		faults_add(reader->faults, root,
			   "the file must be a map of settings such as \"readiness:\"");
		reader->failed = true;
	}
	if (!root || root->kind != NODE_MAP)
		root = tree_node(reader->tree, NODE_MAP, reader->origin);
	if (!root) {
		out_of_memory(reader);
		return -1;
	}
	tree_set_root(reader->tree, root);
	return reader->failed ? -1 : 0;
}

/* The first line that begins with "%" and is not "%YAML"; NULL if there is none. */
static const char *find_directive(const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		if (*text == '%' && (end - text < 5 || memcmp(text, "%YAML", 5) != 0))
			return text;
		if (!newline)
			return NULL;
		text = newline + 1;
	}
	return NULL;
}

/* Finds what libyaml takes too little or too much notice of: a NUL ends the text for it, and it
 * compares each %TAG directive with all before it. */
static int check_bytes(struct reader *reader, const char *text, size_t len)
{
	const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
	const char *directive = find_directive(text, len);
	struct node at;

	if (len > TREE_TEXT_MAX) {
		at = (struct node){.origin = reader->origin};
		faults_add(reader->faults, &at, "larger than %d MiB",
			   TREE_TEXT_MAX / (1024 * 1024));
	} else if (nul) {
		at = place_of(reader->origin, text, (size_t)(nul - text));
		faults_add(reader->faults, &at, "a NUL byte, expected a text in UTF-8");
	} else if (directive) {
		at = place_of(reader->origin, text, (size_t)(directive - text));
		faults_add(reader->faults, &at, "directives (%%) are not supported, leave it out");
	} else {
		return 0;
	}
	reader->failed = true;
	return -1;
}

int tree_read_yaml(struct tree *tree, const char *origin, const char *text, size_t len,
		   struct faults *faults)
{
	struct reader reader = {.tree = tree, .faults = faults};

	reader.origin = tree_text(tree, origin, strlen(origin));
	if (!reader.origin) {
		out_of_memory(&reader);
		return -1;
	}
	if (check_bytes(&reader, text, len) != 0)
		return finish(&reader);
	if (!yaml_parser_initialize(&reader.parser)) {
		out_of_memory(&reader);
		return finish(&reader);
	}
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
	read_events(&reader, text, len);
	yaml_parser_delete(&reader.parser);
	return finish(&reader);
}

const char *tree_library_version(void)
{
	return yaml_get_version_string();
}
