/* PostgreSQL: a session opens in time, to a server of the wanted role, and a query answers as
 * wanted. What a session is, and libpq, is in postgres_session.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/field.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "probes/postgres_session.h"
#include "probes/postgres_text.h"
#include "probes/probe.h"

enum {
	QUERY_SIZE_MAX = 64 * 1024,
	FOUND_SIZE = 48, /* of a value that is shown */
	/* The server ends a query by itself so long after we have turned away from it. */
	STATEMENT_GRACE_MS = 500,
};

/* Where libpq and Debian's servers agree to meet when no host is given. */
static const char default_host[] = "/var/run/postgresql";
static const char default_port[] = "5432";

/* The words of libpq's target_session_attrs; the first three are our roles as well. */
enum wanted {
	WANT_ANY,
	WANT_PRIMARY,
	WANT_STANDBY,
	WANT_READ_WRITE,
	WANT_READ_ONLY,
	WANT_PREFER_STANDBY,
};
static const char *const wanted_names[] = {"any",       "primary",        "standby", "read-write",
					   "read-only", "prefer-standby", NULL};
static const char *const role_choices[] = {"any", "primary", "standby", NULL};

enum keeping { KEEP_NOTHING, KEEP_CONNECTION };
static const char *const connection_choices[] = {"fresh", "persistent", NULL};

struct postgres_conf {
	struct secret url;
	struct secret password;
	char *host;
	char *port;
	char *user;
	char *database;
	char *sslmode;
	int role;
	int64_t max_lag_us;
	char *query;
	char *expect;
	int connection;
	int64_t warn_above_us;

	/* Merged once, but NULL when the URL is in a file, which each run reads anew. */
	struct postgres_parameters *parameters;
};

/* Between runs, with `connection: persistent`. */
struct postgres_kept {
	struct pg_conn *conn;
	uint64_t fingerprint; /* of the secrets that it was opened with; their files may change */
};

/* What is being waited for, in the order in which it comes. */
enum step { STEP_RESOLVE, STEP_CONNECT, STEP_ALIVE, STEP_ROLE, STEP_LAG, STEP_QUERY };

struct postgres_run {
	struct probe_run *run;
	const struct postgres_conf *conf;
	int64_t started_us;
	uint64_t fingerprint;
	const struct postgres_parameters *parameters;
	struct postgres_parameters *own_parameters; /* NULL = the conf's are used */
	char *password;
	enum wanted wanted;
	enum step step;
	struct loop_timer limit;
	struct postgres_session session;

	/* the host being tried; the indices are of the next host and address */
	size_t host_count, host_index;
	char host[POSTGRES_HOST_SIZE];
	char literal[POSTGRES_HOST_SIZE]; /* its address if one was given, or is not needed: "" */
	char port[POSTGRES_PORT_SIZE];
	struct lookup lookup;
	struct address addresses[ADDRESSES_MAX];
	bool is_resolved, is_resolving;
	size_t address_count, address_index;

	/* what the server has answered */
	bool is_standby, is_read_only;
	bool has_row, is_null, matches;
	double lag_seconds;
	char found[FOUND_SIZE];

	/* the most telling failure of the hosts and addresses tried so far */
	bool has_failed;
	struct postgres_failure failure;
};

/* ---- settings ---- */

static struct postgres_parameters *merge(const struct postgres_conf *conf, const char *url,
					 enum probe_reason *ret_reason, struct error *error)
{
	const struct postgres_settings settings = {
		.url = url,
		.host = conf->host,
		.port = conf->port,
		.user = conf->user,
		.database = conf->database,
		.sslmode = conf->sslmode,
	};

	return postgres_parameters_create(&settings, ret_reason, error);
}

static enum wanted wanted_role(const struct postgres_conf *conf,
			       const struct postgres_parameters *parameters)
{
	const char *attributes = postgres_parameter(parameters, "target_session_attrs");

	if (conf->role != WANT_ANY)
		return (enum wanted)conf->role;
	for (int i = 0; wanted_names[i]; i++) {
		if (strcmp(wanted_names[i], attributes) == 0)
			return (enum wanted)i;
	}
	return WANT_ANY;
}

