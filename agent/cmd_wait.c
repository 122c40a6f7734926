/* `readyd wait`: blocks until targets pass, then ends with 0 or becomes a command. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/command.h"
#include "agent/config.h"
#include "agent/inherited.h"
#include "agent/loop.h"
#include "agent/program.h"
#include "agent/report.h"
#include "agent/resolve.h"
#include "agent/runner.h"
#include "agent/targets.h"
#include "agent/waiting.h"
#include "agent/waiting_display.h"

enum {
	TARGETS_MAX = 256,
	OPTIONS_MAX = 256,
	DEFAULT_TIMEOUT_US = 30 * 1000 * 1000,
	DEFAULT_INTERVAL_US = 1000 * 1000,
	ANSWER_MAX = 128 * 1024,
};

/* What sh, env and timeout(1) end with. */
enum {
	EXIT_TROUBLE = 1,
	EXIT_USAGE = 2,
	EXIT_TIMED_OUT = 124,
	EXIT_CANNOT_EXECUTE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_BY_SIGNAL = 128, /* and the signal's number on top */
};

/* What the command line says. */
struct wait_request {
	const char *config_path; /* NULL = no file */
	struct target targets[TARGETS_MAX];
	size_t target_count;
	struct override option_items[OPTIONS_MAX];
	struct target_options options;
	int64_t timeout_us; /* 0 = for ever */
	int64_t interval_us;
	int64_t successes; /* 0 = not set */
	bool any, invert, quiet, json;
	char **command; /* NULL = none */
};

struct wait {
	struct wait_request request;
	struct inherited inherited;
	struct config *config; /* the file's; NULL = none */
	/* Made for the targets of the command line; the file's probes belong to `config`. */
	struct probe_config *made[TARGETS_MAX];
	size_t made_count;

	struct loop *loop;
	struct resolver *resolver;
	struct probe_env env;
	struct waiting waiting;
	struct display *display;
	int ending_signal; /* 0 = none */
};

static const char help[] =
	"usage: readyd wait [OPTION...] TARGET... [-- COMMAND [ARGUMENT...]]\n"
	"\n"
	"Tries all targets at the same time until each has passed, then exits with 0, or becomes\n"
	"COMMAND. Exits with 124 when the time is over, with 2 when used wrongly, with 127 or 126\n"
	"when COMMAND is not found or cannot be executed.\n"
	"\n"
	"  -o NAME=VALUE        a setting of the target before it, by its name in the\n"
	"                       configuration file (repeat for several)\n"
	"  -c, --config FILE    a TARGET may be the name of a probe in FILE too, NAME or\n"
	"                       readiness/NAME; without TARGET all its readiness and startup\n"
	"                       probes are waited for\n"
	"  --timeout TIME       give up after so long, 0 = never (default 30 seconds)\n"
	"  --interval TIME      the longest pause between two tries (default 1 second);\n"
	"                       the first ones follow each other every 10 ms\n"
	"  --successes N        each must pass N times in a row, an interval apart\n"
	"                       (default: its successThreshold, which is 1)\n"
	"  --any                one target is enough\n"
	"  --invert             wait until the targets do not pass\n"
	"  -q, --quiet          print nothing but what was wrong in the end\n"
	"  --json               print each target's last result as JSON on stdout\n"
	"\n"
	"On a terminal it shows each target's present reason, elsewhere it logs each change.\n"
	"\n"
	"examples:\n"
	"  readyd wait tcp://db:5432\n"
	"  ENTRYPOINT [\"/readyd\", \"wait\", \"postgres://app@db/shop\", \"-o\",\n"
	"              \"passwordFile=/run/secrets/db\", \"redis://cache\", \"--\", \"/shop\"]\n";

static int usage_error(const char *sentence, const char *word)
{
	return command_usage_error("wait", sentence, word);
}

/* ---- the command line ---- */

static int take_target(struct wait_request *request, char *word)
{
	if (request->target_count == TARGETS_MAX)
		return usage_error("too many targets", NULL);
	if (target_take(&request->options, word, &request->targets[request->target_count]) < 0)
		return -1;
	request->target_count++;
	return 0;
}

