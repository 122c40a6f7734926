/* The running agent, as `serve` and `run` share it: options, configuration, log, signals, reload,
 * engine and server, from the start to the end. */
#ifndef READYD_AGENT_AGENT_H
#define READYD_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/config.h"
#include "agent/drain_file.h"
#include "agent/engine.h"
#include "agent/haproxy_agent.h"
#include "agent/loop.h"
#include "agent/notify_receive.h"
#include "agent/notify_send.h"
#include "agent/resolve.h"
#include "agent/serve.h"
#include "agent/shutdown.h"

#define AGENT_DEFAULT_CONFIG "/etc/readyd.yaml"

enum { AGENT_OVERRIDES_MAX = 256 };

/* Embedded in its verb; zero-filled is valid and idle. */
struct agent {
	const char *verb;        /* for messages on stderr */
	const char *config_path; /* NULL = no file */
	struct override overrides[AGENT_OVERRIDES_MAX];
	size_t override_count;
	struct loop *loop;
	struct resolver *resolver;
	struct probe_env env;
	struct engine *engine;
	struct server *server;
	struct haproxy_agent *haproxy_agent;
	/* A verb that does something before the agent ends says so here before agent_start(), and
	 * calls loop_stop() itself. */
	struct shutdown shutdown;
	unsigned end_signals; /* how often SIGTERM or SIGINT has come */
	int exit_status;      /* that the verb will end with */
	struct drain_file drain_file;
	struct notify_sender *notify_sender;     /* NULL = nobody wants to know */
	struct notify_receiver *notify_receiver; /* NULL = there is no command */
};

/* What `--help` says about the options that agent_take_options() takes. */
#define AGENT_OPTIONS_HELP \
	"  -c, --config FILE    the configuration, - is standard input (default: READYD_CONFIG,\n" \
	"                       or " AGENT_DEFAULT_CONFIG " if that exists; none is needed)\n" \
	"  -o NAME=VALUE        one setting, stronger than environment and file: listen=:8086,\n" \
	"                       readiness.cache=redis://cache, readiness.cache.periodSeconds=5\n"

/* As process 1, holds back the signals that end or reload until there is somebody to take them: the
 * kernel would throw them away. The very first thing to be done. */
void agent_hold_signals(void);

/* Takes the options of the verb argv[0], up to the first word that is none, whose index is then in
 * `optind`. Returns 0; 1 when `help` was asked for and printed; or -1 after saying what is wrong.
 */
int agent_take_options(struct agent *agent, const char *help, int argc, char **argv);

/* Reads the configuration, begins to run its probes and to answer for them. Returns 0, or -1 after
 * saying what is wrong; agent_end() is due in either case. */
int agent_start(struct agent *agent);

/* Works until the end: see shutdown.h for how it comes. */
void agent_run(struct agent *agent);

/* Takes a signal that asks for the end: the first begins it, the second skips what is left of the
 * delay. Returns false when the delay is over and the signal has no meaning here any more. */
bool agent_take_end_signal(struct agent *agent, int signal_number);

/* Reads the configuration again; with a fault in it, the running one is kept and the fault logged.
 */
void agent_reload(struct agent *agent);

/* Begins the end; harmless when it has begun. `agent` is a struct agent: of the type that those
 * take who know nothing of agents. */
void agent_stop(void *agent);

/* Closes and frees everything. */
void agent_end(struct agent *agent);

#endif