static size_t host_count(const struct postgres_parameters *parameters)
{
	const char *literals = postgres_parameter(parameters, "hostaddr");

	return postgres_list_count(*literals ? literals : postgres_parameter(parameters, "host"));
}

/* The host, its literal address and port at `index`; their sizes have been checked. */
static void host_at(const struct postgres_parameters *parameters, size_t index,
		    char host[POSTGRES_HOST_SIZE], char literal[POSTGRES_HOST_SIZE],
		    char port[POSTGRES_PORT_SIZE])
{
	const char *ports = postgres_parameter(parameters, "port");

	postgres_list_item(postgres_parameter(parameters, "host"), index, host, POSTGRES_HOST_SIZE);
	postgres_list_item(postgres_parameter(parameters, "hostaddr"), index, literal,
			   POSTGRES_HOST_SIZE);
	/* One port is for all hosts. */
	postgres_list_item(ports, postgres_list_count(ports) > 1 ? index : 0, port,
			   POSTGRES_PORT_SIZE);
	if (!*host && !*literal)
		memcpy(host, default_host, sizeof(default_host));
	if (!*port)
		memcpy(port, default_port, sizeof(default_port));
}

/* FNV-1a, to notice that a secret's file has changed. */
static uint64_t fingerprint_of(const char *url, const char *password)
{
	const char *const texts[] = {url ? url : "", password ? password : ""};
	uint64_t hash = 0xcbf29ce484222325;

	for (int i = 0; i < 2; i++) {
		const char *c = texts[i];

		do {
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
		} while (*c++ != '\0');
	}
	return hash;
}

/* ---- verdicts ---- */

static void finish_failed(struct postgres_run *postgres, const struct postgres_failure *failure)
{
	loop_timer_clear(postgres->run->env->loop, &postgres->limit);
	probe_finish(postgres->run, PROBE_FAIL, failure->reason, "%s", failure->sentence);
}

static double seconds_taken(const struct postgres_run *postgres)
{
	return (double)(clock_monotonic_us() - postgres->started_us) / 1e6;
}

static void finish_passed(struct postgres_run *postgres)
{
	double allowed = (double)postgres->conf->warn_above_us / 1e6;
	double taken = seconds_taken(postgres);

	loop_timer_clear(postgres->run->env->loop, &postgres->limit);
	if (allowed > 0 && taken > allowed)
		probe_finish(postgres->run, PROBE_WARN, REASON_SLOW,
			     "it took %.3g s, more than %g s", taken, allowed);
	else
		probe_finish(postgres->run, PROBE_PASS, REASON_OK, "%s", "");
}

/* How much a failure tells: of a server which lives more than of one which is not there, and both
 * more than that there is no way to it. */
static int weight_of(enum probe_reason reason)
{
	if (probe_reason_alive(reason))
		return 2;
	return reason == REASON_UNREACHABLE || reason == REASON_DNS_FAILURE ? 0 : 1;
}

/* Remembers why this host or address will not do, while another one may. */
static void note_failure(struct postgres_run *postgres, const struct postgres_failure *failure)
{
	if (postgres->has_failed &&
	    weight_of(failure->reason) <= weight_of(postgres->failure.reason))
		return;
	postgres->has_failed = true;
	postgres->failure = *failure;
	/* Errors about connections name the address themselves. */
	if (postgres->host_count > 1 && failure->kind != POSTGRES_NO_CONNECTION)
		snprintf(postgres->failure.sentence, sizeof(postgres->failure.sentence),
			 "%.60s:%s: %.130s", *postgres->host ? postgres->host : postgres->literal,
			 postgres->port, failure->sentence);
}

/* ---- connecting ---- */

/* Gives what is being tried its fair share of the time that is left, when `others` can be tried
 * after it. It ends a microsecond before the run does, to say what was being waited for. */
static void limit_time(struct postgres_run *postgres, size_t others)
{
	struct loop *loop = postgres->run->env->loop;
	int64_t now_us = loop_now_us(loop);
	int64_t left_us = postgres->run->deadline_us - now_us;

	loop_timer_set(loop, &postgres->limit, now_us + left_us / (int64_t)(others + 1) - 1);
}

