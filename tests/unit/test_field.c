/* Typed settings, numbers and secrets. */
#include "agent/field.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/number.h"
#include "agent/tree.h"

struct sample {
	char *text, *other;
	struct secret password;
	bool flag;
	int64_t count;
	double ratio;
	int64_t wait_us;
	int mode;
	struct text_list names;
	struct text_list command;
	struct pair_list headers;
	struct status_ranges status;
};

static const char *const modes[] = {"any", "primary", "standby", NULL};

#define AT(member) .offset = offsetof(struct sample, member)

static const struct field fields[] = {
	{.name = "text", .kind = FIELD_TEXT, AT(text), .fallback = "default"},
	{.name = "other", .kind = FIELD_TEXT, AT(other)},
	{.name = "password", .kind = FIELD_SECRET, AT(password)},
	{.name = "flag", .kind = FIELD_BOOLEAN, AT(flag), .fallback = "yes"},
	{.name = "count",
	 .kind = FIELD_INTEGER,
	 AT(count),
	 .fallback = "7",
	 .minimum = 1,
	 .maximum = 9},
	{.name = "ratio", .kind = FIELD_NUMBER, AT(ratio), .fallback = "0.5"},
	{.name = "waitSeconds", .kind = FIELD_SECONDS, AT(wait_us), .minimum = 0.01, .maximum = 60},
	{.name = "mode", .kind = FIELD_CHOICE, AT(mode), .fallback = "primary", .choices = modes},
	{.name = "names", .kind = FIELD_TEXT_LIST, AT(names), .fallback = "a, b"},
	{.name = "command", .kind = FIELD_COMMAND, AT(command)},
	{.name = "headers", .kind = FIELD_PAIR_LIST, AT(headers)},
	{.name = "status", .kind = FIELD_STATUS_RANGES, AT(status), .fallback = "200-299,301"},
	{.name = NULL},
};

/* Reads "NAME: VALUE" as YAML and assigns it; the result of field_assign(). */
static int assign(struct sample *sample, const char *yaml, struct faults *faults)
{
	struct tree *tree = tree_create();
	const struct field *field;
	const struct node *node;
	bool as_file;
	int result;

	assert_int_equal(tree_read_yaml(tree, "f", yaml, strlen(yaml), faults), 0);
	node = tree_root(tree)->first_child;
	field = field_find(fields, node->key, &as_file);
	assert_non_null(field);
	result = field_assign(field, as_file, sample, node, faults);
	tree_destroy(tree);
	return result;
}

static void assert_good(struct sample *sample, const char *yaml)
{
	struct faults faults = {0};

	if (assign(sample, yaml, &faults) != 0)
		fail_msg("%s: %s", yaml, faults.first->text);
	assert_int_equal(faults.errors, 0);
}

/* The same from a variable or, when `again` is not NULL, from an option given twice. */
static void assign_text(struct sample *sample, const char *name, const char *text,
			const char *again)
{
	struct faults faults = {0};
	struct tree *tree = tree_create();

	tree_set(tree, tree_root(tree), name, text, "command line", name);
	if (again)
		tree_set(tree, tree_root(tree), name, again, "command line", name);
	if (field_assign(field_find(fields, name, NULL), false, sample,
			 tree_root(tree)->first_child, &faults) != 0)
		fail_msg("%s=%s: %s", name, text, faults.first->text);
	tree_destroy(tree);
}

static void assert_bad(const char *yaml, const char *expected)
{
	struct faults faults = {0};
	struct sample sample;

	assert_int_equal(fields_set_defaults(fields, &sample), 0);
	assert_int_equal(assign(&sample, yaml, &faults), -1);
	assert_int_equal(faults.errors, 1);
	assert_string_equal(faults.first->text, expected);
	faults_free(&faults);
	fields_free(fields, &sample);
}

static int setup(void **state)
{
	struct sample *sample = malloc(sizeof(*sample));

	memset(sample, 0xff, sizeof(*sample));
	assert_int_equal(fields_set_defaults(fields, sample), 0);
	*state = sample;
	return 0;
}

