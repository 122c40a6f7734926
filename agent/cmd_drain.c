/* `readyd drain` and `readyd undrain`: take the instance out of service, and back. */

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "agent/client.h"
#include "agent/command.h"
#include "agent/loop.h"

enum {
	ANSWER_MAX = 16 * 1024,
	DEFAULT_TIMEOUT_US = 3 * 1000 * 1000,
};

static const char drain_help[] =
	"usage: readyd drain [OPTION...]\n"
	"\n"
	"Takes the instance out of service: /ready says no, so that load balancers send it\n"
	"nothing more, while it goes on serving and /healthz stays as it is. `readyd undrain`\n"
	"takes it back, `readyd drain --stop` ends it.\n"
	"\n"
	"  --wait           return when nobody asks /ready any more, or when\n"
	"                   drain.delaySeconds are over\n"
	"  --stop           begin the end: drain, then stop the command of `readyd run`,\n"
	"                   then the agent; cannot be taken back. With --wait: return when\n"
	"                   the agent ends\n"
	"  --timeout TIME   give up after so long (default 3 seconds, with --wait never)\n"
	"  --socket NAME    the agent's admin socket (default READYD_SOCKET or @readyd)\n"
	"\n"
	"Only root and the user that the agent runs as may do this.\n"
	"\n"
	"example:\n"
	"  docker exec web /readyd drain --wait && docker stop web\n";

static const char undrain_help[] =
	"usage: readyd undrain [OPTION...]\n"
	"\n"
	"Puts the instance back into service after `readyd drain`.\n"
	"\n"
	"  --timeout TIME   give up after so long (default 3 seconds)\n"
	"  --socket NAME    the agent's admin socket (default READYD_SOCKET or @readyd)\n"
	"\n"
	"Exits with 1 if it stays out of service, because drain.file exists or the end has begun.\n"
	"\n"
	"example:\n"
	"  docker exec web /readyd undrain\n";

struct order {
	const char *verb;
	bool wait, stop;
	const char *socket_name;
	int64_t timeout_us; /* 0 = the default */
};

static int64_t deadline_of(const struct order *order)
{
	if (order->timeout_us > 0)
		return clock_monotonic_us() + order->timeout_us;
	return order->wait ? INT64_MAX : clock_monotonic_us() + DEFAULT_TIMEOUT_US;
}

static const char *path_of(const struct order *order)
{
	if (order->stop)
		return order->wait ? "/stop?wait" : "/stop";
	return order->wait ? "/drain?wait" : "/drain";
}

static int give(const struct order *order, const char *path)
{
	const struct client_request request = {.method = "POST", .path = path};
	struct error error = {{0}};
	struct buffer answer;
	int status;

	buffer_init(&answer, ANSWER_MAX);
	status = client_ask(client_socket_name(order->socket_name), &request, deadline_of(order),
			    &answer, &error);
	if (status == 200)
		fwrite(answer.data, 1, answer.len, stdout);
	else if (status > 0 && answer.len > 0)
		fprintf(stderr, "readyd %s: %s", order->verb, answer.data);
	else if (order->wait && status == CLIENT_SILENT)
		fprintf(stderr, "readyd %s: the time is over; %s\n", order->verb,
			order->stop ? "the agent has not ended yet"
				    : "the instance drains, but is still asked");
	else
		fprintf(stderr, "readyd %s: %s\n", order->verb,
			status > 0 ? "the agent did not understand" : error.text);
	buffer_free(&answer);
	return status == 200 && fflush(stdout) == 0 ? 0 : 1;
}

/* Returns 0, 1 when there is nothing left to do, or -1 for a usage error. */
static int parse(struct order *order, const struct option *options, const char *help, int argc,
		 char **argv)
{
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (letter) {
		case 'h':
			return command_print_help(help) < 0 ? -1 : 1;
		case 'w':
			order->wait = true;
			break;
		case 'x':
			order->stop = true;
			break;
		case 's':
			order->socket_name = optarg;
			break;
		case 't':
			if (command_take_timeout(order->verb, optarg, &order->timeout_us) < 0)
				return -1;
			break;
		default:
			return command_option_error(order->verb, letter, argv);
		}
	}
	if (optind < argc)
		return command_usage_error(order->verb, "unexpected argument", argv[optind]);
	return 0;
}

int cmd_drain(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},         {"wait", no_argument, NULL, 'w'},
		{"stop", no_argument, NULL, 'x'},         {"timeout", required_argument, NULL, 't'},
		{"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
	};
	struct order order = {.verb = "drain"};
	int parsed = parse(&order, options, drain_help, argc, argv);

	if (parsed != 0)
		return parsed > 0 ? 0 : 1;
	return give(&order, path_of(&order));
}

int cmd_undrain(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"timeout", required_argument, NULL, 't'},
		{"socket", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	struct order order = {.verb = "undrain"};
	int parsed = parse(&order, options, undrain_help, argc, argv);

	if (parsed != 0)
		return parsed > 0 ? 0 : 1;
	return give(&order, "/undrain");
}