static size_t other_hosts(const struct postgres_run *postgres)
{
	return postgres->host_count - postgres->host_index;
}

static void try_next(struct postgres_run *postgres);

static void on_resolved(struct lookup *lookup, const struct address *addresses, size_t count,
			const struct error *error)
{
	struct postgres_run *postgres = lookup->owner;
	struct postgres_failure failure = {POSTGRES_NO_CONNECTION, REASON_DNS_FAILURE, ""};

	if (count == 0) {
		snprintf(failure.sentence, sizeof(failure.sentence), "%.199s", error->text);
		note_failure(postgres, &failure);
	} else {
		if (postgres->is_resolving) /* no literal address */
			probe_phase_end(postgres->run, PHASE_RESOLVE);
		memcpy(postgres->addresses, addresses, count * sizeof(*addresses));
		postgres->address_count = count;
	}
	try_next(postgres);
}

/* Begins to connect to the next address; returns whether that is under way. */
static bool connect_next(struct postgres_run *postgres)
{
	size_t index = postgres->address_index++;
	char address[POSTGRES_HOST_SIZE];
	struct postgres_failure failure;
	struct postgres_place place = {
		.host = postgres->host,
		.address = postgres->literal,
		.port = postgres->port,
		.password = postgres->password,
	};

	if (postgres->is_resolved) {
		address_host(&postgres->addresses[index], address, sizeof(address));
		place.address = address;
	}
	postgres->step = STEP_CONNECT;
	limit_time(postgres,
		   postgres->address_count - postgres->address_index + other_hosts(postgres));
	if (postgres_session_open(&postgres->session, postgres->parameters, &place, &failure) == 0)
		return true;
	note_failure(postgres, &failure);
	return false;
}

/* Takes up the next host; returns whether its name has to be resolved first. */
static bool take_host(struct postgres_run *postgres)
{
	host_at(postgres->parameters, postgres->host_index++, postgres->host, postgres->literal,
		postgres->port);
	postgres->address_index = 0;
	postgres->is_resolved = !*postgres->literal && !postgres_is_unix(postgres->host);
	postgres->address_count = postgres->is_resolved ? 0 : 1;
	return postgres->is_resolved;
}

/* Starts over with lower demands once all hosts have been tried; returns whether that makes sense.
 */
static bool try_again(struct postgres_run *postgres)
{
	if (postgres->wanted != WANT_PREFER_STANDBY)
		return false;
	postgres->wanted = WANT_ANY;
	postgres->host_index = 0;
	return true;
}

/* Goes on with the next address or else the next host; ends the run when there is none. */
static void try_next(struct postgres_run *postgres)
{
	for (;;) {
		while (postgres->address_index < postgres->address_count) {
			if (connect_next(postgres))
				return;
		}
		if (postgres->host_index == postgres->host_count && !try_again(postgres)) {
			finish_failed(postgres, &postgres->failure);
			return;
		}
		if (take_host(postgres))
			break;
	}
	postgres->step = STEP_RESOLVE;
	limit_time(postgres, other_hosts(postgres));
	postgres->lookup.on_done = on_resolved;
	postgres->lookup.owner = postgres;
	postgres->is_resolving = false;
	resolve_start(postgres->run->env->resolver, &postgres->lookup, postgres->host,
		      (unsigned short)strtoul(postgres->port, NULL, 10));
	postgres->is_resolving = postgres->lookup.query != NULL;
}

/* Gives up the session, and with it the host. */
static void leave_host(struct postgres_run *postgres)
{
	postgres_session_close(&postgres->session);
	postgres->address_index = postgres->address_count;
	try_next(postgres);
}

static void on_connected(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;

	/* The address is settled, but another host is tried if this one says nothing. */
	limit_time(postgres, other_hosts(postgres));
}

