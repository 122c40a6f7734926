/* The configuration as a whole: file, environment and command line, with the real probe types. */
#include "agent/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config_lint.h"
#include "agent/config_plan.h"
#include "agent/config_probe.h"

static char directory[] = "/tmp/readyd-test-XXXXXX";

#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const no_environment[] = {NULL};

/* As config_load(), of texts that are constant. */
static struct config *load_file(const char *path, const char *const *environment,
				const struct override *overrides, size_t override_count,
				struct faults *faults)
{
	return config_load(path, (char *const *)(const void *)environment, overrides,
			   override_count, faults);
}

/* Loads a YAML text as the file "f" of the current directory. */
static struct config *load(const char *yaml, const char *const *environment,
			   const struct override *overrides, size_t override_count,
			   struct faults *faults)
{
	FILE *file = fopen("f", "we");

	assert_non_null(file);
	fputs(yaml, file);
	fclose(file);
	return load_file("f", environment, overrides, override_count, faults);
}

/* Loads what must be right. */
static struct config *load_good(const char *yaml, const char *const *environment,
				const struct override *overrides, size_t override_count)
{
	struct faults faults = {0};
	struct config *config = load(yaml, environment, overrides, override_count, &faults);

	if (!config)
		fail_msg("%s", faults.first->text);
	assert_int_equal(faults.errors, 0);
	faults_free(&faults);
	return config;
}

/* Asserts that exactly these faults and warnings are found, one in each line of `expected`. */
static void assert_faults(const char *yaml, const char *const *environment,
			  const struct override *overrides, size_t override_count,
			  const char *expected)
{
	struct faults faults = {0};
	struct config *config = load(yaml, environment, overrides, override_count, &faults);
	char found[8192] = "";

	for (const struct fault *fault = faults.first; fault; fault = fault->next)
		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s\n",
			 fault->warning ? "warning: " : "", fault->text);
	assert_string_equal(found, expected);
	assert_int_equal(config == NULL, faults.errors > 0);
	config_free(config);
	faults_free(&faults);
}

static const struct probe_config *find_probe(const struct config *config, enum role role,
					     const char *name)
{
	for (size_t i = 0; i < config->probe_count; i++) {
		if (config->probes[i]->role == role && strcmp(config->probes[i]->name, name) == 0)
			return config->probes[i];
	}
	fail_msg("there is no probe %s", name);
	return NULL;
}

/* The identity of the only probe of a text. */
static uint64_t identity(const char *yaml)
{
	struct config *config = load_good(yaml, no_environment, NULL, 0);
	uint64_t result = config->probes[0]->identity;

	config_free(config);
	return result;
}

/* ---- settings of the top level ---- */

static void test_defaults(void **state)
{
	struct faults faults = {0};
	struct config *config = load_file(NULL, no_environment, NULL, 0, &faults);
	const struct settings *settings = &config->settings;

	(void)state;
	assert_string_equal(settings->service, "readyd");
	assert_string_equal(settings->version, "");
	assert_int_equal(settings->listen.count, 2);
	assert_string_equal(settings->listen.items[0], "0.0.0.0:8086");
	assert_string_equal(settings->listen.items[1], "[::]:8086");
	assert_string_equal(settings->socket, "@readyd");
	assert_int_equal(settings->details, DETAILS_NEVER);
	assert_int_equal(settings->log_format, LOG_FORMAT_AUTO);
	assert_int_equal(settings->log_level, CONFIG_LOG_INFO);
	assert_int_equal(settings->connection_limit, 256);
	assert_int_equal(settings->request_timeout_us, 5000000);
	assert_int_equal(settings->idle_timeout_us, 75000000);
	assert_int_equal(settings->stale_after_us, 2000000);
	assert_int_equal(settings->drain_delay_us, 5000000);
	assert_int_equal(config->probe_count, 0);
	config_free(config);
}

static void test_settings(void **state)
{
	struct config *config = load_good("service: user-service\n"
					  "version: 1.10\n"
					  "listen: [127.0.0.1:1, 'unix:@x', ':0', '*:65535']\n"
					  "socket: /run/readyd.sock\n"
					  "details: always\n"
					  "logFormat: text\n"
					  "logLevel: debug\n"
					  "connectionLimit: 9\n"
					  "requestTimeoutSeconds: 500ms\n"
					  "idleTimeoutSeconds: 1m\n"
					  "staleAfterSeconds: 0.5\n"
					  "drain: {delaySeconds: 0}\n"
					  "liveness:\nreadiness: {}\nstartup: ~\n",
					  no_environment, NULL, 0);
	const struct settings *settings = &config->settings;

	(void)state;
	assert_string_equal(settings->service, "user-service");
	assert_string_equal(settings->version, "1.10");
	assert_int_equal(settings->listen.count, 4);
	assert_string_equal(settings->socket, "/run/readyd.sock");
	assert_int_equal(settings->details, DETAILS_ALWAYS);
	assert_int_equal(settings->log_format, LOG_FORMAT_TEXT);
	assert_int_equal(settings->log_level, CONFIG_LOG_DEBUG);
	assert_int_equal(settings->connection_limit, 9);
	assert_int_equal(settings->request_timeout_us, 500000);
	assert_int_equal(settings->idle_timeout_us, 60000000);
	assert_int_equal(settings->stale_after_us, 500000);
	assert_int_equal(settings->drain_delay_us, 0);
	config_free(config);
}

