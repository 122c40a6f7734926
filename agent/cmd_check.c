/* `readyd check`: one answer and an exit status, by the running agent or by a probe here and now.
 *
 * A container engine starts this every few seconds, so nothing is initialised that the question at
 * hand does not need: asking the agent touches no library at all. */

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/client.h"
#include "agent/command.h"
#include "agent/config.h"
#include "agent/loop.h"
#include "agent/report.h"
#include "agent/resolve.h"
#include "agent/runner.h"
#include "agent/targets.h"

enum {
	/* Podman keeps 500 characters of a health check's output, Docker 4,096 bytes. */
	OUTPUT_MAX = 500,
	VERBOSE_OUTPUT_MAX = 4096,
	WHAT_MAX = 32,
	OPTIONS_MAX = 64,
	DEFAULT_TIMEOUT_US = 3 * 1000 * 1000,
	/* Just below the 30 seconds that container engines allow a check by default. */
	DEFAULT_WAIT_US = 29 * 1000 * 1000,
	/* Of --wait's time: for telling in the end what is not ready. */
	RESERVE_US = 500 * 1000,
	RETRY_MS = 20,
	STATUS_TOO_MANY = 429,
	/* An agent's answer about one probe holds at most its history and 4 KiB of output. */
	ANSWER_MAX = 128 * 1024,
	/* What the usual answer needs, with its headers. */
	ANSWER_USUAL = 768,
};

/* One thing to check. */
struct question {
	struct target what;

	bool failed;
	bool json;
	struct buffer answer; /* a line, or a line of JSON */

	struct probe_config *config;
	struct runner runner;
	bool done;
};

struct check {
	bool json;
	bool wait; /* for the first time that it is ready */
	bool verbose;
	const char *socket_name;
	int64_t deadline_us;
	int64_t timeout_us;
	struct target_options options;
	size_t question_count;
	char usual_answer[ANSWER_USUAL]; /* the first question's, so that it needs no heap */
	struct question questions[WHAT_MAX];
	struct override option_items[OPTIONS_MAX];
};

static const char help[] =
	"usage: readyd check [OPTION...] [WHAT...]\n"
	"\n"
	"Gives one answer and exits with 0 (yes) or 1 (no, or any error).\n"
	"\n"
	"WHAT  readiness (the default), liveness or startup: ask the running agent\n"
	"      a probe's name: ask the running agent about it\n"
	"      a target URL: probe it here and now, no agent needed\n"
	"Several are checked together, and all must be good.\n"
	"\n"
	"  -o NAME=VALUE    a setting of the target before it, by its name in the\n"
	"                   configuration file (repeat for several)\n"
	"  --wait           while the instance has never been ready, wait until it is, and\n"
	"                   answer at that instant; from then on answer at once (for\n"
	"                   readiness, and for startup)\n"
	"  --timeout TIME   the whole may take so long, such as 500ms or 2.5\n"
	"                   (default 3 seconds; 29 with --wait, as engines allow 30)\n"
	"  --socket NAME    the agent's admin socket (default READYD_SOCKET or @readyd;\n"
	"                   `socket:` in the agent's configuration is not read here)\n"
	"  --verbose        also a line for each probe of readiness, liveness or startup,\n"
	"                   those that fail first: up to 4,096 bytes, as much as Docker\n"
	"                   keeps; all names and reasons are in the first 500, as much as\n"
	"                   Podman keeps, if there are not too many\n"
	"  --json           print JSON\n"
	"\n"
	"examples:\n"
	"  HEALTHCHECK CMD [\"/readyd\", \"check\"]\n"
	"  HEALTHCHECK --interval=5s --timeout=30s --start-period=5m --start-interval=100ms \\\n"
	"      CMD [\"/readyd\", \"check\", \"--wait\"]\n"
	"  readyd check liveness\n"
	"  readyd check http://127.0.0.1:8080/healthz\n"
	"  readyd check postgres://app@db/users -o role=primary -o passwordFile=/run/secrets/db\n";

static int usage_error(const char *sentence, const char *word)
{
	return command_usage_error("check", sentence, word);
}

static int add_what(struct check *check, char *word)
{
	if (check->question_count == WHAT_MAX)
		return usage_error("too many things to check", NULL);
	if (target_take(&check->options, word, &check->questions[check->question_count].what) < 0)
		return -1;
	check->question_count++;
	return 0;
}

