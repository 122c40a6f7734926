#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/config_edit.h"
#include "agent/config_probe.h"

/* A variable is READYD_<SETTING>, READYD_<ROLE>_<PROBE> for a target or
 * READYD_<ROLE>_<PROBE>__<SETTING>. */

enum { NAME_SIZE = 256, PROBE_NAME_MAX = 63 };

static const char prefix[] = "READYD_";

/* Writes "drain.delaySeconds" as "DRAIN_DELAY_SECONDS". */
static void upper_snake(const char *name, char *text, size_t size)
{
	size_t len = 0;

	for (const char *from = name; *from && len + 2 < size; from++) {
		if (isupper((unsigned char)*from) && from != name)
			text[len++] = '_';
		text[len++] = *from == '.' ? '_' : (char)toupper((unsigned char)*from);
	}
	text[len] = '\0';
}

/* Writes "PERIOD_SECONDS" as "periodSeconds". */
static void lower_camel(const char *name, char *text, size_t size)
{
	size_t len = 0;
	bool upper = false;

	for (; *name && len + 1 < size; name++) {
		if (*name == '_') {
			upper = len > 0;
			continue;
		}
		text[len++] = (char)(upper ? toupper((unsigned char)*name)
					   : tolower((unsigned char)*name));
		upper = false;
	}
	text[len] = '\0';
}

/* ---- variables that are none of ours ---- */

/* Kubernetes tells every container of a pod about the services near it. For one that is called
 * "readyd" these variables look like ours. */
static bool is_kubernetes_own(const char *rest)
{
	return strcmp(rest, "SERVICE_HOST") == 0 || strcmp(rest, "SERVICE_PORT") == 0 ||
	       strncmp(rest, "SERVICE_PORT_", 13) == 0 || strcmp(rest, "PORT") == 0 ||
	       strncmp(rest, "PORT_", 5) == 0;
}

/* Adds "did you mean READYD_READINESS_DB" when the role is what was misspelt. */
static bool fault_misspelt_role(const struct edit *edit, const char *rest)
{
	static const char *const roles[] = {"LIVENESS", "READINESS", "STARTUP"};
	size_t len = strcspn(rest, "_");
	char word[NAME_SIZE];
	const char *meant;

	if (rest[len] == '\0' || rest[len + 1] == '\0' || len >= sizeof(word))
		return false;
	snprintf(word, sizeof(word), "%.*s", (int)len, rest);
	meant = nearest_name(word, roles, ROLE_COUNT);
	if (meant)
		edit_fault(edit, "there is no such setting, did you mean %s%s%s?", prefix, meant,
			   rest + len);
	return meant != NULL;
}

static void fault_unknown_variable(const struct edit *edit, const char *rest)
{
	enum { NAMES_MAX = 32 };
	static char texts[NAMES_MAX][64];
	const char *names[NAMES_MAX], *meant;
	size_t count = 0;

	names[count++] = "CONFIG";
	for (const struct field *field = config_fields; field->name && count < NAMES_MAX; field++) {
		upper_snake(field->name, texts[count], sizeof(texts[count]));
		names[count] = texts[count];
		count++;
	}
	meant = nearest_name(rest, names, count);
	if (meant)
		edit_fault(edit, "there is no such setting, did you mean %s%s?", prefix, meant);
	else if (!fault_misspelt_role(edit, rest))
		edit_fault(edit, "there is no such setting, expected one such as READYD_LISTEN or "
				 "READYD_READINESS_NAME=URL");
}

/* ---- probes ---- */

/* Whether the variable's `len` letters name the probe: alike but for case and for what cannot stand
 * in a variable's name. */
static bool names_probe(const char *name, const char *variable, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int wanted = toupper((unsigned char)variable[i]);

		if (name[i] == '\0' ||
		    wanted != (isalnum((unsigned char)name[i]) ? toupper((unsigned char)name[i])
							       : '_'))
			return false;
	}
	return name[len] == '\0';
}

/* The probe that `len` letters name; NULL if there is none. *ret_ambiguous says that there are
 * more. */
static const char *find_probe(const struct edit *edit, enum role role, const char *variable,
			      size_t len, bool *ret_ambiguous)
{
	const struct node *map = edit_role_map(edit, role);
	const char *found = NULL;

	*ret_ambiguous = false;
	for (const struct node *probe = map ? map->first_child : NULL; probe; probe = probe->next) {
		if (!names_probe(probe->key, variable, len))
			continue;
		*ret_ambiguous = found != NULL;
		found = probe->key;
	}
	return found;
}

/* What a variable says of a probe. */
struct probe_variable {
	enum role role;
	const char *name; /* of the probe that exists; NULL if none */
	const char *text; /* as in the variable */
	size_t text_len;
	const char *setting; /* as in the variable; NULL = the target */
	bool ambiguous;
};

/* Splits "DATABASE__ROLE". A name may itself contain "__", so a probe that exists decides, and
 * failing that the last "__". */
static void split_variable(const struct edit *edit, const char *rest, struct probe_variable *ret)
{
	const char *last = NULL;

	ret->text = rest;
	ret->text_len = strlen(rest);
	ret->name = find_probe(edit, ret->role, rest, ret->text_len, &ret->ambiguous);
	if (ret->name)
		return;
	for (const char *at = strstr(rest, "__"); at; at = strstr(at + 1, "__")) {
		size_t len = (size_t)(at - rest);

		if (len == 0 || at[2] == '\0')
			continue;
		last = at;
		ret->name = find_probe(edit, ret->role, rest, len, &ret->ambiguous);
		if (ret->name)
			break;
	}
	if (last) {
		ret->text_len = (size_t)(last - rest);
		ret->setting = last + 2;
	}
}

