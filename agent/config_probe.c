#include "agent/config_probe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_plan.h"

enum { NAME_MAX_LEN = 63, CANDIDATES_MAX = 2 * PLAN_FIELDS_MAX, MASKED_SIZE = 512 };

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

/* ---- words for people ---- */

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
	plan->broken = plan->broken || node->unusable;
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
	if (target->unusable)
		plan->broken = true;
	else if (field && plan->picks[field - plan->type->fields].node)
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

/* What the type says by itself is no single slip that might be forgiven. While it starts, patience
 * is what is wanted of every type. */
static void apply_type_threshold(const struct plan *plan, struct probe_config *probe)
{
	if (plan->type->failure_threshold > 0 && plan->role != ROLE_STARTUP &&
	    node_is_null(node_member(plan->node, "failureThreshold")))
		probe->failure_threshold = plan->type->failure_threshold;
}

/* ---- the probe ---- */

static int out_of_memory(const struct plan *plan)
{
	faults_add(plan->faults, NULL, "out of memory");
	return -1;
}

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
	return probe->target ? 0 : out_of_memory(plan);
}

static int fill(struct plan *plan, struct probe_config *probe)
{
	size_t errors = plan->faults->errors, own_errors;

	take_common_settings(plan, probe);
	check_thresholds(plan, probe);
	own_errors = plan->faults->errors;
	plan_find_type(plan);
	if (plan->type) {
		probe->conf = calloc(1, plan->type->conf_size);
		if (!probe->conf)
			return out_of_memory(plan);
		probe->type = plan->type;
		apply_type_threshold(plan, probe);
		if (fields_set_defaults(plan->type->fields, probe->conf) != 0)
			return out_of_memory(plan);
	}
	take_settings(plan);
	if (plan->type) {
		take_target(plan, probe->conf);
		assign_picks(plan, probe->conf);
	}
	/* What concerns only the schedule does not keep the type from having its say. */
	if (plan->broken || plan->faults->errors != own_errors || complete(plan, probe) != 0)
		return -1;
	return plan->faults->errors == errors ? 0 : -1;
}

struct probe_config *probe_config_create(enum role role, const char *name, const struct node *node,
					 struct faults *faults)
{
	struct plan plan = {.role = role, .name = name, .node = node, .faults = faults};
	struct probe_config *probe = calloc(1, sizeof(*probe));

	if (probe)
		probe->name = strdup(name);
	if (!probe || !probe->name) {
		out_of_memory(&plan);
		free(probe);
		return NULL;
	}
	probe->role = role;
	fields_set_defaults(probe_common_fields, probe); /* numbers, which need no memory */
	if (fill(&plan, probe) == 0)
		return probe;
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
