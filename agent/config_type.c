#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/config_plan.h"

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

	if (plan->target->unusable) {
		plan->broken = true;
		plan->target = NULL;
		return;
	}
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
	size_t len = plan->block->unusable ? 0 : scheme_length(text);
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

void plan_find_type(struct plan *plan)
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
