#include "agent/tree.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>

enum { BLOCK_SIZE = 256 * 1024 };

/* ---- memory ----
 * Blocks that are mapped and unmapped as a whole, because a configuration of ten thousand probes
 * makes megabytes of nodes that live for milliseconds, and a heap would keep them resident for
 * ever. */

struct block {
	struct block *next;
	size_t size, used;
};

struct tree {
	struct block *blocks;
	struct node *root;
};

static struct block *block_map(size_t size)
{
	struct block *block =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (block == MAP_FAILED)
		return NULL;
	block->size = size;
	block->used = sizeof(*block);
	return block;
}

/* Zeroed memory that lives as long as the tree. */
static void *tree_alloc(struct tree *tree, size_t size)
{
	struct block *block = tree->blocks;
	void *memory;

	size = (size + 7) & ~(size_t)7;
	if (block->size - block->used < size) {
		size_t wanted = sizeof(*block) + size;

		block = block_map(wanted > BLOCK_SIZE ? wanted : BLOCK_SIZE);
		if (!block)
			return NULL;
		block->next = tree->blocks;
		tree->blocks = block;
	}
	memory = (char *)block + block->used;
	block->used += size;
	return memory;
}

const char *tree_text(struct tree *tree, const char *text, size_t len)
{
	char *copy = tree_alloc(tree, len + 1);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

struct node *tree_node(struct tree *tree, enum node_kind kind, const char *origin)
{
	struct node *node = tree_alloc(tree, sizeof(*node));

	if (node) {
		node->kind = kind;
		node->origin = origin;
	}
	return node;
}

struct tree *tree_create(void)
{
	struct block *block = block_map(BLOCK_SIZE);
	struct tree first = {.blocks = block}, *tree;

	if (!block)
		return NULL;
	tree = tree_alloc(&first, sizeof(*tree));
	*tree = first;
	tree->root = tree_node(tree, NODE_MAP, NULL);
	return tree;
}

void tree_destroy(struct tree *tree)
{
	struct block *block = tree ? tree->blocks : NULL;

	while (block) { /* the last one holds the tree itself */
		struct block *next = block->next;

		munmap(block, block->size);
		block = next;
	}
}

struct node *tree_root(struct tree *tree)
{
	return tree->root;
}

void tree_set_root(struct tree *tree, struct node *root)
{
	tree->root = root;
}

/* ---- nodes ---- */

void node_append(struct node *parent, struct node *child)
{
	child->next = NULL;
	if (parent->last_child)
		parent->last_child->next = child;
	else
		parent->first_child = child;
	parent->last_child = child;
	parent->child_count++;
}

struct node *node_member(const struct node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (struct node *child = map->first_child; child; child = child->next) {
		if (strcmp(child->key, key) == 0)
			return child;
	}
	return NULL;
}

bool node_is_null(const struct node *node)
{
	if (!node)
		return true;
	return node->kind == NODE_SCALAR && !node->quoted &&
	       (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
		strcasecmp(node->text, "null") == 0);
}

/* Makes `child` a member, in the place of one of the same key if there is one. */
static void put_member(struct node *map, struct node *child)
{
	struct node *before = NULL;

	for (struct node *old = map->first_child; old; before = old, old = old->next) {
		if (strcmp(old->key, child->key) != 0)
			continue;
		child->next = old->next;
		if (before)
			before->next = child;
		else
			map->first_child = child;
		if (map->last_child == old)
			map->last_child = child;
		return;
	}
	node_append(map, child);
}

static struct node *create_member(struct tree *tree, enum node_kind kind, const char *key,
				  const char *origin, const char *variable)
{
	struct node *node = tree_node(tree, kind, tree_text(tree, origin, strlen(origin)));

	if (!node || !node->origin)
		return NULL;
	node->key = tree_text(tree, key, strlen(key));
	if (variable)
		node->variable = tree_text(tree, variable, strlen(variable));
	if (!node->key || (variable && !node->variable))
		return NULL;
	return node;
}

/* Turns an option's first value into a list with it as its only item. */
static struct node *make_list(struct tree *tree, struct node *map, struct node *first)
{
	struct node *list = tree_node(tree, NODE_LIST, first->origin);

	if (!list)
		return NULL;
	list->key = first->key;
	list->variable = first->variable;
	put_member(map, list);
	node_append(list, first);
	return list;
}

/* Puts a further value of the same option behind the first; NULL when out of memory. */
static struct node *add_value(struct tree *tree, struct node *map, struct node *old,
			      struct node *value)
{
	struct node *list = old->kind == NODE_LIST ? old : make_list(tree, map, old);

	if (list)
		node_append(list, value);
	return list;
}

struct node *tree_set(struct tree *tree, struct node *map, const char *key, const char *text,
		      const char *origin, const char *variable)
{
	struct node *node = create_member(tree, NODE_SCALAR, key, origin, variable);
	struct node *old = node_member(map, key);

	if (!node)
		return NULL;
	node->quoted = true; /* what a variable holds is a text, an empty one too */
	node->text = tree_text(tree, text, strlen(text));
	if (!node->text)
		return NULL;
	if (variable && old && old->variable && strcmp(old->origin, origin) == 0 &&
	    strcmp(old->variable, variable) == 0)
		return add_value(tree, map, old, node);
	put_member(map, node);
	return node;
}

struct node *tree_set_map(struct tree *tree, struct node *map, const char *key, const char *origin,
			  const char *variable)
{
	struct node *node = node_member(map, key);

	if (node && node->kind == NODE_MAP)
		return node;
	node = create_member(tree, NODE_MAP, key, origin, variable);
	if (node)
		put_member(map, node);
	return node;
}

void tree_remove(struct node *map, const char *key)
{
	struct node *before = NULL;

	for (struct node *child = map->first_child; child; before = child, child = child->next) {
		if (strcmp(child->key, key) != 0)
			continue;
		if (before)
			before->next = child->next;
		else
			map->first_child = child->next;
		if (map->last_child == child)
			map->last_child = before;
		map->child_count--;
		return;
	}
}