static int take_timeout(struct wait_request *request, const char *word)
{
	if (parse_seconds(word) == 0) {
		request->timeout_us = 0;
		return 0;
	}
	return command_take_timeout("wait", word, &request->timeout_us);
}

static int take_successes(struct wait_request *request, const char *word)
{
	char *rest;

	errno = 0;
	request->successes = strtoll(word, &rest, 10);
	if (errno != 0 || rest == word || *rest != '\0' || request->successes < 1)
		return usage_error("--successes takes a number from 1, not", word);
	return 0;
}

/* What remains after the options: "--" and a command. */
static int take_command(struct wait_request *request, int argc, char **argv)
{
	if (optind < argc)
		request->command = argv + optind;
	else if (optind > 1 && strcmp(argv[optind - 1], "--") == 0)
		return usage_error("a command is missing after --", NULL);
	return 0;
}

static int take_option(struct wait_request *request, int letter, char **argv)
{
	switch (letter) {
	case 'c':
		request->config_path = optarg;
		return 0;
	case 'o':
		return target_take_option(&request->options, optarg);
	case 't':
		return take_timeout(request, optarg);
	case 'i':
		return command_take_time("wait", "--interval", optarg, &request->interval_us);
	case 's':
		return take_successes(request, optarg);
	case 'a':
		request->any = true;
		return 0;
	case 'n':
		request->invert = true;
		return 0;
	case 'q':
		request->quiet = true;
		return 0;
	case 'j':
		request->json = true;
		return 0;
	case 1:
		return take_target(request, optarg);
	default:
		return command_option_error("wait", letter, argv);
	}
}

static int verify(const struct wait_request *request)
{
	if (request->target_count == 0 && request->options.count > 0)
		return usage_error("-o is for targets, and there is none", NULL);
	if (request->target_count == 0 && !request->config_path)
		return usage_error("a target is missing", NULL);
	for (size_t i = 0; i < request->target_count; i++) {
		if (!request->targets[i].is_url && !request->config_path)
			return usage_error("this is no target; the name of a probe needs -c FILE",
					   request->targets[i].word);
	}
	return 0;
}

/* Returns 1 when there is nothing left to do, -1 for a usage error. */
static int parse(struct wait_request *request, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"config", required_argument, NULL, 'c'},
		{"timeout", required_argument, NULL, 't'},
		{"interval", required_argument, NULL, 'i'},
		{"successes", required_argument, NULL, 's'},
		{"any", no_argument, NULL, 'a'},
		{"invert", no_argument, NULL, 'n'},
		{"quiet", no_argument, NULL, 'q'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int letter;

	opterr = 0;
	/* The leading "-" keeps the order, so that each -o stays with its target. */
	while ((letter = getopt_long(argc, argv, "-:hc:o:q", options, NULL)) != -1) {
		if (letter == 'h')
			return command_print_help(help) < 0 ? -1 : 1;
		if (take_option(request, letter, argv) < 0)
			return -1;
	}
	if (take_command(request, argc, argv) < 0)
		return -1;
	return verify(request);
}

/* ---- what to wait for ---- */

/* Whether `word`, "NAME" or "ROLE/NAME", means this probe. A mere name is not one of liveness. */
static bool is_called(const struct probe_config *probe, const char *word)
{
	const char *role = role_name(probe->role);
	size_t len = strlen(role);

	if (strncmp(word, role, len) == 0 && word[len] == '/')
		return strcmp(word + len + 1, probe->name) == 0;
	return probe->role != ROLE_LIVENESS && strcmp(word, probe->name) == 0;
}

static struct probe_config *find_probe(const struct wait *wait, const char *word)
{
	struct probe_config *found = NULL;

	for (size_t i = 0; i < wait->config->probe_count; i++) {
		struct probe_config *probe = wait->config->probes[i];

		if (!is_called(probe, word))
			continue;
		if (found) {
			usage_error("several probes have this name, say readiness/NAME or "
				    "startup/NAME",
				    word);
			return NULL;
		}
		found = probe;
	}
	if (!found)
		usage_error("this is no target, and the configuration has no such probe", word);
	return found;
}

