/* `readyd status`: what the running agent knows, for a person. */

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/command.h"
#include "agent/field.h"
#include "agent/loop.h"

enum { ANSWER_MAX = 128 * 1024 * 1024, DEFAULT_TIMEOUT_US = 3 * 1000 * 1000 };

static const char help[] =
	"usage: readyd status [OPTION...]\n"
	"\n"
	"Shows the running agent's verdicts and every probe's standing.\n"
	"\n"
	"  --json           everything that is known, as JSON\n"
	"  --socket NAME    the agent's admin socket (default READYD_SOCKET or @readyd;\n"
	"                   `socket:` in the agent's configuration is not read here)\n"
	"  --timeout TIME   wait so long for the agent (default 3 seconds)\n"
	"\n"
	"example:\n"
	"  docker exec web /readyd status\n";

static int usage_error(const char *sentence, const char *word)
{
	command_usage_error("status", sentence, word);
	return 1;
}

static int show(const char *socket_name, bool json, int64_t timeout_us)
{
	bool colour = !json && isatty(STDOUT_FILENO);
	const struct client_request request = {
		.method = "GET",
		.path = json     ? "/status"
			: colour ? "/table?colour"
				 : "/table",
		.accept_json = json,
	};
	struct error error = {{0}};
	struct buffer answer;
	int status;

	buffer_init(&answer, ANSWER_MAX);
	status = client_ask(client_socket_name(socket_name), &request,
			    clock_monotonic_us() + timeout_us, &answer, &error);
	if (status == 200)
		fwrite(answer.data, 1, answer.len, stdout);
	else
		fprintf(stderr, "readyd status: %s\n",
			status > 0 ? "the agent did not understand" : error.text);
	buffer_free(&answer);
	return status == 200 && fflush(stdout) == 0 ? 0 : 1;
}

int cmd_status(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"timeout", required_argument, NULL, 't'},
		{"socket", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	const char *socket_name = NULL;
	int64_t timeout_us = DEFAULT_TIMEOUT_US;
	bool json = false;
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? 1 : 0;
		case 'j':
			json = true;
			break;
		case 's':
			socket_name = optarg;
			break;
		case 't':
			if (command_take_timeout("status", optarg, &timeout_us) < 0)
				return 1;
			break;
		case ':':
			return usage_error("a value is missing after", argv[optind - 1]);
		default:
			return usage_error("unknown option", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	return show(socket_name, json, timeout_us);
}
