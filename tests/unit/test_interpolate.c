/* ${VAR} and its relatives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/tree.h"

static const char *const variables[] = {"SET=value",     "EMPTY=",     "DOLLAR=a$SET ${SET} $$",
					"NULLISH=null",  "MAP={a: 1}", "_under1=u",
					"SETTER=longer", "lower=case", NULL};

/* Fills in `text` as a quoted scalar; the result is allocated, NULL when there was an error. */
static char *fill(const char *text, struct faults *faults)
{
	struct tree *tree = tree_create();
	char yaml[512], *result = NULL;

	snprintf(yaml, sizeof(yaml), "key: \"%s\"\n", text);
	assert_int_equal(tree_read_yaml(tree, "f", yaml, strlen(yaml), faults), 0);
	tree_interpolate(tree, (char *const *)(const void *)variables, faults);
	if (faults->errors == 0)
		result = strdup(node_member(tree_root(tree), "key")->text);
	tree_destroy(tree);
	return result;
}

static void test_forms(void **state)
{
	static const struct {
		const char *text, *expected;
		size_t warnings;
	} cases[] = {
		{"plain", "plain", 0},
		{"${SET}", "value", 0},
		{"$SET", "value", 0},
		{"a${SET}b$SET-c", "avaluebvalue-c", 0},
		{"${_under1}$_under1", "uu", 0},
		{"${lower}", "case", 0},
		{"$$", "$", 0},
		{"$${SET}", "${SET}", 0},
		{"$$$SET$$", "$value$", 0},
		/* as in a pod spec, or in a script for a shell */
		{"$(POD_NAME) $(date) $SET", "$(POD_NAME) $(date) value", 0},
		{"${EMPTY}", "", 0},
		{"${UNSET}", "", 1},
		{"$UNSET.$UNSET", ".", 2},
		{"${SET:-d}", "value", 0},
		{"${EMPTY:-d}", "d", 0},
		{"${UNSET:-d}", "d", 0},
		{"${SET-d}", "value", 0},
		{"${EMPTY-d}", "", 0},
		{"${UNSET-d}", "d", 0},
		{"${UNSET:-}", "", 0},
		{"${UNSET-}", "", 0},
		{"${SET:+r}", "r", 0},
		{"${EMPTY:+r}", "", 0},
		{"${UNSET:+r}", "", 0},
		{"${SET+r}", "r", 0},
		{"${EMPTY+r}", "r", 0},
		{"${UNSET+r}", "", 0},
		{"${SET:?m}", "value", 0},
		{"${SET?m}", "value", 0},
		{"${EMPTY?m}", "", 0},
		{"${UNSET:-${EMPTY:-x}}", "x", 0},
		{"${UNSET:-${UNSET2:-${SET}}}!", "value!", 0},
		{"${UNSET:-a$SET}", "avalue", 0},
		{"${UNSET:-$$x}", "$x", 0},
		{"${UNSET-a:-b?c}", "a:-b?c", 0},
		{"${UNSET:-http://h:1/?q=1}", "http://h:1/?q=1", 0},
		/* what is not wanted is not looked at closely */
		{"${SET:-${UNSET:?m}}", "value", 0},
		{"${SET:-$UNSET}", "value", 0},
		{"${UNSET:+${UNSET}}", "", 0},
		{"${SET:?${UNSET}}", "value", 0},
		/* and what is filled in is text for good */
		{"${DOLLAR}", "a$SET ${SET} $$", 0},
		{"{}", "{}", 0},
		{"}${SET}}", "}value}", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct faults faults = {0};
		char *found = fill(cases[i].text, &faults);

		if (!found || strcmp(found, cases[i].expected) != 0 ||
		    faults.warnings != cases[i].warnings)
			fail_msg("%s: %s, %zu warnings", cases[i].text,
				 found ? found : faults.first->text, faults.warnings);
		free(found);
		faults_free(&faults);
	}
}

static void test_faults(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"${UNSET:?please set it}", "f:1:6: variable UNSET is not set: please set it"},
		{"${UNSET?}", "f:1:6: variable UNSET is not set"},
		{"${EMPTY:?is empty}", "f:1:6: variable EMPTY is empty: is empty"},
		{"${UNSET:?see ${SET}}", "f:1:6: variable UNSET is not set: see value"},
		{"${UNSET:-${UNSET2:?inner}}", "f:1:6: variable UNSET2 is not set: inner"},
		{"a $ b", "f:1:6: the $ at character 3 of the value is not followed by a "
			  "variable's name; write ${NAME}, or $$ for a dollar sign"},
		{"^ok$", "f:1:6: the $ at character 4 of the value is not followed by a "
			 "variable's name; write ${NAME}, or $$ for a dollar sign"},
		{"$1", "f:1:6: the $ at character 1 of the value is not followed by a "
		       "variable's name; write ${NAME}, or $$ for a dollar sign"},
		{"${}", "f:1:6: the $ at character 1 of the value is not followed by a "
			"variable's name; write ${NAME}, or $$ for a dollar sign"},
		{"${1}", "f:1:6: the $ at character 1 of the value is not followed by a "
			 "variable's name; write ${NAME}, or $$ for a dollar sign"},
		{"x${SET", "f:1:6: the $ at character 2 of the value has no closing brace; "
			   "write ${NAME}, or $$ for a dollar sign"},
		{"${SET:-x", "f:1:6: the $ at character 1 of the value has no closing brace; "
			     "write ${NAME}, or $$ for a dollar sign"},
		{"${SET:-${SET}", "f:1:6: the $ at character 1 of the value has no closing "
				  "brace; write ${NAME}, or $$ for a dollar sign"},
		{"${SET!x}", "f:1:6: the $ at character 1 of the value has an unknown form; "
			     "write ${NAME}, or $$ for a dollar sign"},
		{"${SET:x}", "f:1:6: the $ at character 1 of the value has an unknown form; "
			     "write ${NAME}, or $$ for a dollar sign"},
		{"${SET:-${-}}", "f:1:6: the $ at character 8 of the value is not followed by "
				 "a variable's name; write ${NAME}, or $$ for a dollar sign"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct faults faults = {0};
		char *found = fill(cases[i].text, &faults);

		if (found)
			fail_msg("%s: no fault but \"%s\"", cases[i].text, found);
		assert_string_equal(faults.first->text, cases[i].expected);
		assert_int_equal(faults.errors, 1);
		faults_free(&faults);
	}
}

