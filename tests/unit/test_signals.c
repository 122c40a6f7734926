/* Signals by name and by number. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/signals.h"

static void test_names_and_numbers(void **unused)
{
	static const struct {
		const char *text;
		int number;
	} cases[] = {
		{"SIGTERM", SIGTERM}, {"TERM", SIGTERM},  {"sigterm", SIGTERM},
		{"Quit", SIGQUIT},    {"15", 15},         {"64", 64},
		{"SIGRTMIN", 34},     {"SIGRTMIN+3", 37}, {"rtmin+30", 64},
		{"RTMAX", 64},        {"SIGRTMAX-1", 63}, {"0", -1},
		{"65", -1},           {"015", -1},        {"-1", -1},
		{"+1", -1},           {"", -1},           {"SIG", -1},
		{"SIGTERMS", -1},     {"TER", -1},        {"TERM+1", -1},
		{"RTMIN-1", -1},      {"RTMIN+31", -1},   {"RTMIN+", -1},
		{"RTMIN+x", -1},      {"RTMAX-31", -1},   {"RTMAX+1", -1},
		{"15 ", -1},          {"SIGSIGTERM", -1},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(signal_by_name(cases[i].text), cases[i].number);
}

static void test_every_printed_name_is_known(void **unused)
{
	char name[SIGNAL_NAME_SIZE];

	(void)unused;
	for (int number = 1; number <= SIGNALS_LAST; number++) {
		signal_print_name(number, name);
		assert_int_equal(signal_by_name(name), number);
	}
	signal_print_name(SIGTERM, name);
	assert_string_equal(name, "SIGTERM");
	signal_print_name(37, name);
	assert_string_equal(name, "SIGRTMIN+3");
	signal_print_name(32, name);
	assert_string_equal(name, "32");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_numbers),
		cmocka_unit_test(test_every_printed_name_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
