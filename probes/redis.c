/* Redis, Valkey and whatever else speaks their protocol.
 *
 * hiredis' asynchronous interface formats the commands, keeps the queue of those that are not
 * answered yet and parses the answers. The descriptor stays ours: hiredis reads and writes through the
 * two functions of `transport`, so that it neither closes a descriptor behind our back nor wants a TLS
 * handshake of its own, and so that what a server may send is bounded where it comes in.
 *
 * All commands go out at once. The first answer that settles the verdict ends the run. */
#include "probes/probe.h"

#include <errno.h>
#include <hiredis/async.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/dial.h"
#include "agent/field.h"
#include "agent/loop.h"
#include "agent/tls.h"
#include "agent/url.h"

enum {
	DEFAULT_PORT = 6379,
	DATABASE_MAX = 99999999,
	RECEIVED_MAX = 64 * 1024,
	STEPS_MAX = 7,
	QUOTE_SIZE = 100,
	INFO_VALUE_SIZE = 64,
};

enum wanted_role { WANTED_ANY, WANTED_PRIMARY, WANTED_REPLICA };

struct redis_conf {
	struct secret url;
	char *host;
	int64_t port; /* 0 = not set */
	char *unix_socket;
	char *user;
	struct secret password;
	int64_t database;
	bool tls;
	int role; /* enum wanted_role */
	bool require_replica_link;
	bool cluster;
	char *key_present;
	char *key_absent;
	int64_t warn_above_us;
	struct tls_settings tls_settings;
};

/* Where to connect and as whom: the URL and the settings put together. Texts belong to `url` or to the
 * conf. */
struct endpoint {
	struct url url;
	const char *host;
	unsigned short port;
	const char *unix_socket; /* instead of host and port; may be NULL */
	const char *user;	 /* may be NULL */
	int64_t database;
	bool tls;
};

struct redis_kept {
	struct tls_context *tls_context;
};

struct redis_state;

/* A command that was sent and waits for its answer. */
struct step {
	const char *command;	/* for messages */
	const char *permission; /* what an access list must have for it */
	/* Judges an answer that is no error. False after it has finished the run. */
	bool (*on_answer)(struct redis_state *state, const redisReply *reply);
};

struct redis_state {
	struct probe_run *run;
	int64_t started_us;
	struct endpoint endpoint;
	char *password; /* may be NULL */
	struct dial dial;
	struct loop_io io;
	int fd;
	struct tls *tls;
	redisAsyncContext *session;
	const struct step *steps[STEPS_MAX];
	size_t asked, answered;
	bool wants_write;	/* hiredis has something to send */
	bool write_wants_read;	/* TLS must read before it can go on writing */
	bool read_wants_write;	/* TLS must write before it can go on reading */
	bool write_failed;	/* the peer takes no more; what it has sent is still to be read */
	bool array_refused;
	size_t received_len;
	unsigned char first_byte;
	bool certificate_ends_soon;
};

/* ---- settings ---- */

static const char *const roles[] = {[WANTED_ANY] = "any",
				    [WANTED_PRIMARY] = "primary",
				    [WANTED_REPLICA] = "replica",
				    NULL};

static const struct field redis_fields[] = {
	{.name = "url",
	 .kind = FIELD_SECRET,
	 .offset = offsetof(struct redis_conf, url),
	 .help = "redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss:// for TLS, or "
		 "redis+unix:///PATH?db=DATABASE"},
	{.name = "host",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_conf, host),
	 .help = "name or address, instead of url (default: 127.0.0.1)"},
	{.name = "port",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct redis_conf, port),
	 .minimum = 1,
	 .maximum = 65535,
	 .help = "port at host (default: 6379)"},
	{.name = "unixSocket",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_conf, unix_socket),
	 .help = "path of a unix socket, instead of url and host"},
	{.name = "user",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_conf, user),
	 .help = "user of the access list; wins over the one in url"},
	{.name = "password",
	 .kind = FIELD_SECRET,
	 .offset = offsetof(struct redis_conf, password),
	 .help = "password; wins over the one in url"},
	{.name = "database",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct redis_conf, database),
	 .maximum = DATABASE_MAX,
	 .help = "database to select; wins over the one in url unless it is 0"},
	{.name = "tls",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_conf, tls),
	 .help = "speak TLS, as rediss:// does"},
	{.name = "role",
	 .kind = FIELD_CHOICE,
	 .offset = offsetof(struct redis_conf, role),
	 .fallback = "any",
	 .choices = roles,
	 .help = "wanted role; a replica must also have its link up and its copy complete"},
	{.name = "requireReplicaLink",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_conf, require_replica_link),
	 .help = "whatever the wanted role: if it is a replica, its link must be up and its copy "
		 "complete"},
	{.name = "cluster",
	 .kind = FIELD_BOOLEAN,
	 .offset = offsetof(struct redis_conf, cluster),
	 .help = "cluster_state must be ok"},
	{.name = "keyPresent",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_conf, key_present),
	 .help = "a key that must exist"},
	{.name = "keyAbsent",
	 .kind = FIELD_TEXT,
	 .offset = offsetof(struct redis_conf, key_absent),
	 .help = "a key that must not exist, for example a switch for maintenance"},
	{.name = "warnAboveSeconds",
	 .kind = FIELD_SECONDS,
	 .offset = offsetof(struct redis_conf, warn_above_us),
	 .help = "warn when the whole run took longer (0: never)"},
	TLS_FIELDS(struct redis_conf, tls_settings),
	{.name = NULL},
};