/* A password may contain a dollar sign, and then the warning must not repeat a part of it. */
static void test_what_may_be_a_password_is_not_shown(void **state)
{
	struct faults faults = {0};

	(void)state;
	free(fill("redis://:pa$sword@h", &faults));
	assert_int_equal(faults.warnings, 1);
	assert_null(strstr(faults.first->text, "sword"));
	faults_free(&faults);
	free(fill("redis://:pa$%word@h", &faults));
	assert_int_equal(faults.errors, 1);
	assert_null(strstr(faults.first->text, "word@"));
	faults_free(&faults);
}

/* Reads the text and fills in its variables; the caller destroys the tree. */
static struct tree *fill_tree(const char *yaml, struct faults *faults)
{
	struct tree *tree = tree_create();

	assert_int_equal(tree_read_yaml(tree, "f", yaml, strlen(yaml), faults), 0);
	tree_set(tree, tree_root(tree), "y", "${SET}", "environment", "READYD_Y");
	tree_set(tree, tree_root(tree), "z", "${SET", "command line", "z");
	tree_interpolate(tree, (char *const *)(const void *)variables, faults);
	assert_int_equal(faults->errors, 0);
	return tree;
}

static void test_only_scalars_of_the_file(void **state)
{
	struct faults faults = {0};
	struct tree *tree = fill_tree("x: ${SET}\nl: [a, '$SET', {b: \"$SET\"}]\n", &faults);
	struct node *root = tree_root(tree), *list = node_member(root, "l");

	(void)state;
	assert_string_equal(node_member(root, "x")->text, "value");
	assert_string_equal(node_member(root, "y")->text, "${SET}");
	assert_string_equal(node_member(root, "z")->text, "${SET");
	assert_string_equal(list->first_child->next->text, "value");
	assert_string_equal(node_member(list->last_child, "b")->text, "value");
	tree_destroy(tree);
}

