/* What parameters a connection gets: those of the user's URL, of the settings beside it, of the
 * service file and of libpq's environment; and whether they can be used. */
#ifndef READYD_PROBES_POSTGRES_PARAMETERS_H
#define READYD_PROBES_POSTGRES_PARAMETERS_H

#include "agent/error.h"
#include "probes/postgres_failure.h"
#include "probes/postgres_place.h"
#include "probes/postgres_session.h"
#include "probes/probe.h"

/* What the user has set beside the URL, and what counts instead of the URL's; all may be NULL. */
struct postgres_overrides {
	char *host;
	char *port;
	char *user;
	char *database;
	char *sslmode;
};

/* Of a URL or a connection string, which may be NULL. Returns NULL with a sentence, which contains
 * nothing secret, and with the reason that it is for a run. */
struct postgres_parameters *postgres_parameters_create(const char *url,
						       const struct postgres_overrides *overrides,
						       enum probe_reason *ret_reason,
						       struct error *error);

/* Completes a place, whose host, address, port and password are set, by what the parameters say
 * about files. Returns 0, or -1 with the failure. */
int postgres_parameters_place(const struct postgres_parameters *parameters,
			      struct postgres_place *place, struct postgres_failure *failure);

#endif
