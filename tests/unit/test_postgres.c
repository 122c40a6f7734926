/* The PostgreSQL probe's pure parts: lists of hosts, and what libpq's texts and the server's codes
 * mean. */
#include "probes/postgres_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_lists(void **state)
{
	char item[8];

	(void)state;
	assert_int_equal(postgres_list_count(""), 1);
	assert_int_equal(postgres_list_count("a"), 1);
	assert_int_equal(postgres_list_count("a,,b"), 3);
	assert_int_equal(postgres_list_item("a,,bcd", 0, item, sizeof(item)), 0);
	assert_string_equal(item, "a");
	assert_int_equal(postgres_list_item("a,,bcd", 1, item, sizeof(item)), 0);
	assert_string_equal(item, "");
	assert_int_equal(postgres_list_item("a,,bcd", 2, item, sizeof(item)), 0);
	assert_string_equal(item, "bcd");
	assert_int_equal(postgres_list_item("a,,bcd", 3, item, sizeof(item)), 0);
	assert_string_equal(item, "");
	assert_int_equal(postgres_list_item("1234567,x", 0, item, sizeof(item)), 0);
	assert_string_equal(item, "1234567");
	assert_int_equal(postgres_list_item("12345678,x", 0, item, sizeof(item)), -1);
	assert_string_equal(item, "");
}

static void test_words(void **state)
{
	(void)state;
	assert_true(postgres_has_word("one, two, three", "one"));
	assert_true(postgres_has_word("one, two, three", "three"));
	assert_false(postgres_has_word("one, two, three", "tw"));
	assert_false(postgres_has_word("one, two, three", "two, three"));
	assert_false(postgres_has_word("one, two, three", ""));
}