static void test_wrong_settings(void **state)
{
	(void)state;
	assert_faults(
		"servce: x\n"
		"drain: {delaySecond: 5}\n"
		"drain.delaySeconds: 5\n"
		"logLevel: warn\n"
		"liveness: http://127.0.0.1\n"
		"Readiness: {}\n"
		"nonsense: [1, 2]\n"
		"details: [never]\n",
		no_environment, NULL, 0,
		"f:1:1: unknown setting \"servce\", did you mean service?\n"
		"f:2:9: unknown setting \"drain.delaySecond\", did you mean delaySeconds?\n"
		"f:3:1: in a file the part of \"drain.delaySeconds\" before the dot is a map of "
		"its own\n"
		"f:4:11: logLevel is \"warn\", did you mean \"warning\"? expected one of debug, "
		"info, warning, error\n"
		"f:5:11: liveness must be a map of probes by their names, such as \"liveness: "
		"{ app: http://127.0.0.1:8080/healthz }\"\n"
		"f:6:1: unknown setting \"Readiness\", did you mean readiness?\n"
		"f:7:1: unknown setting \"nonsense\"; see readyd config fields\n"
		"f:8:10: details must be a single value, found a list\n");
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"0.0.0.0:8086", true},
		{"[::]:8086", true},
		{"[::1]:1", true},
		{":8086", true},
		{"*:8086", true},
		{"localhost:8086", true},
		{"127.0.0.1:0", true},
		{"none", true},
		{"unix:/run/x", true},
		{"unix:@x", true},
		{"8086", false},
		{"0.0.0.0", false},
		{"::1:80", false},
		{"[::1]", false},
		{"[::1]80", false},
		{"127.0.0.1:65536", false},
		{"127.0.0.1:-1", false},
		{"127.0.0.1:", false},
		{"127.0.0.1:8.0", false},
		{"127.0.0.1:+8", false},
		{"example:80", false},
		{"[127.0.0.1]:80", false},
		{"1.2.3:80", false},
		{"unix:x", false},
		{"unix:", false},
		{"unix:@", false},
		{"None", false},
		{"", false},
		{"http://0.0.0.0:80", false},
		{"unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
		 "012345678901234567890123456789012345678",
		 false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct faults faults = {0};
		struct override override = {"listen", cases[i].text};
		struct config *config = load_file(NULL, no_environment, &override, 1, &faults);

		if ((config != NULL) != cases[i].good)
			fail_msg("\"%s\": %s", cases[i].text,
				 faults.first ? faults.first->text : "good");
		config_free(config);
		faults_free(&faults);
	}
	assert_faults("listen: ['127.0.0.1:1', none]\n", no_environment, NULL, 0,
		      "f:1:25: none stands alone or not at all in listen\n");
	assert_faults("listen: []\nsocket: x\n", no_environment, NULL, 0,
		      "f:1:9: listen is empty, expected an address such as 0.0.0.0:8086, or none\n"
		      "f:2:9: socket: a unix socket must be an absolute path or @NAME; expected "
		      "@NAME, /PATH or none\n");
}

/* ---- probes ---- */

static void test_forms_of_probes(void **state)
{
	struct config *config =
		load_good("readiness:\n"
			  "  short: redis://cache:6379\n"
			  "  target: {target: 'redis://cache:6379', periodSeconds: 5}\n"
			  "  block: {redis: {url: 'redis://cache:6379'}}\n"
			  "  scalar: {redis: 'redis://cache:6379', timeoutSeconds: 2}\n"
			  "  command: {exec: '/bin/true -x'}\n"
			  "  exec: {exec: {command: [/bin/true, -x]}}\n"
			  "  url: exec:/bin/true -x\n"
			  "  flat: {target: 'redis://cache', role: primary}\n",
			  no_environment, NULL, 0);

	(void)state;
	assert_int_equal(config->probe_count, 8);
	assert_string_equal(config->probes[0]->name, "short");
	assert_string_equal(find_probe(config, ROLE_READINESS, "short")->target,
			    "redis://cache:6379");
	assert_int_equal(find_probe(config, ROLE_READINESS, "target")->period_us, 5000000);
	assert_int_equal(find_probe(config, ROLE_READINESS, "scalar")->timeout_us, 2000000);
	assert_string_equal(find_probe(config, ROLE_READINESS, "block")->type->name, "redis");
	assert_string_equal(find_probe(config, ROLE_READINESS, "command")->type->name, "exec");
	assert_string_equal(find_probe(config, ROLE_READINESS, "command")->target,
			    find_probe(config, ROLE_READINESS, "exec")->target);
	assert_string_equal(find_probe(config, ROLE_READINESS, "url")->target,
			    find_probe(config, ROLE_READINESS, "exec")->target);
	config_free(config);
}

static void test_schedule(void **state)
{
	struct config *config = load_good("readiness:\n"
					  "  d: redis://h\n"
					  "  s:\n"
					  "    redis: {url: 'redis://h'}\n"
					  "    initialDelaySeconds: 1.5\n"
					  "    periodSeconds: 0.01\n"
					  "    timeoutSeconds: 5ms\n"
					  "    successThreshold: 4\n"
					  "    failureThreshold: 5\n",
					  no_environment, NULL, 0);
	const struct probe_config *probe = config->probes[0];

	(void)state;
	assert_int_equal(probe->initial_delay_us, 0);
	assert_int_equal(probe->period_us, 10000000);
	assert_int_equal(probe->timeout_us, 1000000);
	assert_int_equal(probe->success_threshold, 1);
	assert_int_equal(probe->failure_threshold, 3);
	probe = config->probes[1];
	assert_int_equal(probe->initial_delay_us, 1500000);
	assert_int_equal(probe->period_us, 10000);
	assert_int_equal(probe->timeout_us, 5000);
	assert_int_equal(probe->success_threshold, 4);
	assert_int_equal(probe->failure_threshold, 5);
	config_free(config);
}

