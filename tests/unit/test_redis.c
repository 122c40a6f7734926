/* The Redis probe's pure parts: what the server's texts mean, and where settings say to connect. */
#include "probes/redis_settings.h"
#include "probes/redis_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REPLICA_INFO(link, sync, since) \
	"# Replication\r\nrole:slave\r\nmaster_host:db\r\nmaster_port:6379\r\n" \
	"master_link_status:" link "\r\nmaster_last_io_seconds_ago:-1\r\n" \
	"master_sync_in_progress:" sync "\r\n" since "slave_read_only:1\r\n"

static void test_info_value(void **state)
{
	static const char info[] = "# Replication\r\nrole:master\r\nrole2:x\r\nempty:\r\n"
				   "slave0:ip=10.0.0.1,port=6379,state=online\r\nlast:7";
	static const struct {
		const char *name, *value;
	} rows[] = {
		{"role", "master"}, {"role2", "x"},
		{"empty", ""},      {"slave0", "ip=10.0.0.1,port=6379,state=online"},
		{"last", "7"},      {"absent", ""},
		{"slave", ""},      {"# Replication", ""},
		{"ole", ""},
	};
	char value[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		redis_info_value(info, rows[i].name, value, sizeof(value));
		assert_string_equal(value, rows[i].value);
	}
	redis_info_value("", "role", value, sizeof(value));
	assert_string_equal(value, "");
	redis_info_value("role:\x1b[1m\xc3\xa4", "role", value, sizeof(value));
	assert_string_equal(value, "?[1m??");
	redis_info_value(info, "role", value, 4);
	assert_string_equal(value, "mas");
}

static void test_quote(void **state)
{
	char quoted[12];

	(void)state;
	redis_quote("ERR no\r\nmore", NULL, quoted, sizeof(quoted));
	assert_string_equal(quoted, "ERR no");
	redis_quote("a\tb\x7f"
		    "c",
		    "", quoted, sizeof(quoted));
	assert_string_equal(quoted, "a?b?c");
	redis_quote("a long text", "lon", quoted, sizeof(quoted));
	assert_null(strstr(quoted, "lon"));
	redis_quote("twelve bytes", NULL, quoted, sizeof(quoted));
	assert_string_equal(quoted, "twelve byte");
}

static void test_replication(void **state)
{
	static const struct {
		const char *info;
		enum redis_role wanted;
		enum probe_reason reason;
		const char *words; /* that are in the sentence */
	} rows[] = {
		{"role:master\r\nconnected_slaves:0\r\n", REDIS_ROLE_PRIMARY, REASON_OK, NULL},
		{"role:master\r\nconnected_slaves:0\r\n", REDIS_ROLE_ANY, REASON_OK, NULL},
		{"role:master\r\n", REDIS_ROLE_REPLICA, REASON_WRONG_ROLE,
		 "expected a replica, found role:master"},
		{"role:primary\n", REDIS_ROLE_PRIMARY, REASON_OK, NULL},
		{REPLICA_INFO("up", "0", ""), REDIS_ROLE_REPLICA, REASON_OK, NULL},
		{REPLICA_INFO("up", "0", ""), REDIS_ROLE_ANY, REASON_OK, NULL},
		{REPLICA_INFO("up", "0", ""), REDIS_ROLE_PRIMARY, REASON_WRONG_ROLE,
		 "expected a primary, found role:slave"},
		{REPLICA_INFO("down", "0", "master_link_down_since_seconds:77\r\n"),
		 REDIS_ROLE_REPLICA, REASON_REPLICA_LINK_DOWN, "db:6379 has been down for 77 s"},
		{REPLICA_INFO("down", "0", "master_link_down_since_seconds:-1\r\n"), REDIS_ROLE_ANY,
		 REASON_REPLICA_LINK_DOWN, "has not reached its primary db:6379"},
		{REPLICA_INFO("down", "0", ""), REDIS_ROLE_ANY, REASON_REPLICA_LINK_DOWN, "yet"},
		{REPLICA_INFO("down", "1", "master_link_down_since_seconds:2\r\n"),
		 REDIS_ROLE_REPLICA, REASON_REPLICA_SYNCING, "copying the dataset"},
		{"role:slave\r\n", REDIS_ROLE_REPLICA, REASON_REPLICA_SYNCING, ""},
		{"role:sentinel\r\n", REDIS_ROLE_PRIMARY, REASON_WRONG_ROLE, "role:sentinel"},
		{"", REDIS_ROLE_PRIMARY, REASON_WRONG_ROLE, "expected a primary"},
	};
	char sentence[REDIS_SENTENCE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(redis_judge_replication(rows[i].info, rows[i].wanted, sentence),
				 rows[i].reason);
		if (rows[i].words)
			assert_non_null(strstr(sentence, rows[i].words));
	}
}