static void on_failed(struct postgres_session *session, const struct postgres_failure *failure)
{
	struct postgres_run *postgres = session->owner;

	if (postgres->step == STEP_ALIVE) {
		/* A kept connection that is of no use any more is no news. */
		leave_host(postgres);
		return;
	}
	switch (failure->kind) {
	case POSTGRES_NO_CONNECTION:
		note_failure(postgres, failure);
		postgres_session_close(session);
		try_next(postgres);
		break;
	case POSTGRES_REJECTED:
		note_failure(postgres, failure);
		leave_host(postgres);
		break;
	case POSTGRES_NO_SESSION:
	case POSTGRES_QUERY_FAILED:
	case POSTGRES_LOST:
		postgres->has_failed = false;
		note_failure(postgres, failure);
		finish_failed(postgres, &postgres->failure);
		break;
	}
}

/* ---- the session ---- */

/* How far a standby is behind, in seconds; null if it cannot tell. With all replayed that was
 * received it is up to date, but only while it is connected: one that is cut off receives nothing,
 * however much there is. */
static const char lag_query[] = "SELECT CASE WHEN pg_catalog.pg_last_wal_replay_lsn() >= "
				"pg_catalog.pg_last_wal_receive_lsn() "
				"AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0 "
				"ELSE greatest(0, extract(epoch FROM pg_catalog.now() - "
				"pg_catalog.pg_last_xact_replay_timestamp())) END";

static const char role_query[] = "SELECT pg_catalog.pg_is_in_recovery(), "
				 "pg_catalog.current_setting('transaction_read_only')";

static void ask(struct postgres_run *postgres, enum step step, const char *query)
{
	int64_t left_us = postgres->run->deadline_us - loop_now_us(postgres->run->env->loop);

	postgres->step = step;
	postgres->has_row = false;
	postgres_session_query(&postgres->session, query, left_us / 1000 + STATEMENT_GRACE_MS);
}

static bool role_is_wanted(const struct postgres_run *postgres)
{
	bool writable = !postgres->is_standby && !postgres->is_read_only;

	switch (postgres->wanted) {
	case WANT_PRIMARY:
		return !postgres->is_standby;
	case WANT_STANDBY:
	case WANT_PREFER_STANDBY:
		return postgres->is_standby;
	case WANT_READ_WRITE:
		return writable;
	case WANT_READ_ONLY:
		return !writable;
	case WANT_ANY:
		break;
	}
	return true;
}

/* Whether the role is the wanted one; goes on with another host if not. */
static bool judge_role(struct postgres_run *postgres)
{
	struct postgres_failure failure = {POSTGRES_REJECTED, REASON_WRONG_ROLE, ""};

	if (role_is_wanted(postgres))
		return true;
	snprintf(failure.sentence, sizeof(failure.sentence), "the server is a %s%s, wanted is %s",
		 postgres->is_standby ? "standby" : "primary",
		 postgres->is_read_only && !postgres->is_standby ? " and read-only" : "",
		 wanted_names[postgres->wanted]);
	note_failure(postgres, &failure);
	leave_host(postgres);
	return false;
}

/* Does what comes after the step that has just ended, and asks for nothing that need not be known.
 */
static void next_step(struct postgres_run *postgres)
{
	const struct postgres_conf *conf = postgres->conf;

	if (postgres->step < STEP_ROLE && (postgres->wanted != WANT_ANY || conf->max_lag_us > 0)) {
		if (!postgres_session_role(&postgres->session, &postgres->is_standby,
					   &postgres->is_read_only)) {
			ask(postgres, STEP_ROLE, role_query);
			return;
		}
		if (!judge_role(postgres))
			return;
	}
	if (postgres->step < STEP_LAG && conf->max_lag_us > 0 && postgres->is_standby)
		ask(postgres, STEP_LAG, lag_query);
	else if (postgres->step < STEP_QUERY && conf->query)
		ask(postgres, STEP_QUERY, conf->query);
	else
		finish_passed(postgres);
}

static void on_open(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;

	limit_time(postgres, 0);
	next_step(postgres);
}

static void on_row(struct postgres_session *session, const char *first, const char *second)
{
	struct postgres_run *postgres = session->owner;
	const char *expect = postgres->conf->expect;

	postgres->has_row = true;
	postgres->is_null = !first;
	switch (postgres->step) {
	case STEP_ROLE:
		postgres->is_standby = first && first[0] == 't';
		postgres->is_read_only = second && strcmp(second, "on") == 0;
		break;
	case STEP_LAG:
		postgres->lag_seconds = first ? strtod(first, NULL) : 0;
		break;
	default:
		postgres->matches = !expect || (first && strcmp(first, expect) == 0);
		snprintf(postgres->found, sizeof(postgres->found), "%s", first ? first : "");
		break;
	}
}

