/* The pure part of the Redis probe: what the server's texts mean. */
#ifndef READYD_PROBES_REDIS_TEXT_H
#define READYD_PROBES_REDIS_TEXT_H

#include <stddef.h>

#include "probes/probe.h"

enum { REDIS_SENTENCE_SIZE = 240 };

enum redis_role { REDIS_ROLE_ANY, REDIS_ROLE_PRIMARY, REDIS_ROLE_REPLICA };

/* What was asked and by whom, as far as sentences need it. All texts but `command` may be NULL. */
struct redis_question {
	const char *command;    /* "CLUSTER INFO" */
	const char *permission; /* what an access list must have for it: "+cluster|info" */
	const char *key;        /* that the command reads */
	const char *user;       /* NULL = Redis' default user */
	const char *password;   /* never to be shown */
};

/* Copies the first line of what a server said, for people: cut to fit, what is not printable ASCII
 * as "?", and none of it when the password (may be NULL) is in it. */
void redis_quote(const char *text, const char *password, char *quoted, size_t size);

/* Copies the value of the line "NAME:VALUE" of INFO or CLUSTER INFO; "" when there is none. */
void redis_info_value(const char *info, const char *name, char *value, size_t size);

/* Judges what INFO replication says. `wanted` is the role that the server must have; a replica must
 * also follow its primary, whatever is wanted. REASON_OK, or the reason with a sentence. */
enum probe_reason redis_judge_replication(const char *info, enum redis_role wanted,
					  char sentence[REDIS_SENTENCE_SIZE]);

/* Judges what CLUSTER INFO says, in the same way. */
enum probe_reason redis_judge_cluster(const char *info, char sentence[REDIS_SENTENCE_SIZE]);

/* What an error (the text after its "-") means as the answer to a question. Never REASON_OK. */
enum probe_reason redis_judge_error(const char *text, const struct redis_question *question,
				    char sentence[REDIS_SENTENCE_SIZE]);

#endif
