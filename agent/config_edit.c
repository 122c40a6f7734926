#include "agent/config_edit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/config_probe.h"

enum { NAME_SIZE = 256 };

void edit_fault(const struct edit *edit, const char *format, ...)
{
	const struct node at = {.origin = edit->origin, .variable = edit->variable};
	va_list arguments;
	char text[512];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	faults_add(edit->faults, &at, "%s", text);
}

static void out_of_memory(const struct edit *edit)
{
	edit_fault(edit, "out of memory");
}

const struct node *edit_role_map(const struct edit *edit, enum role role)
{
	const struct node *map = node_member(tree_root(edit->tree), role_name(role));

	return map && map->kind == NODE_MAP ? map : NULL;
}

void edit_setting(const struct edit *edit, const struct field *field)
{
	struct node *map = tree_root(edit->tree);
	const char *dot = strchr(field->name, '.');
	char section[NAME_SIZE];

	if (dot) {
		snprintf(section, sizeof(section), "%.*s", (int)(dot - field->name), field->name);
		map = tree_set_map(edit->tree, map, section, edit->origin, edit->variable);
	}
	if (!map || !tree_set(edit->tree, map, dot ? dot + 1 : field->name, edit->value,
			      edit->origin, edit->variable))
		out_of_memory(edit);
}

/* The role's map for a change, made if there is none. A role that is no map is a fault of the file
 * and left for whoever finds it: *ret_failed says whether memory was lacking instead. */
static struct node *open_role(const struct edit *edit, enum role role)
{
	struct node *root = tree_root(edit->tree);
	const struct node *old = node_member(root, role_name(role));
	struct node *map;

	if (old && old->kind != NODE_MAP && !node_is_null(old))
		return NULL;
	map = tree_set_map(edit->tree, root, role_name(role), edit->origin, edit->variable);
	if (!map)
		out_of_memory(edit);
	return map;
}

/* Leaves of a probe only what every probe has. */
static void remove_type(struct node *probe)
{
	struct node *member = probe->first_child;

	while (member) {
		struct node *next = member->next;

		if (!field_find(probe_common_fields, member->key, NULL))
			tree_remove(probe, member->key);
		member = next;
	}
}

void edit_probe_target(const struct edit *edit, enum role role, const char *name)
{
	struct node *map = open_role(edit, role), *probe;

	if (!map)
		return;
	probe = tree_set_map(edit->tree, map, name, edit->origin, edit->variable);
	if (probe)
		remove_type(probe);
	if (!probe ||
	    !tree_set(edit->tree, probe, "target", edit->value, edit->origin, edit->variable))
		out_of_memory(edit);
}

/* Turns "NAME: URL" into "NAME: { target: URL }", so that there is room for a setting. */
static struct node *expand_short_form(const struct edit *edit, struct node *map,
				      const struct node *scalar)
{
	struct node *target = tree_node(edit->tree, NODE_SCALAR, scalar->origin), *probe;

	if (!target)
		return NULL;
	*target = *scalar;
	target->key = "target";
	probe = tree_set_map(edit->tree, map, scalar->key, scalar->origin, scalar->variable);
	if (!probe)
		return NULL;
	probe->line = scalar->line;
	probe->column = scalar->column;
	probe->key_line = scalar->key_line;
	probe->key_column = scalar->key_column;
	node_append(probe, target);
	return probe;
}

void edit_probe_setting(const struct edit *edit, enum role role, const char *name,
			const char *setting)
{
	struct node *map = open_role(edit, role), *probe = node_member(map, name);

	if (!probe || probe->kind == NODE_LIST)
		return;
	if (probe->kind == NODE_SCALAR)
		probe = expand_short_form(edit, map, probe);
	if (!probe ||
	    !tree_set(edit->tree, probe, setting, edit->value, edit->origin, edit->variable))
		out_of_memory(edit);
}

/* ---- command line ---- */

/* Where an override's path leads. */
struct path {
	enum role role;
	const char *name; /* of the probe */
	size_t name_len;
	const char *setting; /* NULL: the probe's target */
	bool exists;         /* there is such a probe */
};

static bool is_probe_setting(const char *name)
{
	if (strcmp(name, "target") == 0 || field_find(probe_common_fields, name, NULL))
		return true;
	for (size_t i = 0; probe_types[i]; i++) {
		if (field_find(probe_types[i]->fields, name, NULL))
			return true;
	}
	return false;
}

/* Splits what follows "readiness.". Names may contain dots, so the longest name of a probe that
 * exists decides. */
static void split_path(const struct edit *edit, const char *rest, struct path *path)
{
	const struct node *map = edit_role_map(edit, path->role);
	const char *dot = strrchr(rest, '.');

	path->name = rest;
	for (const struct node *probe = map ? map->first_child : NULL; probe; probe = probe->next) {
		size_t len = strlen(probe->key);

		if (strncmp(probe->key, rest, len) == 0 &&
		    (rest[len] == '\0' || rest[len] == '.') && len >= path->name_len) {
			path->name_len = len;
			path->exists = true;
		}
	}
	if (!path->exists)
		path->name_len =
			dot && is_probe_setting(dot + 1) ? (size_t)(dot - rest) : strlen(rest);
	if (rest[path->name_len] == '.')
		path->setting = rest + path->name_len + 1;
	if (path->setting && strcmp(path->setting, "target") == 0)
		path->setting = NULL;
}

/* Whether the path is one of a probe; *path is filled then. */
static bool parse_path(const struct edit *edit, struct path *path)
{
	for (enum role role = 0; role < ROLE_COUNT; role++) {
		size_t len = strlen(role_name(role));

		if (strncmp(edit->variable, role_name(role), len) == 0 &&
		    edit->variable[len] == '.' && edit->variable[len + 1] != '\0') {
			*path = (struct path){.role = role};
			split_path(edit, edit->variable + len + 1, path);
			return true;
		}
	}
	return false;
}

static void fault_unknown_path(const struct edit *edit)
{
	const char *names[64];
	size_t count = 0;
	const char *meant;

	for (const struct field *field = config_fields; field->name && count < 64; field++)
		names[count++] = field->name;
	meant = nearest_name(edit->variable, names, count);
	if (meant)
		edit_fault(edit, "there is no such setting, did you mean %s?", meant);
	else
		edit_fault(edit, "there is no such setting, expected one such as listen or "
				 "readiness.NAME.periodSeconds");
}

static void apply_override(const struct edit *edit, bool targets)
{
	const struct field *field = field_find(config_fields, edit->variable, NULL);
	char name[NAME_SIZE];
	struct path path;

	if (field) {
		if (targets)
			edit_setting(edit, field);
		return;
	}
	if (!parse_path(edit, &path) || path.name_len >= sizeof(name)) {
		if (targets)
			fault_unknown_path(edit);
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)path.name_len, path.name);
	if (targets && !path.setting)
		edit_probe_target(edit, path.role, name);
	else if (!targets && path.setting && path.exists)
		edit_probe_setting(edit, path.role, name, path.setting);
	else if (!targets && path.setting)
		edit_fault(edit, "there is no probe %s under %s", name, role_name(path.role));
}

void config_edit_by_overrides(struct tree *tree, const struct override *overrides, size_t count,
			      struct faults *faults)
{
	/* A target makes room for settings, whatever the order of the options. */
	for (int targets = 1; targets >= 0; targets--) {
		for (size_t i = 0; i < count; i++) {
			const struct edit edit = {.tree = tree,
						  .origin = "command line",
						  .variable = overrides[i].path,
						  .value = overrides[i].value,
						  .faults = faults};

			apply_override(&edit, targets == 1);
		}
	}
}
