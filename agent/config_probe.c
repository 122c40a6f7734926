#include "agent/config_probe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 63, FIELDS_MAX = 96, CANDIDATES_MAX = 2 * FIELDS_MAX, MASKED_SIZE = 512 };

#define PROBE_FIELD(member) .offset = offsetof(struct probe_config, member)

/* Kubernetes' names, defaults and limits; the whole-second rule alone is not kept. */
const struct field probe_common_fields[] = {
	{.name = "initialDelaySeconds",
	 .kind = FIELD_SECONDS,
	 PROBE_FIELD(initial_delay_us),
	 .fallback = "0",
	 .minimum = 0,
	 .maximum = 86400,
	 .help = "how long after the start the first run is"},
	{.name = "periodSeconds",
	 .kind = FIELD_SECONDS,
	 PROBE_FIELD(period_us),
	 .fallback = "10",
	 .minimum = 0.01,
	 .maximum = 86400,
	 .help = "from the start of a run to the start of the next"},
	{.name = "timeoutSeconds",
	 .kind = FIELD_SECONDS,
	 PROBE_FIELD(timeout_us),
	 .fallback = "1",
	 .minimum = 0.001,
	 .maximum = 3600,
	 .help = "how long a run may take as a whole"},
	{.name = "successThreshold",
	 .kind = FIELD_INTEGER,
	 PROBE_FIELD(success_threshold),
	 .fallback = "1",
	 .minimum = 1,
	 .maximum = 1000000,
	 .help = "how many passes in a row make it pass; 1 except under readiness"},
	{.name = "failureThreshold",
	 .kind = FIELD_INTEGER,
	 PROBE_FIELD(failure_threshold),
	 .fallback = "3",
	 .minimum = 1,
	 .maximum = 1000000,
	 .help = "how many failures in a row make it fail"},
	{.name = "terminationGracePeriodSeconds",
	 .kind = FIELD_SECONDS,
	 PROBE_FIELD(termination_grace_period_us),
	 .minimum = 1,
	 .maximum = 86400,
	 .help = "accepted from a pod spec, without effect"},
	{.name = NULL},
};

const char *role_name(enum role role)
{
	static const char *const names[ROLE_COUNT] = {"liveness", "readiness", "startup"};

	return names[role];
}

bool probe_name_is_good(const char *name)
{
	size_t len =
		strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	for (enum role role = 0; role < ROLE_COUNT; role++) {
		if (strcmp(name, role_name(role)) == 0)
			return false;
	}
	return len > 0 && len <= NAME_MAX_LEN && name[len] == '\0' &&
	       isalnum((unsigned char)name[0]);
}

bool probe_key_is_common(const char *key)
{
	return strcmp(key, "target") == 0 || probe_type_by_key(key, NULL) ||
	       field_find(probe_common_fields, key, NULL);
}

/* The node that is to be taken for a field. */
struct pick {
	const struct node *node;
	bool as_file;
};

/* What a probe's node says, before it has types. */
struct plan {
	enum role role;
	const char *name;
	const struct node *node; /* the probe's: its target or a map */
	const struct probe_type *type;
	bool kubernetes_form;
	const struct node *block;   /* the member under the type's key; NULL in the target form */
	const struct node *target;  /* a scalar; NULL if there is none */
	const struct node *command; /* exec's, when the block is no map and no target */
	struct pick picks[FIELDS_MAX]; /* by the type's fields */
	struct faults *faults;
};

/* ---- words for people ---- */

/* Writes what one may choose among, "http, exec and so on", into `text`. */
static void list_type_keys(char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; probe_types[i] && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s, ", probe_types[i]->name);
	if (len < size)
		snprintf(text + len, size - len, "target");
}

static size_t collect_schemes(const char **names, size_t size)
{
	size_t count = 0;

	for (size_t i = 0; probe_types[i]; i++) {
		for (const char *const *scheme = probe_types[i]->schemes; *scheme; scheme++) {
			if (count < size)
				names[count++] = *scheme;
		}
	}
	return count;
}

