/* The contract between a probe type and the program that runs it.
 *
 * A probe type knows its protocol and nothing of schedules, thresholds, HTTP or metrics. It is one
 * file in probes/ that defines one `const struct probe_type`, and one line in probes/registry.c.
 *
 * Life of a run
 *  1. start() begins the run and never blocks. It may call probe_finish() before it returns.
 *  2. The first probe_finish() of a run counts, later ones are ignored. It only reports: it queues
 *     the run and returns; it never calls stop().
 *  3. At the deadline the runner itself finishes the run (REASON_TIMEOUT); a reload or the end of
 *     the program abandons it. The type can not tell these apart and need not.
 *  4. stop() is called exactly once for each start(), from the loop and never from inside a
 *     callback of a library, possibly with nothing or only a part set up. When it returns, no
 *     watcher, timer, descriptor, lookup or handle of this run is left. (A dying child process or a
 *     query being cancelled on a server may live on, owned by agent/child.c or by the type itself,
 *     bounded by a deadline of its own.)
 *  5. One probe never has two runs at the same time.
 */
#ifndef READYD_PROBES_PROBE_H
#define READYD_PROBES_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"

struct field;
struct loop;
struct notified;
struct resolver;

enum probe_state { PROBE_PASS, PROBE_WARN, PROBE_FAIL };

/* Every way in which a run can end: symbol, name (in JSON, logs and text), whether what was probed
 * is alive although the run failed, and what it means. This is the one place where reasons are
 * listed; `readyd --help reasons` prints it. "Alive" answers "would a restart be wrong?": it picks
 * the verdict of a liveness probe, while readiness and startup go by pass or warn. */