static int teardown(void **state)
{
	fields_free(fields, *state);
	free(*state);
	return 0;
}

static void test_defaults(void **state)
{
	struct sample *sample = *state;

	assert_string_equal(sample->text, "default");
	assert_null(sample->other);
	assert_false(secret_is_set(&sample->password));
	assert_true(sample->flag);
	assert_int_equal(sample->count, 7);
	assert_true(sample->ratio == 0.5);
	assert_int_equal(sample->wait_us, 0);
	assert_int_equal(sample->mode, 1);
	assert_int_equal(sample->names.count, 2);
	assert_string_equal(sample->names.items[1], "b");
	assert_null(sample->names.items[2]);
	assert_int_equal(sample->command.count, 0);
	assert_int_equal(sample->status.count, 2);
	assert_int_equal(sample->status.items[1].first, 301);
}

static void test_find(void **state)
{
	bool as_file;

	(void)state;
	assert_ptr_equal(field_find(fields, "text", &as_file), &fields[0]);
	assert_false(as_file);
	assert_ptr_equal(field_find(fields, "passwordFile", &as_file), &fields[2]);
	assert_true(as_file);
	assert_ptr_equal(field_find(fields, "password", &as_file), &fields[2]);
	assert_false(as_file);
	assert_null(field_find(fields, "textFile", &as_file));
	assert_null(field_find(fields, "passwordfile", &as_file));
	assert_null(field_find(fields, "tex", NULL));
	assert_null(field_find(fields, "", NULL));
}

static void test_scalars(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "text: 0123");
	assert_string_equal(sample->text, "0123");
	assert_good(sample, "text: 'null'");
	assert_string_equal(sample->text, "null");
	assert_good(sample, "text: ''");
	assert_string_equal(sample->text, "");
	assert_good(sample, "password: s3cret");
	assert_string_equal(sample->password.value, "s3cret");
	assert_good(sample, "flag: off");
	assert_false(sample->flag);
	assert_good(sample, "flag: 'True'");
	assert_true(sample->flag);
	assert_good(sample, "count: 9");
	assert_int_equal(sample->count, 9);
	assert_good(sample, "count: '2'");
	assert_int_equal(sample->count, 2);
	assert_good(sample, "ratio: -1.25");
	assert_true(sample->ratio == -1.25);
	assert_good(sample, "waitSeconds: 0.25");
	assert_int_equal(sample->wait_us, 250000);
	assert_good(sample, "mode: standby");
	assert_int_equal(sample->mode, 2);
}

static void test_null_is_the_default(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "text: other");
	assert_good(sample, "text: ~");
	assert_string_equal(sample->text, "default");
	assert_good(sample, "count: 3");
	assert_good(sample, "count: null");
	assert_int_equal(sample->count, 7);
	assert_good(sample, "names: [x]");
	assert_good(sample, "names:");
	assert_int_equal(sample->names.count, 2);
	assert_good(sample, "password: x");
	assert_good(sample, "password:");
	assert_false(secret_is_set(&sample->password));
}

