/* `readyd serve`: runs the probes and answers for them until it is told to end. */

#include <getopt.h>

#include "agent/agent.h"
#include "agent/command.h"

static const char help[] =
	"usage: readyd serve [OPTION...]\n"
	"\n"
	"Runs the configured probes and answers /healthz, /ready and /startup, and for those who\n"
	"watch /status, /history and /metrics.\n"
	"\n" AGENT_OPTIONS_HELP "\n"
	"Every setting also has an environment variable: READYD_LISTEN=:8086,\n"
	"READYD_READINESS_CACHE=redis://cache, READYD_READINESS_CACHE__PERIOD_SECONDS=5.\n"
	"`readyd config fields` lists all settings.\n"
	"\n"
	"SIGHUP reloads the configuration. SIGTERM and SIGINT end the agent: /ready is 503 at\n"
	"once, and drain.delaySeconds later, when everybody has seen it, it is gone. A second\n"
	"signal skips the delay.\n"
	"\n"
	"example:\n"
	"  readyd serve -o liveness.app=http://127.0.0.1:8080/healthz \\\n"
	"               -o readiness.database=postgres://app@db/users\n";

int cmd_serve(int argc, char **argv)
{
	struct agent agent = {0};
	int result;

	agent_hold_signals();
	result = agent_take_options(&agent, help, argc, argv);
	if (result != 0)
		return result > 0 ? 0 : 1;
	if (optind < argc) {
		command_usage_error("serve", "unexpected argument", argv[optind]);
		return 1;
	}
	result = agent_start(&agent);
	if (result == 0)
		agent_run(&agent);
	agent_end(&agent);
	return result == 0 ? 0 : 1;
}