static void test_cluster(void **state)
{
	char sentence[REDIS_SENTENCE_SIZE];

	(void)state;
	assert_int_equal(redis_judge_cluster("cluster_enabled:1\r\ncluster_state:ok\r\n", sentence),
			 REASON_OK);
	assert_int_equal(
		redis_judge_cluster("cluster_state:fail\r\ncluster_slots_assigned:16384\r\n"
				    "cluster_slots_ok:10923\r\n",
				    sentence),
		REASON_CLUSTER_DOWN);
	assert_non_null(strstr(sentence, "cluster_state:fail with 10923 of 16384 slots"));
	assert_int_equal(redis_judge_cluster("", sentence), REASON_CLUSTER_DOWN);
}

/* The errors as servers from Redis 5 to 8 word them. */
static void test_errors(void **state)
{
	static const struct {
		const char *text, *command;
		enum probe_reason reason;
		const char *words;
	} rows[] = {
		{"LOADING Redis is loading the dataset in memory", "PING", REASON_LOADING,
		 "loading"},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		 "PING", REASON_MASTER_DOWN, "lost its primary"},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
		 "NOSAVE.",
		 "PING", REASON_BUSY, "script"},
		{"BUSYGROUP Consumer Group name already exists", "PING", REASON_ERROR_REPLY,
		 "PING was answered with the error BUSYGROUP Consumer Group name already exists"},
		{"NOAUTH Authentication required.", "PING", REASON_NOAUTH, "password"},
		{"WRONGPASS invalid username-password pair or user is disabled.", "AUTH",
		 REASON_WRONGPASS, "refused"},
		{"ERR invalid password", "AUTH", REASON_WRONGPASS, "refused the password"},
		{"ERR Client sent AUTH, but no password is set", "AUTH", REASON_WRONGPASS,
		 "has none"},
		{"ERR AUTH <password> called without any password configured for the default user. "
		 "Are you sure your configuration is correct?",
		 "AUTH", REASON_WRONGPASS, "has none"},
		{"ERR wrong number of arguments for 'auth' command", "AUTH", REASON_WRONGPASS,
		 "Redis 6"},
		{"ERR unknown command `AUTH`, with args beginning with: `pass", "AUTH",
		 REASON_ERROR_REPLY, "AUTH was answered with the error ERR"},
		{"ERR max number of clients reached", "PING", REASON_MAX_CLIENTS, "maxclients"},
		{"ERR max number of clients + cluster connections reached", "AUTH",
		 REASON_MAX_CLIENTS, "maxclients"},
		{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to "
		 "persist to disk.",
		 "PING", REASON_MISCONF, "disk"},
		{"DENIED Redis is running in protected mode because protected mode is enabled",
		 "PING", REASON_DENIED, "protected mode"},
		{"CLUSTERDOWN Hash slot not served", "EXISTS", REASON_CLUSTER_DOWN, "slot"},
		{"NOPERM this user has no permissions to run the 'info' command or its subcommand",
		 "INFO", REASON_NOPERM, "the user \"app\" may not run INFO: give it +it"},
		{"NOPERM User app has no permissions to run the 'exists' command", "EXISTS",
		 REASON_NOPERM, "may not run EXISTS: give it +it"},
		{"NOPERM this user has no permissions to access one of the keys used as arguments",
		 "EXISTS", REASON_NOPERM, "may not read the key \"k\": give it ~k"},
		{"NOPERM No permissions to access a key", "EXISTS", REASON_NOPERM, "give it ~k"},
		{"ERR the password is pass!", "PING", REASON_ERROR_REPLY, "not shown"},
		{"", "PING", REASON_ERROR_REPLY, "PING was answered with the error"},
	};
	char sentence[REDIS_SENTENCE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct redis_question question = {.command = rows[i].command,
						  .permission = "+it",
						  .user = "app",
						  .password = "pass!"};

		if (strcmp(rows[i].command, "EXISTS") == 0)
			question.key = "k";
		assert_int_equal(redis_judge_error(rows[i].text, &question, sentence),
				 rows[i].reason);
		assert_non_null(strstr(sentence, rows[i].words));
		assert_null(strstr(sentence, "pass!"));
		if (strcmp(rows[i].command, "AUTH") == 0)
			assert_null(strstr(sentence, "args"));
	}
}