static void test_bad_scalars(void **state)
{
	(void)state;
	assert_bad("text: [a]", "f:1:7: text must be a single value, found a list");
	assert_bad("text: {a: b}", "f:1:7: text must be a single value, found a map");
	assert_bad("password: [s3cret]", "f:1:11: password must be a single value, found a list");
	assert_bad("flag: 1", "f:1:7: flag is \"1\", expected true or false");
	assert_bad("flag: ''", "f:1:7: flag is \"\", expected true or false");
	assert_bad("count: 10", "f:1:8: count is \"10\", expected a whole number from 1 to 9");
	assert_bad("count: 0x5", "f:1:8: count is \"0x5\", expected a whole number from 1 to 9");
	assert_bad("count: 05", "f:1:8: count is \"05\", expected a whole number from 1 to 9");
	assert_bad("count: 5a", "f:1:8: count is \"5a\", expected a whole number from 1 to 9");
	assert_bad("count: 1.5", "f:1:8: count is \"1.5\", expected a whole number from 1 to 9");
	assert_bad("ratio: nan", "f:1:8: ratio is \"nan\", expected a number");
	assert_bad("ratio: 1e3", "f:1:8: ratio is \"1e3\", expected a number");
	assert_bad("waitSeconds: 0",
		   "f:1:14: waitSeconds is \"0\", expected seconds (such as 0.5, 10, 500ms or 1m) "
		   "from 0.01 to 60");
	assert_bad("waitSeconds: 2m",
		   "f:1:14: waitSeconds is \"2m\", expected seconds (such as 0.5, 10, 500ms or 1m) "
		   "from 0.01 to 60");
	assert_bad("mode: Primary",
		   "f:1:7: mode is \"Primary\", did you mean \"primary\"? expected "
		   "one of any, primary, standby");
	assert_bad("mode: x", "f:1:7: mode is \"x\", expected one of any, primary, standby");
	assert_bad("count: 99999999999999999999999999999999999999999999999999999",
		   "f:1:8: count is \"9999999999999999999999999999999999999...\", expected a whole "
		   "number from 1 to 9");
}

static void assert_texts(const struct text_list *list, size_t count, const char *const *expected)
{
	assert_int_equal(list->count, count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(list->items[i], expected[i]);
	if (list->items)
		assert_null(list->items[count]);
}

#define ASSERT_TEXTS(list, ...) \
	do { \
		const char *const expected_[] = {__VA_ARGS__}; \
		assert_texts(list, sizeof(expected_) / sizeof(expected_[0]), expected_); \
	} while (0)

static void test_text_lists(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "names: [x, 'y, z', 3]");
	ASSERT_TEXTS(&sample->names, "x", "y, z", "3");
	assert_good(sample, "names: one, two");
	ASSERT_TEXTS(&sample->names, "one, two");
	assert_good(sample, "names: []");
	assert_int_equal(sample->names.count, 0);
	assign_text(sample, "names", " one ,two,", NULL);
	ASSERT_TEXTS(&sample->names, "one", "two");
	assign_text(sample, "names", "one", "two,three");
	ASSERT_TEXTS(&sample->names, "one", "two", "three");
	assert_bad("names: {a: b}", "f:1:8: names must be a text or a list of texts, found a map");
	assert_bad("names: [a, [b]]", "f:1:12: an item of names must be a text, found a list");
	assert_bad("names: [a, ~]", "f:1:12: an item of names must be a text, found nothing");
}

static void test_commands(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "command: [/bin/a, '-x y', '']");
	ASSERT_TEXTS(&sample->command, "/bin/a", "-x y", "");
	assert_good(sample, "command: /bin/a -x  \"b c\" 'd\"e' f\\ g \"h\\\"i\" j'k'l ''");
	ASSERT_TEXTS(&sample->command, "/bin/a", "-x", "b c", "d\"e", "f g", "h\"i", "jkl", "");
	assert_good(sample, "command: /bin/a $HOME | b > c");
	ASSERT_TEXTS(&sample->command, "/bin/a", "$HOME", "|", "b", ">", "c");
	assign_text(sample, "command", "/bin/a b,c", NULL);
	ASSERT_TEXTS(&sample->command, "/bin/a", "b,c");
	assign_text(sample, "command", "/bin/a", "x y");
	ASSERT_TEXTS(&sample->command, "/bin/a", "x y");
	assert_bad("command: []", "f:1:10: command is empty, expected a program and its arguments");
	assert_bad("command: ['', x]",
		   "f:1:10: command is empty, expected a program and its arguments");
	assert_bad("command: '  '",
		   "f:1:10: command is empty, expected a program and its arguments");
	assert_bad("command: a 'b", "f:1:10: a quote in the command is not closed");
	assert_bad("command: {a: b}",
		   "f:1:10: command must be a list such as [/app/check, --fast], found a map");
}

static void assert_pair(const struct pair_list *list, size_t index, const char *name,
			const char *value)
{
	assert_true(index < list->count);
	assert_string_equal(list->items[index].name, name);
	assert_string_equal(list->items[index].value, value);
}