#define PROBE_REASONS(X) \
	X(REASON_OK, "ok", true, "the probe passed") \
	X(REASON_TIMEOUT, "timeout", false, "no complete answer before timeoutSeconds was over") \
	X(REASON_DNS_FAILURE, "dns_failure", false, "the host name could not be resolved") \
	X(REASON_CONNECT_REFUSED, "connect_refused", false, "nobody listens there") \
	X(REASON_CONNECT_TIMEOUT, "connect_timeout", false, \
	  "the connection was not accepted in time") \
	X(REASON_UNREACHABLE, "unreachable", false, "there is no route to the address") \
	X(REASON_SOCKET_MISSING, "socket_missing", false, "there is no such unix socket") \
	X(REASON_PERMISSION, "permission_denied", false, "the system forbids it") \
	X(REASON_NETWORK_ERROR, "network_error", false, "another error of the network") \
	X(REASON_CONNECTION_CLOSED, "connection_closed", false, \
	  "the peer closed the connection before it answered") \
	X(REASON_CONNECTION_RESET, "connection_reset", false, "the peer reset the connection") \
	X(REASON_TLS_FAILED, "tls_failed", false, "the TLS handshake failed") \
	X(REASON_TLS_UNTRUSTED, "tls_untrusted", false, \
	  "no trusted authority has signed the certificate") \
	X(REASON_TLS_HOSTNAME, "tls_hostname", false, "the certificate is for another name") \
	X(REASON_TLS_EXPIRED, "tls_expired", false, "the certificate has expired") \
	X(REASON_TLS_NOT_YET_VALID, "tls_not_yet_valid", false, \
	  "the certificate is not valid yet") \
	X(REASON_TLS_EXPIRING, "tls_expiring", true, "the certificate expires soon") \
	X(REASON_TLS_UNAVAILABLE, "tls_unavailable", false, "this readyd was built without TLS") \
	X(REASON_PROTOCOL_ERROR, "protocol_error", false, \
	  "the answer is not the protocol that was expected") \
	X(REASON_SLOW, "slow", true, "the answer was right but slower than allowed") \
	X(REASON_HTTP_STATUS, "http_status", false, "the status is not one of the accepted ones") \
	X(REASON_REDIRECT, "redirect", true, "a redirect to another host was not followed") \
	X(REASON_TOO_MANY_REDIRECTS, "too_many_redirects", false, "the redirects did not end") \
	X(REASON_HEADER_MISMATCH, "header_mismatch", false, \
	  "a response header is not as expected") \
	X(REASON_BODY_MISMATCH, "body_mismatch", false, "the body or answer is not as expected") \
	X(REASON_JSON_MISMATCH, "json_mismatch", false, "a JSON member is not as expected") \
	X(REASON_BODY_TIMEOUT, "body_timeout", false, "the headers came, the whole body did not") \
	X(REASON_BODY_TRUNCATED, "body_truncated", false, \
	  "the body ended before its announced length") \
	X(REASON_BODY_TOO_LARGE, "body_too_large", false, "the body is longer than readyd reads") \
	X(REASON_EXIT_CODE, "exit_code", false, "the command ended with a failing exit code") \
	X(REASON_EXIT_WARNING, "exit_warning", true, \
	  "the plugin ended with exit code 1, a warning") \
	X(REASON_EXIT_UNKNOWN, "exit_unknown", false, \
	  "the plugin could not tell (exit code 3 or an undefined one)") \
	X(REASON_SIGNAL, "signal", false, "the command was ended by a signal") \
	X(REASON_CANNOT_START, "cannot_start", false, \
	  "the command, or the probe itself, could not be started") \
	X(REASON_REJECTING, "rejecting", true, \
	  "the server is starting up, shutting down or recovering") \
	X(REASON_TOO_MANY_CONNECTIONS, "too_many_connections", true, \
	  "the server takes no more sessions") \
	X(REASON_AUTH_FAILED, "auth_failed", true, "the server refused the user or the password") \
	X(REASON_UNKNOWN_DATABASE, "unknown_database", true, "there is no such database") \
	X(REASON_SERVER_ERROR, "server_error", true, \
	  "the server refused the session for another reason") \
	X(REASON_WRONG_ROLE, "wrong_role", true, \
	  "the server has another role than the wanted one") \
	X(REASON_REPLICATION_LAG, "replication_lag", true, "the standby is too far behind") \
	X(REASON_QUERY_FAILED, "query_failed", true, "the query failed") \
	X(REASON_NO_ROWS, "no_rows", true, "the query returned no row") \
	X(REASON_VALUE_MISMATCH, "value_mismatch", true, "the query returned another value") \
	X(REASON_LOADING, "loading", true, "Redis is loading its dataset") \
	X(REASON_MASTER_DOWN, "master_down", true, \
	  "the replica has lost its master and refuses to serve") \
	X(REASON_BUSY, "busy", false, "Redis is blocked by a script or function") \
	X(REASON_NOAUTH, "noauth", false, "Redis wants a password and none was configured") \
	X(REASON_WRONGPASS, "wrongpass", false, "Redis refused the user or the password") \
	X(REASON_NOPERM, "noperm", false, "the Redis user lacks a permission") \
	X(REASON_MISCONF, "misconf", false, "Redis cannot persist and refuses writes") \
	X(REASON_MAX_CLIENTS, "max_clients", false, "Redis takes no more clients") \
	X(REASON_DENIED, "denied", false, "Redis is in protected mode") \
	X(REASON_ERROR_REPLY, "error_reply", false, "Redis answered with another error") \
	X(REASON_REPLICA_LINK_DOWN, "replica_link_down", true, \
	  "the replica's link to its master is down") \
	X(REASON_REPLICA_SYNCING, "replica_syncing", true, \
	  "the replica is still copying from its master") \
	X(REASON_CLUSTER_DOWN, "cluster_down", true, "cluster_state is not ok") \
	X(REASON_KEY_MISSING, "key_missing", true, "a key that must exist does not") \
	X(REASON_KEY_PRESENT, "key_present", true, "a key that must not exist does") \
	X(REASON_NOT_NOTIFIED, "not_notified", true, \
	  "the command has not said READY=1 yet, or it is reloading or stopping") \
	X(REASON_WATCHDOG_EXPIRED, "watchdog_expired", false, \
	  "the command has not said WATCHDOG=1 in time, or it asks for a restart") \
	X(REASON_SECRET_UNAVAILABLE, "secret_unavailable", false, \
	  "a file with a password or token cannot be read") \
	X(REASON_RESOURCES, "resources", false, \
	  "readyd itself lacks descriptors, processes or memory") \
	X(REASON_AGENT_MISSING, "agent_missing", false, "no agent listens on the admin socket") \
	X(REASON_AGENT_SILENT, "agent_silent", false, "the agent did not answer in time") \
	X(REASON_AGENT_ERROR, "agent_error", false, \
	  "the agent could not be asked, or its answer is none") \
	X(REASON_UNKNOWN_PROBE, "unknown_probe", false, "the agent has no probe of this name")