/* A number up to the end of the text or of the query parameter. */
static int parse_database(const char *text, int64_t *ret_database, struct error *error)
{
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > 8 || (text[len] != '\0' && text[len] != '&'))
		return error_set(error, "the database in a Redis URL must be a number, as in "
					"redis://host:6379/3 or redis+unix:///run/redis.sock?db=3");
	*ret_database = strtoll(text, NULL, 10);
	return 0;
}

/* The value of `db` in a query; NULL if there is none. Other parameters are meant for the
 * application's own client, whose URL we are often given. */
static const char *query_database(const char *query)
{
	while (query) {
		if (strncmp(query, "db=", 3) == 0)
			return query + 3;
		query = strchr(query, '&');
		if (query)
			query++;
	}
	return NULL;
}

static int take_unix_url(struct endpoint *endpoint, struct error *error)
{
	char *path = endpoint->url.path;

	if (endpoint->url.host || url_decode(path) < 0 || path[0] == '\0' || path[1] == '\0')
		return error_set(error, "the URL of a unix socket has three slashes before its path, "
					"as in redis+unix:///run/redis.sock");
	endpoint->unix_socket = path;
	return 0;
}

static int take_url(struct endpoint *endpoint, const struct redis_conf *conf, const char *text,
		    struct error *error)
{
	struct url *url = &endpoint->url;
	int64_t database = 0;
	const char *db;

	if (url_parse(url, text, error) < 0)
		return -1;
	db = query_database(url->query);
	if (db && parse_database(db, &database, error) < 0)
		return -1;
	if (strcmp(url->scheme, "redis+unix") == 0) {
		if (take_unix_url(endpoint, error) < 0)
			return -1;
	} else if (strlen(url->path) > 1 && parse_database(url->path + 1, &database, error) < 0) {
		return -1;
	}
	if (strcmp(url->scheme, "rediss") == 0 || strcmp(url->scheme, "valkeys") == 0)
		endpoint->tls = true;
	if (url->host)
		endpoint->host = url->host;
	if (url->port != 0)
		endpoint->port = url->port;
	if (!conf->user && url->user && url->user[0] != '\0')
		endpoint->user = url->user;
	if (conf->database == 0)
		endpoint->database = database;
	return 0;
}

static void endpoint_clear(struct endpoint *endpoint)
{
	url_free(&endpoint->url);
	*endpoint = (struct endpoint){0};
}

/* Puts the settings and the URL (may be NULL) together. To be cleared whatever is returned. */
static int endpoint_set(struct endpoint *endpoint, const struct redis_conf *conf,
			const char *url_text, struct error *error)
{
	*endpoint = (struct endpoint){
		.host = conf->host ? conf->host : "127.0.0.1",
		.port = conf->port != 0 ? (unsigned short)conf->port : DEFAULT_PORT,
		.unix_socket = conf->unix_socket,
		.user = conf->user,
		.database = conf->database,
		.tls = conf->tls,
	};
	if (url_text && take_url(endpoint, conf, url_text, error) < 0)
		return -1;
	if (endpoint->tls && endpoint->unix_socket)
		return error_set(error, "Redis speaks no TLS over a unix socket");
	if (endpoint->tls && !READYD_TLS)
		return error_set(error, TLS_UNAVAILABLE_SENTENCE);
	return 0;
}