static void test_hosts(void **state)
{
	static const struct {
		const char *hosts, *addresses, *ports;
		const char *fault; /* NULL = none */
	} rows[] = {
		{"", "", "", NULL},
		{"db", "", "5432", NULL},
		{"a,b", "", "1,65535", NULL},
		{"a,b", "", "5432", NULL},
		{"a,b", "", ",", NULL},
		{"@abstract,/run/pg", "", "", NULL},
		{"", "10.0.0.1,::1", "", NULL},
		{"a,b", "", "1,2,3", "3 ports for 2 hosts"},
		{"a,b,c", "", "1,2", "2 ports for 3 hosts"},
		{"a", "", "0", "not a number"},
		{"a", "", "65536", "not a number"},
		{"a", "", "5432x", "not a number"},
		{"a", "", " 1", "not a number"},
		{"a", "", "+1", "not a number"},
		{"a", "", "-1", "not a number"},
		{"a", "", "543200000", "not a number"},
		{"word@db", "", "", "contains \"@\""},
		{"a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "", "", NULL},
		{"a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "", "", "at most 16"},
	};
	struct error error;
	char long_name[POSTGRES_HOST_SIZE + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int result = postgres_check_hosts(rows[i].hosts, rows[i].addresses, rows[i].ports,
						  &error);

		assert_int_equal(result, rows[i].fault ? -1 : 0);
		if (rows[i].fault)
			assert_non_null(strstr(error.text, rows[i].fault));
	}
	memset(long_name, 'a', sizeof(long_name));
	long_name[POSTGRES_HOST_SIZE - 1] = '\0';
	assert_int_equal(postgres_check_hosts(long_name, "", "", &error), 0);
	long_name[POSTGRES_HOST_SIZE - 1] = 'a';
	long_name[POSTGRES_HOST_SIZE] = '\0';
	assert_int_equal(postgres_check_hosts(long_name, "", "", &error), -1);
	assert_int_equal(postgres_check_hosts("", long_name, "", &error), -1);
}

/* What may be a part of a password is never shown. */
static void test_faults_show_nothing(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(postgres_check_hosts("user", "", "sesame", &error), -1);
	assert_null(strstr(error.text, "sesame"));
	assert_int_equal(postgres_check_hosts("sesame@db", "", "", &error), -1);
	assert_null(strstr(error.text, "sesame"));
}

#define SERVER "connection to server at \"db\" (10.0.0.1), port 5432 failed: "

static void test_server_errors(void **state)
{
	static const struct {
		const char *text, *sqlstate, *message;
	} rows[] = {
		{SERVER "FATAL:  57P03: the database system is starting up\n"
			"LOCATION:  ProcessStartupPacket, postmaster.c:2359\n",
		 "57P03", "the database system is starting up"},
		/* severities in other languages, also of several bytes */
		{SERVER "\xd0\x92\xd0\x90\xd0\x96\xd0\x9d\xd0\x9e:  53300: x.\n", "53300", "x"},
		{SERVER "SCHWERWIEGEND:  3D000: Datenbank \xc2\xbbx\xc2\xab existiert nicht\n",
		 "3D000", "Datenbank \xc2\xbbx\xc2\xab existiert nicht"},
		{"connection to server on socket \"/run/.s.PGSQL.5432\" failed: "
		 "FATAL:  28P01: password authentication failed for user \"app\"\n",
		 "28P01", "password authentication failed for user \"app\""},
		/* TLS first, then without: what was said first */
		{SERVER "SSL error: certificate verify failed\n" SERVER "FATAL:  28000: no entry\n",
		 "28000", "no entry"},
		{SERVER "FATAL:  28P01: wrong\n" SERVER "FATAL:  28000: no entry\n", "28P01",
		 "wrong"},
		{"FATAL:  XX000: tab\there\n", "XX000", "tab here"},
		{SERVER "Connection refused\n\tIs the server running?\n", "", ""},
		{SERVER "FATAL:  sorry, too many clients already\n", "", ""},
		{SERVER "FATAL:  57p03: lower case\n", "", ""},
		{SERVER "FATAL:  57P03 no colon\n", "", ""},
		{SERVER "FATAL:  57P", "", ""},
		{SERVER "FATAL\n:  57P03: the separator is on another line", "57P03",
		 "the separator is on another line"},
		{"", "", ""},
	};
	char sqlstate[SQLSTATE_SIZE], message[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool found =
			postgres_server_error(rows[i].text, sqlstate, message, sizeof(message));

		assert_int_equal(found, rows[i].sqlstate[0] != '\0');
		assert_string_equal(sqlstate, rows[i].sqlstate);
		assert_string_equal(message, rows[i].message);
	}
	assert_true(postgres_server_error("FATAL:  XX000: abcdefgh", sqlstate, message, 4));
	assert_string_equal(message, "abc");
}

static void test_sqlstates(void **state)
{
	static const struct {
		const char *sqlstate;
		enum probe_reason reason;
	} rows[] = {
		{"57P03", REASON_REJECTING},        {"57P01", REASON_REJECTING},
		{"57P02", REASON_REJECTING},        {"53300", REASON_TOO_MANY_CONNECTIONS},
		{"28P01", REASON_AUTH_FAILED},      {"28000", REASON_AUTH_FAILED},
		{"3D000", REASON_UNKNOWN_DATABASE}, {"42501", REASON_SERVER_ERROR},
		{"XX000", REASON_SERVER_ERROR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(postgres_reason_of_sqlstate(rows[i].sqlstate), rows[i].reason);
		/* Whoever sends a code lives. */
		assert_true(probe_reason_alive(rows[i].reason));
	}
}

static void test_errno(void **state)
{
	static const int numbers[] = {ECONNREFUSED, ENOENT,       EACCES,    ETIMEDOUT,
				      ENETUNREACH,  EHOSTUNREACH, ECONNRESET};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(text, sizeof(text), SERVER "%s\n\tIs the server running?\n",
			 strerror(numbers[i]));
		assert_int_equal(postgres_errno_of(text), numbers[i]);
	}
	assert_int_equal(postgres_errno_of(SERVER "FATAL:  nothing\n"), 0);
	assert_int_equal(postgres_errno_of(""), 0);
}

static void test_sentences(void **state)
{
	char sentence[64];

	(void)state;
	postgres_sentence(SERVER "one.\ntwo\n", sentence, sizeof(sentence));
	assert_string_equal(sentence, "one");
	postgres_sentence("connection to server died\n", sentence, sizeof(sentence));
	assert_string_equal(sentence, "connection to server died");
	postgres_sentence("", sentence, sizeof(sentence));
	assert_string_equal(sentence, "");
	postgres_sentence_unquoted(
		"missing \"=\" after \"pass\"wo\"rd\" in connection info string\n", sentence,
		sizeof(sentence));
	assert_string_equal(sentence, "missing ... in connection info string");
	postgres_sentence_unquoted("bad URI: \"postgres://u:secret@\nh\"\n", sentence,
				   sizeof(sentence));
	assert_string_equal(sentence, "bad URI: ...");
	postgres_sentence_unquoted("bad token: \"secret", sentence, sizeof(sentence));
	assert_string_equal(sentence, "bad token: ...");
	postgres_sentence_unquoted("no quotes\n", sentence, sizeof(sentence));
	assert_string_equal(sentence, "no quotes");
	for (size_t size = 1; size < sizeof(sentence); size++) {
		postgres_sentence_unquoted("missing \"=\" after \"secret\" in string", sentence,
					   size);
		assert_true(strlen(sentence) < size);
		assert_null(strstr(sentence, "sec"));
	}
}

static void test_wants_password(void **state)
{
	static const struct {
		unsigned char head[AUTHENTICATION_HEAD_SIZE];
		bool wants;
	} rows[] = {
		{{'R', 0, 0, 0, 8, 0, 0, 0, 0}, false},  /* in without a password */
		{{'R', 0, 0, 0, 8, 0, 0, 0, 3}, true},   /* in clear */
		{{'R', 0, 0, 0, 12, 0, 0, 0, 5}, true},  /* MD5 */
		{{'R', 0, 0, 0, 23, 0, 0, 0, 10}, true}, /* SASL */
		{{'E', 0, 0, 0, 90, 'S', 'F', 'A', 'T'}, false}, {{0}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(postgres_wants_password(rows[i].head), rows[i].wants);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),          cmocka_unit_test(test_words),
		cmocka_unit_test(test_hosts),          cmocka_unit_test(test_faults_show_nothing),
		cmocka_unit_test(test_server_errors),  cmocka_unit_test(test_sqlstates),
		cmocka_unit_test(test_errno),          cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_wants_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
