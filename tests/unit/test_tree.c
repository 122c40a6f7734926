/* Reading YAML into nodes, edits of nodes, and the list of faults. */
#include "agent/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Reads a text as the file "f"; the caller destroys the tree. */
static struct tree *read_text(const char *text, struct faults *faults)
{
	struct tree *tree = tree_create();

	assert_non_null(tree);
	tree_read_yaml(tree, "f", text, strlen(text), faults);
	return tree;
}

/* Asserts that the text has exactly this first fault (NULL = none). */
static void assert_fault(const char *text, const char *expected)
{
	struct faults faults = {0};
	struct tree *tree = read_text(text, &faults);

	if (!expected) {
		if (faults.first)
			fail_msg("\"%.60s\" has the fault %s", text, faults.first->text);
	} else {
		if (!faults.first)
			fail_msg("\"%.60s\" has no fault", text);
		assert_string_equal(faults.first->text, expected);
		assert_true(faults.errors > 0);
	}
	faults_free(&faults);
	tree_destroy(tree);
}

static void test_nodes_know_their_places(void **state)
{
	struct faults faults = {0};
	struct tree *tree = read_text("a: 1\nb:\n  c: 'x'\n  d: [p, \"q\"]\n", &faults);
	struct node *root = tree_root(tree), *c = node_member(node_member(root, "b"), "c");
	struct node *d = node_member(node_member(root, "b"), "d");

	(void)state;
	assert_int_equal(faults.errors, 0);
	assert_int_equal(root->child_count, 2);
	assert_string_equal(node_member(root, "a")->text, "1");
	assert_false(node_member(root, "a")->quoted);
	assert_string_equal(c->text, "x");
	assert_true(c->quoted);
	assert_int_equal(c->key_line, 3);
	assert_int_equal(c->key_column, 3);
	assert_int_equal(c->line, 3);
	assert_int_equal(c->column, 6);
	assert_string_equal(c->origin, "f");
	assert_int_equal(d->kind, NODE_LIST);
	assert_int_equal(d->child_count, 2);
	assert_string_equal(d->last_child->text, "q");
	assert_int_equal(d->last_child->column, 10);
	assert_null(node_member(root, "c"));
	assert_null(node_member(c, "c"));
	assert_null(node_member(NULL, "c"));
	tree_destroy(tree);
}

static void test_nothing_is_an_empty_map(void **state)
{
	static const char *const texts[] = {"",      "\n",         "# only a comment\n",
					    "---\n", "---\n...\n", "~",
					    "null",  "{}",         "\xef\xbb\xbf"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct faults faults = {0};
		struct tree *tree = read_text(texts[i], &faults);

		if (faults.first)
			fail_msg("text %zu: %s", i, faults.first->text);
		assert_int_equal(tree_root(tree)->kind, NODE_MAP);
		assert_int_equal(tree_root(tree)->child_count, 0);
		tree_destroy(tree);
	}
}

static void test_null(void **state)
{
	struct faults faults = {0};
	struct tree *tree =
		read_text("a:\nb: ~\nc: null\nd: 'null'\ne: ''\nf: {}\ng: NULL\nh: |\n", &faults);
	struct node *root = tree_root(tree);

	(void)state;
	assert_int_equal(faults.errors, 0);
	assert_true(node_is_null(node_member(root, "a")));
	assert_true(node_is_null(node_member(root, "b")));
	assert_true(node_is_null(node_member(root, "c")));
	assert_false(node_is_null(node_member(root, "d")));
	assert_false(node_is_null(node_member(root, "e")));
	assert_false(node_is_null(node_member(root, "f")));
	assert_true(node_is_null(node_member(root, "g")));
	assert_false(node_is_null(node_member(root, "h")));
	assert_true(node_is_null(NULL));
	tree_destroy(tree);
}

