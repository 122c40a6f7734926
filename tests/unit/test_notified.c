/* What the words of sd_notify(3) mean. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/notified.h"

static bool say(struct notified *notified, const char *message, int64_t now_us)
{
	return notified_take(notified, message, strlen(message), now_us);
}

static void test_ready_and_back(void **state)
{
	struct notified notified = {.asked = true};

	(void)state;
	assert_true(say(&notified, "READY=1", 5));
	assert_true(notified.ready);
	assert_int_equal(notified.sign_of_life_us, 5);
	assert_false(say(&notified, "READY=1\n", 6));
	assert_true(say(&notified, "RELOADING=1\nMONOTONIC_USEC=7\n", 7));
	assert_false(notified.ready);
	assert_true(notified.reloading);
	assert_true(say(&notified, "READY=1\nSTATUS=again", 8));
	assert_true(notified.ready && !notified.reloading);
	assert_string_equal(notified.status, "again");
}

static void test_stopping_is_for_good(void **state)
{
	struct notified notified = {.asked = true};

	(void)state;
	say(&notified, "READY=1", 1);
	assert_true(say(&notified, "STOPPING=1", 2));
	assert_true(notified.stopping && !notified.ready);
	assert_false(say(&notified, "READY=1", 3));
	assert_false(say(&notified, "RELOADING=1", 3));
	assert_true(notified.stopping && !notified.ready && !notified.reloading);
}

static void test_lines_of_one_message_count_in_order(void **state)
{
	struct notified notified = {.asked = true};

	(void)state;
	say(&notified, "READY=1\nRELOADING=1", 1);
	assert_true(notified.reloading);
	say(&notified, "RELOADING=1\nREADY=1", 2);
	assert_true(notified.ready);
	assert_true(say(&notified, "RELOADING=1\nREADY=1\nSTATUS=x", 3));
	assert_false(say(&notified, "RELOADING=1\nREADY=1\nSTATUS=x", 4));
}

static void test_heartbeat(void **state)
{
	struct notified notified = {.asked = true};

	(void)state;
	assert_false(say(&notified, "WATCHDOG=1", 100));
	assert_int_equal(notified.sign_of_life_us, 100);
	assert_false(say(&notified, "WATCHDOG=1", 200));
	assert_int_equal(notified.sign_of_life_us, 200);
	notified.missed = true;
	assert_true(say(&notified, "WATCHDOG=1", 300));
	assert_false(say(&notified, "WATCHDOG=1", 300));
	assert_true(say(&notified, "WATCHDOG=trigger", 300));
	assert_true(notified.wants_restart);
	assert_false(say(&notified, "WATCHDOG=1", 400));
	assert_true(notified.wants_restart);
}

static void test_what_means_nothing(void **state)
{
	static const char *const messages[] = {
		"",
		"\n",
		"\n\n\n",
		"=",
		"READY",
		"READY=",
		"READY=0",
		"READY=11",
		"READY=1 ",
		" READY=1",
		"ready=1",
		"READY=1\r\n",
		"XREADY=1",
		"MAINPID=1",
		"FDSTORE=1",
		"BARRIER=1",
		"ERRNO=2",
		"WATCHDOG=2",
		"WATCHDOG_USEC=1",
		"EXTEND_TIMEOUT_USEC=1",
		"X_ANYTHING=READY=1",
		"STATUS",
		"RELOADING=0",
		"STOPPING=yes",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		struct notified notified = {.asked = true};

		if (say(&notified, messages[i], 1) || notified.ready ||
		    notified.sign_of_life_us != 0)
			fail_msg("\"%s\" means something", messages[i]);
	}
}

static void test_a_message_ends_at_its_length_and_at_nul(void **state)
{
	struct notified notified = {.asked = true};

	(void)state;
	assert_false(notified_take(&notified, "READY=1", 6, 1));
	assert_false(notified_take(&notified, "A=1\0\nREADY=1", 12, 1));
	assert_true(notified_take(&notified, "READY=1\0", 8, 1));
	assert_true(notified.ready);
}

static void test_long_status_is_cut_between_characters(void **state)
{
	struct notified notified = {.asked = true};
	char message[1024] = "STATUS=";

	(void)state;
	for (size_t i = 7; i + 2 < sizeof(message); i += 2)
		memcpy(message + i, "\xc3\xa4", 2);
	assert_true(notified_take(&notified, message, sizeof(message) - 1, 1));
	assert_int_equal(strlen(notified.status), NOTIFIED_STATUS_SIZE - 2);
	assert_false(notified_take(&notified, message, sizeof(message) - 1, 1));
	assert_true(say(&notified, "STATUS=", 1));
	assert_string_equal(notified.status, "");
}

static void on_reminder(struct loop_timer *timer)
{
	*(bool *)timer->owner = true;
}

static void test_reminder(void **state)
{
	struct loop *loop = loop_create();
	bool reminded = false;
	struct notified notified = {.reminder = {.on_expire = on_reminder, .owner = &reminded}};
	int64_t now_us = clock_monotonic_us();

	(void)state;
	notified_remind(&notified, loop, now_us + 60000000);
	notified_remind(&notified, loop, now_us + 1000);
	notified_remind(&notified, loop, now_us + 30000000);
	loop_turn(loop, 1000000);
	assert_true(reminded);
	reminded = false;
	notified_remind(&notified, loop, clock_monotonic_us() + 1000);
	say(&notified, "READY=1\nSTATUS=x", 1);
	notified_reset(&notified, loop, true);
	assert_true(notified.asked && !notified.ready && notified.sign_of_life_us == 0);
	assert_string_equal(notified.status, "");
	loop_turn(loop, 20000);
	assert_false(reminded);
	notified_remind(&notified, loop, clock_monotonic_us() + 1000);
	loop_turn(loop, 1000000);
	assert_true(reminded);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_and_back),
		cmocka_unit_test(test_stopping_is_for_good),
		cmocka_unit_test(test_lines_of_one_message_count_in_order),
		cmocka_unit_test(test_heartbeat),
		cmocka_unit_test(test_what_means_nothing),
		cmocka_unit_test(test_a_message_ends_at_its_length_and_at_nul),
		cmocka_unit_test(test_long_status_is_cut_between_characters),
		cmocka_unit_test(test_reminder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
