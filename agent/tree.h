/* The configuration as a tree of nodes, each of which knows where it came from.
 *
 * YAML is read with libyaml's events into nodes; environment variables and command-line options
 * then replace or add single nodes; ${VAR} forms are filled in last. What the nodes mean is the
 * business of config.c and field.c. */
#ifndef READYD_AGENT_TREE_H
#define READYD_AGENT_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/error.h"

/* How long a text may be that is read. */
enum { TREE_TEXT_MAX = 4 * 1024 * 1024 };

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

/* Owned by the tree. Members of a map keep their order and carry their `key`. */
struct node {
	enum node_kind kind;
	const char *key;    /* of a map's member; NULL otherwise */
	const char *text;   /* of a scalar, ${VAR} filled in */
	bool quoted;        /* the scalar was quoted, so "yes" and "5" are texts and null is too */
	bool unusable;      /* a ${VAR} in it could not be filled in, which is a fault already */
	const char *origin; /* "readyd.yaml", "environment", "command line" */
	const char *variable; /* the variable's or option's name when it did not come from a file */
	unsigned line, column; /* of the value, counted from 1; 0 when it is not from a file */
	unsigned key_line, key_column; /* of the key, likewise */
	struct node *first_child, *last_child, *next;
	size_t child_count;
};

struct tree;

/* All the faults of a configuration, collected so that one run tells them all: those of the file by
 * line, then those of the environment, then those of the command line. Counted are all, kept are as
 * many as a person can want to read. */
struct faults {
	size_t errors, warnings, kept;
	struct fault *first, *last;
};

struct fault {
	struct fault *next;
	bool warning;
	char *text; /* "FILE:LINE:COLUMN: what is wrong, what was expected" */
	unsigned rank, line, column;
};

/* Records a fault at the node (NULL: at no particular place). */
void faults_add(struct faults *faults, const struct node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As faults_add(), at the key of a map's member instead of its value. */
void faults_add_key(struct faults *faults, const struct node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As faults_add(), for what is odd and harmless: it stops nothing. */
void faults_warn(struct faults *faults, const struct node *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether no more records are kept, so that looking for good words is a waste. */
bool faults_full(const struct faults *faults);

/* Frees all records. */
void faults_free(struct faults *faults);

/* An empty tree whose root is a map; NULL when out of memory. All nodes and texts live in it. */
struct tree *tree_create(void);
void tree_destroy(struct tree *tree);
struct node *tree_root(struct tree *tree);

/* Reads YAML text into the tree (replacing its root). `origin` names it in messages and is copied.
 * Bounded in size, depth and number of nodes; aliases, anchors, tags, duplicate keys and second
 * documents are faults. Returns 0 when the text was read to its end, perhaps with such faults in
 * what the tree then lacks; or -1 with a fault and an empty root. */
int tree_read_yaml(struct tree *tree, const char *origin, const char *text, size_t len,
		   struct faults *faults);

/* Reads a YAML file as above; "-" is standard input. */
int tree_read_file(struct tree *tree, const char *path, struct faults *faults);

/* Fills in ${VAR}, ${VAR:-default}, ${VAR-default}, ${VAR:?message}, ${VAR?message}, ${VAR:+text},
 * ${VAR+text}, $VAR and $$ as Compose does, in every scalar that came from a file. `environment` is
 * as environ(7). What is filled in is text for good: neither YAML nor variables are looked for in
 * it. */
void tree_interpolate(struct tree *tree, char *const *environment, struct faults *faults);

/* Copies text into the tree; NULL when out of memory. */
const char *tree_text(struct tree *tree, const char *text, size_t len);

/* An empty node that is in no map or list yet; `origin` is kept as it is. NULL when out of memory.
 */
struct node *tree_node(struct tree *tree, enum node_kind kind, const char *origin);

/* Puts another root, a map, in the place of the tree's. */
void tree_set_root(struct tree *tree, struct node *root);

/* The member of a map, or NULL; NULL too when `map` is NULL or no map. */
struct node *node_member(const struct node *map, const char *key);

/* Makes a scalar member of a map, replacing one of the same key. `origin` and `variable` as in
 * struct node; everything is copied. A second value of the same option does not replace the first:
 * both become items of a list, of which a setting that takes a single value takes the last. NULL
 * when out of memory. */
struct node *tree_set(struct tree *tree, struct node *map, const char *key, const char *text,
		      const char *origin, const char *variable);

/* The map member of that name, made (in place of a member that is no map) if there is none. NULL
 * when out of memory. */
struct node *tree_set_map(struct tree *tree, struct node *map, const char *key, const char *origin,
			  const char *variable);

/* Removes a member; harmless if there is none. */
void tree_remove(struct node *map, const char *key);

/* Appends a node that is in no map or list to a map, under a key that the map does not have. */
void node_append(struct node *parent, struct node *child);

/* Whether the node says "not set": a plain empty scalar, "~" or "null"; true for NULL as well. */
bool node_is_null(const struct node *node);

/* The name nearest to `word` among `count` candidates if it is near enough to be what was meant;
 * NULL otherwise. For "did you mean". */
const char *nearest_name(const char *word, const char *const *candidates, size_t count);

/* The libyaml version that is linked. */
const char *tree_library_version(void);

#endif