/* Adds a table's names to the candidates for "did you mean". */
static size_t collect_fields(const struct field *fields, const char **names, size_t count)
{
	for (; fields->name && count < CANDIDATES_MAX; fields++)
		names[count++] = fields->name;
	return count;
}

static size_t collect_keys(const char **names, size_t count)
{
	names[count++] = "target";
	for (size_t i = 0; probe_types[i]; i++) {
		names[count++] = probe_types[i]->name;
		if (probe_types[i]->kubernetes_name)
			names[count++] = probe_types[i]->kubernetes_name;
	}
	return count;
}

static void fault_unknown(const struct plan *plan, const struct node *member,
			  const char *const *names, size_t count)
{
	const char *meant =
		faults_full(plan->faults) ? NULL : nearest_name(member->key, names, count);
	const char *owner = plan->type ? plan->type->name : plan->name;

	if (meant)
		faults_add_key(plan->faults, member,
			       "unknown setting \"%.60s\" of %s, did you mean %s?", member->key,
			       owner, meant);
	else
		faults_add_key(plan->faults, member,
			       "unknown setting \"%.60s\" of %s; see readyd config fields",
			       member->key, owner);
}

static void fault_grpc(const struct plan *plan, const struct node *at)
{
	char keys[128];

	list_type_keys(keys, sizeof(keys));
	faults_add_key(plan->faults, at, "grpc probes are not supported yet, expected one of %s",
		       keys);
}

/* ---- targets ---- */

/* The length of the scheme that `text` begins with, as far as one can tell; 0 if none. */
static size_t scheme_length(const char *text)
{
	size_t len = 0;

	if (!isalpha((unsigned char)text[0]))
		return 0;
	while (isalnum((unsigned char)text[len]) || text[len] == '+' || text[len] == '.' ||
	       text[len] == '-')
		len++;
	return text[len] == ':' ? len : 0;
}

/* A target whose scheme is none of ours. It may be a password put in the wrong place, so that only
 * a true scheme is shown. */
static void fault_target(const struct plan *plan, const char *text)
{
	const char *names[32];
	char expected[256], scheme[24], *end = expected;
	size_t len = scheme_length(text), count = collect_schemes(names, 32);
	const char *meant = NULL;

	for (size_t i = 0; i < count && end < expected + sizeof(expected); i++)
		end += snprintf(end, (size_t)(expected + sizeof(expected) - end),
				"%s%s:", i > 0 ? ", " : "", names[i]);
	if (len == 0 || len >= sizeof(scheme) || strncmp(text + len, "://", 3) != 0) {
		faults_add(plan->faults, plan->target,
			   "the target of %s is no URL, expected one that begins with one of %s",
			   plan->name, expected);
		return;
	}
	memcpy(scheme, text, len);
	scheme[len] = '\0';
	meant = faults_full(plan->faults) ? NULL : nearest_name(scheme, names, count);
	if (strncasecmp(scheme, "grpc", 4) == 0)
		faults_add(plan->faults, plan->target,
			   "grpc probes are not supported yet, expected one of %s", expected);
	else if (meant)
		faults_add(plan->faults, plan->target,
			   "unknown scheme \"%s\" in the target of %s, did you mean %s?", scheme,
			   plan->name, meant);
	else
		faults_add(plan->faults, plan->target,
			   "unknown scheme \"%s\" in the target of %s, expected one of %s", scheme,
			   plan->name, expected);
}

static void find_type_by_target(struct plan *plan)
{
	const char *text;
	size_t len;

	if (plan->target->kind != NODE_SCALAR || node_is_null(plan->target)) {
		faults_add(plan->faults, plan->target,
			   "the target of %s must be a URL such as http://127.0.0.1:8080/healthz",
			   plan->name);
		plan->target = NULL;
		return;
	}
	text = plan->target->text;
	len = scheme_length(text);
	plan->type = len > 0 ? probe_type_by_scheme(text, len) : NULL;
	if (!plan->type)
		fault_target(plan, text);
}

/* ---- finding the type ---- */