/* Blocks as they stand in pod specs and in Kubernetes' own documentation. */
static void test_pod_spec(void **state)
{
	struct config *config = load_good("livenessProbe:\n"
					  "  httpGet:\n"
					  "    path: /healthz\n"
					  "    port: 8080\n"
					  "    httpHeaders:\n"
					  "    - name: Custom-Header\n"
					  "      value: Awesome\n"
					  "  initialDelaySeconds: 3\n"
					  "  periodSeconds: 3\n"
					  "readinessProbe:\n"
					  "  tcpSocket:\n"
					  "    port: 8080\n"
					  "  initialDelaySeconds: 15\n"
					  "startupProbe:\n"
					  "  exec:\n"
					  "    command:\n"
					  "    - cat\n"
					  "    - /tmp/healthy\n"
					  "  failureThreshold: 30\n"
					  "readiness:\n"
					  "  other: redis://h\n",
					  no_environment, NULL, 0);

	(void)state;
	assert_int_equal(config->probe_count, 4);
	assert_string_equal(find_probe(config, ROLE_LIVENESS, "app")->type->name, "http");
	assert_int_equal(find_probe(config, ROLE_LIVENESS, "app")->period_us, 3000000);
	assert_string_equal(find_probe(config, ROLE_READINESS, "app")->type->name, "tcp");
	assert_string_equal(find_probe(config, ROLE_STARTUP, "app")->type->name, "exec");
	assert_int_equal(find_probe(config, ROLE_STARTUP, "app")->failure_threshold, 30);
	config_free(config);
}