static void test_pairs(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "headers: {Accept: '*/*', X-Number: 5, Empty: }");
	assert_int_equal(sample->headers.count, 3);
	assert_pair(&sample->headers, 0, "Accept", "*/*");
	assert_pair(&sample->headers, 1, "X-Number", "5");
	assert_pair(&sample->headers, 2, "Empty", "");
	assert_good(sample, "headers: [{name: A, value: b}, {value: d, name: A}, {name: E}]");
	assert_int_equal(sample->headers.count, 3);
	assert_pair(&sample->headers, 0, "A", "b");
	assert_pair(&sample->headers, 1, "A", "d");
	assert_pair(&sample->headers, 2, "E", "");
	assert_good(sample, "headers: ['A: b:c=d', 'E=f:g', 'H:']");
	assert_int_equal(sample->headers.count, 3);
	assert_pair(&sample->headers, 0, "A", "b:c=d");
	assert_pair(&sample->headers, 1, "E", "f:g");
	assert_pair(&sample->headers, 2, "H", "");
	assert_good(sample, "headers: |\n  A: b\n\n  C: d\n");
	assert_int_equal(sample->headers.count, 2);
	assert_pair(&sample->headers, 1, "C", "d");
	assign_text(sample, "headers", "A: b,c", "D: e");
	assert_int_equal(sample->headers.count, 2);
	assert_pair(&sample->headers, 0, "A", "b,c");
	assert_pair(&sample->headers, 1, "D", "e");
	assert_bad("headers: [s3cret]", "f:1:11: an item of headers must be \"NAME: VALUE\"");
	assert_bad("headers: ': s3cret'", "f:1:10: an item of headers must be \"NAME: VALUE\"");
	assert_bad("headers: [{value: x}]",
		   "f:1:11: an item of headers must have a name and a value, both texts");
	assert_bad("headers: [{name: A, value: [x]}]",
		   "f:1:11: an item of headers must have a name and a value, both texts");
	assert_bad(
		"headers: [{name: A, valueFrom: {}}]",
		"f:1:21: unknown key \"valueFrom\" in an item of headers, expected name and value");
	assert_bad("headers: {A: [b]}",
		   "f:1:14: headers must be a map of names with one text each");
	assert_bad("headers: [[a]]", "f:1:11: an item of headers must be \"NAME: VALUE\"");
}

static void test_status_ranges(void **state)
{
	struct sample *sample = *state;

	assert_good(sample, "status: 204");
	assert_int_equal(sample->status.count, 1);
	assert_int_equal(sample->status.items[0].first, 204);
	assert_int_equal(sample->status.items[0].last, 204);
	assert_good(sample, "status: 200-299, 301 ,400-404");
	assert_int_equal(sample->status.count, 3);
	assert_int_equal(sample->status.items[2].last, 404);
	assert_good(sample, "status: [200, 300-399]");
	assert_int_equal(sample->status.count, 2);
	assert_int_equal(sample->status.items[1].first, 300);
	assign_text(sample, "status", "200", "300");
	assert_int_equal(sample->status.count, 2);
	for (size_t i = 0; i < 8; i++) {
		static const char *const bad[] = {"99",   "600",  "2xx",  "299-200",
						  "200-", "200,", "-200", "2000"};
		char yaml[64], expected[128];

		snprintf(yaml, sizeof(yaml), "status: '%s'", bad[i]);
		snprintf(expected, sizeof(expected),
			 "f:1:9: status is \"%s\", expected statuses from 100 to 599 such as "
			 "\"200-299,301\"",
			 bad[i]);
		assert_bad(yaml, expected);
	}
	assert_bad("status: {a: 1}",
		   "f:1:9: status must be statuses such as \"200-299,301\", found a map");
	assert_bad("status: [[200]]", "f:1:10: an item of status must be a status or a range");
}