/* The same probe must not be run twice at a time. */
static bool is_listed(const struct waiting *waiting, const struct probe_config *config)
{
	for (size_t i = 0; i < waiting->count; i++) {
		if (waiting->targets[i].config == config)
			return true;
	}
	return false;
}

static void add_target(struct wait *wait, struct probe_config *config)
{
	wait->waiting.targets[wait->waiting.count++].config = config;
}

static int add_named(struct wait *wait, const char *word)
{
	struct probe_config *probe = find_probe(wait, word);

	if (!probe)
		return -1;
	if (!is_listed(&wait->waiting, probe))
		add_target(wait, probe);
	return 0;
}

static int add_from_command_line(struct wait *wait, struct faults *faults)
{
	const struct wait_request *request = &wait->request;

	for (size_t i = 0; i < request->target_count; i++) {
		const struct target *target = &request->targets[i];
		struct probe_config *made;

		if (!target->is_url) {
			if (add_named(wait, target->word) < 0)
				return -1;
			continue;
		}
		made = target_configure(target, &request->options, NULL, false, faults);
		if (!made)
			continue;
		wait->made[wait->made_count++] = made;
		add_target(wait, made);
	}
	return faults->errors == 0 ? 0 : -1;
}

static int add_from_file(struct wait *wait)
{
	for (size_t i = 0; i < wait->config->probe_count; i++) {
		if (wait->config->probes[i]->role != ROLE_LIVENESS)
			add_target(wait, wait->config->probes[i]);
	}
	if (wait->waiting.count == 0)
		return usage_error("there is no readiness or startup probe to wait for in",
				   wait->request.config_path);
	return 0;
}

static int make_targets(struct wait *wait, struct faults *faults)
{
	const struct wait_request *request = &wait->request;
	size_t most = request->target_count;

	if (request->config_path) {
		wait->config = config_load(request->config_path, environ, NULL, 0, faults);
		if (!wait->config)
			return -1;
		most += wait->config->probe_count;
	}
	wait->waiting.targets = calloc(most > 0 ? most : 1, sizeof(*wait->waiting.targets));
	if (!wait->waiting.targets)
		return usage_error("out of memory", NULL);
	return request->target_count > 0 ? add_from_command_line(wait, faults)
					 : add_from_file(wait);
}

/* ---- waiting ---- */

static void on_result(struct waiting *waiting, struct waiting_target *target)
{
	struct wait *wait = waiting->owner;

	display_result(wait->display, target);
}

static void on_end(struct waiting *waiting)
{
	struct wait *wait = waiting->owner;

	loop_stop(wait->loop);
}

static void on_end_signal(void *owner, int signal_number)
{
	struct wait *wait = owner;

	wait->ending_signal = signal_number;
	loop_stop(wait->loop);
}

static void on_continue(void *owner, int signal_number)
{
	struct wait *wait = owner;

	(void)signal_number;
	display_resume(wait->display);
}

/* Who was started with a signal ignored goes on ignoring it. */
static int watch_signals(struct wait *wait)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++) {
		if (sigismember(&wait->inherited.ignored, ending[i]) != 1 &&
		    loop_signal_set(wait->loop, ending[i], on_end_signal, wait) < 0)
			return -1;
	}
	return loop_signal_set(wait->loop, SIGCONT, on_continue, wait);
}

/* -1 when something is lacking. */
static int run(struct wait *wait)
{
	struct waiting *waiting = &wait->waiting;

	wait->loop = loop_create();
	wait->resolver = wait->loop ? resolver_create(wait->loop) : NULL;
	if (!wait->resolver)
		return -1;
	wait->env = (struct probe_env){.loop = wait->loop, .resolver = wait->resolver};
	waiting->env = &wait->env;
	waiting->any = wait->request.any;
	waiting->invert = wait->request.invert;
	waiting->successes = wait->request.successes;
	waiting->interval_us = wait->request.interval_us;
	waiting->timeout_us = wait->request.timeout_us;
	waiting->on_result = on_result;
	waiting->on_end = on_end;
	waiting->owner = wait;
	wait->display = display_create(wait->loop, waiting, wait->request.quiet);
	if (!wait->display || watch_signals(wait) < 0 || waiting_start(waiting) < 0)
		return -1;
	loop_run(wait->loop);
	return 0;
}

