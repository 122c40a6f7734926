/* The whole configuration, typed and checked: what the file, the environment and the command line
 * say together. */
#ifndef READYD_AGENT_CONFIG_H
#define READYD_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/field.h"
#include "agent/tree.h"
#include "probes/probe.h"

enum role { ROLE_LIVENESS, ROLE_READINESS, ROLE_STARTUP, ROLE_COUNT };

/* "liveness", "readiness", "startup". */
const char *role_name(enum role role);

/* One probe as configured. */
struct probe_config {
	enum role role;
	char *name;
	const struct probe_type *type;
	void *conf;        /* type->conf_size bytes */
	char *target;      /* masked, for people */
	uint64_t identity; /* a hash over everything that was configured: equal = unchanged */

	/* Kubernetes' settings (seconds in microseconds). */
	int64_t initial_delay_us;
	int64_t period_us;
	int64_t timeout_us;
	int64_t success_threshold;
	int64_t failure_threshold;
	int64_t termination_grace_period_us; /* taken from a pod spec, without effect */
};

enum details { DETAILS_NEVER, DETAILS_LOCAL, DETAILS_ALWAYS };
enum drain_status { DRAIN_STATUS_503, DRAIN_STATUS_404 };
enum liveness_action { LIVENESS_NONE, LIVENESS_RESTART, LIVENESS_EXIT };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };
enum config_log_level { CONFIG_LOG_DEBUG, CONFIG_LOG_INFO, CONFIG_LOG_WARNING, CONFIG_LOG_ERROR };

/* The settings of the top level; see config_fields for names and defaults. */
struct settings {
	char *service; /* service */
	char *version; /* version */
	struct text_list
		listen; /* listen: "0.0.0.0:8086", "[::]:8086", ":8086", "unix:/path", "none" */
	char *socket;   /* socket: the admin socket, "@readyd" or a path; "none" */
	int details;    /* details: who sees targets and messages: never, local, always */
	int log_format; /* logFormat: auto, json, text */
	int log_level;  /* logLevel: debug, info, warning, error */
	int64_t connection_limit;   /* connectionLimit */
	int64_t request_timeout_us; /* requestTimeoutSeconds: from connect or last answer to a whole
				       request */
	int64_t idle_timeout_us; /* idleTimeoutSeconds: of a kept-alive connection between requests
				  */
	int64_t stale_after_us;  /* staleAfterSeconds: how late the loop may be before it says so */
	int64_t drain_delay_us;  /* drain.delaySeconds */
	char *drain_file;        /* drain.file: it drains while this exists; "" = none */
	int drain_status;        /* drain.statusCode: of /ready while draining */

	/* haproxyAgent: where to answer HAProxy's agent-check; empty = nowhere */
	struct text_list haproxy_agent;
	int64_t haproxy_degraded_weight; /* haproxyDegradedWeight: percent */

	int64_t grace_period_us; /* gracePeriodSeconds: what the whole end may take */

	/* Of `run` alone. */
	char *stop_signal;                 /* stopSignal: "SIGTERM", "TERM" or "15" */
	int64_t stop_timeout_us;           /* stopTimeoutSeconds: from the stop signal to SIGKILL */
	int on_liveness_failure;           /* onLivenessFailure */
	int64_t restart_delay_us;          /* restart.delaySeconds: before the first restart */
	int64_t restart_delay_max_us;      /* restart.maxDelaySeconds: it doubles up to this */
	int64_t restart_limit;             /* restart.limit: 0 = none */
	int64_t restart_reset_us;          /* restart.resetAfterSeconds: the counting begins anew */
	char *termination_log_file;        /* terminationLogFile; "" = none */
	struct text_list pass_environment; /* passEnvironment: READYD_* that the command keeps */
};

struct config {
	struct settings settings;
	struct probe_config *
		*probes; /* each allocated on its own, so that a reload can hand it over */
	size_t probe_count;
};

/* One setting from the command line: "drain.delaySeconds" = "5", "readiness.cache" = "redis://…",
 * "readiness.cache.role" = "primary". Both texts stay the caller's. */
struct override {
	const char *path;
	const char *value;
};

/* The table of the top-level settings ("drain.delaySeconds" is spelt so), for --help and the
 * schema. */
extern const struct field config_fields[];

/* The table of the settings that every probe has (periodSeconds and so on). */
extern const struct field probe_common_fields[];

/* Builds the configuration from a file (NULL = none), READYD_* variables of `environment`, and the
 * overrides, in rising precedence. Returns NULL when there is any error; `faults` then says all of
 * them. Warnings alone do not hinder. */
struct config *config_load(const char *path, char *const *environment,
			   const struct override *overrides, size_t override_count,
			   struct faults *faults);
void config_free(struct config *config);

/* Builds a single probe from a target URL and settings by their names in the file, as `check` and
 * `wait` take them. `name` is its name in results. NULL with faults. */
struct probe_config *probe_config_from_target(const char *name, const char *target,
					      const struct override *options, size_t option_count,
					      struct faults *faults);
void probe_config_free(struct probe_config *probe);

#endif