/* A long list, because lists grow by powers of two with one element to spare. */
static void test_lists_of_every_length(void **state)
{
	struct sample *sample = *state;

	for (size_t count = 0; count < 70; count++) {
		char yaml[1024] = "names: [";

		for (size_t i = 0; i < count; i++)
			sprintf(yaml + strlen(yaml), "%s%zu", i > 0 ? ", " : "", i);
		strcat(yaml, "]");
		assert_good(sample, yaml);
		assert_int_equal(sample->names.count, count);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(atoi(sample->names.items[i]), i);
		if (count > 0)
			assert_null(sample->names.items[count]);
	}
}

static void test_the_last_option_wins(void **state)
{
	struct sample *sample = *state;

	assign_text(sample, "count", "2", "3");
	assert_int_equal(sample->count, 3);
	assign_text(sample, "text", "", NULL);
	assert_string_equal(sample->text, "");
	assign_text(sample, "text", "null", NULL);
	assert_string_equal(sample->text, "null");
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		bool good;
		double number;
	} cases[] = {
		{"0", true, 0},
		{"5", true, 5},
		{"+5", true, 5},
		{"-5", true, -5},
		{"0.5", true, 0.5},
		{".5", true, 0.5},
		{"5.", true, 5},
		{"-0", true, 0},
		{"00", false, 0},
		{"010", false, 0},
		{"00.5", false, 0},
		{"", false, 0},
		{".", false, 0},
		{"-", false, 0},
		{"1 ", false, 0},
		{" 1", false, 0},
		{"1e3", false, 0},
		{"0x1p3", false, 0},
		{"inf", false, 0},
		{"1_000", false, 0},
		{"1,5", false, 0},
		{"--5", false, 0},
		{"1.2.3", false, 0},
		{"\xd9\xa3", false, 0},
		{"123456789012345678901234567890123", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double number = -77;

		if (parse_decimal(cases[i].text, &number) != cases[i].good ||
		    number != (cases[i].good ? cases[i].number : -77))
			fail_msg("\"%s\": %f", cases[i].text, number);
	}
}

static void test_whole_numbers(void **state)
{
	double number;

	(void)state;
	assert_true(parse_whole("9007199254740992", &number));
	assert_true(parse_whole("5.0", &number));
	assert_false(parse_whole("5.5", &number));
	assert_false(parse_whole("9007199254740994", &number));
	assert_false(parse_whole("99999999999999999999", &number));
}

static void test_seconds(void **state)
{
	static const struct {
		const char *text;
		int64_t microseconds;
	} cases[] = {
		{"0", 0},
		{"1", 1000000},
		{"0.1", 100000},
		{"0.000001", 1},
		{"500ms", 500000},
		{"0.5ms", 500},
		{"2s", 2000000},
		{"1m", 60000000},
		{"1.5m", 90000000},
		{"1h", 3600000000},
		{".5", 500000},
		{"-1", -1},
		{"-0.1", -1},
		{"", -1},
		{"s", -1},
		{"1 s", -1},
		{"1d", -1},
		{"1us", -1},
		{"1S", -1},
		{"1ms ", -1},
		{"1m30s", -1},
		{"1:30", -1},
		{"0x10", -1},
		{"1e3", -1},
		{"99999999999999999", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse_seconds(cases[i].text) != cases[i].microseconds)
			fail_msg("\"%s\": %lld", cases[i].text,
				 (long long)parse_seconds(cases[i].text));
	}
}

static void test_booleans(void **state)
{
	bool value;

	(void)state;
	assert_true(parse_boolean("YES", &value) && value);
	assert_true(parse_boolean("on", &value) && value);
	assert_true(parse_boolean("true", &value) && value);
	assert_true(parse_boolean("No", &value) && !value);
	assert_true(parse_boolean("off", &value) && !value);
	assert_true(parse_boolean("FALSE", &value) && !value);
	assert_false(parse_boolean("y", &value));
	assert_false(parse_boolean("1", &value));
	assert_false(parse_boolean("", &value));
}

/* ---- secrets ---- */