static void test_unnamed_user(void **state)
{
	struct redis_question question = {.command = "PING", .permission = "+ping"};
	char sentence[REDIS_SENTENCE_SIZE];

	(void)state;
	assert_int_equal(redis_judge_error("NOPERM this user has no permissions to run the 'ping' "
					   "command",
					   &question, sentence),
			 REASON_NOPERM);
	assert_string_equal(sentence, "the user \"default\" may not run PING: give it +ping");
}

static void test_endpoint(void **state)
{
	static const struct {
		const char *url;
		const char *host;
		unsigned short port;
		const char *unix_socket, *user, *password;
		int64_t database;
		bool tls;
	} rows[] = {
		{"redis://cache", "cache", 6379, NULL, NULL, NULL, 0, false},
		{"redis://cache/", "cache", 6379, NULL, NULL, NULL, 0, false},
		{"redis://cache:7000/12", "cache", 7000, NULL, NULL, NULL, 12, false},
		{"redis://cache?db=4", "cache", 6379, NULL, NULL, NULL, 4, false},
		{"redis://cache?ssl_cert_reqs=none&db=4&x=y", "cache", 6379, NULL, NULL, NULL, 4,
		 false},
		{"redis://cache?xdb=4", "cache", 6379, NULL, NULL, NULL, 0, false},
		{"redis://:s%40cret@cache", "cache", 6379, NULL, NULL, "s@cret", 0, false},
		{"redis://app:secret@[::1]:6380/1", "::1", 6380, NULL, "app", "secret", 1, false},
		{"redis://app@cache", "cache", 6379, NULL, "app", NULL, 0, false},
		{"redis:///3", "127.0.0.1", 6379, NULL, NULL, NULL, 3, false},
		{"valkey://cache", "cache", 6379, NULL, NULL, NULL, 0, false},
		{"redis+unix:///run/r%20s.sock", "127.0.0.1", 6379, "/run/r s.sock", NULL, NULL, 0,
		 false},
		{"redis+unix://app:secret@/run/redis.sock?db=2", "127.0.0.1", 6379,
		 "/run/redis.sock", "app", "secret", 2, false},
		{"redis+unix:@abstract", "127.0.0.1", 6379, "@abstract", NULL, NULL, 0, false},
		{"rediss://cache:6390", "cache", 6390, NULL, NULL, NULL, 0, true},
		{"valkeys://cache", "cache", 6379, NULL, NULL, NULL, 0, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char url[128];
		struct redis_settings settings = {.url.value = url};
		struct redis_endpoint endpoint;
		struct error error = {.text = ""};

		if (rows[i].tls && !READYD_TLS)
			continue;
		snprintf(url, sizeof(url), "%s", rows[i].url);
		assert_int_equal(redis_settings_check(&settings, false, &error), 0);
		assert_int_equal(redis_endpoint_read(&endpoint, &settings, &error), 0);
		assert_string_equal(endpoint.host, rows[i].host);
		assert_int_equal(endpoint.port, rows[i].port);
		assert_string_equal(endpoint.unix_socket ? endpoint.unix_socket : "-",
				    rows[i].unix_socket ? rows[i].unix_socket : "-");
		assert_string_equal(endpoint.user ? endpoint.user : "-",
				    rows[i].user ? rows[i].user : "-");
		assert_string_equal(endpoint.password ? endpoint.password : "-",
				    rows[i].password ? rows[i].password : "-");
		assert_int_equal(endpoint.database, rows[i].database);
		assert_int_equal(endpoint.tls, rows[i].tls);
		redis_endpoint_clear(&endpoint);
	}
}

static void test_refused(void **state)
{
	static const char *const urls[] = {
		"redis://cache/x",
		"redis://cache/1/2",
		"redis://cache/123456789",
		"redis://cache/-1",
		"redis://cache?db=",
		"redis://cache?db=x",
		"redis+unix://run/sock",
		"redis+unix://",
		"redis+unix:///",
		"http://cache",
		"redis://cache:port",
		"cache:6379",
		"redis+unix:///run/s?db=1x",
		/* without TLS */
		"rediss://cache",
		"valkeys://cache",
	};
	const size_t url_count = sizeof(urls) / sizeof(urls[0]) - (READYD_TLS ? 2 : 0);
	char host[] = "cache", path[] = "/run/redis.sock", url[64];
	struct redis_settings conflicts[] = {
		{.url.value = url, .host = host},
		{.url.value = url, .port = 6379},
		{.url.file = path, .unix_socket = path},
		{.unix_socket = path, .host = host},
		{.unix_socket = path, .port = 6379},
		{.unix_socket = path, .tls = true},
		{.host = host, .tls_settings.key_file = path},
		{.database = 1},
	};

	(void)state;
	for (size_t i = 0; i < url_count; i++) {
		struct redis_settings settings = {.url.value = url};
		struct error error = {.text = ""};

		snprintf(url, sizeof(url), "%s", urls[i]);
		if (redis_settings_check(&settings, false, &error) == 0)
			fail_msg("accepted: %s", url);
		assert_true(error.text[0] != '\0');
	}
	snprintf(url, sizeof(url), "redis://cache");
	for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++) {
		struct error error = {.text = ""};

		assert_int_equal(redis_settings_check(&conflicts[i], false, &error), -1);
		assert_true(error.text[0] != '\0');
	}
}