#define PROBE_REASON_SYMBOL(symbol, name, alive, meaning) symbol,
enum probe_reason { PROBE_REASONS(PROBE_REASON_SYMBOL) PROBE_REASON_COUNT };
#undef PROBE_REASON_SYMBOL

/* The name of a reason as it appears in every output, for example "connect_refused". */
const char *probe_reason_name(enum probe_reason reason);

/* What the reason means, a phrase without a full stop. */
const char *probe_reason_meaning(enum probe_reason reason);

/* Whether what ended a run with this reason is alive nevertheless. */
bool probe_reason_alive(enum probe_reason reason);

/* "pass", "warn" or "fail". */
const char *probe_state_name(enum probe_state state);

/* The reason that stands for a failed socket call, by its errno. */
enum probe_reason probe_reason_from_errno(int error_number);

/* The parts of a run that are timed on their own. "first byte" is from the request to the first
 * byte of the answer. */
enum probe_phase { PHASE_RESOLVE, PHASE_CONNECT, PHASE_TLS, PHASE_FIRST_BYTE, PHASE_COUNT };

/* All of them, for struct probe_type. */
#define PROBE_ALL_PHASES ((1U << PHASE_COUNT) - 1)

/* The name of a phase in JSON: "resolve", "connect", "tls", "firstByte". */
const char *probe_phase_name(enum probe_phase phase);

enum { PERFDATA_MAX = 32 };

/* One measured value that a Nagios plugin printed. Absent numbers are NaN, absent texts empty. */
struct perfdata {
	char label[64];
	char unit[16];
	char warning[32];  /* a Nagios range, as printed */
	char critical[32]; /* a Nagios range, as printed */
	double value;
	double minimum;
	double maximum;
};

struct perfdata_list {
	size_t count;
	struct perfdata items[PERFDATA_MAX];
};

/* What probes may use of the program; one for the process. */
struct probe_env {
	struct loop *loop;
	struct resolver *resolver;
	struct notified *notified; /* what the command of `readyd run` says; NULL elsewhere */
};

/* One run, as the type sees it. */
struct probe_run {
	const struct probe_env *env;
	const void *conf; /* this type's settings, complete and checked; read-only */
	void *state;      /* state_size bytes, zeroed before each start() */
	void *kept;       /* kept_size bytes, zeroed once, the same for every run of this probe */
	int64_t deadline_us; /* on the clock of loop_now_us() */

	/* What a type may tell besides the reason; all of it optional. Pointers must stay valid
	 * until stop() has returned. */
	bool alive; /* set as soon as the peer has shown life, so that even a later failure or
		     * the deadline counts as alive */
	int64_t phase_us[PHASE_COUNT]; /* -1 = has not happened; see probe_phase_end() */
	const char *output;            /* what a command printed */
	size_t output_len;
	const struct perfdata_list *perfdata;
	int64_t certificate_expires_s; /* Unix time when the peer's certificate ends; 0 = none */
	/* What it means if the deadline comes now: the reason (REASON_OK stands for REASON_TIMEOUT)
	 * and what is missing then, for the sentence "no ANSWER within 1 s" (NULL = "answer"). */
	enum probe_reason deadline_reason;
	const char *waiting_for;

	int64_t phase_started_us; /* the runner's and probe_phase_end()'s own */
	void *runner_data;        /* the runner's own */
};

/* A list of reasons, for struct probe_type. */
#define PROBE_REASON_LIST(...) ((const unsigned char[]){__VA_ARGS__, REASON_OK})