static int redis_check(void *conf_pointer, bool kubernetes_form, struct error *error)
{
	const struct redis_conf *conf = conf_pointer;
	bool has_url = secret_is_set(&conf->url);
	struct endpoint endpoint;
	int result;

	(void)kubernetes_form;
	if (has_url && (conf->host || conf->port != 0 || conf->unix_socket))
		return error_set(error, "url already says where to connect: leave out host, port and "
					"unixSocket, or leave out url");
	if (conf->unix_socket && (conf->host || conf->port != 0))
		return error_set(error, "unixSocket already says where to connect: leave out host "
					"and port, or leave out unixSocket");
	if (!has_url && !conf->host && conf->port == 0 && !conf->unix_socket)
		return error_set(error, "one of url, host, port and unixSocket is needed");
	result = endpoint_set(&endpoint, conf, conf->url.value, error);
	endpoint_clear(&endpoint);
	return result;
}

static void redis_describe(const void *conf_pointer, char *text, size_t size)
{
	const struct redis_conf *conf = conf_pointer;
	const char *user = conf->user ? conf->user : "";
	const char *at = conf->user ? "@" : "";
	const char *host = conf->host ? conf->host : "127.0.0.1";
	bool bracketed = strchr(host, ':') && host[0] != '[';
	char database[32] = "";

	if (conf->database != 0)
		snprintf(database, sizeof(database), "%s%" PRId64, conf->unix_socket ? "?db=" : "/",
			 conf->database);
	if (conf->url.value)
		url_mask(conf->url.value, text, size);
	else if (conf->url.file)
		snprintf(text, size, "the Redis URL in %s", conf->url.file);
	else if (conf->unix_socket)
		snprintf(text, size, "redis+unix://%s%s%s%s", user, at, conf->unix_socket,
			 database);
	else
		snprintf(text, size, "redis%s://%s%s%s%s%s:%" PRId64 "%s", conf->tls ? "s" : "",
			 user, at, bracketed ? "[" : "", host, bracketed ? "]" : "",
			 conf->port != 0 ? conf->port : DEFAULT_PORT, database);
}

/* ---- answers ---- */

/* Copies the first line of what a server said, for people: cut, without control characters, and not
 * at all if our password is in it. */
static void quote(const struct redis_state *state, const char *text, char *quoted, size_t size)
{
	size_t len = 0;

	if (state->password && state->password[0] != '\0' && strstr(text, state->password)) {
		snprintf(quoted, size, "(not shown: the password is in it)");
		return;
	}
	for (; *text && *text != '\r' && *text != '\n' && len + 1 < size; text++)
		quoted[len++] = *text >= ' ' && *text <= '~' ? *text : '?';
	quoted[len] = '\0';
}

/* Finds "NAME:VALUE" among the lines of INFO or CLUSTER INFO and copies the value; "" when there is no
 * such line. */
static void info_value(const char *text, const char *name, char *value, size_t size)
{
	size_t name_len = strlen(name);
	size_t len = 0;

	while (text && (strncmp(text, name, name_len) != 0 || text[name_len] != ':')) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	if (text) {
		for (text += name_len + 1; *text && *text != '\r' && *text != '\n'; text++) {
			if (len + 1 < size)
				value[len++] = *text >= ' ' && *text <= '~' ? *text : '?';
		}
	}
	value[len] = '\0';
}

/* An answer of a type that the command never gives. */
static bool refuse_answer(struct redis_state *state, const char *expected, const redisReply *reply)
{
	char found[QUOTE_SIZE] = "something else";

	if (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING)
		quote(state, reply->str, found, sizeof(found));
	else if (reply->type == REDIS_REPLY_INTEGER)
		snprintf(found, sizeof(found), "%lld", reply->integer);
	probe_finish(state->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
		     "expected %s from Redis, found %s", expected, found);
	return false;
}

static bool on_ok(struct redis_state *state, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "OK") == 0)
		return true;
	return refuse_answer(state, "OK", reply);
}

static bool on_pong(struct redis_state *state, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0)
		return refuse_answer(state, "PONG", reply);
	state->run->alive = true;
	return true;
}

