#include "agent/agent.h"

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
#include "agent/log.h"
#include "agent/runner.h"

enum {
	DESCRIPTORS_MAX = 65536,
	/* The end must come within a second, whatever the reader of stderr does. */
	LOG_END_US = 200 * 1000,
};

/* ---- options ---- */

/* The file that was named, or the usual one if it is there. */
static void choose_config_path(struct agent *agent)
{
	if (!agent->config_path)
		agent->config_path = getenv("READYD_CONFIG");
	if (agent->config_path && agent->config_path[0] == '\0')
		agent->config_path = NULL;
	else if (!agent->config_path && access(AGENT_DEFAULT_CONFIG, F_OK) == 0)
		agent->config_path = AGENT_DEFAULT_CONFIG;
}

void agent_hold_signals(void)
{
	sigset_t held;

	if (getpid() != 1)
		return;
	sigemptyset(&held);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGHUP);
	sigprocmask(SIG_BLOCK, &held, NULL);
}

int agent_take_options(struct agent *agent, const char *help, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"config", required_argument, NULL, 'c'},
		{NULL, 0, NULL, 0},
	};
	int letter;

	agent->verb = argv[0];
	opterr = 0;
	while ((letter = getopt_long(argc, argv, "+:hc:o:", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? -1 : 1;
		case 'c':
			agent->config_path = optarg;
			break;
		case 'o':
			if (command_add_override(agent->verb, optarg, agent->overrides,
						 AGENT_OVERRIDES_MAX, &agent->override_count) < 0)
				return -1;
			break;
		default:
			return command_option_error(agent->verb, letter, argv);
		}
	}
	choose_config_path(agent);
	return 0;
}

/* ---- the log ---- */