static void test_refused(void **state)
{
	(void)state;
	assert_fault("a: 1\nb: 2\na: 3\n", "f:3:1: a is set twice, the first time in line 1");
	assert_fault("x: {a: 1, b: 2, a: 3}\n", "f:1:17: a is set twice, the first time in line 1");
	assert_fault("a: &x 1\n", "f:1:4: anchors (&) are not supported, write each value out");
	assert_fault("a: *x\n", "f:1:4: aliases (*) are not supported, write the value out");
	assert_fault("*x : 1\n", "f:1:1: aliases (*) are not supported, write the value out");
	assert_fault("a: !!int 1\n", "f:1:4: tags (!) are not supported, leave it out");
	assert_fault("a: !own [1]\n", "f:1:4: tags (!) are not supported, leave it out");
	assert_fault("<<: {a: 1}\nb: 2\n",
		     "f:1:1: merge keys (<<) are not supported, write the settings out");
	assert_fault("'<<': 1\n", NULL);
	assert_fault("? [a, b]\n: 1\nc: 2\n", "f:1:3: a key must be a plain text");
	assert_fault("{a: 1}: 1\n", "f:1:1: a key must be a plain text");
	assert_fault("a: 1\n---\nb: 2\n",
		     "f:2:1: a second document begins here, expected a single one");
	assert_fault("[1, 2]\n",
		     "f:1:1: the file must be a map of settings such as \"readiness:\"");
	assert_fault("text\n", "f:1:1: the file must be a map of settings such as \"readiness:\"");
	assert_fault("a: \"x\\0y\"\n", "f:1:4: a text must not contain a NUL character");
	assert_fault("a: \"\xff\"\n", "f:1:5: not valid UTF-8 text: invalid leading UTF-8 octet");
	assert_fault("\xc3\xa9: \xc3\xa9 \xc0\x80\n",
		     "f:1:6: not valid UTF-8 text: invalid length of a UTF-8 sequence");
	assert_fault("a: \x01\n",
		     "f:1:4: not valid UTF-8 text: control characters are not allowed");
	assert_fault("%YAML 1.1\n---\na: 1\n", NULL);
	assert_fault("# x\n%TAG ! x\n---\na: 1\n",
		     "f:2:1: directives (%) are not supported, leave it out");
	assert_fault("a:\n\tb: 1\n", "f:2:1: not valid YAML: indented with a tab, expected spaces");
	assert_fault("a: @readyd\n", "f:1:4: not valid YAML: a text that begins with this "
				     "character must be in quotes");
	assert_fault("a: [1, 2\nb: 3\n",
		     "f:2:2: not valid YAML: did not find expected ',' or ']', while parsing a "
		     "flow sequence that begins in line 1");
}

/* What stands behind a refused key must not be taken for something else. */
static void test_reading_goes_on_behind_a_refused_key(void **state)
{
	struct faults faults = {0};
	struct tree *tree = read_text("? {a: [1, {b: 2}]}\n: {c: [3]}\n"
				      "? [x]\n: *alias\n"
				      "*other : [4, 5]\n"
				      "<<: {e: 1}\n"
				      "d: 6\nd: 7\n",
				      &faults);
	struct node *root = tree_root(tree);

	(void)state;
	assert_int_equal(root->child_count, 2);
	assert_string_equal(root->first_child->key, "d");
	assert_string_equal(root->first_child->text, "6");
	assert_int_equal(faults.errors, 5);
	faults_free(&faults);
	tree_destroy(tree);
}

static void test_nul_ends_nothing(void **state)
{
	static const char text[] = "a: 1\nb: \0 2\n";
	struct faults faults = {0};
	struct tree *tree = tree_create();

	(void)state;
	assert_int_equal(tree_read_yaml(tree, "f", text, sizeof(text) - 1, &faults), -1);
	assert_string_equal(faults.first->text, "f:2:4: a NUL byte, expected a text in UTF-8");
	assert_int_equal(tree_root(tree)->child_count, 0);
	faults_free(&faults);
	tree_destroy(tree);
}

static char *repeat(const char *text, size_t count, const char *end)
{
	size_t len = strlen(text);
	char *result = malloc(len * count + strlen(end) + 1);

	assert_non_null(result);
	for (size_t i = 0; i < count; i++)
		memcpy(result + i * len, text, len);
	memcpy(result + len * count, end, strlen(end) + 1);
	return result;
}

/* Asserts that `count` times `text` is refused with this sentence, wherever. */
static void assert_bomb(const char *text, size_t count, const char *expected)
{
	struct faults faults = {0};
	char *bomb = repeat(text, count, "");
	struct tree *tree = read_text(bomb, &faults);

	if (!faults.first || !strstr(faults.first->text, expected))
		fail_msg("%zu times \"%s\": %s", count, text,
			 faults.first ? faults.first->text : "no fault");
	assert_int_equal(tree_root(tree)->child_count, 0);
	faults_free(&faults);
	tree_destroy(tree);
	free(bomb);
}