/* Whether a replica follows its primary. `info` is what INFO replication says. */
static bool judge_replica_link(struct redis_state *state, const char *info)
{
	char host[INFO_VALUE_SIZE], port[INFO_VALUE_SIZE], value[INFO_VALUE_SIZE];

	info_value(info, "master_host", host, sizeof(host));
	info_value(info, "master_port", port, sizeof(port));
	/* The link counts as down while the first copy is made, so this comes first. */
	info_value(info, "master_sync_in_progress", value, sizeof(value));
	if (strcmp(value, "0") != 0) {
		probe_finish(state->run, PROBE_FAIL, REASON_REPLICA_SYNCING,
			     "the replica is still copying the dataset of its primary %s:%s", host,
			     port);
		return false;
	}
	info_value(info, "master_link_status", value, sizeof(value));
	if (strcmp(value, "up") == 0)
		return true;
	info_value(info, "master_link_down_since_seconds", value, sizeof(value));
	if (value[0] == '\0' || value[0] == '-')
		probe_finish(state->run, PROBE_FAIL, REASON_REPLICA_LINK_DOWN,
			     "the replica has not reached its primary %s:%s yet", host, port);
	else
		probe_finish(state->run, PROBE_FAIL, REASON_REPLICA_LINK_DOWN,
			     "the replica's link to its primary %s:%s has been down for %s s", host,
			     port, value);
	return false;
}

static bool on_replication(struct redis_state *state, const redisReply *reply)
{
	const struct redis_conf *conf = state->run->conf;
	char role[INFO_VALUE_SIZE];
	bool is_primary, is_replica;

	if (reply->type != REDIS_REPLY_STRING)
		return refuse_answer(state, "a text", reply);
	info_value(reply->str, "role", role, sizeof(role));
	is_primary = strcmp(role, "master") == 0 || strcmp(role, "primary") == 0;
	is_replica = strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0;
	if ((conf->role == WANTED_PRIMARY && !is_primary) ||
	    (conf->role == WANTED_REPLICA && !is_replica)) {
		probe_finish(state->run, PROBE_FAIL, REASON_WRONG_ROLE,
			     "expected a %s, the server says that its role is %s",
			     roles[conf->role], role[0] != '\0' ? role : "unknown");
		return false;
	}
	return !is_replica || judge_replica_link(state, reply->str);
}

static bool on_cluster(struct redis_state *state, const redisReply *reply)
{
	char value[INFO_VALUE_SIZE], slots[INFO_VALUE_SIZE];

	if (reply->type != REDIS_REPLY_STRING)
		return refuse_answer(state, "a text", reply);
	info_value(reply->str, "cluster_state", value, sizeof(value));
	if (strcmp(value, "ok") == 0)
		return true;
	info_value(reply->str, "cluster_slots_ok", slots, sizeof(slots));
	probe_finish(state->run, PROBE_FAIL, REASON_CLUSTER_DOWN,
		     "expected cluster_state ok, found %s, with %s of 16384 slots served",
		     value[0] != '\0' ? value : "none", slots[0] != '\0' ? slots : "0");
	return false;
}

static bool on_present(struct redis_state *state, const redisReply *reply)
{
	const struct redis_conf *conf = state->run->conf;

	if (reply->type != REDIS_REPLY_INTEGER)
		return refuse_answer(state, "a number", reply);
	if (reply->integer != 0)
		return true;
	probe_finish(state->run, PROBE_FAIL, REASON_KEY_MISSING, "there is no key \"%s\"",
		     conf->key_present);
	return false;
}

static bool on_absent(struct redis_state *state, const redisReply *reply)
{
	const struct redis_conf *conf = state->run->conf;

	if (reply->type != REDIS_REPLY_INTEGER)
		return refuse_answer(state, "a number", reply);
	if (reply->integer == 0)
		return true;
	probe_finish(state->run, PROBE_FAIL, REASON_KEY_PRESENT,
		     "there is a key \"%s\", which must not exist", conf->key_absent);
	return false;
}

static const struct step step_auth = {"AUTH", "+auth", on_ok};
static const struct step step_ping = {"PING", "+ping", on_pong};
static const struct step step_select = {"SELECT", "+select", on_ok};
static const struct step step_replication = {"INFO", "+info", on_replication};
static const struct step step_cluster = {"CLUSTER INFO", "+cluster|info", on_cluster};
static const struct step step_present = {"EXISTS", "+exists", on_present};
static const struct step step_absent = {"EXISTS", "+exists", on_absent};

/* ---- error answers ---- */

/* What Redis' errors mean. The text of an error begins with one of these, as whole words. */
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
	 "the server is in protected mode, which refuses other hosts while it has no password"},
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

static void finish_without_permission(struct redis_state *state, const struct step *step,
				      const char *text)
{
	const struct redis_conf *conf = state->run->conf;
	const char *user = state->endpoint.user ? state->endpoint.user : "default";
	const char *key = step == &step_present ? conf->key_present : conf->key_absent;

	/* Redis tells a forbidden command ("... to run the 'exists' command") from a forbidden key
	 * ("... to access a key"). */
	if (strcmp(step->command, "EXISTS") == 0 && !strstr(text, "command"))
		probe_finish(state->run, PROBE_FAIL, REASON_NOPERM,
			     "the user \"%s\" may not read the key \"%s\": give it ~%s", user, key,
			     key);
	else
		probe_finish(state->run, PROBE_FAIL, REASON_NOPERM,
			     "the user \"%s\" may not run %s: give it %s", user, step->command,
			     step->permission);
}