/* What is set beside the URL wins over what the URL says. */
static void test_settings_beside_url(void **state)
{
	char url[] = "redis://app:secret@cache/1", user[] = "other", password[] = "better";
	struct redis_settings settings = {.url.value = url,
					  .user = user,
					  .password.value = password,
					  .database = 5};
	struct redis_endpoint endpoint;
	struct error error = {.text = ""};

	(void)state;
	assert_int_equal(redis_endpoint_read(&endpoint, &settings, &error), 0);
	assert_string_equal(endpoint.user, "other");
	assert_string_equal(endpoint.password, "better");
	assert_int_equal(endpoint.database, 5);
	redis_endpoint_clear(&endpoint);
}

static void test_describe(void **state)
{
	char url[] = "redis://app:secret@cache/1", file[] = "/run/url", host[] = "cache";
	char ipv6[] = "::1", path[] = "/run/redis.sock", user[] = "app";
	const struct {
		struct redis_settings settings;
		const char *text;
	} rows[] = {
		{{.url.value = url}, "redis://app:***@cache/1"},
		{{.url.file = file}, "redis: the URL in /run/url"},
		{{.host = host}, "redis://cache:6379"},
		{{.port = 7000, .user = user, .database = 3}, "redis://app@127.0.0.1:7000/3"},
		{{.host = ipv6, .tls = true}, "rediss://[::1]:6379"},
		{{.unix_socket = path, .database = 3}, "redis+unix:///run/redis.sock?db=3"},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		redis_settings_describe(&rows[i].settings, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_info_value),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_replication),
		cmocka_unit_test(test_cluster),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_unnamed_user),
		cmocka_unit_test(test_endpoint),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_settings_beside_url),
		cmocka_unit_test(test_describe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
