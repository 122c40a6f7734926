#include <ctype.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/tree.h"

enum {
	NESTING_MAX = 16,
	/* Of all texts together, or a file of references to one large variable would fill the
	   memory. */
	OUTPUT_MAX = 16 * 1024 * 1024,
};

/* The filling in of one scalar. */
struct expansion {
	char *const *environment;
	struct faults *faults;
	const struct node *node;
	struct buffer *out;
	bool failed;
};

/* A variable's value; NULL if it is not set. */
static const char *lookup(const struct expansion *expansion, const char *name, size_t len)
{
	for (char *const *entry = expansion->environment; *entry; entry++) {
		if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
			return *entry + len + 1;
	}
	return NULL;
}

/* Where in the scalar something is, for people. The text itself is not shown, it may be a password
 * with a dollar sign in it. */
static size_t character_at(const struct expansion *expansion, const char *at)
{
	return (size_t)(at - expansion->node->text) + 1;
}

static const char *malformed(struct expansion *expansion, const char *dollar, const char *what)
{
	faults_add(expansion->faults, expansion->node,
		   "the $ at character %zu of the value %s; write ${NAME}, or $$ for a dollar sign",
		   character_at(expansion, dollar), what);
	expansion->failed = true;
	return NULL;
}

static size_t name_length(const char *text)
{
	size_t len = 0;

	if (isdigit((unsigned char)text[0]))
		return 0;
	while (isalnum((unsigned char)text[len]) || text[len] == '_')
		len++;
	return len;
}

static void put(struct expansion *expansion, const char *text, size_t len)
{
	if (buffer_append(expansion->out, text, len) == 0 || expansion->failed)
		return;
	faults_add(expansion->faults, expansion->node,
		   "the variables make the texts larger than %d MiB", OUTPUT_MAX / (1024 * 1024));
	expansion->failed = true;
}

/* A reference in braces: ${NAME}, or with an operator and a word. */
struct reference {
	const char *dollar;
	const char *name;
	size_t name_len;
	char operation; /* '-', '?', '+', or NUL for none */
	bool or_empty;  /* the operator follows a colon: an empty variable is like none */
	const char *value;
};

static const char *expand(struct expansion *expansion, const char *text, bool nested, bool active,
			  unsigned depth);

/* Says that a variable that must be set is not, with the sentence of whoever wrote the file. */
static const char *require(struct expansion *expansion, const struct reference *reference,
			   const char *word, unsigned depth)
{
	struct buffer message, *out = expansion->out;
	const char *end;

	buffer_init(&message, 512);
	expansion->out = &message;
	end = expand(expansion, word, true, true, depth);
	expansion->out = out;
	if (end)
		faults_add(expansion->faults, expansion->node, "variable %.*s is %s%s%s",
			   (int)reference->name_len, reference->name,
			   reference->value ? "empty" : "not set", message.len > 0 ? ": " : "",
			   message.len > 0 ? message.data : "");
	expansion->failed = true;
	buffer_free(&message);
	return end;
}

/* Fills in a reference whose word begins at `word`. Returns the closing brace, or NULL. */
static const char *apply(struct expansion *expansion, const struct reference *reference,
			 const char *word, bool active, unsigned depth)
{
	const char *value = reference->value;
	bool present = value && !(reference->or_empty && value[0] == '\0');

	if (reference->operation == '?' && !present && active)
		return require(expansion, reference, word, depth);
	/* What is not wanted is read all the same, to find its end and its faults. */
	if (active && present && reference->operation != '+')
		put(expansion, value, strlen(value));
	return expand(expansion, word, true,
		      active && (reference->operation == '+'
					 ? present
					 : reference->operation == '-' && !present),
		      depth);
}

