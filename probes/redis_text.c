#include "probes/redis_text.h"

#include <stdio.h>
#include <string.h>

enum { QUOTE_SIZE = 100, INFO_VALUE_SIZE = 64, INFO_NUMBER_SIZE = 24 };

/* Copies up to the end of the line. */
static void copy_line(const char *text, char *copy, size_t size)
{
	size_t len = 0;

	for (; *text && *text != '\r' && *text != '\n' && len + 1 < size; text++)
		copy[len++] = *text >= ' ' && *text <= '~' ? *text : '?';
	copy[len] = '\0';
}

void redis_quote(const char *text, const char *password, char *quoted, size_t size)
{
	if (password && password[0] != '\0' && strstr(text, password))
		snprintf(quoted, size, "(not shown: the password is in it)");
	else
		copy_line(text, quoted, size);
}

void redis_info_value(const char *info, const char *name, char *value, size_t size)
{
	size_t name_len = strlen(name);

	while (strncmp(info, name, name_len) != 0 || info[name_len] != ':') {
		info = strchr(info, '\n');
		if (!info) {
			value[0] = '\0';
			return;
		}
		info++;
	}
	copy_line(info + name_len + 1, value, size);
}

/* ---- replication and cluster ---- */

/* Whether a replica follows its primary. */
static enum probe_reason judge_link(const char *info, char sentence[REDIS_SENTENCE_SIZE])
{
	char host[INFO_VALUE_SIZE], port[INFO_NUMBER_SIZE], value[INFO_NUMBER_SIZE];

	redis_info_value(info, "master_host", host, sizeof(host));
	redis_info_value(info, "master_port", port, sizeof(port));
	/* The link counts as down while the first copy is made, so this comes first. */
	redis_info_value(info, "master_sync_in_progress", value, sizeof(value));
	if (strcmp(value, "0") != 0) {
		snprintf(sentence, REDIS_SENTENCE_SIZE,
			 "the replica is still copying the dataset of its primary %s:%s", host,
			 port);
		return REASON_REPLICA_SYNCING;
	}
	redis_info_value(info, "master_link_status", value, sizeof(value));
	if (strcmp(value, "up") == 0)
		return REASON_OK;
	redis_info_value(info, "master_link_down_since_seconds", value, sizeof(value));
	if (value[0] == '\0' || value[0] == '-')
		snprintf(sentence, REDIS_SENTENCE_SIZE,
			 "the replica has not reached its primary %s:%s yet", host, port);
	else
		snprintf(sentence, REDIS_SENTENCE_SIZE,
			 "the replica's link to its primary %s:%s has been down for %s s", host,
			 port, value);
	return REASON_REPLICA_LINK_DOWN;
}

enum probe_reason redis_judge_replication(const char *info, enum redis_role wanted,
					  char sentence[REDIS_SENTENCE_SIZE])
{
	char role[INFO_VALUE_SIZE];
	enum redis_role found = REDIS_ROLE_ANY;

	redis_info_value(info, "role", role, sizeof(role));
	if (strcmp(role, "master") == 0 || strcmp(role, "primary") == 0)
		found = REDIS_ROLE_PRIMARY;
	else if (strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0)
		found = REDIS_ROLE_REPLICA;
	if (wanted != REDIS_ROLE_ANY && wanted != found) {
		snprintf(sentence, REDIS_SENTENCE_SIZE, "expected a %s, found role:%s",
			 wanted == REDIS_ROLE_PRIMARY ? "primary" : "replica", role);
		return REASON_WRONG_ROLE;
	}
	return found == REDIS_ROLE_REPLICA ? judge_link(info, sentence) : REASON_OK;
}

enum probe_reason redis_judge_cluster(const char *info, char sentence[REDIS_SENTENCE_SIZE])
{
	char value[INFO_VALUE_SIZE], slots[INFO_VALUE_SIZE];