static void finish_with_error(struct redis_state *state, const struct step *step, const char *text)
{
	const struct known_error *known = known_error_of(text);
	char quoted[QUOTE_SIZE];

	if (known) {
		probe_finish(state->run, PROBE_FAIL, known->reason, "%s", known->sentence);
		return;
	}
	if (strncmp(text, "NOPERM ", 7) == 0) {
		finish_without_permission(state, step, text);
		return;
	}
	quote(state, text, quoted, sizeof(quoted));
	/* A server that does not know AUTH repeats its arguments, perhaps cut short. */
	if (step == &step_auth)
		quoted[strcspn(quoted, " ")] = '\0';
	probe_finish(state->run, PROBE_FAIL, REASON_ERROR_REPLY, "%s was answered with the error %s",
		     step->command, quoted);
}

/* ---- the session ---- */

static void close_session(struct redis_state *state)
{
	redisAsyncContext *session = state->session;

	state->session = NULL;
	/* Inside a callback of hiredis this takes effect when the callback returns. It calls the
	 * callbacks of unanswered commands, with no reply. */
	if (session)
		redisAsyncFree(session);
}

static void finish_well(struct redis_state *state)
{
	const struct redis_conf *conf = state->run->conf;
	int64_t took_us = clock_monotonic_us() - state->started_us;

	if (conf->warn_above_us > 0 && took_us > conf->warn_above_us)
		probe_finish(state->run, PROBE_WARN, REASON_SLOW, "took %.3f s, more than %.3f s",
			     (double)took_us / 1e6, (double)conf->warn_above_us / 1e6);
	else
		probe_finish(state->run, PROBE_PASS, REASON_OK, "%s", "");
}

static void on_reply(redisAsyncContext *session, void *reply_pointer, void *owner)
{
	const redisReply *reply = reply_pointer;
	struct redis_state *state = owner;
	const struct step *step;

	(void)session;
	if (!reply)
		return; /* close_session() is at work */
	step = state->steps[state->answered++];
	if (reply->type == REDIS_REPLY_ERROR) {
		finish_with_error(state, step, reply->str);
	} else if (step->on_answer(state, reply)) {
		if (state->answered < state->asked)
			return;
		finish_well(state);
	}
	/* At once: hiredis aborts the program when it gets more answers than it has questions. */
	close_session(state);
}

/* ---- the transport under hiredis ---- */

static enum probe_reason reason_of_tls(enum tls_outcome outcome)
{
	switch (outcome) {
	case TLS_CLOSED:
		return REASON_CONNECTION_CLOSED;
	case TLS_UNTRUSTED:
		return REASON_TLS_UNTRUSTED;
	case TLS_HOSTNAME:
		return REASON_TLS_HOSTNAME;
	case TLS_EXPIRED:
		return REASON_TLS_EXPIRED;
	case TLS_NOT_YET_VALID:
		return REASON_TLS_NOT_YET_VALID;
	case TLS_LOCAL:
		return REASON_RESOURCES;
	default:
		return REASON_TLS_FAILED;
	}
}

/* Both receive() functions: 1 when bytes came, 0 when none are there yet, -1 after finishing the run. */
static int receive_plain(struct redis_state *state, char *bytes, size_t size, size_t *ret_len)
{
	ssize_t len = recv(state->fd, bytes, size, 0);

	if (len > 0) {
		*ret_len = (size_t)len;
		return 1;
	}
	if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return 0;
	if (len < 0)
		probe_finish(state->run, PROBE_FAIL, probe_reason_from_errno(errno),
			     "waiting for the answer to %s: %s",
			     state->steps[state->answered]->command, strerror(errno));
	else
		probe_finish(state->run, PROBE_FAIL,
			     state->write_failed ? REASON_CONNECTION_RESET
						 : REASON_CONNECTION_CLOSED,
			     "the server closed the connection without an answer to %s",
			     state->steps[state->answered]->command);
	return -1;
}