/* Reads from the brace of "${"; returns what follows the closing brace, or NULL. */
static const char *expand_braced(struct expansion *expansion, const char *dollar, bool active,
				 unsigned depth)
{
	struct reference reference = {.dollar = dollar, .name = dollar + 2};
	const char *at;

	reference.name_len = name_length(reference.name);
	if (reference.name_len == 0)
		return malformed(expansion, dollar, "is not followed by a variable's name");
	if (depth == NESTING_MAX)
		return malformed(expansion, dollar, "is nested too deep");
	reference.value = lookup(expansion, reference.name, reference.name_len);
	at = reference.name + reference.name_len;
	if (*at == '}') {
		if (active && reference.value)
			put(expansion, reference.value, strlen(reference.value));
		else if (active)
			faults_warn(expansion->faults, expansion->node,
				    "variable %.*s is not set, it is taken as empty",
				    (int)reference.name_len, reference.name);
		return at + 1;
	}
	reference.or_empty = *at == ':';
	at += reference.or_empty;
	if (*at != '-' && *at != '?' && *at != '+')
		return malformed(expansion, dollar,
				 *at ? "has an unknown form" : "has no closing brace");
	reference.operation = *at;
	at = apply(expansion, &reference, at + 1, active, depth + 1);
	if (at && *at != '}')
		return malformed(expansion, dollar, "has no closing brace");
	return at ? at + 1 : NULL;
}

/* Reads from a dollar sign; returns what follows, or NULL. */
static const char *expand_dollar(struct expansion *expansion, const char *dollar, bool active,
				 unsigned depth)
{
	size_t len = name_length(dollar + 1);
	const char *value;

	if (dollar[1] == '{')
		return expand_braced(expansion, dollar, active, depth);
	if (dollar[1] == '$') {
		if (active)
			put(expansion, "$", 1);
		return dollar + 2;
	}
	if (dollar[1] == '(') {
		/* No form of Compose's, but one of pod specs and of shells: theirs to fill in. */
		if (active)
			put(expansion, "$(", 2);
		return dollar + 2;
	}
	if (len == 0)
		return malformed(expansion, dollar, "is not followed by a variable's name");
	value = lookup(expansion, dollar + 1, len);
	if (active && value)
		put(expansion, value, strlen(value));
	else if (active)
		faults_warn(expansion->faults, expansion->node,
			    "the variable at character %zu of the value is not set, it is taken as "
			    "empty; write $$ for a dollar sign",
			    character_at(expansion, dollar));
	return dollar + 1 + len;
}

/* Fills in the text up to its end, or when `nested` up to the closing brace; puts out nothing
 * unless `active`. Returns where it stopped, or NULL after a fault. */
static const char *expand(struct expansion *expansion, const char *text, bool nested, bool active,
			  unsigned depth)
{
	while (text && *text && !(nested && *text == '}')) {
		size_t len = strcspn(text, nested ? "$}" : "$");

		if (len > 0 && active)
			put(expansion, text, len);
		text += len;
		if (*text == '$')
			text = expand_dollar(expansion, text, active, depth);
	}
	return text;
}

/* Returns -1 when the walk should end. */
static int interpolate_scalar(struct tree *tree, struct node *node, char *const *environment,
			      size_t *left, struct faults *faults)
{
	struct buffer out;
	struct expansion expansion = {.environment = environment,
				      .faults = faults,
				      .node = node,
				      .out = &out};
	int result = 0;

	buffer_init(&out, *left);
	if (expand(&expansion, node->text, false, true, 0) && !expansion.failed) {
		const char *text = tree_text(tree, out.data ? out.data : "", out.len);

		*left -= out.len;
		/* "~" or "null" out of a variable is a text; an empty one means that it is not
		 * set. */
		node->quoted = node->quoted || out.len > 0;
		if (text)
			node->text = text;
		else
			faults_add(faults, NULL, "out of memory");
	}
	node->unusable = expansion.failed;
	if (out.overflow)
		result = -1;
	buffer_free(&out);
	return result;
}

static int interpolate(struct tree *tree, struct node *node, char *const *environment, size_t *left,
		       struct faults *faults)
{
	if (node->kind == NODE_SCALAR)
		return node->line != 0 && strchr(node->text, '$')
			       ? interpolate_scalar(tree, node, environment, left, faults)
			       : 0;
	for (struct node *child = node->first_child; child; child = child->next) {
		if (interpolate(tree, child, environment, left, faults) != 0)
			return -1;
		node->unusable = node->unusable || (node->kind == NODE_LIST && child->unusable);
	}
	return 0;
}

void tree_interpolate(struct tree *tree, char *const *environment, struct faults *faults)
{
	size_t left = OUTPUT_MAX;

	interpolate(tree, tree_root(tree), environment, &left, faults);
}