static void judge_lag(struct postgres_run *postgres)
{
	double allowed = (double)postgres->conf->max_lag_us / 1e6;
	struct postgres_failure failure = {POSTGRES_QUERY_FAILED, REASON_REPLICATION_LAG, ""};

	if (postgres->has_row && !postgres->is_null && postgres->lag_seconds <= allowed) {
		next_step(postgres);
		return;
	}
	if (postgres->has_row && !postgres->is_null)
		snprintf(failure.sentence, sizeof(failure.sentence),
			 "the standby is %.1f s behind, more than %g s", postgres->lag_seconds,
			 allowed);
	else
		snprintf(failure.sentence, sizeof(failure.sentence),
			 "the standby cannot tell how far it is behind: it is not connected to "
			 "its primary and has replayed nothing yet");
	finish_failed(postgres, &failure);
}

static void judge_query(struct postgres_run *postgres)
{
	struct postgres_failure failure = {POSTGRES_QUERY_FAILED, REASON_VALUE_MISMATCH, ""};
	const char *quote = postgres->is_null ? "" : "\"";

	if (!postgres->has_row) {
		failure.reason = REASON_NO_ROWS;
		snprintf(failure.sentence, sizeof(failure.sentence), "the query returned no row");
	} else if (postgres->matches) {
		finish_passed(postgres);
		return;
	} else {
		snprintf(failure.sentence, sizeof(failure.sentence),
			 "the query returned %s%s%s, expected \"%.80s\"", quote,
			 postgres->is_null ? "null" : postgres->found, quote,
			 postgres->conf->expect);
	}
	finish_failed(postgres, &failure);
}

static void on_answer(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;

	switch (postgres->step) {
	case STEP_ALIVE:
		on_open(session);
		break;
	case STEP_ROLE:
		if (judge_role(postgres))
			next_step(postgres);
		break;
	case STEP_LAG:
		judge_lag(postgres);
		break;
	default:
		judge_query(postgres);
		break;
	}
}

/* The time for what is being tried is over. */
static void on_limit(struct loop_timer *timer)
{
	struct postgres_run *postgres = timer->owner;
	struct postgres_failure failure = {POSTGRES_LOST, REASON_TIMEOUT, ""};
	double seconds = (double)(timer->at_us + 1 - postgres->started_us) / 1e6;

	switch (postgres->step) {
	case STEP_RESOLVE:
		resolve_cancel(postgres->run->env->resolver, &postgres->lookup);
		failure.reason = REASON_DNS_FAILURE;
		snprintf(failure.sentence, sizeof(failure.sentence),
			 "no name server answered for \"%.100s\" within %.3g s", postgres->host,
			 seconds);
		break;
	case STEP_CONNECT:
		if (!postgres->session.connected)
			failure.reason = REASON_CONNECT_TIMEOUT;
		snprintf(failure.sentence, sizeof(failure.sentence),
			 postgres->session.connected
				 ? "the server accepted the connection and opened no session in "
				   "%.3g s"
				 : "the connection was not accepted within %.3g s",
			 seconds);
		break;
	case STEP_ALIVE:
		leave_host(postgres);
		return;
	default:
		snprintf(failure.sentence, sizeof(failure.sentence),
			 "the query was not answered within %.3g s", seconds);
		finish_failed(postgres, &failure);
		return;
	}
	note_failure(postgres, &failure);
	postgres_session_close(&postgres->session);
	try_next(postgres);
}

/* ---- the type ---- */

/* Goes on with the connection of the run before, if it can still be used. */
static bool use_kept(struct postgres_run *postgres, struct postgres_kept *kept)
{
	struct pg_conn *conn = kept->conn;

	kept->conn = NULL;
	if (!conn)
		return false;
	if (kept->fingerprint != postgres->fingerprint) {
		postgres_connection_close(conn);
		return false;
	}
	postgres_session_give(&postgres->session, conn);
	/* Half of the time is left for a new one if this one has gone silent. */
	limit_time(postgres, 1);
	ask(postgres, STEP_ALIVE, NULL);
	return true;
}