static int receive_tls(struct redis_state *state, char *bytes, size_t size, size_t *ret_len)
{
	struct error error = {.text = ""};
	enum tls_outcome outcome = tls_read(state->tls, bytes, size, ret_len, &error);

	state->read_wants_write = outcome == TLS_WANT_WRITE;
	switch (outcome) {
	case TLS_OK:
		return 1;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE:
		return 0;
	case TLS_CLOSED:
		probe_finish(state->run, PROBE_FAIL, REASON_CONNECTION_CLOSED,
			     "the server closed the connection without an answer to %s",
			     state->steps[state->answered]->command);
		return -1;
	default:
		probe_finish(state->run, PROBE_FAIL, reason_of_tls(outcome), "%s", error.text);
		return -1;
	}
}

static ssize_t transport_read(struct redisContext *context, char *bytes, size_t size)
{
	struct redis_state *state = context->privdata;
	size_t len = 0;
	int result = state->tls ? receive_tls(state, bytes, size, &len)
				: receive_plain(state, bytes, size, &len);

	if (result == 0)
		return 0;
	if (result > 0 && state->received_len == 0) {
		probe_phase_end(state->run, PHASE_FIRST_BYTE);
		state->first_byte = (unsigned char)bytes[0];
	}
	state->received_len += len;
	if (state->received_len > RECEIVED_MAX) {
		probe_finish(state->run, PROBE_FAIL, REASON_BODY_TOO_LARGE,
			     "the server sent more than %d KiB", RECEIVED_MAX / 1024);
		result = -1;
	}
	if (result < 0) {
		context->err = REDIS_ERR_IO;
		return -1;
	}
	return (ssize_t)len;
}

/* A failure to write is no verdict: a server that has no room for us says so and closes without
 * having read what we ask, and its answer is still to be read. */
static ssize_t transport_write(struct redisContext *context)
{
	struct redis_state *state = context->privdata;
	size_t size = sdslen(context->obuf);
	size_t len = 0;

	if (state->tls) {
		enum tls_outcome outcome =
			tls_write(state->tls, context->obuf, size, &len, NULL);

		state->write_wants_read = outcome == TLS_WANT_READ;
		state->write_failed = outcome != TLS_OK && outcome != TLS_WANT_READ &&
				      outcome != TLS_WANT_WRITE;
	} else {
		ssize_t sent = send(state->fd, context->obuf, size, MSG_NOSIGNAL);

		if (sent > 0)
			len = (size_t)sent;
		else
			state->write_failed =
				errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
	}
	return (ssize_t)len;
}

/* The descriptor and the TLS connection are ours to close. */
static const redisContextFuncs transport = {
	.async_read = redisAsyncRead,
	.async_write = redisAsyncWrite,
	.read = transport_read,
	.write = transport_write,
};

static void on_write_wanted(void *owner)
{
	struct redis_state *state = owner;

	state->wants_write = true;
}

static void on_write_done(void *owner)
{
	struct redis_state *state = owner;

	state->wants_write = false;
}

/* None of our commands is answered by an array. Refusing them where they begin bounds the memory, which
 * nested and announced arrays would multiply. */
static void *refuse_array(const redisReadTask *task, size_t len)
{
	struct redis_state *state = task->privdata;

	(void)len;
	state->array_refused = true;
	return NULL;
}

static void finish_with_protocol_error(struct redis_state *state)
{
	const char *hint = "";

	if (state->first_byte == 'H')
		hint = ", perhaps HTTP";
	else if (state->first_byte == 0x15 || state->first_byte == 0x16)
		hint = ", perhaps TLS: try rediss://";
	probe_finish(state->run, PROBE_FAIL, REASON_PROTOCOL_ERROR,
		     "expected an answer as Redis gives it, found another protocol%s", hint);
}

/* After each call into hiredis: ends the run if that failed, or says what to wait for. */
static void settle(struct redis_state *state)
{
	struct loop *loop = state->run->env->loop;
	unsigned interest = LOOP_READ;

	if (state->session && state->session->c.err != 0) {
		if (state->session->c.err == REDIS_ERR_OOM && !state->array_refused)
			probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		else
			finish_with_protocol_error(state); /* unless the transport has finished */
		close_session(state);
	}
	if (!state->session) {
		loop_io_clear(loop, &state->io);
		return;
	}
	if ((state->wants_write && !state->write_wants_read && !state->write_failed) ||
	    state->read_wants_write)
		interest |= LOOP_WRITE;
	if (loop_io_set(loop, &state->io, state->fd, interest) < 0)
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "epoll: %s",
			     strerror(errno));
}

static void on_session_ready(struct loop_io *io, unsigned events)
{
	struct redis_state *state = io->owner;

	/* TLS may have to read before it can write and the other way round, and it is harmless to try
	 * what is not possible yet. */
	if (state->wants_write && !state->write_failed && (state->tls || (events & LOOP_WRITE)))
		redisAsyncHandleWrite(state->session);
	if (state->session->c.err == 0)
		redisAsyncHandleRead(state->session);
	settle(state);
}