/* A scalar under a type's key: a target, or for exec a command line. */
static void take_block_scalar(struct plan *plan)
{
	const char *text = plan->block->text;
	size_t len = scheme_length(text);
	const struct probe_type *other = len > 0 ? probe_type_by_scheme(text, len) : NULL;

	if (other == plan->type || !field_find(plan->type->fields, "command", NULL))
		plan->target = plan->block;
	else
		plan->command = plan->block;
	if (plan->target && other && other != plan->type) {
		faults_add(plan->faults, plan->block, "%.*s: is a target of %s and not of %s",
			   (int)len, text, other->name, plan->type->name);
		plan->target = NULL;
	}
}

static void take_block(struct plan *plan, const struct node *block)
{
	plan->type = probe_type_by_key(block->key, &plan->kubernetes_form);
	plan->block = block;
	if (block->kind == NODE_MAP)
		return;
	if (block->kind == NODE_SCALAR && !node_is_null(block)) {
		take_block_scalar(plan);
		return;
	}
	faults_add(plan->faults, block, "%s must be a map of settings or a target such as %s",
		   block->key, plan->type->example);
}

/* Finds what says the type: exactly one of the types' keys, or the target. */
static void find_type(struct plan *plan)
{
	const struct node *found = NULL;
	char keys[128];

	if (plan->node->kind == NODE_SCALAR) {
		plan->target = plan->node;
		find_type_by_target(plan);
		return;
	}
	for (const struct node *member = plan->node->first_child; member; member = member->next) {
		bool is_target = strcmp(member->key, "target") == 0;

		if (strcmp(member->key, "grpc") == 0) {
			fault_grpc(plan, member);
			return;
		}
		if (!is_target && !probe_type_by_key(member->key, NULL))
			continue;
		if (found) {
			faults_add_key(plan->faults, member,
				       "%s has both %s and %s, expected exactly one of them",
				       plan->name, found->key, member->key);
			continue;
		}
		found = member;
		if (is_target) {
			plan->target = member;
			find_type_by_target(plan);
		} else {
			take_block(plan, member);
		}
	}
	if (!found) {
		list_type_keys(keys, sizeof(keys));
		faults_add_key(plan->faults, plan->node,
			       "%s does not say what to probe, expected one of %s", plan->name,
			       keys);
	}
}

/* ---- settings ---- */

/* What comes from nearer to the user wins: command line, environment, file. */
static int precedence(const struct node *node)
{
	if (node->line != 0)
		return 0;
	return strcmp(node->origin, "environment") == 0 ? 1 : 2;
}

/* The name under which the node stands; that of a short form is the probe's. */
static const char *key_of(const struct plan *plan, const struct node *node)
{
	return node == plan->node ? "target" : node->key;
}

static void fault_both(const struct plan *plan, const struct node *first, const struct node *second)
{
	faults_add(plan->faults, second, "%s has both %s and %s, expected one of them", plan->name,
		   key_of(plan, first), key_of(plan, second));
}

/* Notes that `node` sets the field, unless something nearer to the user does. */
static void pick(struct plan *plan, const struct field *field, bool as_file,
		 const struct node *node)
{
	struct pick *own = &plan->picks[field - plan->type->fields];

	if (node_is_null(node))
		return;
	if (own->node && precedence(own->node) == precedence(node))
		fault_both(plan, own->node, node);
	else if (!own->node || precedence(node) > precedence(own->node))
		*own = (struct pick){.node = node, .as_file = as_file};
}

static void fault_unknown_type_setting(const struct plan *plan, const struct node *member)
{
	const char *names[CANDIDATES_MAX + 32];
	size_t count = collect_fields(plan->type->fields, names, 0);

	if (!plan->block || member->line == 0)
		count = collect_fields(probe_common_fields, names, count);
	fault_unknown(plan, member, names, count);
}

/* A setting inside the type's block. */
static void take_block_member(struct plan *plan, const struct node *member)
{
	bool as_file;
	const struct field *field = field_find(plan->type->fields, member->key, &as_file);

	if (field)
		pick(plan, field, as_file, member);
	else if (field_find(probe_common_fields, member->key, NULL))
		faults_add_key(plan->faults, member, "%s belongs beside %s:, not inside it",
			       member->key, plan->block->key);
	else
		fault_unknown_type_setting(plan, member);
}