/* Returns 1 when there is nothing left to do, -1 for a usage error. */
static int parse(struct check *check, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"wait", no_argument, NULL, 'w'},
		{"timeout", required_argument, NULL, 't'},
		{"socket", required_argument, NULL, 's'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int letter;

	opterr = 0;
	/* The leading "-" keeps the order, so that each -o stays with its target. */
	while ((letter = getopt_long(argc, argv, "-:ho:", options, NULL)) != -1) {
		int result = 0;

		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? -1 : 1;
		case 'j':
			check->json = true;
			break;
		case 'w':
			check->wait = true;
			break;
		case 'v':
			check->verbose = true;
			break;
		case 't':
			result = command_take_timeout("check", optarg, &check->timeout_us);
			break;
		case 's':
			check->socket_name = optarg;
			break;
		case 'o':
			result = target_take_option(&check->options, optarg);
			break;
		case 1:
			result = add_what(check, optarg);
			break;
		default:
			result = command_option_error("check", letter, argv);
			break;
		}
		if (result < 0)
			return -1;
	}
	while (optind < argc) {
		if (add_what(check, argv[optind++]) < 0)
			return -1;
	}
	if (check->question_count == 0) {
		check->questions[0].what.word = "readiness";
		check->question_count = 1;
	}
	for (size_t i = 0; check->wait && i < check->question_count; i++) {
		const struct target *what = &check->questions[i].what;

		if (strcmp(what->word, "readiness") != 0 && strcmp(what->word, "startup") != 0)
			return usage_error("--wait asks the agent for readiness or startup; for "
					   "anything else use `readyd wait`",
					   what->word);
	}
	if (check->timeout_us == 0)
		check->timeout_us = check->wait ? DEFAULT_WAIT_US : DEFAULT_TIMEOUT_US;
	return 0;
}

/* Ends a text that was cut off: whole characters, and a whole line. */
static void end_line(struct buffer *output)
{
	output->len--;
	while (output->len > 0 && (output->data[output->len] & 0xc0) == 0x80)
		output->len--;
	output->data[output->len++] = '\n';
}

/* ---- asking the agent ---- */