static void test_threshold_of_a_type(void **state)
{
	struct config *config = load_good(
		"liveness: {a: notify:ready, b: {target: notify:ready, failureThreshold: 2},\n"
		"           c: {notify: {watchdogSeconds: 5}}}\n"
		"startup: {d: notify:ready}\n",
		no_environment, NULL, 0);
	static const int expected[] = {1, 2, 1, 3};

	(void)state;
	assert_int_equal(config->probe_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(config->probes[i]->failure_threshold, expected[i]);
	config_free(config);
	assert_faults("liveness: {a: 'notify:'}\n", no_environment, NULL, 0,
		      "f:1:15: a: expected notify:ready\n");
}

static void test_pod_spec_limits(void **state)
{
	(void)state;
	assert_faults(
		"liveness: {app: 'http://127.0.0.1'}\n"
		"livenessProbe: {httpGet: {port: 80}}\n"
		"readinessProbe: {httpGet: {port: web}, terminationGracePeriodSeconds: 5}\n"
		"startupProbe: {grpc: {port: 9}, successThreshold: 2,\n"
		"  terminationGracePeriodSeconds: 5}\n",
		no_environment, NULL, 0,
		"f:2:1: livenessProbe is the probe app under liveness, which is set too\n"
		"f:3:34: port is the name of one of the pod's ports, which only the kubelet "
		"knows; expected its number\n"
		"f:3:40: terminationGracePeriodSeconds must not be set for a readiness probe\n"
		"f:4:16: grpc probes are not supported yet, expected one of http, exec, tcp, "
		"postgres, redis, notify, target\n"
		"f:4:51: successThreshold must be 1 for a startup probe\n"
		"warning: f:5:34: terminationGracePeriodSeconds has no effect here; readyd does "
		"not end what it probes\n");
}

static void test_wrong_probes(void **state)
{
	(void)state;
	assert_faults(
		"readiness:\n"
		"  a: {http: 'http://h', tcp: 'tcp://h:1'}\n"
		"  b: {periodSeconds: 1}\n"
		"  c: {redis: {periodSeconds: 1}}\n"
		"  d: {redis: {url: 'redis://h'}, role: primary}\n"
		"  e: {redis: {url: 'redis://h', rol: primary}}\n"
		"  f: {target: 'redis://h', rol: primary, perodSeconds: 1}\n"
		"  g: [x]\n"
		"  h:\n"
		"  i: {redis: [x]}\n"
		"  j: {target: [x]}\n"
		"  k: {redis: 'http://h'}\n"
		"  l: {redis: {url: 'redis://h', urlFile: /nonexistent}}\n"
		"  m: {target: 'redis://h', url: 'redis://h'}\n"
		"  n: {redsi: {}, periodSecond: 1, foo: 1}\n"
		"  o: {redis: {url: 'redis://h'}, htpp: {}}\n"
		"  bad name: redis://h\n"
		"  .p: redis://h\n"
		"  liveness: redis://h\n",
		no_environment, NULL, 0,
		"f:2:25: a has both http and tcp, expected exactly one of them\n"
		"f:3:3: b does not say what to probe, expected one of http, exec, tcp, "
		"postgres, redis, notify, target\n"
		"f:4:15: periodSeconds belongs beside redis:, not inside it\n"
		"f:5:34: role belongs inside redis:, not beside it\n"
		"f:6:33: unknown setting \"rol\" of redis, did you mean role?\n"
		"f:7:28: unknown setting \"rol\" of redis, did you mean role?\n"
		"f:7:42: unknown setting \"perodSeconds\" of redis, did you mean "
		"periodSeconds?\n"
		"f:8:3: g must be a target such as http://127.0.0.1:8080/healthz or a map of "
		"settings\n"
		"f:9:3: h must be a target such as http://127.0.0.1:8080/healthz or a map of "
		"settings\n"
		"f:10:14: redis must be a map of settings or a target such as "
		"redis://app:secret@cache:6379/0\n"
		"f:11:15: the target of j must be a URL such as "
		"http://127.0.0.1:8080/healthz\n"
		"f:12:14: http: is a target of http and not of redis\n"
		"f:13:42: l has both url and urlFile, expected one of them\n"
		"f:14:15: m has both url and target, expected one of them\n"
		"f:15:3: n does not say what to probe, expected one of http, exec, tcp, "
		"postgres, redis, notify, target\n"
		"f:15:7: unknown setting \"redsi\" of n, did you mean redis?\n"
		"f:15:18: unknown setting \"periodSecond\" of n, did you mean periodSeconds?\n"
		"f:16:34: unknown setting \"htpp\" of redis, did you mean http?\n"
		"f:17:3: \"bad name\" is no name for a probe, expected letters, digits, \".\", "
		"\"_\" and \"-\", at most 63, and not the name of a role\n"
		"f:18:3: \".p\" is no name for a probe, expected letters, digits, \".\", \"_\" "
		"and \"-\", at most 63, and not the name of a role\n"
		"f:19:3: \"liveness\" is no name for a probe, expected letters, digits, "
		"\".\", \"_\" and \"-\", at most 63, and not the name of a role\n");
}

/* A fault in the schedule does not hide one in the target, and the other way round. */
static void test_all_faults_of_a_probe(void **state)
{
	(void)state;
	assert_faults("liveness:\n"
		      "  a: {postgres: {url: nonsense}, periodSeconds: 0, successThreshold: 2}\n",
		      no_environment, NULL, 0,
		      "f:2:7: a: url is neither a URL (postgres://app@db/users) nor a connection "
		      "string (host=db user=app dbname=users)\n"
		      "f:2:49: periodSeconds is \"0\", expected seconds (such as 0.5, 10, 500ms or "
		      "1m) from 0.01 to 86400\n"
		      "f:2:70: successThreshold must be 1 for a liveness probe\n");
}

static void test_names(void **state)
{
	(void)state;
	assert_true(probe_name_is_good("a"));
	assert_true(probe_name_is_good("0.A_b-c"));
	assert_true(probe_name_is_good(
		"012345678901234567890123456789012345678901234567890123456789012"));
	assert_false(probe_name_is_good(
		"0123456789012345678901234567890123456789012345678901234567890123"));
	assert_false(probe_name_is_good(""));
	assert_false(probe_name_is_good("-a"));
	assert_false(probe_name_is_good("a/b"));
	assert_false(probe_name_is_good("\xc3\xa9"));
	assert_false(probe_name_is_good("readiness"));
	assert_true(probe_name_is_good("Readiness"));
}

/* ---- environment ---- */

static void test_environment_of_settings(void **state)
{
	struct config *config = load_good(
		"service: file\nlogFormat: text\nversion: file\ndrain: {delaySeconds: 7}\n",
		ENVIRONMENT("READYD_SERVICE=env", "READYD_LISTEN=127.0.0.1:1, [::1]:2",
			    "READYD_LOG_FORMAT=json", "READYD_DRAIN_DELAY_SECONDS=9",
			    "READYD_VERSION=", "READYD_CONFIG=/some/where", "OTHER=x", "READYD=x",
			    "READYDX=1", "READYD_CONNECTION_LIMIT=8",
			    /* what Kubernetes sets for a Service called readyd */
			    "READYD_SERVICE_HOST=10.0.0.1", "READYD_SERVICE_PORT=80",
			    "READYD_SERVICE_PORT_HTTP=80", "READYD_PORT=tcp://10.0.0.1:80",
			    "READYD_PORT_80_TCP=tcp://10.0.0.1:80"),
		NULL, 0);

	(void)state;
	assert_string_equal(config->settings.service, "env");
	assert_string_equal(config->settings.version, "");
	assert_int_equal(config->settings.listen.count, 2);
	assert_string_equal(config->settings.listen.items[1], "[::1]:2");
	assert_int_equal(config->settings.log_format, LOG_FORMAT_JSON);
	assert_int_equal(config->settings.drain_delay_us, 9000000);
	assert_int_equal(config->settings.connection_limit, 8);
	config_free(config);
}

static void test_environment_of_probes(void **state)
{
	struct config *config = load_good(
		"readiness:\n"
		"  user.db: {postgres: {url: 'postgres://file', role: standby}, periodSeconds: 3}\n"
		"  cache: redis://file\n"
		"  my__odd: redis://file\n",
		ENVIRONMENT("READYD_READINESS_USER_DB=redis://env",
			    "READYD_READINESS_CACHE__ROLE=primary",
			    "READYD_READINESS_CACHE__PERIOD_SECONDS=4",
			    "READYD_READINESS_MY__ODD=redis://env2",
			    "READYD_READINESS_MY__ODD__TIMEOUT_SECONDS=2",
			    "READYD_LIVENESS_NEW_ONE__FAILURE_THRESHOLD=8",
			    "READYD_LIVENESS_NEW_ONE=tcp://127.0.0.1:1",
			    "READYD_STARTUP_X=exec:/bin/true",
			    "READYD_STARTUP_Y__TARGET=exec:/bin/true"),
		NULL, 0);
	const struct probe_config *probe = find_probe(config, ROLE_READINESS, "user.db");

	(void)state;
	assert_int_equal(config->probe_count, 6);
	assert_string_equal(probe->type->name, "redis");
	assert_string_equal(probe->target, "redis://env");
	assert_int_equal(probe->period_us, 3000000);
	probe = find_probe(config, ROLE_READINESS, "cache");
	assert_int_equal(probe->identity, identity("readiness: {cache: {target: 'redis://file', "
						   "role: primary, periodSeconds: 4}}"));
	assert_int_equal(probe->period_us, 4000000);
	probe = find_probe(config, ROLE_READINESS, "my__odd");
	assert_string_equal(probe->target, "redis://env2");
	assert_int_equal(probe->timeout_us, 2000000);
	probe = find_probe(config, ROLE_LIVENESS, "new-one");
	assert_int_equal(probe->failure_threshold, 8);
	assert_string_equal(find_probe(config, ROLE_STARTUP, "x")->type->name, "exec");
	assert_string_equal(find_probe(config, ROLE_STARTUP, "y")->type->name, "exec");
	config_free(config);
}

/* What is nearer to the user wins, also where the file spells the setting in the type's block or as
 * a value and the variable as a file. */
static void test_environment_into_blocks(void **state)
{
	char url_file[64], variable[128], yaml[256];
	struct config *config;
	FILE *file;

	(void)state;
	snprintf(url_file, sizeof(url_file), "%s/url", directory);
	file = fopen(url_file, "we");
	fputs("redis://:s3cret@secret-host\n", file);
	fclose(file);
	snprintf(variable, sizeof(variable), "READYD_READINESS_CACHE__URL_FILE=%s", url_file);
	config = load_good("readiness:\n"
			   "  cache: {redis: {url: 'redis://file', role: replica}}\n",
			   ENVIRONMENT(variable, "READYD_READINESS_CACHE__ROLE=primary"), NULL, 0);
	assert_null(strstr(config->probes[0]->target, "s3cret"));
	assert_null(strstr(config->probes[0]->target, "//file"));
	snprintf(yaml, sizeof(yaml), "readiness: {cache: {redis: {urlFile: %s, role: primary}}}",
		 url_file);
	assert_int_equal(config->probes[0]->identity, identity(yaml));
	config_free(config);
}

static void test_wrong_environment(void **state)
{
	(void)state;
	assert_faults(
		"readiness:\n  a-b: redis://h\n  a.b: redis://h\n  cache: redis://h\n",
		ENVIRONMENT("READYD_LOGFORMAT=json", "READYD_READYNESS_DB=redis://h",
			    "READYD_SOMETHING=1", "READYD_READINESS_A_B=redis://h",
			    "READYD_READINESS_NONE__ROLE=primary",
			    "READYD_READINESS_CACHE__ROL=primary",
			    "READYD_READINESS_CACHE__PERIOD_SECONDS=", "READYD_READINESS_EMPTY=",
			    "READYD_READINESS_=redis://h", "READYD_READINESS__X=redis://h",
			    "READYD_LOG_LEVEL=loud", "READYD_READINESS_P=redsi://user:hunter2@h"),
		NULL, 0,
		"environment READYD_LOGFORMAT: there is no such setting, did you mean "
		"READYD_LOG_FORMAT?\n"
		"environment READYD_READYNESS_DB: there is no such setting, did you mean "
		"READYD_READINESS_DB?\n"
		"environment READYD_SOMETHING: there is no such setting, expected one such as "
		"READYD_LISTEN or READYD_READINESS_NAME=URL\n"
		"environment READYD_READINESS_A_B: more than one probe under readiness has "
		"such a name, rename one\n"
		"environment READYD_READINESS_: there is no such setting, expected one such as "
		"READYD_LISTEN or READYD_READINESS_NAME=URL\n"
		"environment READYD_READINESS__X: \"-x\" is no name for a probe, expected "
		"letters and digits with _ between them, at most 63\n"
		"environment READYD_READINESS_NONE__ROLE: there is no such probe under "
		"readiness, expected its target in READYD_READINESS_NONE too\n"
		"environment READYD_LOG_LEVEL: logLevel is \"loud\", expected one of debug, "
		"info, warning, error\n"
		"environment READYD_READINESS_CACHE__PERIOD_SECONDS: periodSeconds is \"\", "
		"expected seconds (such as 0.5, 10, 500ms or 1m) from 0.01 to 86400\n"
		"environment READYD_READINESS_CACHE__ROL: unknown setting \"rol\" of redis, "
		"did you mean role?\n"
		"environment READYD_READINESS_EMPTY: the target of empty is no URL, expected "
		"one that begins with one of http:, https:, exec:, nagios:, tcp:, unix:, "
		"postgres:, postgresql:, redis:, rediss:, redis+unix:, valkey:, valkeys:, "
		"notify:\n"
		"environment READYD_READINESS_P: unknown scheme \"redsi\" in the target of p, "
		"did you mean redis?\n");
}

/* Every setting can be named by a variable, so the way there and back must lead to the same name.
 */
static void test_every_setting_has_a_variable(void **state)
{
	(void)state;
	for (size_t i = 0; probe_types[i]; i++) {
		const struct probe_type *type = probe_types[i];

		for (const struct field *field = type->fields; field->name; field++) {
			char variable[160] = "READYD_READINESS_P__", target[160];
			struct faults faults = {0};
			struct config *config;

			for (const char *from = field->name; *from; from++) {
				if (*from >= 'A' && *from <= 'Z')
					strcat(variable, "_");
				strncat(variable, from, 1);
			}
			for (char *letter = variable; *letter; letter++)
				*letter = (char)(*letter >= 'a' && *letter <= 'z' ? *letter - 32
										  : *letter);
			strcat(variable, "=x");
			snprintf(target, sizeof(target), "READYD_READINESS_P=%s", type->example);
			config = load_file(NULL, ENVIRONMENT(variable, target), NULL, 0, &faults);
			for (const struct fault *fault = faults.first; fault; fault = fault->next) {
				if (strstr(fault->text, "unknown setting"))
					fail_msg("%s", fault->text);
			}
			config_free(config);
			faults_free(&faults);
		}
	}
}

static void test_environment_beats_interpolation(void **state)
{
	(void)state;
	/* The file's own value is not wanted, so its variable need not be set. */
	assert_faults("service: ${SERVICE:?is needed}\nreadiness:\n  db: ${DB:?is needed}\n",
		      ENVIRONMENT("READYD_SERVICE=$x${y", "READYD_READINESS_DB=redis://h"), NULL, 0,
		      "");
	assert_faults("service: ${SERVICE:?is needed}\nversion: ${VERSION}\n", no_environment, NULL,
		      0,
		      "f:1:10: variable SERVICE is not set: is needed\n"
		      "warning: f:2:10: variable VERSION is not set, it is taken as empty\n");
}

/* One fault is enough for a variable that is missing: what it was to be part of is not judged. */
static void test_a_missing_variable_is_one_fault(void **state)
{
	(void)state;
	assert_faults("logLevel: ${A?}\nlisten: ['${A?}', ':1']\nreadiness:\n"
		      "  a: ${A?}\n"
		      "  b: {target: '${A?}', periodSeconds: '${A?}'}\n"
		      "  c: {postgres: {url: '${A?}'}}\n"
		      "  d: {redis: '${A?}'}\n"
		      "  e: {exec: '${A?}'}\n"
		      "  f: {exec: {command: [a, '${A?}']}}\n"
		      "  g: exec:${A?}\n",
		      no_environment, NULL, 0,
		      "f:1:11: variable A is not set\n"
		      "f:2:10: variable A is not set\n"
		      "f:4:6: variable A is not set\n"
		      "f:5:15: variable A is not set\n"
		      "f:5:39: variable A is not set\n"
		      "f:6:23: variable A is not set\n"
		      "f:7:14: variable A is not set\n"
		      "f:8:13: variable A is not set\n"
		      "f:9:27: variable A is not set\n"
		      "f:10:6: variable A is not set\n");
}

/* ---- command line ---- */

static void test_overrides(void **state)
{
	static const struct override overrides[] = {
		{"readiness.cache.periodSeconds", "8"},
		{"service", "line"},
		{"drain.delaySeconds", "3"},
		{"readiness.database", "redis://line"},
		{"readiness.database.role", "primary"},
		{"readiness.with.dots.timeoutSeconds", "2"},
		{"readiness.with.dots.more", "redis://line2"},
		{"startup.new", "exec:/bin/true"},
		{"startup.new.failureThreshold", "60"},
		{"listen", ":1"},
		{"listen", ":2"},
		{"readiness.cache.target", "redis://line3"},
	};
	struct config *config =
		load_good("service: file\n"
			  "readiness:\n"
			  "  cache: redis://file\n"
			  "  database: {postgres: {url: 'postgres://file'}, periodSeconds: 3}\n"
			  "  with.dots: redis://file\n"
			  "  with.dots.more: redis://file\n",
			  ENVIRONMENT("READYD_SERVICE=env",
				      "READYD_READINESS_CACHE__PERIOD_SECONDS=4",
				      "READYD_READINESS_CACHE__TIMEOUT_SECONDS=3"),
			  overrides, sizeof(overrides) / sizeof(overrides[0]));
	const struct probe_config *probe = find_probe(config, ROLE_READINESS, "cache");

	(void)state;
	assert_int_equal(config->probe_count, 5);
	assert_string_equal(config->settings.service, "line");
	assert_int_equal(config->settings.drain_delay_us, 3000000);
	assert_int_equal(config->settings.listen.count, 2);
	assert_int_equal(probe->period_us, 8000000);
	assert_int_equal(probe->timeout_us, 3000000);
	assert_string_equal(probe->target, "redis://line3");
	probe = find_probe(config, ROLE_READINESS, "database");
	assert_int_equal(probe->identity, identity("readiness: {database: {target: 'redis://line', "
						   "role: primary, periodSeconds: 3}}"));
	assert_int_equal(probe->period_us, 3000000);
	probe = find_probe(config, ROLE_READINESS, "with.dots");
	assert_int_equal(probe->timeout_us, 2000000);
	assert_string_equal(probe->target, "redis://file");
	probe = find_probe(config, ROLE_READINESS, "with.dots.more");
	assert_string_equal(probe->target, "redis://line2");
	assert_int_equal(find_probe(config, ROLE_STARTUP, "new")->failure_threshold, 60);
	config_free(config);
}

static void test_wrong_overrides(void **state)
{
	static const struct override overrides[] = {
		{"listn", ":1"},
		{"readiness", "x"},
		{"readiness.", "x"},
		{"readiness.none.role", "primary"},
		{"readiness.cache.rol", "primary"},
		{"readiness.bad name", "redis://h"},
		{"details", "sometimes"},
	};

	(void)state;
	assert_faults(
		"readiness:\n  cache: redis://h\n", no_environment, overrides,
		sizeof(overrides) / sizeof(overrides[0]),
		"command line -o listn: there is no such setting, did you mean listen?\n"
		"command line -o readiness: there is no such setting, expected one such as "
		"listen or readiness.NAME.periodSeconds\n"
		"command line -o readiness.: there is no such setting, expected one such as "
		"listen or readiness.NAME.periodSeconds\n"
		"command line -o readiness.none.role: there is no probe none under readiness\n"
		"command line -o details: details is \"sometimes\", expected one of never, "
		"local, always\n"
		"command line -o readiness.cache.rol: unknown setting \"rol\" of redis, did "
		"you mean role?\n"
		"command line -o readiness.bad name: \"bad name\" is no name for a probe, "
		"expected letters, digits, \".\", \"_\" and \"-\", at most 63, and not the "
		"name of a role\n");
}

/* ---- all sources ---- */

static void test_faults_of_all_sources_come_together(void **state)
{
	static const struct override overrides[] = {{"detail", "x"}};

	(void)state;
	assert_faults("readiness: {a: {redis: {url: 'redis://h', role: x}}}\nservic: x\n",
		      ENVIRONMENT("READYD_DETAIL=x"), overrides, 1,
		      "f:1:49: role is \"x\", expected one of any, primary, replica\n"
		      "f:2:1: unknown setting \"servic\", did you mean service?\n"
		      "environment READYD_DETAIL: there is no such setting, did you mean "
		      "READYD_DETAILS?\n"
		      "command line -o detail: there is no such setting, did you mean details?\n");
}

static void test_yaml_faults_do_not_hide_others(void **state)
{
	(void)state;
	assert_faults("service: &a x\nversion: *a\nlogLevel: loud\nlogLevel: info\n",
		      no_environment, NULL, 0,
		      "f:1:10: anchors (&) are not supported, write each value out\n"
		      "f:2:10: aliases (*) are not supported, write the value out\n"
		      "f:3:11: logLevel is \"loud\", expected one of debug, info, warning, error\n"
		      "f:4:1: logLevel is set twice, the first time in line 3\n");
	assert_faults("service: [\n", ENVIRONMENT("READYD_FOO=1"), NULL, 0,
		      "f:2:1: not valid YAML: did not find expected node content, while parsing a "
		      "flow node that begins in line 2\n");
}

/* Whatever is wrong with a target, its password is not told. */
static void test_no_fault_shows_a_secret(void **state)
{
	static const char *const targets[] = {
		"redis://user:hunter2@",
		"redis://user:hunter2@h:port",
		"redis://user:hunter2@h/x",
		"redsi://user:hunter2@h",
		"hunter2",
		"hunter2:x",
		"hunter2://h",
		"postgres://u:hunter2@h:x/d",
		"postgres://u:hunter2@h/%zz",
		"http://u:hunter2@h:99999",
		"http://u:hunter2@[::",
		"tcp://u:hunter2@h",
		"redis://h?password=hunter2",
		"grpc://u:hunter2@h",
		"redis:hunter2",
		"http:hunter2",
		"postgres:hunter2",
		"rediss://:hunter2@ h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		char variable[128];
		struct faults faults = {0};
		struct config *config;

		/* A scheme is no secret. */
		if (strncmp(targets[i], "hunter2:/", 9) == 0)
			continue;
		snprintf(variable, sizeof(variable), "READYD_READINESS_P=%s", targets[i]);
		config = load_file(NULL, ENVIRONMENT(variable), NULL, 0, &faults);
		for (const struct fault *fault = faults.first; fault; fault = fault->next) {
			if (strstr(fault->text, "hunter2"))
				fail_msg("%s", fault->text);
		}
		if (config && strstr(config->probes[0]->target, "hunter2"))
			fail_msg("%s is described as %s", targets[i], config->probes[0]->target);
		config_free(config);
		faults_free(&faults);
	}
}

/* ---- identity ---- */

static void test_identity(void **state)
{
	static const char *const same[] = {
		"readiness: {a: {redis: {url: 'redis://h', role: primary}, periodSeconds: 5}}",
		"readiness: {a: {periodSeconds: 5000ms, redis: {role: primary, url: 'redis://h'}}}",
		"readiness:\n  a:\n    target: redis://h\n    role: primary\n    periodSeconds: "
		"5.0\n",
		"readiness: {a: {redis: {url: 'redis://h', role: primary, cluster: no}, "
		"timeoutSeconds: 1, periodSeconds: '5'}}",
		"readiness: {a: {redis: {url: 'redis://h', role: primary, user: ~}, periodSeconds: "
		"5}}",
	};
	static const char *const different[] = {
		"readiness: {b: {redis: {url: 'redis://h', role: primary}, periodSeconds: 5}}",
		"startup: {a: {redis: {url: 'redis://h', role: primary}, periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://h2', role: primary}, periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://:x@h', role: primary}, periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://:y@h', role: primary}, periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://h', role: any}, periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://h', role: primary}, periodSeconds: 6}}",
		"readiness: {a: {redis: {url: 'redis://h', role: primary, user: ''}, "
		"periodSeconds: 5}}",
		"readiness: {a: {redis: {url: 'redis://h', role: primary, cluster: yes}, "
		"periodSeconds: 5}}",
		"readiness: {a: {exec: {command: [/bin/a, b, c]}}}",
		"readiness: {a: {exec: {command: [/bin/a, b c]}}}",
		"readiness: {a: {exec: {command: [/bin/a, bc]}}}",
		"readiness: {a: {exec: {command: [/bin/a, bc, d]}}}",
		"readiness: {a: {exec: {command: [/bin/a, b, cd]}}}",
		"readiness: {a: {exec: {command: [/bin/a, b, c], environment: {A: b}}}}",
		"readiness: {a: {exec: {command: [/bin/a, b, c], environment: {A: c}}}}",
		"readiness: {a: {http: {url: 'http://h', status: 200}}}",
		"readiness: {a: {http: {url: 'http://h', status: 200-201}}}",
		"readiness: {a: {httpGet: {port: 80}}}",
		"readiness: {a: {http: {port: 80}}}",
	};
	uint64_t seen[32];
	size_t count = 0;

	(void)state;
	seen[count++] = identity(same[0]);
	for (size_t i = 1; i < sizeof(same) / sizeof(same[0]); i++) {
		if (identity(same[i]) != seen[0])
			fail_msg("%s", same[i]);
	}
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
		uint64_t own = identity(different[i]);

		for (size_t j = 0; j < count; j++) {
			if (own == seen[j])
				fail_msg("%s", different[i]);
		}
		seen[count++] = own;
	}
}