/* A setting in the probe's own map that not every probe has. With a target all of the type's
 * settings are there; beside a type's block only those that a variable or an option has put there.
 */
static void take_flat_member(struct plan *plan, const struct node *member)
{
	bool as_file;
	const struct field *field = field_find(plan->type->fields, member->key, &as_file);
	const char *names[CANDIDATES_MAX + 32];
	size_t count;

	if (field && (!plan->block || member->line == 0)) {
		pick(plan, field, as_file, member);
	} else if (field) {
		faults_add_key(plan->faults, member, "%s belongs inside %s:, not beside it",
			       member->key, plan->block->key);
	} else if (plan->block && member->line != 0) {
		count = collect_fields(probe_common_fields, names, 0);
		fault_unknown(plan, member, names, collect_keys(names, count));
	} else {
		fault_unknown_type_setting(plan, member);
	}
}

/* Without a type a setting cannot be judged, but a slip in a key can. */
static void take_untyped_member(const struct plan *plan, const struct node *member)
{
	const char *names[CANDIDATES_MAX + 32];
	size_t count = collect_fields(probe_common_fields, names, 0);

	count = collect_keys(names, count);
	if (!faults_full(plan->faults) && nearest_name(member->key, names, count))
		fault_unknown(plan, member, names, count);
}

static const struct node *first_member(const struct node *node)
{
	return node && node->kind == NODE_MAP ? node->first_child : NULL;
}

static void take_settings(struct plan *plan)
{
	const struct node *member;

	for (member = plan->type ? first_member(plan->block) : NULL; member; member = member->next)
		take_block_member(plan, member);
	for (member = first_member(plan->node); member; member = member->next) {
		if (probe_key_is_common(member->key) || strcmp(member->key, "grpc") == 0)
			continue;
		if (plan->type)
			take_flat_member(plan, member);
		else
			take_untyped_member(plan, member);
	}
}

static void take_common_settings(const struct plan *plan, struct probe_config *probe)
{
	const struct node *member;

	for (member = first_member(plan->node); member; member = member->next) {
		const struct field *field = field_find(probe_common_fields, member->key, NULL);

		if (field)
			field_assign(field, false, probe, member, plan->faults);
	}
}

/* Takes what says where the probe goes: into the field "url" or "command", or by the type's own
 * hand. */
static void take_target(struct plan *plan, void *conf)
{
	const struct node *target = plan->target ? plan->target : plan->command;
	const struct field *field = field_find(plan->type->fields, "url", NULL);
	struct error error = {0};

	if (!field)
		field = field_find(plan->type->fields, "command", NULL);
	if (!target)
		return;
	if (target == plan->command || !plan->type->set_target) {
		if (field)
			pick(plan, field, false, target);
		return;
	}
	if (field && plan->picks[field - plan->type->fields].node)
		fault_both(plan, target, plan->picks[field - plan->type->fields].node);
	else if (plan->type->set_target(conf, target->text, &error) != 0)
		faults_add(plan->faults, target, "%s: %s", plan->name, error.text);
}

static void assign_picks(struct plan *plan, void *conf)
{
	for (size_t i = 0; plan->type->fields[i].name; i++) {
		const struct field *field = &plan->type->fields[i];
		const struct node *node = plan->picks[i].node;

		if (!node)
			continue;
		if (plan->kubernetes_form && strcmp(field->name, "port") == 0 &&
		    node->kind == NODE_SCALAR && isalpha((unsigned char)node->text[0]))
			faults_add(plan->faults, node,
				   "port is the name of one of the pod's ports, which only the "
				   "kubelet knows; expected its number");
		else
			field_assign(field, plan->picks[i].as_file, conf, node, plan->faults);
	}
}

/* The node to name in a fault that concerns the probe as a whole. */
static const struct node *whole(const struct plan *plan)
{
	return plan->block ? plan->block : plan->node;
}