	redis_info_value(info, "cluster_state", value, sizeof(value));
	if (strcmp(value, "ok") == 0)
		return REASON_OK;
	redis_info_value(info, "cluster_slots_ok", slots, sizeof(slots));
	snprintf(sentence, REDIS_SENTENCE_SIZE,
		 "expected cluster_state:ok, found cluster_state:%s with %s of 16384 slots served",
		 value, slots);
	return REASON_CLUSTER_DOWN;
}

/* ---- errors ---- */

/* The errors whose meaning is known by how their text begins, as whole words. */
static const struct known_error {
	const char *beginning;
	enum probe_reason reason;
	const char *sentence;
} known_errors[] = {
	{"LOADING", REASON_LOADING, "the server is loading its dataset"},
	{"MASTERDOWN", REASON_MASTER_DOWN,
	 "the replica has lost its primary, and replica-serve-stale-data is no"},
	{"BUSY", REASON_BUSY, "the server is blocked by a script or function that does not end"},
	{"NOAUTH", REASON_NOAUTH, "the server wants a password and none is configured"},
	{"WRONGPASS", REASON_WRONGPASS, "the server refused the user or the password"},
	{"ERR invalid password", REASON_WRONGPASS, "the server refused the password"},
	{"ERR AUTH <password> called without any password configured", REASON_WRONGPASS,
	 "a password is configured here, and the server has none"},
	{"ERR Client sent AUTH, but no password is set", REASON_WRONGPASS,
	 "a password is configured here, and the server has none"},
	{"ERR wrong number of arguments for 'auth' command", REASON_WRONGPASS,
	 "the server is older than Redis 6 and knows no users: leave out the user"},
	{"MISCONF", REASON_MISCONF, "the server cannot save to disk and so refuses writes"},
	{"DENIED", REASON_DENIED,
	 "the server is in protected mode: without a password it refuses other hosts"},
	{"CLUSTERDOWN", REASON_CLUSTER_DOWN, "the cluster does not serve the key's slot"},
	{"ERR max number of clients", REASON_MAX_CLIENTS,
	 "the server has as many clients as maxclients allows"},
};

static const struct known_error *known_error_of(const char *text)
{
	for (size_t i = 0; i < sizeof(known_errors) / sizeof(known_errors[0]); i++) {
		size_t len = strlen(known_errors[i].beginning);

		if (strncmp(text, known_errors[i].beginning, len) == 0 &&
		    (text[len] == ' ' || text[len] == '\0'))
			return &known_errors[i];
	}
	return NULL;
}

static void say_what_is_not_permitted(const char *text, const struct redis_question *question,
				      char sentence[REDIS_SENTENCE_SIZE])
{
	const char *user = question->user ? question->user : "default";

	/* Redis tells a forbidden command ("… to run the 'exists' command") from a forbidden key
	 * ("… to access a key"). */
	if (question->key && !strstr(text, "command"))
		snprintf(sentence, REDIS_SENTENCE_SIZE,
			 "the user \"%s\" may not read the key \"%s\": give it ~%s", user,
			 question->key, question->key);
	else
		snprintf(sentence, REDIS_SENTENCE_SIZE,
			 "the user \"%s\" may not run %s: give it %s", user, question->command,
			 question->permission);
}

enum probe_reason redis_judge_error(const char *text, const struct redis_question *question,
				    char sentence[REDIS_SENTENCE_SIZE])
{
	const struct known_error *known = known_error_of(text);
	char quoted[QUOTE_SIZE];

	if (known) {
		snprintf(sentence, REDIS_SENTENCE_SIZE, "%s", known->sentence);
		return known->reason;
	}
	if (strncmp(text, "NOPERM ", 7) == 0) {
		say_what_is_not_permitted(text, question, sentence);
		return REASON_NOPERM;
	}
	redis_quote(text, question->password, quoted, sizeof(quoted));
	/* A server that does not know AUTH repeats its arguments, perhaps cut short. */
	if (strcmp(question->command, "AUTH") == 0)
		quoted[strcspn(quoted, " ")] = '\0';
	snprintf(sentence, REDIS_SENTENCE_SIZE, "%s was answered with the error %s",
		 question->command, quoted);
	return REASON_ERROR_REPLY;
}
