/* PostgreSQL: a session opens in time, to a server of the wanted role, and a query answers as
 * wanted. What a session is, and libpq, is in postgres_session.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/field.h"
#include "agent/loop.h"
#include "agent/resolve.h"
#include "probes/postgres_session.h"
#include "probes/postgres_settings.h"
#include "probes/postgres_text.h"
#include "probes/probe.h"

enum {
	FOUND_SIZE = 48, /* of a value that is shown */
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
	bool is_standby, is_read_only;
	bool has_row, is_null, matches;
	double lag_seconds;
	char found[FOUND_SIZE];

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
	if (postgres_session_open(&postgres->session, postgres->parameters, &place, &failure) < 0) {
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

	wait_for(postgres, step, REASON_TIMEOUT, "answer to the query");
	postgres->has_row = false;
	postgres_session_query(&postgres->session, query, left_us / 1000 + STATEMENT_GRACE_MS);
}

static bool role_is_wanted(const struct postgres_run *postgres)
{
	bool writable = !postgres->is_standby && !postgres->is_read_only;

	switch (postgres->wanted) {
	case POSTGRES_PRIMARY:
		return !postgres->is_standby;
	case POSTGRES_STANDBY:
	case POSTGRES_PREFER_STANDBY:
		return postgres->is_standby;
	case POSTGRES_READ_WRITE:
		return writable;
	case POSTGRES_READ_ONLY:
		return !writable;
	case POSTGRES_ANY:
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
		 postgres_wanted_names[postgres->wanted]);
	note_failure(postgres, &failure);
	leave_host(postgres);
	return false;
}

/* Does what comes after the step that has just ended, and asks for nothing that need not be known.
 */
static void next_step(struct postgres_run *postgres)
{
	const struct postgres_conf *conf = postgres->conf;

	if (postgres->step < STEP_ROLE &&
	    (postgres->wanted != POSTGRES_ANY || conf->max_lag_us > 0)) {
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

	loop_timer_clear(postgres->run->env->loop, &postgres->limit);
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
	struct postgres_failure failure = {POSTGRES_NO_CONNECTION, postgres->run->deadline_reason,
					   ""};

	snprintf(failure.sentence, sizeof(failure.sentence), "no %s within %.3g s",
		 postgres->waiting_for, seconds_taken(postgres));
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