/* Neither null nor a map comes out of a variable, only text; but empty is not set unless quoted. */
static void test_values_are_texts(void **state)
{
	struct faults faults = {0};
	struct tree *tree =
		fill_tree("n: ${NULLISH}\nm: ${MAP}\ne: ${EMPTY}\nq: \"${EMPTY}\"\n", &faults);
	struct node *root = tree_root(tree);

	(void)state;
	assert_false(node_is_null(node_member(root, "n")));
	assert_int_equal(node_member(root, "m")->kind, NODE_SCALAR);
	assert_string_equal(node_member(root, "m")->text, "{a: 1}");
	assert_true(node_is_null(node_member(root, "e")));
	assert_false(node_is_null(node_member(root, "q")));
	tree_destroy(tree);
}

static void test_keys_stay(void **state)
{
	struct faults faults = {0};
	struct tree *tree = tree_create();

	(void)state;
	tree_read_yaml(tree, "f", "'${SET}': 1\n", 12, &faults);
	tree_interpolate(tree, (char *const *)(const void *)variables, &faults);
	assert_non_null(node_member(tree_root(tree), "${SET}"));
	tree_destroy(tree);
}

/* A file of references to one large variable must not fill the memory. */
static void test_growth_is_bounded(void **state)
{
	enum { VALUE_LEN = 100000, REFERENCES = 1000 };
	char *value = malloc(VALUE_LEN + 3), *yaml = malloc(REFERENCES * 10), *environment[2];
	struct faults faults = {0};
	struct tree *tree = tree_create();

	(void)state;
	memset(value, 'x', VALUE_LEN + 2);
	memcpy(value, "V=", 2);
	value[VALUE_LEN + 2] = '\0';
	environment[0] = value;
	environment[1] = NULL;
	yaml[0] = '\0';
	for (int i = 0; i < REFERENCES; i++)
		sprintf(yaml + strlen(yaml), "%d: $V\n", i);
	tree_read_yaml(tree, "f", yaml, strlen(yaml), &faults);
	tree_interpolate(tree, environment, &faults);
	assert_int_equal(faults.errors, 1);
	assert_string_equal(faults.first->text,
			    "f:168:6: the variables make the texts larger than 16 MiB");
	faults_free(&faults);
	tree_destroy(tree);
	free(value);
	free(yaml);
}

static void test_nesting_is_bounded(void **state)
{
	enum { DEPTH = 100000 };
	char *yaml = malloc(DEPTH * 6);
	struct faults faults = {0};
	struct tree *tree = tree_create();
	size_t len = 3;

	(void)state;
	memcpy(yaml, "a: ", 4);
	for (int i = 0; i < DEPTH; i++, len += 5)
		memcpy(yaml + len, "${A:-", 6);
	tree_read_yaml(tree, "f", yaml, len, &faults);
	tree_interpolate(tree, (char *const *)(const void *)variables, &faults);
	assert_int_equal(faults.errors, 1);
	assert_non_null(strstr(faults.first->text, "is nested too deep"));
	faults_free(&faults);
	tree_destroy(tree);
	free(yaml);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_what_may_be_a_password_is_not_shown),
		cmocka_unit_test(test_only_scalars_of_the_file),
		cmocka_unit_test(test_values_are_texts),
		cmocka_unit_test(test_keys_stay),
		cmocka_unit_test(test_growth_is_bounded),
		cmocka_unit_test(test_nesting_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