/* Makes the name of a new probe: "user_db" of USER_DB becomes "user-db". */
static void new_name(const struct probe_variable *variable, char *name, size_t size)
{
	size_t len = 0;

	for (; len < variable->text_len && len + 1 < size; len++)
		name[len] = variable->text[len] == '_'
				    ? '-'
				    : (char)tolower((unsigned char)variable->text[len]);
	name[len] = '\0';
}

static void apply_target(const struct edit *edit, const struct probe_variable *variable)
{
	char name[NAME_SIZE];

	if (variable->name) {
		edit_probe_target(edit, variable->role, variable->name);
		return;
	}
	new_name(variable, name, sizeof(name));
	if (probe_name_is_good(name))
		edit_probe_target(edit, variable->role, name);
	else
		edit_fault(edit,
			   "\"%s\" is no name for a probe, expected letters and digits with "
			   "_ between them, at most %d",
			   name, PROBE_NAME_MAX);
}

static void apply_setting(const struct edit *edit, const struct probe_variable *variable)
{
	char setting[NAME_SIZE];

	lower_camel(variable->setting, setting, sizeof(setting));
	if (variable->name)
		edit_probe_setting(edit, variable->role, variable->name, setting);
	else
		edit_fault(edit,
			   "there is no such probe under %s, expected its target in "
			   "%s%.*s too",
			   role_name(variable->role), prefix,
			   (int)(variable->setting - 2 - (edit->variable + strlen(prefix))),
			   edit->variable + strlen(prefix));
}

static void apply_probe_variable(const struct edit *edit, enum role role, const char *rest,
				 bool targets)
{
	struct probe_variable variable = {.role = role};
	bool is_target;

	split_variable(edit, rest, &variable);
	is_target = !variable.setting || strcasecmp(variable.setting, "TARGET") == 0;
	if (is_target != targets)
		return;
	if (variable.ambiguous)
		edit_fault(edit, "more than one probe under %s has such a name, rename one",
			   role_name(role));
	else if (is_target)
		apply_target(edit, &variable);
	else
		apply_setting(edit, &variable);
}

/* ---- all variables ---- */

/* The role that `rest` begins with, ROLE_COUNT if none; *ret_rest is what follows. */
static enum role take_role(const char *rest, const char **ret_rest)
{
	for (enum role role = 0; role < ROLE_COUNT; role++) {
		size_t len = strlen(role_name(role));

		if (strncasecmp(rest, role_name(role), len) == 0 && rest[len] == '_' &&
		    rest[len + 1] != '\0') {
			*ret_rest = rest + len + 1;
			return role;
		}
	}
	return ROLE_COUNT;
}

static const struct field *find_setting(const char *rest)
{
	for (const struct field *field = config_fields; field->name; field++) {
		char name[NAME_SIZE];

		upper_snake(field->name, name, sizeof(name));
		if (strcmp(name, rest) == 0)
			return field;
	}
	return NULL;
}

/* Whether it is for the command of `run`, as passEnvironment says in the environment or in the
 * file: then it may be none of ours. */
static bool is_passed(const struct edit *edit, char *const *environment)
{
	static const char list_name[] = "READYD_PASS_ENVIRONMENT=";
	const struct node *list = node_member(tree_root(edit->tree), "passEnvironment");
	size_t len = strlen(edit->variable);

	for (; *environment; environment++) {
		const char *names = *environment + sizeof(list_name) - 1;

		if (strncmp(*environment, list_name, sizeof(list_name) - 1) != 0)
			continue;
		while (*names) {
			names += strspn(names, ", ");
			if (strncmp(names, edit->variable, len) == 0 && strcspn(names, ", ") == len)
				return true;
			names += strcspn(names, ", ");
		}
	}
	for (const struct node *item = list && list->kind == NODE_LIST ? list->first_child : NULL;
	     item; item = item->next) {
		if (item->kind == NODE_SCALAR && strcmp(item->text, edit->variable) == 0)
			return true;
	}
	return false;
}

static void apply_variable(const struct edit *edit, char *const *environment, bool targets)
{
	const char *rest = edit->variable + strlen(prefix), *probe;
	enum role role = take_role(rest, &probe);
	const struct field *field;

	if (role != ROLE_COUNT) {
		apply_probe_variable(edit, role, probe, targets);
		return;
	}
	if (!targets || strcmp(rest, "CONFIG") == 0)
		return;
	field = find_setting(rest);
	if (field)
		edit_setting(edit, field);
	else if (!is_kubernetes_own(rest) && !is_passed(edit, environment))
		fault_unknown_variable(edit, rest);
}

static void apply_entry(struct tree *tree, const char *entry, char *const *environment,
			bool targets, struct faults *faults)
{
	size_t len = strcspn(entry, "=");
	char name[NAME_SIZE];
	const struct edit edit = {.tree = tree,
				  .origin = "environment",
				  .variable = name,
				  .value = entry + len + 1,
				  .faults = faults};

	if (strncmp(entry, prefix, strlen(prefix)) != 0 || entry[len] == '\0')
		return;
	snprintf(name, sizeof(name), "%.*s", (int)len, entry);
	if (len < sizeof(name))
		apply_variable(&edit, environment, targets);
	else if (targets)
		edit_fault(&edit, "the name is too long to be a setting");
}

void config_edit_by_environment(struct tree *tree, char *const *environment, struct faults *faults)
{
	/* A target makes room for settings, whatever the order of the variables. */
	for (int targets = 1; targets >= 0; targets--) {
		for (char *const *entry = environment; *entry; entry++)
			apply_entry(tree, *entry, environment, targets == 1, faults);
	}
}
