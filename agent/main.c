/* readyd: the health and readiness agent. Chooses the verb; the verbs are in cmd_*.c. */

#include <stdio.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/command.h"
#include "agent/version.h"
#include "probes/probe.h"

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct verb verbs[] = {
	{"check", cmd_check, "one answer and exit 0 or 1, for HEALTHCHECK"},
	{"serve", cmd_serve, "run the probes and answer over HTTP"},
	{"run", cmd_run, "serve, and be the entrypoint that starts, watches and stops a command"},
	{"wait", cmd_wait, "block until targets pass, then exit 0 or run a command"},
	{"drain", cmd_drain, "take the instance out of service, or end it"},
	{"undrain", cmd_undrain, "put the instance back into service"},
	{"status", cmd_status, "show what the running agent knows"},
	{"config", cmd_config, "validate a configuration"},
};

static void print_help(void)
{
	printf("readyd %s: tells whether a service is alive, ready and started\n\n"
	       "usage: readyd VERB [OPTION...] [ARGUMENT...]\n\nverbs:\n",
	       READYD_VERSION);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		printf("  %-8s %s\n", verbs[i].name, verbs[i].summary);
	printf("\n`readyd VERB --help` tells more about a verb.\n"
	       "`readyd --help reasons` lists the reasons of results.\n"
	       "`readyd --version [--json]` names the version and the linked libraries.\n\n"
	       "targets:\n");
	for (size_t i = 0; probe_types[i]; i++)
		printf("  %-30s %s\n", probe_types[i]->example, probe_types[i]->summary);
}

static void print_reasons(void)
{
	printf("%-22s %-6s %s\n", "REASON", "ALIVE", "MEANING");
	for (int i = 0; i < PROBE_REASON_COUNT; i++) {
		enum probe_reason reason = (enum probe_reason)i;

		printf("%-22s %-6s %s\n", probe_reason_name(reason),
		       probe_reason_alive(reason) ? "yes" : "no", probe_reason_meaning(reason));
	}
}

static void print_version(bool json)
{
	struct buffer buffer;

	buffer_init(&buffer, 8192);
	if (json)
		version_json(&buffer);
	else
		version_text(&buffer);
	fputs(buffer.data ? buffer.data : "", stdout);
	buffer_free(&buffer);
}

/* Output that did not reach the reader is a failure. */
static int finish_output(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(word, verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
		if (argc > 2 && strcmp(argv[2], "reasons") == 0)
			print_reasons();
		else
			print_help();
		return finish_output();
	}
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		print_version(argc > 2 && strcmp(argv[2], "--json") == 0);
		return finish_output();
	}
	if (word[0] == '\0') {
		fprintf(stderr, "readyd: a verb is missing; see `readyd --help`\n");
	} else {
		char shown[COMMAND_WORD_SIZE];

		command_show_word(word, shown, sizeof(shown));
		fprintf(stderr, "readyd: there is no verb \"%s\"; see `readyd --help`\n", shown);
	}
	return 1;
}
