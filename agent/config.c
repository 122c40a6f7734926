#include "agent/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_edit.h"
#include "agent/config_lint.h"
#include "agent/config_probe.h"
#include "agent/config_settings.h"

/* What a probe is called that was pasted from a pod spec with its key, where it has no name. */
static const char pasted_name[] = "app";

/* Turns "livenessProbe: { ... }" into "liveness: { app: { ... } }". */
static void move_pasted(struct tree *tree, enum role role, struct faults *faults)
{
	struct node *root = tree_root(tree), *pasted, *map;
	char key[32];

	snprintf(key, sizeof(key), "%sProbe", role_name(role));
	pasted = node_member(root, key);
	if (!pasted)
		return;
	tree_remove(root, key);
	map = node_member(root, role_name(role));
	if (node_is_null(pasted) || (map && map->kind != NODE_MAP && !node_is_null(map)))
		return;
	if (node_member(map, pasted_name)) {
		faults_add_key(faults, pasted, "%s is the probe %s under %s, which is set too", key,
			       pasted_name, role_name(role));
		return;
	}
	map = tree_set_map(tree, root, role_name(role), pasted->origin, NULL);
	pasted->key = pasted_name;
	if (map)
		node_append(map, pasted);
	else
		faults_add(faults, NULL, "out of memory");
}

/* ---- probes ---- */

static int add_probe(struct config *config, struct probe_config *probe, size_t *capacity)
{
	if (config->probe_count == *capacity) {
		size_t wanted = *capacity ? *capacity * 2 : 8;
		struct probe_config **grown =
			realloc(config->probes, wanted * sizeof(struct probe_config *));

		if (!grown)
			return -1;
		config->probes = grown;
		*capacity = wanted;
	}
	config->probes[config->probe_count++] = probe;
	return 0;
}

static void take_probe(struct config *config, enum role role, const struct node *node,
		       size_t *capacity, struct faults *faults)
{
	struct probe_config *probe;

	if (!probe_name_is_good(node->key)) {
		faults_add_key(faults, node,
			       "\"%.80s\" is no name for a probe, expected letters, digits, \".\", "
			       "\"_\" and \"-\", at most 63, and not the name of a role",
			       node->key);
		return;
	}
	if (node->kind == NODE_LIST || node_is_null(node)) {
		faults_add_key(faults, node,
			       "%s must be a target such as http://127.0.0.1:8080/healthz or a map "
			       "of settings",
			       node->key);
		return;
	}
	probe = probe_config_create(role, node->key, node, faults);
	if (!probe)
		return;
	if (add_probe(config, probe, capacity) != 0) {
		faults_add(faults, NULL, "out of memory");
		probe_config_free(probe);
		return;
	}
	config_lint_probe(probe, node, faults);
}

static void take_role(struct config *config, const struct node *root, enum role role,
		      size_t *capacity, struct faults *faults)
{
	const struct node *map = node_member(root, role_name(role));

	if (node_is_null(map))
		return;
	if (map->kind != NODE_MAP) {
		faults_add(faults, map,
			   "%s must be a map of probes by their names, such as \"%s: { app: "
			   "http://127.0.0.1:8080/healthz }\"",
			   role_name(role), role_name(role));
		return;
	}
	for (const struct node *node = map->first_child; node; node = node->next)
		take_probe(config, role, node, capacity, faults);
}

/* ---- all ---- */

/* Fills the tree from all sources. Returns -1 when there is nothing to go on with. */
static int fill_tree(struct tree *tree, const char *path, char *const *environment,
		     const struct override *overrides, size_t override_count, struct faults *faults)
{
	if (path && tree_read_file(tree, path, faults) != 0)
		return -1;
	for (enum role role = 0; role < ROLE_COUNT; role++)
		move_pasted(tree, role, faults);
	config_edit_by_environment(tree, environment, faults);
	config_edit_by_overrides(tree, overrides, override_count, faults);
	tree_interpolate(tree, environment, faults);
	return 0;
}

static void take_tree(struct config *config, struct tree *tree, struct faults *faults)
{
	const struct node *root = tree_root(tree);
	size_t capacity = 0;

	if (fields_set_defaults(config_fields, &config->settings) != 0)
		faults_add(faults, NULL, "out of memory");
	config_settings_take(root, &config->settings, faults);
	for (enum role role = 0; role < ROLE_COUNT; role++)
		take_role(config, root, role, &capacity, faults);
}

struct config *config_load(const char *path, char *const *environment,
			   const struct override *overrides, size_t override_count,
			   struct faults *faults)
{
	struct tree *tree = tree_create();
	struct config *config = calloc(1, sizeof(*config));
	size_t errors = faults->errors;

	if (!tree || !config)
		faults_add(faults, NULL, "out of memory");
	else if (fill_tree(tree, path, environment, overrides, override_count, faults) == 0)
		take_tree(config, tree, faults);
	tree_destroy(tree);
	if (faults->errors == errors)
		return config;
	config_free(config);
	return NULL;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->probe_count; i++)
		probe_config_free(config->probes[i]);
	free(config->probes);
	fields_free(config_fields, &config->settings);
	free(config);
}