static void test_limits(void **state)
{
	(void)state;
	assert_bomb("[", 1000000, "nested deeper than 32 levels");
	assert_bomb("{", 1000000, "a key must be a plain text");
	assert_bomb("{a: ", 1000000, "nested deeper than 32 levels");
	assert_bomb("- ", 1000000, "nested deeper than 32 levels");
	assert_bomb("? ", 1000000, "a key must be a plain text");
	assert_bomb("a", 5000000, "f: larger than 4 MiB");
	assert_bomb("- a\n", 1000000, "more than 400000 values");
	assert_bomb("a: 1\n", 800000, "more than 400000 values");
	assert_bomb("\"", 4000001, "not valid YAML");
	assert_bomb("[a, ", 1000, "nested deeper than 32 levels");
}

static void test_depth_of_32_is_read(void **state)
{
	char *open = repeat("[", 31, "]"), *text;
	char *close = repeat("]", 30, "\n");

	(void)state;
	assert_true(asprintf(&text, "a: %s%s", open, close) > 0);
	assert_fault(text, NULL);
	free(open);
	free(close);
	free(text);
}

static void test_a_map_of_a_hundred_thousand_keys(void **state)
{
	size_t capacity = 4 * 1024 * 1024, len = 0;
	char *text = malloc(capacity);
	struct faults faults = {0};
	struct tree *tree;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < 100000; i++)
		len += (size_t)snprintf(text + len, capacity - len, "long-key-number-%d: %d\n", i,
					i);
	snprintf(text + len, capacity - len, "long-key-number-77: again\n");
	tree = read_text(text, &faults);
	assert_int_equal(faults.errors, 1);
	assert_string_equal(faults.first->text, "f:100001:1: long-key-number-77 is set twice, the "
						"first time in line 78");
	assert_int_equal(tree_root(tree)->child_count, 100001);
	faults_free(&faults);
	tree_destroy(tree);
	free(text);
}

static void test_faults_are_sorted_and_bounded(void **state)
{
	struct faults faults = {0};
	struct node late = {.origin = "f", .line = 9, .column = 1};
	struct node early = {.origin = "f", .line = 2, .column = 7};
	struct node variable = {.origin = "environment", .variable = "READYD_X"};
	struct node option = {.origin = "command line", .variable = "a.b"};
	struct node argument = {.origin = "command line"};
	static const char *const expected[] = {"f:2:7: \"early\"",
					       "f:9:1: late 1",
					       "f:9:1: late 2",
					       "environment READYD_X: is odd",
					       "command line -o a.b: is odd",
					       "command line: is odd",
					       "nowhere"};
	const struct fault *fault;

	(void)state;
	faults_add(&faults, NULL, "nowhere");
	faults_add(&faults, &option, "is odd");
	faults_add(&faults, &late, "late %d", 1);
	faults_add(&faults, &argument, "is odd");
	faults_warn(&faults, &late, "late %d", 2);
	faults_add(&faults, &variable, "is odd");
	faults_add(&faults, &early, "\"%s\"", "early");
	fault = faults.first;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++, fault = fault->next) {
		assert_non_null(fault);
		assert_string_equal(fault->text, expected[i]);
		assert_int_equal(fault->warning, i == 2);
	}
	assert_null(fault);
	assert_int_equal(faults.errors, 6);
	assert_int_equal(faults.warnings, 1);
	for (int i = 0; i < 5000; i++)
		faults_add(&faults, NULL, "more");
	assert_int_equal(faults.errors, 5006);
	assert_int_equal(faults.kept, 1000);
	faults_free(&faults);
	assert_null(faults.first);
	assert_int_equal(faults.errors, 0);
}

static void test_faults_do_not_steer_a_terminal(void **state)
{
	struct faults faults = {0};

	(void)state;
	faults_add(&faults, NULL, "%s", "a\x1b[31mb\nc\x7f");
	assert_string_equal(faults.first->text, "a?[31mb?c?");
	faults_free(&faults);
}

static void test_edits(void **state)
{
	struct faults faults = {0};
	struct tree *tree = read_text("a: 1\nb: {c: 2}\nd: [x]\n", &faults);
	struct node *root = tree_root(tree), *map;

	(void)state;
	assert_non_null(tree_set(tree, root, "a", "", "environment", "READYD_A"));
	assert_string_equal(node_member(root, "a")->text, "");
	assert_false(node_is_null(node_member(root, "a")));
	assert_int_equal(node_member(root, "a")->line, 0);
	assert_ptr_equal(root->first_child, node_member(root, "a"));
	map = tree_set_map(tree, root, "b", "environment", "X");
	assert_non_null(node_member(map, "c"));
	map = tree_set_map(tree, root, "d", "environment", "X");
	assert_int_equal(map->kind, NODE_MAP);
	assert_ptr_equal(root->last_child, map);
	tree_set(tree, root, "e", "new", "command line", "e");
	assert_ptr_equal(root->last_child, node_member(root, "e"));
	assert_int_equal(root->child_count, 4);
	tree_remove(root, "e");
	assert_ptr_equal(root->last_child, map);
	tree_remove(root, "a");
	assert_ptr_equal(root->first_child, node_member(root, "b"));
	tree_remove(root, "nothing");
	assert_int_equal(root->child_count, 2);
	tree_destroy(tree);
}

