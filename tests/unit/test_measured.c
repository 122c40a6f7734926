/* What is kept of what a plugin measures. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/measured.h"

static struct measured *measured;

static int tear_down(void **state)
{
	(void)state;
	free(measured);
	measured = NULL;
	return 0;
}

static void add(struct perfdata_list *list, const char *label, const char *unit, double value)
{
	struct perfdata *item = &list->items[list->count++];

	snprintf(item->label, sizeof(item->label), "%s", label);
	snprintf(item->unit, sizeof(item->unit), "%s", unit);
	item->value = value;
}

/* The one value that is present, of so many places. */
static void assert_one(size_t count, const char *label, const char *unit, double value)
{
	size_t present = 0;

	assert_int_equal(measured->count, count);
	for (size_t i = 0; i < count; i++) {
		const struct measured_value *item = &measured->values[i];

		if (!item->present)
			continue;
		present++;
		assert_string_equal(item->label, label);
		assert_string_equal(item->unit, unit);
		assert_true(item->value == value);
	}
	assert_int_equal(present, 1);
}

static void test_latest_value(void **state)
{
	struct perfdata_list list = {0}, next = {0}, none = {0};

	(void)state;
	assert_int_equal(measured_note(&measured, NULL), 0);
	assert_int_equal(measured_note(&measured, &none), 0);
	assert_null(measured);
	add(&list, "time", "s", 1);
	assert_int_equal(measured_note(&measured, &list), 0);
	assert_one(1, "time", "s", 1);
	list.items[0].value = 2;
	measured_note(&measured, &list);
	assert_one(1, "time", "s", 2);
	/* a run that measures nothing leaves it */
	measured_note(&measured, NULL);
	measured_note(&measured, &none);
	assert_one(1, "time", "s", 2);
	/* one that measures something else does not, and it comes back to its place */
	add(&next, "time", "ms", 3);
	measured_note(&measured, &next);
	assert_one(2, "time", "ms", 3);
	measured_note(&measured, &list);
	assert_one(2, "time", "s", 2);
}

static void test_the_first_labels_have_the_places(void **state)
{
	(void)state;
	for (int run = 0; run < 1000; run++) {
		struct perfdata_list list = {0};
		char label[16];

		snprintf(label, sizeof(label), "run%d", run);
		add(&list, "always", "", run);
		add(&list, label, "", run);
		assert_int_equal(measured_note(&measured, &list), run >= MEASURED_MAX - 1);
	}
	assert_one(MEASURED_MAX, "always", "", 999);
}

static void test_labels_that_look_the_same(void **state)
{
	struct perfdata_list list = {0};

	(void)state;
	add(&list, "a\xff", "\xfe", 1);
	add(&list, "a\xfe", "\xfd", 2);
	assert_int_equal(measured_note(&measured, &list), 0);
	assert_one(1, "a?", "?", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_latest_value, tear_down),
		cmocka_unit_test_teardown(test_the_first_labels_have_the_places, tear_down),
		cmocka_unit_test_teardown(test_labels_that_look_the_same, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
