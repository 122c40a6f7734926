/* `readyd serve`: runs the probes and answers for them until it is told to end. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/child.h"
#include "agent/command.h"
#include "agent/config.h"
#include "agent/engine.h"
#include "agent/log.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "agent/runner.h"
#include "agent/serve.h"

#define DEFAULT_CONFIG "/etc/readyd.yaml"

enum {
	OVERRIDES_MAX = 256,
	DESCRIPTORS_MAX = 65536,
	/* The end must come within a second, whatever the reader of stderr does. */
	LOG_END_US = 200 * 1000,
};

struct serve {
	const char *config_path; /* NULL = no file */
	struct override overrides[OVERRIDES_MAX];
	size_t override_count;
	struct loop *loop;
	struct resolver *resolver;
	struct probe_env env;
	struct engine *engine;
	struct server *server;
};

static const char help[] =
	"usage: readyd serve [OPTION...]\n"
	"\n"
	"Runs the configured probes and answers /healthz, /ready and /startup.\n"
	"\n"
	"  -c, --config FILE    the configuration, - is standard input (default: READYD_CONFIG,\n"
	"                       or " DEFAULT_CONFIG " if that exists; none is needed)\n"
	"  -o NAME=VALUE        one setting, stronger than environment and file: listen=:8086,\n"
	"                       readiness.cache=redis://cache, readiness.cache.periodSeconds=5\n"
	"\n"
	"Every setting also has an environment variable: READYD_LISTEN=:8086,\n"
	"READYD_READINESS_CACHE=redis://cache, READYD_READINESS_CACHE__PERIOD_SECONDS=5.\n"
	"`readyd config fields` lists all settings.\n"
	"SIGHUP reloads the configuration; SIGTERM and SIGINT end the agent.\n"
	"\n"
	"example:\n"
	"  readyd serve -o liveness.app=http://127.0.0.1:8080/healthz \\\n"
	"               -o readiness.database=postgres://app@db/users\n";

static int usage_error(const char *sentence, const char *word)
{
	return command_usage_error("serve", sentence, word);
}

/* Returns 1 when there is nothing left to do, -1 for a usage error. */
static int parse(struct serve *serve, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"config", required_argument, NULL, 'c'},
		{NULL, 0, NULL, 0},
	};
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":hc:o:", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? -1 : 1;
		case 'c':
			serve->config_path = optarg;
			break;
		case 'o':
			if (command_add_override("serve", optarg, serve->overrides, OVERRIDES_MAX,
						 &serve->override_count) < 0)
				return -1;
			break;
		case ':':
			return usage_error("a value is missing after", argv[optind - 1]);
		default:
			return usage_error("unknown option", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	if (!serve->config_path)
		serve->config_path = getenv("READYD_CONFIG");
	if (serve->config_path && serve->config_path[0] == '\0')
		serve->config_path = NULL;
	else if (!serve->config_path && access(DEFAULT_CONFIG, F_OK) == 0)
		serve->config_path = DEFAULT_CONFIG;
	return 0;
}

/* ---- the log ---- */

static void open_log(struct serve *serve, const struct settings *settings)
{
	static const enum log_level levels[] = {[CONFIG_LOG_DEBUG] = LOG_DEBUG,
						[CONFIG_LOG_INFO] = LOG_INFO,
						[CONFIG_LOG_WARNING] = LOG_WARNING,
						[CONFIG_LOG_ERROR] = LOG_ERROR};
	bool json = settings->log_format == LOG_FORMAT_JSON ||
		    (settings->log_format == LOG_FORMAT_AUTO && !isatty(STDERR_FILENO));

	log_open(serve->loop, settings->service, settings->version, levels[settings->log_level],
		 json);
}

/* How many there are beyond those that were kept. */
static size_t faults_left_out(const struct faults *faults)
{
	return faults->errors + faults->warnings - faults->kept;
}

static void log_faults(const struct faults *faults)
{
	for (const struct fault *fault = faults->first; fault; fault = fault->next) {
		struct log_field fields[] = {log_text("message", fault->text), {0}};

		log_event(fault->warning ? LOG_WARNING : LOG_ERROR, "configuration", fields);
	}
	if (faults_left_out(faults) > 0) {
		char text[48];
		struct log_field fields[] = {log_text("message", text), {0}};

		snprintf(text, sizeof(text), "and %zu more", faults_left_out(faults));
		log_event(LOG_WARNING, "configuration", fields);
	}
}

static void log_state(enum log_level level, const char *event, const struct serve *serve)
{
	struct log_field fields[] = {
		log_text("readyd", READYD_VERSION),
		log_integer("pid", getpid()),
		log_text("config", serve->config_path),
		log_integer("probes", (int64_t)engine_probe_count(serve->engine)),
		{0},
	};

	log_event(level, event, fields);
}

/* ---- reload ---- */

static bool same_listeners(const struct settings *before, const struct settings *after)
{
	if (before->listen.count != after->listen.count ||
	    strcmp(before->socket ? before->socket : "", after->socket ? after->socket : "") != 0)
		return false;
	for (size_t i = 0; i < before->listen.count; i++) {
		if (strcmp(before->listen.items[i], after->listen.items[i]) != 0)
			return false;
	}
	return true;
}

