#include "probes/postgres_parameters.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/tls.h"
#include "probes/postgres_text.h"

/* Sets a parameter, unless the value is NULL or empty. Returns 0, or -1 for want of memory. */
static int set(struct postgres_parameters *parameters, const char *keyword, const char *value)
{
	return value && *value ? postgres_parameter_set(parameters, keyword, value) : 0;
}

static int set_all(struct postgres_parameters *parameters,
		   const struct postgres_overrides *overrides)
{
	if (set(parameters, "host", overrides->host) < 0 ||
	    set(parameters, "port", overrides->port) < 0 ||
	    set(parameters, "user", overrides->user) < 0 ||
	    set(parameters, "dbname", overrides->database) < 0 ||
	    set(parameters, "sslmode", overrides->sslmode) < 0)
		return -1;
	if (!postgres_parameter_is_given(parameters, "client_encoding") &&
	    set(parameters, "client_encoding", "UTF8") < 0)
		return -1;
	return set(parameters, "fallback_application_name", "readyd");
}

static int check_form(const char *url, struct error *error)
{
	if (!url || strncmp(url, "postgres://", 11) == 0 ||
	    strncmp(url, "postgresql://", 13) == 0 || strchr(url, '='))
		return 0;
	return error_set(error, "url is neither a URL (postgres://app@db/users) nor a connection "
				"string (host=db user=app dbname=users)");
}

static int check_word(const struct postgres_parameters *parameters, const char *keyword,
		      const char *words, struct error *error)
{
	const char *value = postgres_parameter(parameters, keyword);

	if (postgres_has_word(words, value))
		return 0;
	return error_set(error, "%s is \"%.50s\", possible are: %s", keyword, value, words);
}

static int check_all(const struct postgres_parameters *parameters, enum probe_reason *ret_reason,
		     struct error *error)
{
	const char *mode = postgres_parameter(parameters, "sslmode");
	bool system = strcmp(postgres_parameter(parameters, "sslrootcert"), "system") == 0;
	bool direct = strcmp(postgres_parameter(parameters, "sslnegotiation"), "direct") == 0;

	if (check_word(parameters, "sslmode",
		       "disable, allow, prefer, require, verify-ca, verify-full", error) < 0 ||
	    check_word(parameters, "target_session_attrs",
		       "any, primary, standby, read-write, read-only, prefer-standby", error) < 0)
		return -1;
	if ((mode[0] == 'r' || mode[0] == 'v' || system || direct) && !tls_library_version()) {
		*ret_reason = REASON_TLS_UNAVAILABLE;
		return error_set(error, "%s", TLS_UNAVAILABLE_SENTENCE);
	}
	return postgres_check_hosts(postgres_parameter(parameters, "host"),
				    postgres_parameter(parameters, "hostaddr"),
				    postgres_parameter(parameters, "port"), error);
}

struct postgres_parameters *postgres_parameters_create(const char *url,
						       const struct postgres_overrides *overrides,
						       enum probe_reason *ret_reason,
						       struct error *error)
{
	struct postgres_parameters *parameters;

	*ret_reason = REASON_CANNOT_START;
	if (check_form(url, error) < 0)
		return NULL;
	parameters = postgres_parameters_parse(url ? url : "", error);
	if (!parameters)
		return NULL;
	if (set_all(parameters, overrides) < 0)
		error_set(error, "out of memory");
	else if (postgres_parameters_add_service(&parameters, error) == 0 &&
		 check_all(parameters, ret_reason, error) == 0)
		return parameters;
	postgres_parameters_free(parameters);
	return NULL;
}

/* libpq does not read a password file that is for others as well, or is no file, and complains
 * about it on stderr each time. It keeps quiet about one that is not there. */
static bool refuses_passfile(const struct postgres_parameters *parameters)
{
	const char *path = postgres_parameter(parameters, "passfile"), *home = getenv("HOME");
	char at_home[PATH_MAX];
	struct stat status;

	if (!*path && home) {
		snprintf(at_home, sizeof(at_home), "%s/.pgpass", home);
		path = at_home;
	}
	return stat(path, &status) == 0 &&
	       (!S_ISREG(status.st_mode) || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0);
}

int postgres_parameters_place(const struct postgres_parameters *parameters,
			      struct postgres_place *place, struct postgres_failure *failure)
{
	place->ignores_passfile = !place->password &&
				  !*postgres_parameter(parameters, "password") &&
				  refuses_passfile(parameters);
	/* By "system" libpq means where OpenSSL looks that it was built with. */
	place->bundle = NULL;
	if (strcmp(postgres_parameter(parameters, "sslrootcert"), "system") != 0)
		return 0;
	place->bundle = tls_system_bundle();
	if (place->bundle)
		return 0;
	postgres_failure_set(failure, POSTGRES_NO_SESSION, REASON_TLS_FAILED,
			     "sslrootcert is \"system\", and this system has no bundle of "
			     "certificate authorities");
	return -1;
}
