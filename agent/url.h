/* URLs (RFC 3986) as far as targets need them. */
#ifndef READYD_AGENT_URL_H
#define READYD_AGENT_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/error.h"

/* The parts of a URL, each allocated and percent-decoded where that is right (user, password,
 * host); absent parts are NULL. `path` begins with "/" or is empty, except in a URL without "//",
 * where it is all that follows the scheme ("unix:@name"). `query` is without "?". A fragment is
 * dropped. */
struct url {
	char *scheme; /* lower case */
	char *user;
	char *password;
	char *host;          /* without brackets */
	unsigned short port; /* 0 = none given */
	char *path;
	char *query;
};

/* Parses `text`; 0, or -1 with a sentence that does not contain the password. */
int url_parse(struct url *url, const char *text, struct error *error);
void url_free(struct url *url);

/* Copies `text` with all that may be secret replaced by "***": any password, of a web address the
 * whole user part, elsewhere a user without a password unless a database is asked for, the values
 * of query parameters and of libpq's "name=value" words whose names url_is_secret_name() knows, and
 * a fragment. Control characters become "?". Works on malformed URLs as well: rather masks too much
 * than too little. The copy is cut to fit. */
void url_mask(const char *text, char *masked, size_t size);

/* Whether a parameter, variable or option of this name may hold a secret, by any part of it:
 * "PGPASSWORD", "access_token", "api-key", "authorization", "keys". Rather too many than too few.
 */
bool url_is_secret_name(const char *name, size_t len);

/* Splits "host:port", "[v6]:port", ":port", "host" or a bare "v6"; 0 or -1 with a sentence.
 * *ret_host is allocated
 * ("" when absent), *ret_port 0 when absent. */
int url_split_host_port(const char *text, char **ret_host, unsigned short *ret_port,
			struct error *error);

/* Parses a decimal port from 1 to 65535; 0, or -1 with a sentence. */
int url_parse_port(const char *text, unsigned short *ret_port, struct error *error);

/* Decodes %XX in place; 0, or -1 on a malformed escape or an encoded NUL. */
int url_decode(char *text);

#endif