/* Reads what is in files. Returns 0, or -1 after ending the run. */
static int read_secrets(struct postgres_run *postgres)
{
	const struct postgres_conf *conf = postgres->conf;
	enum probe_reason reason = REASON_SECRET_UNAVAILABLE;
	struct error error = {0};
	char *url = NULL;

	postgres->parameters = conf->parameters;
	if (conf->url.file)
		url = secret_read(&conf->url, &error);
	if (error.text[0] == '\0')
		postgres->password = secret_read(&conf->password, &error);
	if (error.text[0] == '\0' && conf->url.file) {
		postgres->own_parameters = merge(conf, url, &reason, &error);
		postgres->parameters = postgres->own_parameters;
	}
	postgres->fingerprint = fingerprint_of(url, postgres->password);
	secret_wipe(url);
	if (error.text[0] == '\0')
		return 0;
	probe_finish(postgres->run, PROBE_FAIL, reason, "%s", error.text);
	return -1;
}

static void postgres_start(struct probe_run *run)
{
	struct postgres_run *postgres = run->state;

	postgres->run = run;
	postgres->conf = run->conf;
	postgres->started_us = loop_now_us(run->env->loop);
	postgres->limit.owner = postgres;
	postgres->limit.on_expire = on_limit;
	postgres->session.run = run;
	postgres->session.owner = postgres;
	postgres->session.on_connected = on_connected;
	postgres->session.on_open = on_open;
	postgres->session.on_failed = on_failed;
	postgres->session.on_row = on_row;
	postgres->session.on_answer = on_answer;
	if (read_secrets(postgres) < 0)
		return;
	postgres->host_count = host_count(postgres->parameters);
	postgres->wanted = wanted_role(postgres->conf, postgres->parameters);
	if (!use_kept(postgres, run->kept))
		try_next(postgres);
}

static void postgres_stop(struct probe_run *run)
{
	struct postgres_run *postgres = run->state;
	struct postgres_kept *kept = run->kept;

	loop_timer_clear(run->env->loop, &postgres->limit);
	resolve_cancel(run->env->resolver, &postgres->lookup);
	if (postgres->conf->connection == KEEP_CONNECTION && postgres->session.conn) {
		kept->conn = postgres_session_take(&postgres->session);
		kept->fingerprint = postgres->fingerprint;
	}
	postgres_session_close(&postgres->session);
	postgres_parameters_free(postgres->own_parameters);
	postgres->own_parameters = NULL;
	secret_wipe(postgres->password);
	postgres->password = NULL;
}

static void postgres_forget(const struct probe_env *env, const void *conf, void *kept_memory)
{
	struct postgres_kept *kept = kept_memory;

	(void)env;
	(void)conf;
	postgres_connection_close(kept->conn);
	kept->conn = NULL;
}

static int postgres_check(void *conf_memory, bool kubernetes_form, struct error *error)
{
	struct postgres_conf *conf = conf_memory;
	enum probe_reason reason;

	(void)kubernetes_form;
	if (conf->expect && !conf->query)
		return error_set(error, "expect is compared with a query's answer, and there is no "
					"query");
	if (conf->query && strlen(conf->query) > QUERY_SIZE_MAX)
		return error_set(error, "query is longer than %d KiB", QUERY_SIZE_MAX / 1024);
	if (conf->max_lag_us > 0 && conf->role == WANT_PRIMARY)
		return error_set(error, "maxLagSeconds is about standbys, and role is primary");
	if (conf->url.file)
		return 0;
	conf->parameters = merge(conf, conf->url.value, &reason, error);
	return conf->parameters ? 0 : -1;
}

static void postgres_release(void *conf_memory)
{
	struct postgres_conf *conf = conf_memory;

	postgres_parameters_free(conf->parameters);
	conf->parameters = NULL;
}