/* ---- lint ---- */

static void test_lint(void **state)
{
	(void)state;
	assert_faults(
		"liveness:\n"
		"  a: redis://cache\n"
		"  b: redis://127.0.0.1\n"
		"  c: {exec: /bin/true, timeoutSeconds: 11}\n"
		"  d: {exec: /bin/true, periodSeconds: 0.5}\n"
		"  e: {exec: /bin/true, periodSeconds: 5, timeoutSeconds: 5}\n"
		"readiness:\n"
		"  a: redis://cache\n",
		no_environment, NULL, 0,
		"warning: f:2:6: a is a liveness probe of another host; restarting this "
		"container will not help that one, put it under readiness\n"
		"warning: f:4:40: timeoutSeconds of c is longer than its periodSeconds; runs do "
		"not overlap, so a slow run delays the next\n"
		"warning: f:5:39: timeoutSeconds of d is longer than its periodSeconds; runs do "
		"not overlap, so a slow run delays the next\n");
}

static void test_where_a_target_is(void **state)
{
	static const struct {
		const char *target;
		bool elsewhere;
	} cases[] = {
		{"redis://cache", true},
		{"redis://cache:6379/0", true},
		{"postgres://app@db:5432/users", true},
		{"https://example.org/x@y", true},
		{"redis://localhost", false},
		{"redis://LOCALHOST:1", false},
		{"http://app.localhost:8080/", false},
		{"http://127.0.0.1:8080/healthz", false},
		{"http://127.8.9.10", false},
		{"http://[::1]:80/x", false},
		{"tcp://0.0.0.0:80", false},
		{"tcp://192.0.2.1:80", true},
		{"tcp://[2001:db8::1]:80", true},
		{"redis+unix:///run/redis.sock", false},
		{"unix:/run/x", false},
		{"postgres:///users", false},
		{"postgres://%2Frun%2Fpostgresql/users", false},
		{"postgres://a,b/users", false},
		{"host=db dbname=x", false},
		{"/bin/true -x http://", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (target_is_elsewhere(cases[i].target) != cases[i].elsewhere)
			fail_msg("%s", cases[i].target);
	}
}

/* ---- a single target ---- */

static void test_single_target(void **state)
{
	static const struct override options[] = {{"timeoutSeconds", "3000ms"},
						  {"role", "primary"},
						  {"timeoutSeconds", "2"}};
	static const struct override bad[] = {{"rol", "primary"}, {"timeoutSeconds", "x"}};
	struct faults faults = {0};
	struct probe_config *probe =
		probe_config_from_target("name", "redis://h", options, 3, &faults);

	(void)state;
	assert_non_null(probe);
	assert_string_equal(probe->name, "name");
	assert_string_equal(probe->target, "redis://h");
	assert_int_equal(probe->identity, identity("readiness: {name: {redis: {url: 'redis://h', "
						   "role: primary}, timeoutSeconds: 2}}"));
	assert_int_equal(probe->timeout_us, 2000000);
	probe_config_free(probe);
	assert_null(probe_config_from_target("name", "redis://h", bad, 2, &faults));
	assert_int_equal(faults.errors, 2);
	assert_string_equal(faults.first->text,
			    "command line -o timeoutSeconds: timeoutSeconds is \"x\", expected "
			    "seconds (such as 0.5, 10, 500ms or 1m) from 0.001 to 3600");
	assert_string_equal(faults.first->next->text,
			    "command line -o rol: unknown setting \"rol\" of redis, did you mean "
			    "role?");
	faults_free(&faults);
	probe_config_free(NULL);
}

static void test_every_example_is_a_target(void **state)
{
	(void)state;
	for (size_t i = 0; probe_types[i]; i++) {
		struct faults faults = {0};
		struct probe_config *probe =
			probe_config_from_target("name", probe_types[i]->example, NULL, 0, &faults);

		if (!probe)
			fail_msg("%s", faults.first->text);
		assert_ptr_equal(probe->type, probe_types[i]);
		probe_config_free(probe);
	}
}

/* A default that its own kind does not take would leave every configuration without memory. */
static void test_every_default_is_right(void **state)
{
	struct probe_config common;

	(void)state;
	assert_int_equal(fields_set_defaults(probe_common_fields, &common), 0);
	for (size_t i = 0; probe_types[i]; i++) {
		void *conf = calloc(1, probe_types[i]->conf_size);
		size_t count = 0;

		assert_int_equal(fields_set_defaults(probe_types[i]->fields, conf), 0);
		fields_free(probe_types[i]->fields, conf);
		free(conf);
		while (probe_types[i]->fields[count].name)
			count++;
		assert_true(count < PLAN_FIELDS_MAX);
	}
}

static void test_labels(void **state)
{
	char long_one[128 + 1], yaml[512];

	(void)state;
	memset(long_one, 'x', 128);
	long_one[128] = '\0';
	snprintf(yaml, sizeof(yaml), "service: %s\nversion: \"\\xe4 \u00a0%.120s\"\n", long_one,
		 long_one);
	config_free(load_good(yaml, no_environment, NULL, 0));
	snprintf(yaml, sizeof(yaml), "service: %sx\nversion: %syz\n", long_one, long_one);
	assert_faults(yaml, no_environment, NULL, 0,
		      "f:1:10: service has 129 bytes, expected at most 128\n"
		      "f:2:10: version has 130 bytes, expected at most 128\n");
	assert_faults("service: \"a\\e[31mb\"\nversion: \"1\\n2\\n\"\n", no_environment, NULL, 0,
		      "f:1:10: service has a line end or another control character, expected plain "
		      "text\n"
		      "f:2:10: version has a line end or another control character, expected plain "
		      "text\n");
	assert_faults("service: \"a\\x7f\"\nversion: \"\\x9b\"\n", no_environment, NULL, 0,
		      "f:1:10: service has a line end or another control character, expected plain "
		      "text\n"
		      "f:2:10: version has a line end or another control character, expected plain "
		      "text\n");
	assert_faults("", ENVIRONMENT("READYD_SERVICE=a\tb"), NULL, 0,
		      "environment READYD_SERVICE: service has a line end or another control "
		      "character, expected plain text\n");
}

/* A token that was written into the name of a header, in all the forms that a list of headers has.
 */
static void test_no_fault_shows_a_header(void **state)
{
	static const char *const headers[] = {
		"[{name: \"Authorization: Bearer SECRET\", value: x}]",
		"[{name: \"Bearer SECRET\"}]",
		"[{name: \"Authorization:SECRET\"}]",
		"[{name: \"Bearer\\tSECRET\"}]",
		"{\"Authorization: SECRET\": x}",
		"[{\"Authorization: Bearer SECRET\": x, name: a}]",
		"[\"Authorization Bearer SECRET: x\"]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct faults faults = {0};
		char yaml[256];

		snprintf(yaml, sizeof(yaml),
			 "readiness: {a: {target: \"http://h/\", httpHeaders: %s}}", headers[i]);
		assert_null(load(yaml, no_environment, NULL, 0, &faults));
		assert_int_equal(faults.errors, 1);
		if (strstr(faults.first->text, "SECRET"))
			fail_msg("%s", faults.first->text);
		faults_free(&faults);
	}
}

static int enter_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int leave_directory(void **state)
{
	(void)state;
	unlink("f");
	unlink("url");
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_wrong_settings),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_forms_of_probes),
		cmocka_unit_test(test_schedule),
		cmocka_unit_test(test_pod_spec),
		cmocka_unit_test(test_threshold_of_a_type),
		cmocka_unit_test(test_pod_spec_limits),
		cmocka_unit_test(test_wrong_probes),
		cmocka_unit_test(test_all_faults_of_a_probe),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_environment_of_settings),
		cmocka_unit_test(test_environment_of_probes),
		cmocka_unit_test(test_environment_into_blocks),
		cmocka_unit_test(test_wrong_environment),
		cmocka_unit_test(test_every_setting_has_a_variable),
		cmocka_unit_test(test_environment_beats_interpolation),
		cmocka_unit_test(test_a_missing_variable_is_one_fault),
		cmocka_unit_test(test_overrides),
		cmocka_unit_test(test_wrong_overrides),
		cmocka_unit_test(test_faults_of_all_sources_come_together),
		cmocka_unit_test(test_yaml_faults_do_not_hide_others),
		cmocka_unit_test(test_no_fault_shows_a_secret),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_lint),
		cmocka_unit_test(test_where_a_target_is),
		cmocka_unit_test(test_single_target),
		cmocka_unit_test(test_every_example_is_a_target),
		cmocka_unit_test(test_every_default_is_right),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_no_fault_shows_a_header),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
