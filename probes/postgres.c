/* PostgreSQL: a session opens in time, to a server of the wanted role, and a query answers as
 * wanted. This is the way through the hosts, their addresses and the questions; what the answers
 * mean is in postgres_verdict.c, what a session is, and libpq, in postgres_session.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/field.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "probes/postgres_failure.h"
#include "probes/postgres_parameters.h"
#include "probes/postgres_session.h"
#include "probes/postgres_settings.h"
#include "probes/postgres_text.h"
#include "probes/postgres_verdict.h"
#include "probes/probe.h"

enum {
	/* The server ends a query by itself so long after we have turned away from it. */
	STATEMENT_GRACE_MS = 500,
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
	enum postgres_wanted wanted;
	enum step step;
	struct loop_timer limit;
	struct postgres_session session;
	char waiting_for[80];

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
	struct postgres_role role;
	struct postgres_value value;

	/* the most telling failure of the hosts and addresses tried so far */
	bool has_failed;
	struct postgres_failure failure;
};

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

/* Remembers why this host or address will not do, while another one may. */
static void note_failure(struct postgres_run *postgres, const struct postgres_failure *failure)
{
	if (postgres->has_failed &&
	    postgres_failure_weight(failure) <= postgres_failure_weight(&postgres->failure))
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

static void wait_for(struct postgres_run *postgres, enum step step, enum probe_reason reason,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Notes what is being waited for, in the words of probe_run's waiting_for. */
static void wait_for(struct postgres_run *postgres, enum step step, enum probe_reason reason,
		     const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(postgres->waiting_for, sizeof(postgres->waiting_for), format, arguments);
	va_end(arguments);
	postgres->step = step;
	postgres->run->deadline_reason = reason;
	postgres->run->waiting_for = postgres->waiting_for;
}

/* Gives what is being tried its fair share of the time that is left, when `others` can be tried
 * after it. When something has been tried before and this is the last, it ends right before the run
 * does, so that the most telling failure of them all is reported. */
static void limit_time(struct postgres_run *postgres, size_t others)
{
	struct loop *loop = postgres->run->env->loop;
	int64_t now_us = loop_now_us(loop);
	int64_t left_us = postgres->run->deadline_us - now_us;

	if (others > 0 || postgres->has_failed)
		loop_timer_set(loop, &postgres->limit,
			       now_us + left_us / (int64_t)(others + 1) - 1);
	else
		loop_timer_clear(loop, &postgres->limit);
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
	struct postgres_failure failure;

	if (count == 0) {
		postgres_failure_set(&failure, POSTGRES_NO_CONNECTION, REASON_DNS_FAILURE, "%.199s",
				     error->text);
		note_failure(postgres, &failure);
	} else {
		if (postgres->is_resolving) /* no literal address */
			probe_phase_end(postgres->run, PHASE_RESOLVE);
		memcpy(postgres->addresses, addresses, count * sizeof(*addresses));
		postgres->address_count = count;
	}
	try_next(postgres);
}

static void on_connected(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;

	wait_for(postgres, STEP_CONNECT, REASON_TIMEOUT, "session on the accepted connection");
	/* The address is settled, but another host is tried if this one says nothing. */
	limit_time(postgres, other_hosts(postgres));
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
	if (*place.address)
		wait_for(postgres, STEP_CONNECT, REASON_CONNECT_TIMEOUT,
			 "connection to %.60s, port %s", place.address, postgres->port);
	else
		wait_for(postgres, STEP_CONNECT, REASON_CONNECT_TIMEOUT, "connection to %.60s",
			 postgres->host);
	limit_time(postgres,
		   postgres->address_count - postgres->address_index + other_hosts(postgres));
	if (postgres_parameters_place(postgres->parameters, &place, &failure) < 0 ||
	    postgres_session_open(&postgres->session, postgres->parameters, &place, &failure) < 0) {
		note_failure(postgres, &failure);
		return false;
	}
	/* A unix socket connects at once. */
	if (postgres->session.connected)
		on_connected(&postgres->session);
	return true;
}

/* Takes up the next host; returns whether its name has to be resolved first. */
static bool take_host(struct postgres_run *postgres)
{
	postgres_host_at(postgres->parameters, postgres->host_index++, postgres->host,
			 postgres->literal, postgres->port);
	postgres->address_index = 0;
	postgres->is_resolved = !*postgres->literal && !postgres_is_unix(postgres->host);
	postgres->address_count = postgres->is_resolved ? 0 : 1;
	return postgres->is_resolved;
}

/* Starts over with lower demands once all hosts have been tried; returns whether that makes sense.
 */
static bool try_again(struct postgres_run *postgres)
{
	if (postgres->wanted != POSTGRES_PREFER_STANDBY)
		return false;
	postgres->wanted = POSTGRES_ANY;
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
	wait_for(postgres, STEP_RESOLVE, REASON_DNS_FAILURE, "address of %.60s", postgres->host);
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

static void ask(struct postgres_run *postgres, enum step step, const char *query)
{
	int64_t left_us = postgres->run->deadline_us - loop_now_us(postgres->run->env->loop);

	wait_for(postgres, step, REASON_TIMEOUT, "answer to the query");
	postgres->value = (struct postgres_value){0};
	postgres_session_query(&postgres->session, query, left_us / 1000 + STATEMENT_GRACE_MS);
}

/* Whether the role is the wanted one; goes on with another host if not. */
static bool is_wanted_role(struct postgres_run *postgres)
{
	struct postgres_failure failure;

	if (postgres_judge_role(postgres->wanted, postgres->role, &failure))
		return true;
	note_failure(postgres, &failure);
	leave_host(postgres);
	return false;
}

static bool reports_role(struct postgres_run *postgres)
{
	const struct postgres_session *session = &postgres->session;

	return postgres_role_of_reports(postgres_session_report(session, "in_hot_standby"),
					postgres_session_report(session,
								"default_transaction_read_only"),
					&postgres->role);
}

/* Does what comes after the step that has just ended, and asks for nothing that need not be known.
 */
static void next_step(struct postgres_run *postgres)
{
	const struct postgres_conf *conf = postgres->conf;

	if (postgres->step < STEP_ROLE &&
	    (postgres->wanted != POSTGRES_ANY || conf->max_lag_us > 0)) {
		if (!reports_role(postgres)) {
			ask(postgres, STEP_ROLE, postgres_role_query);
			return;
		}
		if (!is_wanted_role(postgres))
			return;
	}
	if (postgres->step < STEP_LAG && conf->max_lag_us > 0 && postgres->role.is_standby)
		ask(postgres, STEP_LAG, postgres_lag_query);
	else if (postgres->step < STEP_QUERY && conf->query)
		ask(postgres, STEP_QUERY, conf->query);
	else
		finish_passed(postgres);
}

static void on_open(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;

	loop_timer_clear(postgres->run->env->loop, &postgres->limit);
	next_step(postgres);
}

static void on_row(struct postgres_session *session, const char *first, const char *second)
{
	struct postgres_run *postgres = session->owner;

	if (postgres->step == STEP_ROLE)
		postgres->role = postgres_role_of_row(first, second);
	else
		postgres->value = postgres_value_of(first, postgres->conf->expect);
}

static void on_answer(struct postgres_session *session)
{
	struct postgres_run *postgres = session->owner;
	struct postgres_failure failure;

	switch (postgres->step) {
	case STEP_ALIVE:
		on_open(session);
		break;
	case STEP_ROLE:
		if (is_wanted_role(postgres))
			next_step(postgres);
		break;
	case STEP_LAG:
		if (postgres_judge_lag(postgres->conf, &postgres->value, &failure))
			next_step(postgres);
		else
			finish_failed(postgres, &failure);
		break;
	default:
		if (postgres_judge_value(postgres->conf, &postgres->value, &failure))
			finish_passed(postgres);
		else
			finish_failed(postgres, &failure);
		break;
	}
}

/* The time for what is being tried is over. */
static void on_limit(struct loop_timer *timer)
{
	struct postgres_run *postgres = timer->owner;
	struct postgres_failure failure;

	postgres_failure_set(&failure, POSTGRES_NO_CONNECTION, postgres->run->deadline_reason,
			     "no %s within %.3g s", postgres->waiting_for, seconds_taken(postgres));
	if (postgres->step != STEP_ALIVE)
		note_failure(postgres, &failure);
	resolve_cancel(postgres->run->env->resolver, &postgres->lookup);
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
		postgres->own_parameters =
			postgres_parameters_create(url, &conf->overrides, &reason, &error);
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
	postgres->host_count = postgres_host_count(postgres->parameters);
	postgres->wanted = postgres_wanted_role(postgres->conf, postgres->parameters);
	if (!use_kept(postgres, run->kept))
		try_next(postgres);
}

static void postgres_stop(struct probe_run *run)
{
	struct postgres_run *postgres = run->state;
	struct postgres_kept *kept = run->kept;

	loop_timer_clear(run->env->loop, &postgres->limit);
	resolve_cancel(run->env->resolver, &postgres->lookup);
	if (postgres->conf->connection == POSTGRES_PERSISTENT && postgres->session.conn) {
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

extern const struct probe_type probe_postgres;

const struct probe_type probe_postgres = {
	.name = "postgres",
	.schemes = postgres_schemes,
	.component = "datastore",
	.summary = "opens a session; on request its role, replication lag and a query's answer",
	.example = "postgres://app@db:5432/users",
	.fields = postgres_fields,
	.reasons = PROBE_REASON_LIST(PROBE_NETWORK_REASONS, PROBE_TLS_REASONS, REASON_CANNOT_START,
				     REASON_PROTOCOL_ERROR, REASON_SLOW, REASON_REJECTING,
				     REASON_TOO_MANY_CONNECTIONS, REASON_AUTH_FAILED,
				     REASON_UNKNOWN_DATABASE, REASON_SERVER_ERROR,
				     REASON_WRONG_ROLE, REASON_REPLICATION_LAG, REASON_QUERY_FAILED,
				     REASON_NO_ROWS, REASON_VALUE_MISMATCH),
	.phases = PROBE_ALL_PHASES,
	.conf_size = sizeof(struct postgres_conf),
	.state_size = sizeof(struct postgres_run),
	.kept_size = sizeof(struct postgres_kept),
	.check = postgres_settings_check,
	.describe = postgres_settings_describe,
	.release = postgres_settings_release,
	.start = postgres_start,
	.stop = postgres_stop,
	.forget = postgres_forget,
	.shutdown = postgres_sessions_shutdown,
	.libraries = postgres_session_library,
};