static void open_log(struct agent *agent, const struct settings *settings)
{
	static const enum log_level levels[] = {[CONFIG_LOG_DEBUG] = LOG_DEBUG,
						[CONFIG_LOG_INFO] = LOG_INFO,
						[CONFIG_LOG_WARNING] = LOG_WARNING,
						[CONFIG_LOG_ERROR] = LOG_ERROR};
	bool json = settings->log_format == LOG_FORMAT_JSON ||
		    (settings->log_format == LOG_FORMAT_AUTO && !isatty(STDERR_FILENO));

	log_open(agent->loop, settings->service, settings->version, levels[settings->log_level],
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

static void log_state(enum log_level level, const char *event, const struct agent *agent)
{
	struct log_field fields[] = {
		log_text("readyd", READYD_VERSION),
		log_integer("pid", getpid()),
		log_text("config", agent->config_path),
		log_integer("probes", (int64_t)engine_probe_count(agent->engine)),
		{0},
	};

	log_event(level, event, fields);
}

/* ---- reload ---- */

static bool same_texts(const struct text_list *before, const struct text_list *after)
{
	if (before->count != after->count)
		return false;
	for (size_t i = 0; i < before->count; i++) {
		if (strcmp(before->items[i], after->items[i]) != 0)
			return false;
	}
	return true;
}

static bool same_listeners(const struct settings *before, const struct settings *after)
{
	return same_texts(&before->listen, &after->listen) &&
	       same_texts(&before->haproxy_agent, &after->haproxy_agent) &&
	       strcmp(before->socket ? before->socket : "", after->socket ? after->socket : "") ==
		       0;
}

static void log_reload_failed(const char *message)
{
	struct log_field fields[] = {log_text("message", message), {0}};

	log_event(LOG_ERROR, "reload_failed", fields);
}

static void reload(struct agent *agent)
{
	struct faults faults = {0};
	struct config *config;
	bool listeners_changed;

	/* It is at its end, or its writer could keep the loop waiting. */
	if (agent->config_path && strcmp(agent->config_path, "-") == 0) {
		log_reload_failed("standard input cannot be read again; the running configuration "
				  "is kept");
		return;
	}
	config = config_load(agent->config_path, environ, agent->overrides, agent->override_count,
			     &faults);
	if (config)
		listeners_changed =
			!same_listeners(&engine_config(agent->engine)->settings, &config->settings);
	if (!config || engine_reload(agent->engine, config) < 0) {
		log_faults(&faults);
		log_reload_failed("the running configuration is kept");
		config_free(config);
		faults_free(&faults);
		return;
	}
	open_log(agent, &engine_config(agent->engine)->settings);
	log_faults(&faults);
	faults_free(&faults);
	shutdown_warn(&agent->shutdown);
	if (listeners_changed) {
		struct log_field fields[] =
			{log_text("message", "listen, socket and haproxyAgent change at the next "
					     "start only"),
			 {0}};

		log_event(LOG_WARNING, "listen", fields);
	}
	log_state(LOG_INFO, "reloaded", agent);
}

void agent_reload(struct agent *agent)
{
	notify_sender_reload_begins(agent->notify_sender);
	reload(agent);
	notify_sender_reload_ends(agent->notify_sender);
}

static void on_hangup(void *owner, int signal_number)
{
	(void)signal_number;
	agent_reload(owner);
}

/* ---- start and end ---- */

static void stop_loop(struct shutdown *shutdown)
{
	loop_stop(shutdown->loop);
}

void agent_stop(void *agent)
{
	struct agent *this = agent;

	shutdown_begin(&this->shutdown, "command");
}

bool agent_take_end_signal(struct agent *agent, int signal_number)
{
	struct shutdown *shutdown = &agent->shutdown;

	if (shutdown->delay_is_over)
		return false;
	agent->end_signals++;
	shutdown_begin(shutdown, signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
	if (agent->end_signals > 1)
		shutdown_skip_delay(shutdown);
	return true;
}

static void on_end_signal(void *owner, int signal_number)
{
	agent_take_end_signal(owner, signal_number);
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

static int watch_signals(struct agent *agent, struct error *error)
{
	signal(SIGPIPE, SIG_IGN);
	if (loop_signal_set(agent->loop, SIGTERM, on_end_signal, agent) < 0 ||
	    loop_signal_set(agent->loop, SIGINT, on_end_signal, agent) < 0 ||
	    loop_signal_set(agent->loop, SIGHUP, on_hangup, agent) < 0)
		return error_set(error, "cannot watch signals: %s", strerror(errno));
	return child_init(agent->loop, error);
}

/* Takes the configuration. */
static int start(struct agent *agent, struct config *config, struct error *error)
{
	agent->env = (struct probe_env){.loop = agent->loop, .resolver = agent->resolver};
	open_log(agent, &config->settings);
	if (agent->shutdown.has_command) {
		agent->notify_receiver = notify_receiver_create(agent->loop);
		agent->env.notified = notify_receiver_notified(agent->notify_receiver);
	}
	if (watch_signals(agent, error) < 0) {
		config_free(config);
		return -1;
	}
	agent->engine = engine_create(&agent->env, config,
				      drain_file_exists(&config->settings) ? DRAIN_FILE : 0);
	if (!agent->engine) {
		config_free(config);
		return error_set(error, "out of memory");
	}
	agent->shutdown.loop = agent->loop;
	agent->shutdown.engine = agent->engine;
	if (!agent->shutdown.on_delay_over)
		agent->shutdown.on_delay_over = stop_loop;
	drain_file_watch(&agent->drain_file, agent->loop, agent->engine);
	agent->server = server_create(agent->loop, agent->engine, error);
	if (!agent->server)
		return -1;
	server_set_stop(agent->server, agent_stop, agent);
	agent->haproxy_agent = haproxy_agent_create(agent->loop, agent->engine,
						    server_requests(agent->server), error);
	if (!agent->haproxy_agent)
		return -1;
	agent->notify_sender = notify_sender_create(agent->loop, agent->engine);
	return 0;
}

int agent_start(struct agent *agent)
{
	struct faults faults = {0};
	struct error error = {{0}};
	struct config *config;
	int result;

	raise_descriptor_limit();
	config = config_load(agent->config_path, environ, agent->overrides, agent->override_count,
			     &faults);
	if (!config) {
		/* There is no log yet. */
		command_print_faults(agent->verb, &faults);
		faults_free(&faults);
		return -1;
	}
	agent->loop = loop_create();
	agent->resolver = agent->loop ? resolver_create(agent->loop) : NULL;
	if (!agent->resolver) {
		fprintf(stderr, "readyd %s: out of memory or descriptors\n", agent->verb);
		config_free(config);
		faults_free(&faults);
		return -1;
	}
	result = start(agent, config, &error);
	if (result < 0) {
		struct log_field fields[] = {log_text("message", error.text), {0}};

		log_event(LOG_ERROR, "cannot_start", fields);
	} else {
		log_faults(&faults);
		shutdown_warn(&agent->shutdown);
		log_state(LOG_INFO, "started", agent);
	}
	faults_free(&faults);
	return result;
}

static void log_stopped(const struct agent *agent)
{
	struct log_field fields[] = {
		log_integer("pid", getpid()),
		log_integer("status", agent->exit_status),
		log_milliseconds("afterMs", shutdown_elapsed_us(&agent->shutdown)),
		{0},
	};

	log_event(LOG_INFO, "stopped", fields);
}

void agent_run(struct agent *agent)
{
	loop_run(agent->loop);
	log_stopped(agent);
}

void agent_end(struct agent *agent)
{
	if (!agent->loop)
		return;
	notify_sender_destroy(agent->notify_sender);
	haproxy_agent_destroy(agent->haproxy_agent);
	loop_timer_clear(agent->loop, &agent->shutdown.timer);
	server_destroy(agent->server);
	drain_file_unwatch(&agent->drain_file);
	notify_receiver_destroy(agent->notify_receiver);
	engine_destroy(agent->engine);
	runner_shutdown();
	resolver_destroy(agent->resolver);
	log_close(LOG_END_US);
	loop_destroy(agent->loop);
}