static void log_reload_failed(const char *message)
{
	struct log_field fields[] = {log_text("message", message), {0}};

	log_event(LOG_ERROR, "reload_failed", fields);
}

static void reload(struct serve *serve)
{
	struct faults faults = {0};
	struct config *config;
	bool listeners_changed;

	/* It is at its end, or its writer could keep the loop waiting. */
	if (serve->config_path && strcmp(serve->config_path, "-") == 0) {
		log_reload_failed("standard input cannot be read again; the running configuration "
				  "is kept");
		return;
	}
	config = config_load(serve->config_path, environ, serve->overrides, serve->override_count,
			     &faults);
	if (config)
		listeners_changed =
			!same_listeners(&engine_config(serve->engine)->settings, &config->settings);
	if (!config || engine_reload(serve->engine, config) < 0) {
		log_faults(&faults);
		log_reload_failed("the running configuration is kept");
		config_free(config);
		faults_free(&faults);
		return;
	}
	open_log(serve, &engine_config(serve->engine)->settings);
	log_faults(&faults);
	faults_free(&faults);
	if (listeners_changed) {
		struct log_field fields[] =
			{log_text("message", "listen and socket change at the next start only"),
			 {0}};

		log_event(LOG_WARNING, "listen", fields);
	}
	log_state(LOG_INFO, "reloaded", serve);
}

static void on_hangup(void *owner, int signal_number)
{
	(void)signal_number;
	reload(owner);
}

/* ---- start and end ---- */

static void on_end_signal(void *owner, int signal_number)
{
	struct serve *serve = owner;
	struct log_field fields[] = {log_text("signal",
					      signal_number == SIGTERM ? "SIGTERM" : "SIGINT"),
				     {0}};

	log_event(LOG_INFO, "stopping", fields);
	loop_stop(serve->loop);
}

/* Ten thousand probes need more descriptors than the usual soft limit; children get the old one
 * back, because some programs misbehave with a high one. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	child_set_descriptor_limit(limit.rlim_cur);
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int watch_signals(struct serve *serve, struct error *error)
{
	signal(SIGPIPE, SIG_IGN);
	if (loop_signal_set(serve->loop, SIGTERM, on_end_signal, serve) < 0 ||
	    loop_signal_set(serve->loop, SIGINT, on_end_signal, serve) < 0 ||
	    loop_signal_set(serve->loop, SIGHUP, on_hangup, serve) < 0)
		return error_set(error, "cannot watch signals: %s", strerror(errno));
	return child_init(serve->loop, error);
}

/* Takes the configuration. */
static int start(struct serve *serve, struct config *config, struct error *error)
{
	serve->env = (struct probe_env){.loop = serve->loop, .resolver = serve->resolver};
	open_log(serve, &config->settings);
	if (watch_signals(serve, error) < 0) {
		config_free(config);
		return -1;
	}
	serve->engine = engine_create(&serve->env, config);
	if (!serve->engine) {
		config_free(config);
		return error_set(error, "out of memory");
	}
	serve->server = server_create(serve->loop, serve->engine, error);
	return serve->server ? 0 : -1;
}

static void end(struct serve *serve)
{
	server_destroy(serve->server);
	engine_destroy(serve->engine);
	runner_shutdown();
	resolver_destroy(serve->resolver);
	log_close(LOG_END_US);
	loop_destroy(serve->loop);
}

int cmd_serve(int argc, char **argv)
{
	struct serve serve = {0};
	struct faults faults = {0};
	struct error error = {{0}};
	struct config *config;
	int status = 0;
	int parsed = parse(&serve, argc, argv);

	if (parsed != 0)
		return parsed > 0 ? 0 : 1;
	raise_descriptor_limit();
	config = config_load(serve.config_path, environ, serve.overrides, serve.override_count,
			     &faults);
	if (!config) {
		for (const struct fault *fault = faults.first; fault; fault = fault->next)
			fprintf(stderr, "readyd serve: %s%s\n", fault->warning ? "warning: " : "",
				fault->text);
		if (faults_left_out(&faults) > 0)
			fprintf(stderr, "readyd serve: and %zu more\n", faults_left_out(&faults));
		faults_free(&faults);
		return 1;
	}
	serve.loop = loop_create();
	serve.resolver = serve.loop ? resolver_create(serve.loop) : NULL;
	if (!serve.resolver) {
		fprintf(stderr, "readyd serve: out of memory or descriptors\n");
		config_free(config);
		faults_free(&faults);
		return 1;
	}
	if (start(&serve, config, &error) < 0) {
		struct log_field fields[] = {log_text("message", error.text), {0}};

		log_event(LOG_ERROR, "cannot_start", fields);
		status = 1;
	} else {
		log_faults(&faults);
		log_state(LOG_INFO, "started", &serve);
		loop_run(serve.loop);
		log_state(LOG_INFO, "stopped", &serve);
	}
	faults_free(&faults);
	end(&serve);
	return status;
}