/* 0, or -1 when it did not reach the reader. */
static int print_json(const struct waiting *waiting)
{
	for (size_t i = 0; i < waiting->count; i++) {
		const struct waiting_target *target = &waiting->targets[i];
		struct json_writer json;
		struct buffer line;

		if (!target->tried)
			continue;
		buffer_init(&line, ANSWER_MAX);
		json_begin(&json, &line);
		json_object_begin(&json, NULL);
		report_result_members(&json, target->config, &target->result, true);
		json_object_end(&json);
		buffer_text(&line, "\n");
		fwrite(line.data, 1, line.len, stdout);
		buffer_free(&line);
	}
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : -1;
}

static void tear_down(struct wait *wait)
{
	if (wait->waiting.env)
		waiting_stop(&wait->waiting);
	display_destroy(wait->display);
	if (wait->waiting.targets)
		waiting_free(&wait->waiting);
	free(wait->waiting.targets);
	for (size_t i = 0; i < wait->made_count; i++)
		probe_config_free(wait->made[i]);
	config_free(wait->config);
	runner_shutdown();
	resolver_destroy(wait->resolver);
	loop_destroy(wait->loop);
}

/* ---- the end ---- */

static int become(char **command)
{
	const char *search_path = program_search_path(command[0], environ);
	struct error error = {{0}};
	bool found;

	program_execute(command, environ, search_path);
	found = errno != ENOENT && errno != ENOTDIR;
	program_explain(command[0], search_path, NULL, errno, &error);
	fprintf(stderr, "readyd wait: %s\n", error.text);
	return found ? EXIT_CANNOT_EXECUTE : EXIT_NOT_FOUND;
}

/* Ends as the signal would have ended us; where it does not (process 1), with its number. */
static int end_by_signal(int signal_number)
{
	sigset_t only;

	sigemptyset(&only);
	sigaddset(&only, signal_number);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
	sigprocmask(SIG_UNBLOCK, &only, NULL);
	return EXIT_BY_SIGNAL + signal_number;
}

static int finish(const struct wait *wait, enum waiting_outcome outcome)
{
	if (wait->ending_signal != 0)
		return end_by_signal(wait->ending_signal);
	if (outcome == WAITING_TIMED_OUT)
		return EXIT_TIMED_OUT;
	if (!wait->request.command)
		return 0;
	inherited_restore(&wait->inherited);
	return become(wait->request.command);
}

int cmd_wait(int argc, char **argv)
{
	static struct wait wait;
	struct faults faults = {0};
	enum waiting_outcome outcome;
	bool unwritten;
	int result;

	wait.request.timeout_us = DEFAULT_TIMEOUT_US;
	wait.request.interval_us = DEFAULT_INTERVAL_US;
	wait.request.options = (struct target_options){.verb = "wait",
						       .items = wait.request.option_items,
						       .max = OPTIONS_MAX};
	result = parse(&wait.request, argc, argv);
	if (result != 0)
		return result > 0 ? 0 : EXIT_USAGE;
	inherited_save(&wait.inherited);
	result = make_targets(&wait, &faults);
	command_print_faults("wait", &faults);
	faults_free(&faults);
	if (result < 0) {
		tear_down(&wait);
		return EXIT_USAGE;
	}
	result = run(&wait);
	outcome = wait.waiting.outcome;
	unwritten = result == 0 && wait.ending_signal == 0 && wait.request.json &&
		    print_json(&wait.waiting) < 0;
	tear_down(&wait);
	if (result < 0) {
		fprintf(stderr, "readyd wait: out of memory or descriptors\n");
		return EXIT_TROUBLE;
	}
	if (unwritten) {
		fprintf(stderr, "readyd wait: the results could not be written to stdout\n");
		return EXIT_TROUBLE;
	}
	return finish(&wait, outcome);
}