/* The same object as any result, of a run that did not come about. */
static void write_failure(struct json_writer *json, const char *name, enum probe_reason reason,
			  const char *sentence, int64_t duration_us)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_object_begin(json, NULL);
	json_text(json, "name", name);
	json_text(json, "type", "");
	json_text(json, "target", "");
	json_text(json, "state", probe_state_name(PROBE_FAIL));
	json_text(json, "reason", probe_reason_name(reason));
	json_text(json, "message", sentence);
	json_boolean(json, "alive", probe_reason_alive(reason));
	json_boolean(json, "ready", false);
	json_milliseconds(json, "durationMs", duration_us);
	json_object_begin(json, "phasesMs");
	json_milliseconds(json, "total", duration_us);
	json_object_end(json);
	json_time(json, "at", (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	json_object_end(json);
}

static void fail_question(const struct check *check, struct question *question,
			  enum probe_reason reason, const char *sentence)
{
	char name[COMMAND_WORD_SIZE];

	question->failed = true;
	buffer_clear(&question->answer);
	command_show_word(question->what.word, name, sizeof(name));
	if (check->json) {
		struct json_writer json;

		json_begin(&json, &question->answer);
		write_failure(&json, name, reason, sentence,
			      clock_monotonic_once_us() - check->deadline_us + check->timeout_us);
		buffer_text(&question->answer, "\n");
		return;
	}
	buffer_format(&question->answer, "fail %s %s: %s\n", name, probe_reason_name(reason),
		      sentence);
}

/* What a path may hold besides the name. */
#define PATH_REST "?verbose&wait"

/* Writes "/check/NAME" with all percent-encoded that a probe's name cannot hold, so that the whole
 * of a strange word is a name (that no probe has), and no part of it a query. */
static void write_path(const char *name, bool verbose, char *path, size_t size)
{
	size_t len = (size_t)snprintf(path, size, "/check/");

	for (; *name && len + sizeof("%FF" PATH_REST) <= size; name++) {
		unsigned char c = (unsigned char)*name;
		bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			     (c >= '0' && c <= '9') || strchr("._-", c);

		len += (size_t)snprintf(path + len, size - len, plain ? "%c" : "%%%02X", c);
	}
	if (verbose)
		snprintf(path + len, size - len, "?verbose");
}

static enum probe_reason reason_of_failure(int failure)
{
	switch (failure) {
	case CLIENT_NOBODY:
		return REASON_AGENT_MISSING;
	case CLIENT_SILENT:
		return REASON_AGENT_SILENT;
	default:
		return REASON_AGENT_ERROR;
	}
}

static int ask_once(const struct check *check, struct question *question, const char *path,
		    int64_t deadline_us, struct error *error)
{
	const struct client_request request = {.method = "GET",
					       .path = path,
					       .accept_json = check->json};

	buffer_clear(&question->answer);
	return client_ask(client_socket_name(check->socket_name), &request, deadline_us,
			  &question->answer, error);
}

/* Asks until the agent has an answer that counts: it holds the question until the instance is ready
 * for the first time, but it may not be there yet, or hold as many as it can already. Some time is
 * kept back for asking what the matter is. */
static int ask_and_wait(const struct check *check, struct question *question, char *path,
			size_t path_size, struct error *error)
{
	int64_t reserve_us = check->timeout_us / 10;
	int64_t until_us, now_us;
	size_t len = strlen(path);

	until_us = check->deadline_us - (reserve_us < RESERVE_US ? reserve_us : RESERVE_US);
	snprintf(path + len, path_size - len, check->verbose ? "&wait" : "?wait");
	for (;;) {
		int status = ask_once(check, question, path, until_us, error);

		if (status > 0 && status != STATUS_TOO_MANY)
			return status;
		now_us = clock_monotonic_once_us();
		if (now_us >= until_us)
			break;
		poll(NULL, 0, RETRY_MS);
	}
	path[len] = '\0';
	return ask_once(check, question, path, check->deadline_us, error);
}

static void ask_agent(const struct check *check, struct question *question)
{
	struct error error = {{0}};
	char path[3 * TARGET_NAME_MAX + sizeof("/check/" PATH_REST)];
	int status;

	write_path(question->what.word, check->verbose, path, sizeof(path));
	if (check->wait)
		status = ask_and_wait(check, question, path, sizeof(path), &error);
	else
		status = ask_once(check, question, path, check->deadline_us, &error);
	if (status == 200)
		return;
	question->failed = true;
	if (status == 503 && question->answer.len > 0)
		return;
	if (status == 404)
		fail_question(check, question, REASON_UNKNOWN_PROBE,
			      "the agent has no probe of this name");
	else if (status > 0)
		fail_question(check, question, REASON_AGENT_ERROR, "the agent did not understand");
	else
		fail_question(check, question, reason_of_failure(status), error.text);
}

/* ---- probing ourselves ---- */

static void on_done(struct runner *runner, struct probe_result *result)
{
	struct question *question = runner->owner;
	const struct probe_config *config = question->config;

	question->done = true;
	question->failed = result->state == PROBE_FAIL;
	if (question->json) {
		struct json_writer json;

		json_begin(&json, &question->answer);
		json_object_begin(&json, NULL);
		report_result_members(&json, config, result, true);
		json_object_end(&json);
		buffer_text(&question->answer, "\n");
	} else {
		report_result_line(config->name, result, true, &question->answer);
	}
}

/* Faults and warnings of all targets together, within what an engine keeps. */
static void print_faults(const struct faults *faults)
{
	char storage[OUTPUT_MAX];
	struct buffer output;
	size_t shown = 0;

	buffer_init_with(&output, OUTPUT_MAX - sizeof("and 4294967295 more\n"), storage,
			 sizeof(storage));
	for (const struct fault *fault = faults->first; fault; fault = fault->next) {
		size_t before = output.len;

		if (buffer_format(&output, "readyd check: %s%s\n",
				  fault->warning ? "warning: " : "", fault->text) < 0) {
			/* One that fits in part is better than none. */
			if (before > 0)
				output.len = before;
			else
				shown++;
			break;
		}
		shown++;
	}
	if (output.overflow && shown == 1 && output.data[output.len - 1] != '\n')
		end_line(&output);
	fwrite(output.data, 1, output.len, stderr);
	if (faults->errors + faults->warnings > shown)
		fprintf(stderr, "and %zu more\n", faults->errors + faults->warnings - shown);
}

/* Builds the probe of a target question; its run may take as long as the whole check, from whose
 * start its time counts. */
static int configure(struct check *check, struct question *question, struct faults *faults)
{
	char timeout[32];
	struct override weakest = {"timeoutSeconds", timeout};

	snprintf(timeout, sizeof(timeout), "%lldms", (long long)(check->timeout_us + 999) / 1000);
	question->config =
		target_configure(&question->what, &check->options, &weakest, !check->json, faults);
	if (!question->config)
		return -1;
	if (question->config->timeout_us > check->timeout_us)
		question->config->timeout_us = check->timeout_us;
	return 0;
}

static bool all_done(const struct check *check)
{
	for (size_t i = 0; i < check->question_count; i++) {
		if (check->questions[i].what.is_url && !check->questions[i].done)
			return false;
	}
	return true;
}

/* Runs all targets at the same time. Each ends by its own deadline at the latest. */
static int probe_targets(struct check *check)
{
	struct loop *loop = loop_create();
	struct resolver *resolver = loop ? resolver_create(loop) : NULL;
	struct probe_env env = {.loop = loop, .resolver = resolver};
	struct faults faults = {0};
	int result = resolver ? 0 : usage_error("out of memory or descriptors", NULL);

	for (size_t i = 0; result == 0 && i < check->question_count; i++) {
		if (check->questions[i].what.is_url)
			result = configure(check, &check->questions[i], &faults);
	}
	print_faults(&faults);
	faults_free(&faults);
	for (size_t i = 0; result == 0 && i < check->question_count; i++) {
		struct question *question = &check->questions[i];

		if (!question->what.is_url)
			continue;
		question->json = check->json;
		question->runner =
			(struct runner){.config = question->config,
					.env = &env,
					.on_done = on_done,
					.owner = question,
					.since_us = check->deadline_us - check->timeout_us};
		runner_start(&question->runner);
	}
	while (result == 0 && !all_done(check))
		loop_turn(loop, -1);
	for (size_t i = 0; i < check->question_count; i++) {
		struct question *question = &check->questions[i];

		if (!question->config)
			continue;
		if (question->runner.config)
			runner_release(&question->runner);
		probe_config_free(question->config);
	}
	runner_shutdown();
	resolver_destroy(resolver);
	loop_destroy(loop);
	return result;
}

/* ---- the answer ---- */

/* What failed comes first, and text stays within what an engine keeps. */
static void print_answers(const struct check *check)
{
	char storage[OUTPUT_MAX + 1];
	struct buffer output;
	size_t most = check->verbose ? VERBOSE_OUTPUT_MAX : OUTPUT_MAX;

	if (check->json)
		most = (size_t)ANSWER_MAX * WHAT_MAX;
	buffer_init_with(&output, most, storage, sizeof(storage));
	for (int failed = 1; failed >= 0; failed--) {
		for (size_t i = 0; i < check->question_count; i++) {
			const struct question *question = &check->questions[i];

			if (question->failed == (failed == 1))
				buffer_append(&output, question->answer.data, question->answer.len);
		}
	}
	if (output.overflow)
		end_line(&output);
	for (size_t done = 0; done < output.len;) {
		ssize_t len = write(STDOUT_FILENO, output.data + done, output.len - done);

		if (len <= 0)
			break;
		done += (size_t)len;
	}
	buffer_free(&output);
}

int cmd_check(int argc, char **argv)
{
	/* Not on the stack: of zeroed memory only the pages that are used cost anything. */
	static struct check check;
	bool any_target = false;
	int failed = 0;
	int parsed;

	check.options = (struct target_options){.verb = "check",
						.items = check.option_items,
						.max = OPTIONS_MAX};
	parsed = parse(&check, argc, argv);
	if (parsed != 0)
		return parsed > 0 ? 0 : 1;
	/* A reader that has gone must not turn the answer into a signal. */
	signal(SIGPIPE, SIG_IGN);
	check.deadline_us = clock_monotonic_once_us() + check.timeout_us;
	for (size_t i = 0; i < check.question_count; i++) {
		struct question *question = &check.questions[i];

		if (i == 0)
			buffer_init_with(&question->answer, ANSWER_MAX, check.usual_answer,
					 sizeof(check.usual_answer));
		else
			buffer_init(&question->answer, ANSWER_MAX);
		any_target = any_target || question->what.is_url;
	}
	if (any_target && probe_targets(&check) < 0)
		failed = 1;
	for (size_t i = 0; failed == 0 && i < check.question_count; i++) {
		if (!check.questions[i].what.is_url)
			ask_agent(&check, &check.questions[i]);
	}
	if (failed == 0)
		print_answers(&check);
	for (size_t i = 0; i < check.question_count; i++) {
		failed |= check.questions[i].failed;
		buffer_free(&check.questions[i].answer);
	}
	return failed ? 1 : 0;
}