/* Sends a command of up to three words; those that are NULL are left out. */
static void ask(struct redis_state *state, const struct step *step, const char *first,
		const char *second, const char *third)
{
	const char *words[] = {first, second, third};
	int count = 1;

	while (count < 3 && words[count])
		count++;
	if (redisAsyncCommandArgv(state->session, on_reply, state, count, words, NULL) == REDIS_OK)
		state->steps[state->asked++] = step;
	else
		state->session->c.err = REDIS_ERR_OOM;
}

/* The plain probe asks nothing but PING (after AUTH), so that it works for a user who may do no more.
 * PING comes before everything that a sound server may refuse: who has answered it is alive. */
static void ask_everything(struct redis_state *state)
{
	const struct redis_conf *conf = state->run->conf;
	const char *user = state->endpoint.user;
	const char *password = state->password ? state->password : "";
	char database[24];

	if (user)
		ask(state, &step_auth, "AUTH", user, password);
	else if (password[0] != '\0')
		ask(state, &step_auth, "AUTH", password, NULL);
	ask(state, &step_ping, "PING", NULL, NULL);
	if (state->endpoint.database != 0) {
		snprintf(database, sizeof(database), "%" PRId64, state->endpoint.database);
		ask(state, &step_select, "SELECT", database, NULL);
	}
	if (conf->role != WANTED_ANY || conf->require_replica_link)
		ask(state, &step_replication, "INFO", "replication", NULL);
	if (conf->cluster)
		ask(state, &step_cluster, "CLUSTER", "INFO", NULL);
	if (conf->key_present)
		ask(state, &step_present, "EXISTS", conf->key_present, NULL);
	if (conf->key_absent)
		ask(state, &step_absent, "EXISTS", conf->key_absent, NULL);
}

static void open_session(struct redis_state *state)
{
	static redisReplyObjectFunctions reply_functions;
	redisOptions options = {
		.type = REDIS_CONN_USERFD,
		.options = REDIS_OPT_NOAUTOFREE,
		.endpoint.fd = REDIS_INVALID_FD,
		.privdata = state,
	};
	redisAsyncContext *session = redisAsyncConnectWithOptions(&options);

	if (!session) {
		probe_finish(state->run, PROBE_FAIL, REASON_RESOURCES, "out of memory");
		return;
	}
	state->session = session;
	session->c.funcs = &transport;
	session->c.flags |= REDIS_CONNECTED; /* otherwise hiredis would connect */
	reply_functions = *session->c.reader->fn;
	reply_functions.createArray = refuse_array;
	session->c.reader->fn = &reply_functions;
	session->c.reader->privdata = state;
	session->ev.data = state;
	session->ev.addWrite = on_write_wanted;
	session->ev.delWrite = on_write_done;
	state->io.on_ready = on_session_ready;
	ask_everything(state);
	redisAsyncHandleWrite(session);
	settle(state);
}

/* ---- connecting ---- */

/* Keeps the context, which is costly to make, until one of its files changes. */
static struct tls_context *tls_context_of(struct probe_run *run, struct error *error)
{
	const struct redis_conf *conf = run->conf;
	struct redis_kept *kept = run->kept;

	if (kept->tls_context &&
	    !tls_context_is_current(kept->tls_context, &conf->tls_settings)) {
		tls_context_destroy(kept->tls_context);
		kept->tls_context = NULL;
	}
	if (!kept->tls_context)
		kept->tls_context = tls_context_create(&conf->tls_settings, error);
	return kept->tls_context;
}

static void go_on_with_tls(struct loop_io *io, unsigned events)
{
	struct redis_state *state = io->owner;
	struct probe_run *run = state->run;
	struct error error = {.text = ""};
	enum tls_outcome outcome = tls_handshake(state->tls, &error);
	unsigned interest = outcome == TLS_WANT_WRITE ? LOOP_WRITE : LOOP_READ;

	(void)events;
	if (outcome == TLS_WANT_READ || outcome == TLS_WANT_WRITE) {
		if (loop_io_set(run->env->loop, io, state->fd, interest) < 0)
			probe_finish(run, PROBE_FAIL, REASON_RESOURCES, "epoll: %s",
				     strerror(errno));
		return;
	}
	loop_io_clear(run->env->loop, io);
	if (outcome != TLS_OK) {
		probe_finish(run, PROBE_FAIL, reason_of_tls(outcome), "%s", error.text);
		return;
	}
	probe_phase_end(run, PHASE_TLS);
	open_session(state);
}