static void describe_hosts(const struct postgres_parameters *parameters, struct buffer *text)
{
	char host[POSTGRES_HOST_SIZE], literal[POSTGRES_HOST_SIZE], port[POSTGRES_PORT_SIZE];

	for (size_t i = 0; i < host_count(parameters); i++) {
		const char *shown = host;

		host_at(parameters, i, host, literal, port);
		if (!*host)
			shown = literal;
		buffer_format(text, strchr(shown, ':') ? "%s[%s]:%s" : "%s%s:%s", i > 0 ? "," : "",
			      shown, port);
	}
}

static void postgres_describe(const void *conf_memory, char *text, size_t size)
{
	const struct postgres_conf *conf = conf_memory;
	const struct postgres_parameters *parameters = conf->parameters;
	struct buffer target;

	if (!parameters) {
		snprintf(text, size, "postgres: (urlFile %s)",
			 conf->url.file ? conf->url.file : "");
		return;
	}
	buffer_init(&target, size - 1);
	buffer_format(&target, "postgres://%s@", postgres_parameter(parameters, "user"));
	describe_hosts(parameters, &target);
	if (*postgres_parameter(parameters, "dbname"))
		buffer_format(&target, "/%s", postgres_parameter(parameters, "dbname"));
	snprintf(text, size, "%s", target.data ? target.data : "postgres:");
	buffer_free(&target);
}

static const char *const schemes[] = {"postgres", "postgresql", NULL};

#define FIELD(field_kind, member) \
	.kind = field_kind, .offset = offsetof(struct postgres_conf, member)

static const struct field fields[] = {
	{.name = "url",
	 FIELD(FIELD_SECRET, url),
	 .help = "URL or connection string of libpq (default: its environment, PGHOST and so on)"},
	{.name = "password",
	 FIELD(FIELD_SECRET, password),
	 .help = "password (default: the URL's, PGPASSWORD or ~/.pgpass)"},
	{.name = "host",
	 FIELD(FIELD_TEXT, host),
	 .help = "host, or directory of the unix socket, instead of the URL's"},
	{.name = "port", FIELD(FIELD_TEXT, port), .help = "port instead of the URL's"},
	{.name = "user", FIELD(FIELD_TEXT, user), .help = "user instead of the URL's"},
	{.name = "database", FIELD(FIELD_TEXT, database), .help = "database instead of the URL's"},
	{.name = "sslmode",
	 FIELD(FIELD_TEXT, sslmode),
	 .help = "disable, allow, prefer, require, verify-ca or verify-full (default: the URL's)"},
	{.name = "role",
	 FIELD(FIELD_CHOICE, role),
	 .fallback = "any",
	 .choices = role_choices,
	 .help = "what the server must be"},
	{.name = "maxLagSeconds",
	 FIELD(FIELD_SECONDS, max_lag_us),
	 .help = "how far a standby may be behind (default: any far)"},
	{.name = "query", FIELD(FIELD_TEXT, query), .help = "query that must return a row"},
	{.name = "expect",
	 FIELD(FIELD_TEXT, expect),
	 .help = "what the first column of the query's first row must be"},
	{.name = "connection",
	 FIELD(FIELD_CHOICE, connection),
	 .fallback = "fresh",
	 .choices = connection_choices,
	 .help = "open a session for each run, or keep one open between runs"},
	{.name = "warnAboveSeconds",
	 FIELD(FIELD_SECONDS, warn_above_us),
	 .help = "warn when it takes longer (default: never)"},
	{0},
};

extern const struct probe_type probe_postgres;

const struct probe_type probe_postgres = {
	.name = "postgres",
	.schemes = schemes,
	.component = "datastore",
	.summary = "opens a session; on request its role, replication lag and a query's answer",
	.example = "postgres://app@db:5432/users",
	.fields = fields,
	.conf_size = sizeof(struct postgres_conf),
	.state_size = sizeof(struct postgres_run),
	.kept_size = sizeof(struct postgres_kept),
	.check = postgres_check,
	.describe = postgres_describe,
	.release = postgres_release,
	.start = postgres_start,
	.stop = postgres_stop,
	.forget = postgres_forget,
	.shutdown = postgres_sessions_shutdown,
	.libraries = postgres_session_library,
};