/* Writes a file of its own; the path stays valid until the next call. */
static const char *write_file(const char *bytes, size_t len)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/readyd-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	return path;
}

static void assert_secret(const char *bytes, size_t len, const char *expected, const char *sentence)
{
	struct error error;
	char path[64];
	struct secret secret = {.file = path};
	char *text;

	strcpy(path, write_file(bytes, len));
	text = secret_read(&secret, &error);
	unlink(path);
	if (expected) {
		assert_non_null(text);
		assert_string_equal(text, expected);
		assert_string_equal(error.text, "");
	} else {
		assert_null(text);
		if (!strstr(error.text, sentence))
			fail_msg("%s", error.text);
	}
	secret_wipe(text);
}

static void test_secret_files(void **state)
{
	static char large[64 * 1024 + 1];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	assert_secret("s3cret", 6, "s3cret", NULL);
	assert_secret("s3cret\n", 7, "s3cret", NULL);
	assert_secret("s3cret\r\n\n", 9, "s3cret", NULL);
	assert_secret(" a b \n", 6, " a b ", NULL);
	assert_secret("a\nb\n", 4, "a\nb", NULL);
	assert_secret("", 0, "", NULL);
	assert_secret("\n", 1, "", NULL);
	assert_secret(large, sizeof(large) - 1, large, NULL);
	assert_secret(large, sizeof(large), NULL, "is larger than 64 KiB");
	assert_secret("a\0b", 3, NULL, "contains a NUL byte");
}

static void test_secrets_that_cannot_be_read(void **state)
{
	char directory[] = "/tmp", missing[] = "/nonexistent/secret", fifo[64];
	struct secret secret = {.file = missing};
	struct error error;

	(void)state;
	assert_null(secret_read(&secret, &error));
	assert_string_equal(error.text,
			    "cannot open /nonexistent/secret: No such file or directory");
	secret.file = directory;
	assert_null(secret_read(&secret, &error));
	assert_string_equal(error.text, "/tmp is not a regular file");
	/* Nobody writes to it: opening or reading it must not wait. */
	snprintf(fifo, sizeof(fifo), "/tmp/readyd-test-fifo-%d", (int)getpid());
	assert_int_equal(mkfifo(fifo, 0600), 0);
	secret.file = fifo;
	assert_null(secret_read(&secret, &error));
	assert_non_null(strstr(error.text, "is not a regular file"));
	unlink(fifo);
	assert_null(secret_read(&(struct secret){0}, &error));
	assert_string_equal(error.text, "");
}

static void test_secrets_by_value_are_copies(void **state)
{
	char value[] = "s3cret";
	struct secret secret = {.value = value};
	struct error error;
	char *text = secret_read(&secret, &error);

	(void)state;
	assert_string_equal(text, "s3cret");
	assert_ptr_not_equal(text, value);
	secret_wipe(text);
	secret_wipe(NULL);
	assert_true(secret_is_set(&secret));
}

static void test_a_missing_secret_file_is_a_fault_at_once(void **state)
{
	struct sample *sample = *state;
	char yaml[128];

	assert_bad("passwordFile: /nonexistent/secret",
		   "f:1:15: passwordFile: cannot open /nonexistent/secret: No such file or "
		   "directory");
	snprintf(yaml, sizeof(yaml), "passwordFile: %s", write_file("x", 1));
	assert_good(sample, yaml);
	assert_null(sample->password.value);
	assert_string_equal(sample->password.file, yaml + strlen("passwordFile: "));
	unlink(sample->password.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
		cmocka_unit_test(test_find),
		cmocka_unit_test_setup_teardown(test_scalars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_is_the_default, setup, teardown),
		cmocka_unit_test(test_bad_scalars),
		cmocka_unit_test_setup_teardown(test_text_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists_of_every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_last_option_wins, setup, teardown),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_whole_numbers),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_booleans),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_secrets_that_cannot_be_read),
		cmocka_unit_test(test_secrets_by_value_are_copies),
		cmocka_unit_test_setup_teardown(test_a_missing_secret_file_is_a_fault_at_once,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