static void begin_tls(struct redis_state *state)
{
	const struct redis_conf *conf = state->run->conf;
	struct error error = {.text = ""};
	struct tls_context *context = tls_context_of(state->run, &error);

	if (context)
		state->tls = tls_create(context, &conf->tls_settings, state->fd,
					state->endpoint.host, NULL, &error);
	if (!state->tls) {
		probe_finish(state->run, PROBE_FAIL, REASON_TLS_FAILED, "%s", error.text);
		return;
	}
	state->io.on_ready = go_on_with_tls;
	go_on_with_tls(&state->io, 0);
}

static void on_resolved(struct dial *dial)
{
	struct redis_state *state = dial->owner;

	probe_phase_end(state->run, PHASE_RESOLVE);
}

static void on_connected(struct dial *dial, int fd, int error_number, const struct error *error)
{
	struct redis_state *state = dial->owner;

	if (fd < 0) {
		probe_finish(state->run, PROBE_FAIL,
			     error_number != 0 ? probe_reason_from_errno(error_number)
					       : REASON_DNS_FAILURE,
			     "%s", error->text);
		return;
	}
	probe_phase_end(state->run, PHASE_CONNECT);
	state->fd = fd;
	if (state->endpoint.tls)
		begin_tls(state);
	else
		open_session(state);
}

/* Reads what may be in files and so may change from run to run. */
static int read_settings(struct redis_state *state, struct error *error)
{
	const struct redis_conf *conf = state->run->conf;
	struct endpoint *endpoint = &state->endpoint;
	char *url_text = secret_read(&conf->url, error);
	int result;

	if (!url_text && error->text[0] != '\0')
		return -1;
	result = endpoint_set(endpoint, conf, url_text, error);
	secret_wipe(url_text);
	if (result < 0)
		return -1;
	state->password = secret_read(&conf->password, error);
	if (!state->password && error->text[0] != '\0')
		return -1;
	if (!state->password && endpoint->url.password) {
		state->password = endpoint->url.password;
		endpoint->url.password = NULL;
	}
	return 0;
}

static void redis_start(struct probe_run *run)
{
	struct redis_state *state = run->state;
	struct endpoint *endpoint = &state->endpoint;
	struct error error = {.text = ""};

	state->run = run;
	state->fd = -1;
	state->started_us = clock_monotonic_us();
	state->io.owner = state;
	if (read_settings(state, &error) < 0) {
		probe_finish(run, PROBE_FAIL,
			     endpoint->tls && !READYD_TLS ? REASON_TLS_UNAVAILABLE
							  : REASON_SECRET_UNAVAILABLE,
			     "%s", error.text);
		return;
	}
	state->dial.owner = state;
	state->dial.on_resolved = on_resolved;
	state->dial.on_done = on_connected;
	if (endpoint->unix_socket)
		dial_start_unix(&state->dial, run->env->loop, endpoint->unix_socket);
	else
		dial_start(&state->dial, run->env->loop, run->env->resolver, endpoint->host,
			   endpoint->port);
}

static void redis_stop(struct probe_run *run)
{
	struct redis_state *state = run->state;

	dial_cancel(&state->dial);
	close_session(state);
	loop_io_clear(run->env->loop, &state->io);
	tls_destroy(state->tls);
	state->tls = NULL;
	if (state->fd >= 0)
		close(state->fd);
	state->fd = -1;
	secret_wipe(state->password);
	state->password = NULL;
	endpoint_clear(&state->endpoint);
}

static void redis_forget(const struct probe_env *env, const void *conf, void *kept_pointer)
{
	struct redis_kept *kept = kept_pointer;

	(void)env;
	(void)conf;
	tls_context_destroy(kept->tls_context);
	kept->tls_context = NULL;
}

static const char *const schemes[] = {"redis", "rediss", "redis+unix", "valkey", "valkeys", NULL};

const struct probe_type probe_redis = {
	.name = "redis",
	.schemes = schemes,
	.summary = "Redis or Valkey: PONG and, on request, role, replication, cluster and keys",
	.example = "redis://app:secret@cache:6379/0",
	.fields = redis_fields,
	.conf_size = sizeof(struct redis_conf),
	.state_size = sizeof(struct redis_state),
	.kept_size = sizeof(struct redis_kept),
	.check = redis_check,
	.describe = redis_describe,
	.start = redis_start,
	.stop = redis_stop,
	.forget = redis_forget,
};
