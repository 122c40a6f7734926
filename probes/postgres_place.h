/* Where a session is to be opened, and what of libpq's parameters follows from that. */
#ifndef READYD_PROBES_POSTGRES_PLACE_H
#define READYD_PROBES_POSTGRES_PLACE_H

#include <stdbool.h>
#include <stddef.h>

struct postgres_place {
	const char *host; /* the name that a certificate must have, or a unix socket's directory */
	const char *address; /* a literal IP address; "" = the unix socket for `port` in `host` */
	const char *port;
	const char *password; /* instead of the parameters'; may be NULL */

	/* by postgres_parameters_place() */
	const char *bundle;    /* of authorities, instead of "system"; may be NULL */
	bool ignores_passfile; /* there is one, which libpq would refuse */
};

enum { POSTGRES_KEYWORDS_MAX = 80 }; /* libpq 17 knows 48 */

/* Parameters as libpq takes them: the last value of a keyword counts, unless it is empty, and NULL
 * is the end. Zero-filled is empty. */
struct postgres_keywords {
	const char *keywords[POSTGRES_KEYWORDS_MAX + 1];
	const char *values[POSTGRES_KEYWORDS_MAX + 1];
	size_t count;
};

/* Adds a parameter, neither of whose texts is copied; a value of NULL is left out. */
void postgres_keyword_add(struct postgres_keywords *list, const char *keyword, const char *value);

/* Adds what leads libpq to the place and nowhere else. */
void postgres_place_add(struct postgres_keywords *list, const struct postgres_place *place);

#endif