/* What can come of talking to a server, and of TLS. */
#define PROBE_NETWORK_REASONS \
	REASON_DNS_FAILURE, REASON_CONNECT_REFUSED, REASON_CONNECT_TIMEOUT, REASON_UNREACHABLE, \
		REASON_SOCKET_MISSING, REASON_PERMISSION, REASON_NETWORK_ERROR, \
		REASON_CONNECTION_CLOSED, REASON_CONNECTION_RESET, REASON_SECRET_UNAVAILABLE
#define PROBE_TLS_REASONS \
	REASON_TLS_FAILED, REASON_TLS_UNTRUSTED, REASON_TLS_HOSTNAME, REASON_TLS_EXPIRED, \
		REASON_TLS_NOT_YET_VALID, REASON_TLS_EXPIRING, REASON_TLS_UNAVAILABLE

/* A probe type. Unused hooks are NULL. */
struct probe_type {
	const char *name;            /* the key in the configuration: "http" */
	const char *kubernetes_name; /* the key in a pod spec: "httpGet"; may be NULL */
	const char *const *schemes;  /* of target URLs: {"http", "https", NULL} */
	const char *component;       /* in application/health+json: "datastore", "system"; NULL =
				      * "component" */
	const char *summary;         /* one line for --help */
	const char *example;         /* a target URL for --help */
	const struct field *fields;  /* the settings, ends with .name == NULL */
	size_t conf_size;            /* of the structure that `fields` describes */
	size_t state_size;
	size_t kept_size;
	/* What its runs can come to besides REASON_OK, REASON_TIMEOUT and REASON_RESOURCES, and
	 * which phases they can have, a bit for each: so that they are counted from the start. */
	const unsigned char *reasons; /* ends with REASON_OK; NULL = nothing else */
	unsigned phases;
	int64_t failure_threshold; /* the default of failureThreshold except under startup; 0 = the
				    * usual one */

	/* Takes a target URL into `conf`, before check(). NULL: it goes into the field "url". */
	int (*set_target)(void *conf, const char *target, struct error *error);

	/* Completes and verifies `conf` once all settings are in; `kubernetes_form` tells that
	 * they came under kubernetes_name and mean what the kubelet means by them. Returns 0, or
	 * -1 with a sentence that says what is wrong and what would be right. */
	int (*check)(void *conf, bool kubernetes_form, struct error *error);

	/* Writes what is probed, passwords masked, for people: "postgres://app@db:5432/users". */
	void (*describe)(const void *conf, char *text, size_t size);

	/* Frees what check() or set_target() added to `conf` outside the fields' own values. */
	void (*release)(void *conf);

	/* For a type that goes by what the command of `readyd run` says (agent/notified.h), and by
	 * that alone: how long the command may be silent, 0 = for ever. Its probes run at once
	 * whenever something new was said. */
	int64_t (*silence_us)(const void *conf);

	void (*start)(struct probe_run *run);
	void (*stop)(struct probe_run *run);

	/* Releases what is kept between runs (an open connection); called once, after the last
	 * stop(), when kept_size is not 0. */
	void (*forget)(const struct probe_env *env, const void *conf, void *kept);

	/* Releases what the type holds for the whole process (a shared handle), at the end. */
	void (*shutdown)(void);

	/* Writes the linked libraries behind the type: "libcurl 8.14.1, nghttp2 1.64.0". */
	void (*libraries)(char *text, size_t size);
};

/* Ends the run: its state, its reason and a sentence for people, without the name of the probe and
 * without secrets. For REASON_OK the sentence may be empty (""). Safe to call from inside library
 * callbacks. See "Life of a run". */
void probe_finish(struct probe_run *run, enum probe_state state, enum probe_reason reason,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Notes that a phase has just ended; it began when the one before it ended (or the run began). */
void probe_phase_end(struct probe_run *run, enum probe_phase phase);

/* All types, in the order of the documentation; ends with NULL. */
extern const struct probe_type *const probe_types[];

/* By the key in the configuration, its own or Kubernetes' ("http", "httpGet"); NULL if unknown.
 * `ret_kubernetes_form` (may be NULL) tells which it was. */
const struct probe_type *probe_type_by_key(const char *key, bool *ret_kubernetes_form);

/* By a target URL's scheme, `len` bytes without the colon; NULL if unknown. */
const struct probe_type *probe_type_by_scheme(const char *scheme, size_t len);

#endif
