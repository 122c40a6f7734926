#include "probes/postgres_verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char postgres_role_query[] = "SELECT pg_catalog.pg_is_in_recovery(), "
				   "pg_catalog.current_setting('transaction_read_only')";

/* With all replayed that was received a standby is up to date, but only while it is connected: one
 * that is cut off receives nothing, however much there is. */
const char postgres_lag_query[] = "SELECT CASE WHEN pg_catalog.pg_last_wal_replay_lsn() >= "
				  "pg_catalog.pg_last_wal_receive_lsn() "
				  "AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0 "
				  "ELSE greatest(0, extract(epoch FROM pg_catalog.now() - "
				  "pg_catalog.pg_last_xact_replay_timestamp())) END";

/* ---- the role ---- */

bool postgres_role_of_reports(const char *standby, const char *read_only,
			      struct postgres_role *ret_role)
{
	if (!standby || !read_only)
		return false;
	ret_role->is_standby = strcmp(standby, "on") == 0;
	ret_role->is_read_only = strcmp(read_only, "on") == 0;
	return true;
}

struct postgres_role postgres_role_of_row(const char *standby, const char *read_only)
{
	return (struct postgres_role){
		.is_standby = standby && standby[0] == 't',
		.is_read_only = read_only && strcmp(read_only, "on") == 0,
	};
}

static bool is_wanted(enum postgres_wanted wanted, struct postgres_role role)
{
	bool writable = !role.is_standby && !role.is_read_only;

	switch (wanted) {
	case POSTGRES_PRIMARY:
		return !role.is_standby;
	case POSTGRES_STANDBY:
	case POSTGRES_PREFER_STANDBY:
		return role.is_standby;
	case POSTGRES_READ_WRITE:
		return writable;
	case POSTGRES_READ_ONLY:
		return !writable;
	case POSTGRES_ANY:
		break;
	}
	return true;
}

bool postgres_judge_role(enum postgres_wanted wanted, struct postgres_role role,
			 struct postgres_failure *failure)
{
	if (is_wanted(wanted, role))
		return true;
	postgres_failure_set(failure, POSTGRES_REJECTED, REASON_WRONG_ROLE,
			     "the server is a %s%s, wanted is %s",
			     role.is_standby ? "standby" : "primary",
			     role.is_read_only && !role.is_standby ? " and read-only" : "",
			     postgres_wanted_names[wanted]);
	return false;
}

/* ---- values ---- */

struct postgres_value postgres_value_of(const char *column, const char *expect)
{
	struct postgres_value value = {
		.has_row = true,
		.is_null = !column,
		.matches = !expect || (column && strcmp(column, expect) == 0),
		.number = column ? strtod(column, NULL) : 0,
	};

	snprintf(value.shown, sizeof(value.shown), "%s", column ? column : "");
	return value;
}

bool postgres_judge_lag(const struct postgres_conf *conf, const struct postgres_value *lag,
			struct postgres_failure *failure)
{
	double allowed = (double)conf->max_lag_us / 1e6;
	bool is_known = lag->has_row && !lag->is_null;

	if (is_known && lag->number <= allowed)
		return true;
	if (is_known)
		postgres_failure_set(failure, POSTGRES_QUERY_FAILED, REASON_REPLICATION_LAG,
				     "the standby is %.1f s behind, more than %g s", lag->number,
				     allowed);
	else
		postgres_failure_set(failure, POSTGRES_QUERY_FAILED, REASON_REPLICATION_LAG,
				     "the standby cannot tell how far it is behind: it is not "
				     "connected to its primary and has replayed nothing yet");
	return false;
}

bool postgres_judge_value(const struct postgres_conf *conf, const struct postgres_value *value,
			  struct postgres_failure *failure)
{
	const char *quote = value->is_null ? "" : "\"";

	if (!value->has_row)
		postgres_failure_set(failure, POSTGRES_QUERY_FAILED, REASON_NO_ROWS,
				     "the query returned no row");
	else if (!value->matches)
		postgres_failure_set(failure, POSTGRES_QUERY_FAILED, REASON_VALUE_MISMATCH,
				     "the query returned %s%s%s, expected \"%.80s\"", quote,
				     value->is_null ? "null" : value->shown, quote, conf->expect);
	return value->has_row && value->matches;
}