static void check_thresholds(const struct plan *plan, const struct probe_config *probe)
{
	const struct node *member = node_member(plan->node, "successThreshold");

	if (plan->role != ROLE_READINESS && probe->success_threshold != 1)
		faults_add(plan->faults, member, "successThreshold must be 1 for a %s probe",
			   role_name(plan->role));
	member = node_member(plan->node, "terminationGracePeriodSeconds");
	if (node_is_null(member))
		return;
	if (plan->role == ROLE_READINESS)
		faults_add_key(plan->faults, member,
			       "terminationGracePeriodSeconds must not be set for a readiness "
			       "probe");
	else
		faults_warn(plan->faults, member,
			    "terminationGracePeriodSeconds has no effect here; readyd does not "
			    "end what it probes");
}

/* ---- the probe ---- */

static int complete(struct plan *plan, struct probe_config *probe)
{
	char masked[MASKED_SIZE] = "";
	struct error error = {0};

	/* set_target() may keep what it found outside the fields. */
	probe->identity =
		probe_config_identity(probe,
				      probe->type->set_target && plan->target ? plan->target->text
									      : NULL,
				      plan->kubernetes_form);
	if (probe->type->check &&
	    probe->type->check(probe->conf, plan->kubernetes_form, &error) != 0) {
		if (plan->node->kind == NODE_SCALAR || whole(plan)->key_line == 0)
			faults_add(plan->faults, plan->target ? plan->target : whole(plan),
				   "%s: %s", plan->name, error.text);
		else
			faults_add_key(plan->faults, whole(plan), "%s: %s", plan->name, error.text);
		return -1;
	}
	probe->type->describe(probe->conf, masked, sizeof(masked));
	probe->target = strdup(masked);
	return probe->target ? 0 : -1;
}

static int fill(struct plan *plan, struct probe_config *probe)
{
	size_t errors = plan->faults->errors, own_errors;

	take_common_settings(plan, probe);
	check_thresholds(plan, probe);
	own_errors = plan->faults->errors;
	find_type(plan);
	if (plan->type) {
		probe->conf = calloc(1, plan->type->conf_size);
		if (!probe->conf)
			return -1;
		probe->type = plan->type;
		fields_set_defaults(plan->type->fields, probe->conf);
	}
	take_settings(plan);
	if (plan->type) {
		take_target(plan, probe->conf);
		assign_picks(plan, probe->conf);
	}
	/* What concerns only the schedule does not keep the type from having its say. */
	if (plan->faults->errors != own_errors || complete(plan, probe) != 0)
		return -1;
	return plan->faults->errors == errors ? 0 : -1;
}

struct probe_config *probe_config_create(enum role role, const char *name, const struct node *node,
					 struct faults *faults)
{
	struct plan plan = {.role = role, .name = name, .node = node, .faults = faults};
	struct probe_config *probe = calloc(1, sizeof(*probe));
	size_t errors = faults->errors;

	if (probe)
		probe->name = strdup(name);
	if (probe && probe->name) {
		probe->role = role;
		fields_set_defaults(probe_common_fields, probe);
		if (fill(&plan, probe) == 0)
			return probe;
	}
	if (faults->errors == errors)
		faults_add(faults, node, "out of memory");
	probe_config_free(probe);
	return NULL;
}

void probe_config_free(struct probe_config *probe)
{
	if (!probe)
		return;
	if (probe->conf) {
		if (probe->type->release)
			probe->type->release(probe->conf);
		fields_free(probe->type->fields, probe->conf);
	}
	free(probe->conf);
	free(probe->name);
	free(probe->target);
	free(probe);
}

struct probe_config *probe_config_from_target(const char *name, const char *target,
					      const struct override *options, size_t option_count,
					      struct faults *faults)
{
	struct tree *tree = tree_create();
	struct node *map = tree ? tree_root(tree) : NULL;
	struct probe_config *probe = NULL;
	bool complete_tree = map && tree_set(tree, map, "target", target, "command line", NULL);

	for (size_t i = 0; complete_tree && i < option_count; i++)
		complete_tree = tree_set(tree, map, options[i].path, options[i].value,
					 "command line", options[i].path);
	if (complete_tree)
		probe = probe_config_create(ROLE_READINESS, name, map, faults);
	else
		faults_add(faults, NULL, "out of memory");
	tree_destroy(tree);
	return probe;
}