static void test_an_option_given_again_makes_a_list(void **state)
{
	struct tree *tree = tree_create();
	struct node *root = tree_root(tree), *node;

	(void)state;
	tree_set(tree, root, "k", "environment's", "environment", "K");
	tree_set(tree, root, "k", "one", "command line", "k");
	assert_int_equal(node_member(root, "k")->kind, NODE_SCALAR);
	tree_set(tree, root, "k", "two", "command line", "k");
	tree_set(tree, root, "k", "three", "command line", "k");
	node = node_member(root, "k");
	assert_int_equal(node->kind, NODE_LIST);
	assert_int_equal(node->child_count, 3);
	assert_string_equal(node->first_child->text, "one");
	assert_string_equal(node->last_child->text, "three");
	assert_int_equal(root->child_count, 1);
	assert_ptr_equal(root->last_child, node);
	tree_destroy(tree);
}

static void test_files(void **state)
{
	char path[] = "/tmp/readyd-test-XXXXXX", fifo[64];
	struct faults faults = {0};
	struct tree *tree = tree_create();
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "a: 1\n", 5), 5);
	assert_int_equal(tree_read_file(tree, path, &faults), 0);
	assert_string_equal(node_member(tree_root(tree), "a")->text, "1");
	assert_string_equal(node_member(tree_root(tree), "a")->origin, path);
	assert_int_equal(ftruncate(fd, 10 * 1024 * 1024), 0);
	assert_int_equal(tree_read_file(tree, path, &faults), -1);
	assert_non_null(strstr(faults.first->text, ": larger than 4 MiB"));
	faults_free(&faults);
	close(fd);
	unlink(path);
	assert_int_equal(tree_read_file(tree, path, &faults), -1);
	assert_non_null(strstr(faults.first->text, ": cannot be opened: No such file"));
	faults_free(&faults);
	assert_int_equal(tree_read_file(tree, "/tmp", &faults), -1);
	assert_non_null(strstr(faults.first->text, "/tmp: is not a regular file"));
	faults_free(&faults);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(tree_read_file(tree, fifo, &faults), -1);
	assert_non_null(strstr(faults.first->text, ": is not a regular file"));
	unlink(fifo);
	faults_free(&faults);
	tree_destroy(tree);
}

static void test_nearest_name(void **state)
{
	static const char *const names[] = {"periodSeconds", "timeoutSeconds",
					    "http",          "httpGet",
					    "url",           "tcp"};
	static const struct {
		const char *word, *expected;
	} cases[] = {
		{"periodSecond", "periodSeconds"},
		{"perodSeconds", "periodSeconds"},
		{"period_seconds", "periodSeconds"},
		{"PERIODSECONDS", "periodSeconds"},
		{"peirodSeconds", "periodSeconds"},
		{"timeout", "timeoutSeconds"},
		{"tim", NULL},
		{"HTTP", "http"},
		{"htpt", "http"},
		{"httpget", "httpGet"},
		{"ulr", "url"},
		{"uri", "url"},
		{"abc", NULL},
		{"", NULL},
		{"somethingElse", NULL},
		{"a-very-long-word-that-is-longer-than-every-name-that-could-ever-be-meant-by-it",
		 NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *found =
			nearest_name(cases[i].word, names, sizeof(names) / sizeof(names[0]));

		if ((found == NULL) != (cases[i].expected == NULL) ||
		    (found && strcmp(found, cases[i].expected) != 0))
			fail_msg("%s: %s", cases[i].word, found ? found : "nothing");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_know_their_places),
		cmocka_unit_test(test_nothing_is_an_empty_map),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reading_goes_on_behind_a_refused_key),
		cmocka_unit_test(test_nul_ends_nothing),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_depth_of_32_is_read),
		cmocka_unit_test(test_a_map_of_a_hundred_thousand_keys),
		cmocka_unit_test(test_faults_are_sorted_and_bounded),
		cmocka_unit_test(test_faults_do_not_steer_a_terminal),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_an_option_given_again_makes_a_list),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_nearest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
