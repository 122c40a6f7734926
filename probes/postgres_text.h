/* The pure part of the PostgreSQL probe: what libpq's texts and the server's codes mean. libpq
 * tells some things in nothing but its messages; this is where they are understood. */
#ifndef READYD_PROBES_POSTGRES_TEXT_H
#define READYD_PROBES_POSTGRES_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/error.h"
#include "probes/probe.h"

enum {
	SQLSTATE_SIZE = 6,
	AUTHENTICATION_HEAD_SIZE = 9,
	POSTGRES_HOSTS_MAX = 16,
	POSTGRES_HOST_SIZE = 256, /* with the NUL, as the next one */
	POSTGRES_PORT_SIZE = 6,
};

/* How many elements a comma-separated list of hosts or ports has; an empty one has one. */
size_t postgres_list_count(const char *list);

/* Copies the element at `index` of such a list, "" when there are fewer. Returns 0, or -1 when it
 * does not fit. */
int postgres_list_item(const char *list, size_t index, char *item, size_t size);

/* Whether a text is one of the words of a list such as "one, two, three". */
bool postgres_has_word(const char *words, const char *text);

/* Whether a host of libpq's is no host but the directory of a unix socket, or an abstract one. */
bool postgres_is_unix(const char *host);

/* Verifies the lists of hosts, literal addresses and ports ("" = not given): their length, the
 * elements' lengths and the ports' numbers. Returns 0, or -1 with a sentence that shows none of
 * them, since what is wrong is often a part of an unescaped password in a URL. */
int postgres_check_hosts(const char *hosts, const char *addresses, const char *ports,
			 struct error *error);

/* Finds the first error that a server has sent in the message of a failed connection whose
 * verbosity is PQERRORS_VERBOSE ("…failed: SEVERITY:  SQLSTATE: message"), in whatever language the
 * server speaks. Returns false, with both texts empty, when no server has said anything. */
bool postgres_server_error(const char *text, char sqlstate[SQLSTATE_SIZE], char *message,
			   size_t size);

/* What a server means that refuses a session or ends one with this code (appendix A of PostgreSQL's
 * manual). */
enum probe_reason postgres_reason_of_sqlstate(const char *sqlstate);

/* The errno of a failed socket call, from libpq's message about it; 0 when it is not about one. */
int postgres_errno_of(const char *text);

/* Whether libpq's message says that the peer does not speak PostgreSQL's protocol. */
bool postgres_is_garbage(const char *text);

/* Makes a sentence of libpq's message: its first line without the words about which server it was.
 */
void postgres_sentence(const char *text, char *sentence, size_t size);

/* The same for a message about a connection string: everything in quotes is left out, because libpq
 * quotes parts of the string, which may be parts of the password. */
void postgres_sentence_unquoted(const char *text, char *sentence, size_t size);

/* Whether what begins so is a server's request for a password of any kind: the message's type, its
 * length and the kind of authentication. */
bool postgres_wants_password(const unsigned char head[AUTHENTICATION_HEAD_SIZE]);

#endif
