/* What a server is asked, and whether what it answers is what was wanted. Pure. */
#ifndef READYD_PROBES_POSTGRES_VERDICT_H
#define READYD_PROBES_POSTGRES_VERDICT_H

#include <stdbool.h>

#include "probes/postgres_failure.h"
#include "probes/postgres_settings.h"

enum { POSTGRES_FOUND_SIZE = 48 }; /* of a value that is shown */

/* Asks for the two booleans of a struct postgres_role. */
extern const char postgres_role_query[];

/* Asks how far a standby is behind, in seconds; null if it cannot tell. */
extern const char postgres_lag_query[];

struct postgres_role {
	bool is_standby;
	bool is_read_only;
};

/* The first column of an answer's first row. */
struct postgres_value {
	bool has_row;
	bool is_null;
	bool matches; /* what was expected, if anything was */
	double number;
	char shown[POSTGRES_FOUND_SIZE]; /* its beginning */
};

/* The role, of what a server reports of itself by the names "in_hot_standby" and
 * "default_transaction_read_only"; false if it has not reported it (before PostgreSQL 14, or a
 * pooler). */
bool postgres_role_of_reports(const char *standby, const char *read_only,
			      struct postgres_role *ret_role);

/* The role, of the columns of an answer to postgres_role_query. */
struct postgres_role postgres_role_of_row(const char *standby, const char *read_only);

/* The value, of a column or NULL for null; it is compared with `expect` unless that is NULL. */
struct postgres_value postgres_value_of(const char *column, const char *expect);

/* These return whether all is well, or else tell the failure. */
bool postgres_judge_role(enum postgres_wanted wanted, struct postgres_role role,
			 struct postgres_failure *failure);
bool postgres_judge_lag(const struct postgres_conf *conf, const struct postgres_value *lag,
			struct postgres_failure *failure);
bool postgres_judge_value(const struct postgres_conf *conf, const struct postgres_value *value,
			  struct postgres_failure *failure);

#endif
