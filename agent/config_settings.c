#include "agent/config_settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/number.h"
#include "agent/signals.h"
#include "agent/unix_socket.h"

/* Of service and version, which stand in each line of the log and each answer. */
enum { LABEL_MAX = 128 };

#define SETTING(member) .offset = offsetof(struct settings, member)

static const char *const details_choices[] = {"never", "local", "always", NULL};
static const char *const liveness_action_choices[] = {"none", "restart", "exit", NULL};
static const char *const drain_status_choices[] = {"503", "404", NULL};
static const char *const log_format_choices[] = {"auto", "json", "text", NULL};
static const char *const log_level_choices[] = {"debug", "info", "warning", "error", NULL};

const struct field config_fields[] = {
	{.name = "service",
	 .kind = FIELD_TEXT,
	 SETTING(service),
	 .fallback = "readyd",
	 .help = "the service's name in logs, metrics and JSON"},
	{.name = "version",
	 .kind = FIELD_TEXT,
	 SETTING(version),
	 .fallback = "",
	 .help = "the service's version in logs, metrics and JSON"},
	{.name = "listen",
	 .kind = FIELD_TEXT_LIST,
	 SETTING(listen),
	 .fallback = "0.0.0.0:8086,[::]:8086",
	 .help = "where to answer over HTTP: ADDRESS:PORT, unix:/PATH, unix:@NAME or none"},
	{.name = "socket",
	 .kind = FIELD_TEXT,
	 SETTING(socket),
	 .fallback = "@readyd",
	 .help = "the admin socket: @NAME (abstract), /PATH or none; check and status know only "
		 "READYD_SOCKET and --socket"},
	{.name = "details",
	 .kind = FIELD_CHOICE,
	 SETTING(details),
	 .fallback = "never",
	 .choices = details_choices,
	 .help = "who sees targets, messages and perfdata: nobody, callers on this host, "
		 "everybody"},
	{.name = "logFormat",
	 .kind = FIELD_CHOICE,
	 SETTING(log_format),
	 .fallback = "auto",
	 .choices = log_format_choices,
	 .help = "auto is text on a terminal and JSON elsewhere"},
	{.name = "logLevel",
	 .kind = FIELD_CHOICE,
	 SETTING(log_level),
	 .fallback = "info",
	 .choices = log_level_choices,
	 .help = "the least level that is logged"},
	{.name = "connectionLimit",
	 .kind = FIELD_INTEGER,
	 SETTING(connection_limit),
	 .fallback = "256",
	 .minimum = 1,
	 .maximum = 65536,
	 .help = "how many connections are served at the same time"},
	{.name = "requestTimeoutSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(request_timeout_us),
	 .fallback = "5",
	 .minimum = 0.1,
	 .maximum = 3600,
	 .help = "from connecting, or a later request's first line, to a whole request"},
	{.name = "idleTimeoutSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(idle_timeout_us),
	 .fallback = "75",
	 .minimum = 0.1,
	 .maximum = 86400,
	 .help = "how long a connection is kept between requests"},
	{.name = "staleAfterSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(stale_after_us),
	 .fallback = "2",
	 .minimum = 0.1,
	 .maximum = 3600,
	 .help = "how late readyd may be before it calls its own answers stale"},
	{.name = "drain.delaySeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(drain_delay_us),
	 .fallback = "5",
	 .minimum = 0,
	 .maximum = 3600,
	 .help = "how long to stay up and not ready before the end"},
	{.name = "drain.file",
	 .kind = FIELD_TEXT,
	 SETTING(drain_file),
	 .fallback = "",
	 .help = "a path; while something exists there the instance drains"},
	{.name = "drain.statusCode",
	 .kind = FIELD_CHOICE,
	 SETTING(drain_status),
	 .fallback = "503",
	 .choices = drain_status_choices,
	 .help = "what /ready says while draining: 503, or 404 for HAProxy's disable-on-404"},
	{.name = "haproxyAgent",
	 .kind = FIELD_TEXT_LIST,
	 SETTING(haproxy_agent),
	 .fallback = "none",
	 .help = "where to answer HAProxy's agent-check: ADDRESS:PORT or none"},
	{.name = "haproxyDegradedWeight",
	 .kind = FIELD_INTEGER,
	 SETTING(haproxy_degraded_weight),
	 .fallback = "50",
	 .minimum = 1,
	 .maximum = 100,
	 .help = "the weight in percent that HAProxy is told while a probe only passes with a "
		 "warning"},
	{.name = "gracePeriodSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(grace_period_us),
	 .fallback = "10",
	 .minimum = 1,
	 .maximum = 86400,
	 .help = "what the whole end may take, as the platform allows it (Docker 10, Kubernetes "
		 "30)"},
	{.name = "stopSignal",
	 .kind = FIELD_TEXT,
	 SETTING(stop_signal),
	 .fallback = "SIGTERM",
	 .help = "the signal that tells the command of `run` to end"},
	{.name = "stopTimeoutSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(stop_timeout_us),
	 .fallback = "4",
	 .minimum = 0.1,
	 .maximum = 86400,
	 .help = "from the stop signal to SIGKILL; this much of gracePeriodSeconds is kept for it"},
	{.name = "onLivenessFailure",
	 .kind = FIELD_CHOICE,
	 SETTING(on_liveness_failure),
	 .fallback = "none",
	 .choices = liveness_action_choices,
	 .help = "what `run` does when liveness fails: nothing, restart the command, or end"},
	{.name = "restart.delaySeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(restart_delay_us),
	 .fallback = "1",
	 .minimum = 0,
	 .maximum = 86400,
	 .help = "the wait before the first restart; it doubles with each one"},
	{.name = "restart.maxDelaySeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(restart_delay_max_us),
	 .fallback = "60",
	 .minimum = 0,
	 .maximum = 86400,
	 .help = "the longest wait before a restart"},
	{.name = "restart.limit",
	 .kind = FIELD_INTEGER,
	 SETTING(restart_limit),
	 .fallback = "10",
	 .minimum = 0,
	 .maximum = 1000000,
	 .help = "after so many restarts the next failure ends `run`; 0 is no limit"},
	{.name = "restart.resetAfterSeconds",
	 .kind = FIELD_SECONDS,
	 SETTING(restart_reset_us),
	 .fallback = "600",
	 .minimum = 0.1,
	 .maximum = 86400,
	 .help = "a command that ran so long without failing counts as new"},
	{.name = "terminationLogFile",
	 .kind = FIELD_TEXT,
	 SETTING(termination_log_file),
	 .fallback = "",
	 .help = "where `run` writes why it ended or restarted the command, such as "
		 "/dev/termination-log"},
	{.name = "passEnvironment",
	 .kind = FIELD_TEXT_LIST,
	 SETTING(pass_environment),
	 .help = "READYD_* variables that the command of `run` may see; it sees none otherwise"},
	{.name = NULL},
};

/* ---- unknown keys ---- */

static bool is_role(const char *key)
{
	for (enum role role = 0; role < ROLE_COUNT; role++) {
		if (strcmp(key, role_name(role)) == 0)
			return true;
	}
	return false;
}

/* `section` is "" or "drain."; its names are told without it. */
static void fault_unknown(const struct node *member, const char *section, struct faults *faults)
{
	static const char *const others[] = {"liveness",      "readiness",      "startup",
					     "livenessProbe", "readinessProbe", "startupProbe",
					     "drain"};
	const char *names[64], *meant;
	size_t count = 0, section_len = strlen(section);

	if (section_len == 0 && field_find(config_fields, member->key, NULL)) {
		faults_add_key(faults, member,
			       "in a file the part of \"%s\" before the dot is a map of its own",
			       member->key);
		return;
	}
	for (const struct field *field = config_fields; field->name && count < 48; field++) {
		if (strncmp(field->name, section, section_len) == 0 &&
		    !strchr(field->name + section_len, '.'))
			names[count++] = field->name + section_len;
	}
	for (size_t i = 0; section_len == 0 && i < sizeof(others) / sizeof(others[0]); i++)
		names[count++] = others[i];
	meant = faults_full(faults) ? NULL : nearest_name(member->key, names, count);
	if (meant)
		faults_add_key(faults, member, "unknown setting \"%s%.60s\", did you mean %s?",
			       section, member->key, meant);
	else
		faults_add_key(faults, member,
			       "unknown setting \"%s%.60s\"; see readyd config fields", section,
			       member->key);
}

/* ---- sections ---- */

static bool is_section(const char *key)
{
	size_t len = strlen(key);

	for (const struct field *field = config_fields; field->name; field++) {
		if (strncmp(field->name, key, len) == 0 && field->name[len] == '.')
			return true;
	}
	return false;
}

static void take_section(const struct node *section, struct settings *settings,
			 struct faults *faults)
{
	char name[128], first[64];

	if (node_is_null(section))
		return;
	if (section->kind != NODE_MAP) {
		faults_add(faults, section, "%s must be a map of settings", section->key);
		return;
	}
	snprintf(first, sizeof(first), "%s.", section->key);
	for (const struct node *member = section->first_child; member; member = member->next) {
		const struct field *field;

		snprintf(name, sizeof(name), "%s%.60s", first, member->key);
		field = field_find(config_fields, name, NULL);
		if (field)
			field_assign(field, false, settings, member, faults);
		else
			fault_unknown(member, first, faults);
	}
}

/* ---- addresses ---- */

/* "HOST:PORT" with a literal address, because a name may have several and change. */
static int check_address(const char *text, struct error *error)
{
	const char *colon = strrchr(text, ':');
	unsigned char address[sizeof(struct in6_addr)];
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	char host[64];
	double port;

	if (!colon || !isdigit((unsigned char)colon[1]) || !parse_whole(colon + 1, &port) ||
	    port > 65535 || strchr(colon, '.'))
		return error_set(error, "it has no port from 0 to 65535");
	if (len >= sizeof(host))
		return error_set(error, "the address is too long");
	snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? len - 2 : len), text + bracketed);
	if (!bracketed && strchr(host, ':'))
		return error_set(error, "an IPv6 address must be in brackets");
	if (bracketed
		    ? inet_pton(AF_INET6, host, address) == 1
		    : host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "localhost") == 0 ||
			      inet_pton(AF_INET, host, address) == 1)
		return 0;
	return error_set(error, "\"%s\" is no IPv4 or IPv6 address", host);
}

static int check_unix(const char *name, struct error *error)
{
	struct sockaddr_un address;
	socklen_t len;

	if (name[0] != '/' && name[0] != '@')
		return error_set(error, "a unix socket must be an absolute path or @NAME");
	return unix_socket_address(name, &address, &len, error);
}

/* `example` is an address that would do. */
static void check_listen(const struct node *node, const struct text_list *listen,
			 const char *example, struct faults *faults)
{
	const struct node *item = node->kind == NODE_LIST ? node->first_child : NULL;

	if (listen->count == 0)
		faults_add(faults, node, "%s is empty, expected an address such as %s, or none",
			   node->key, example);
	for (size_t i = 0; i < listen->count; i++, item = item ? item->next : NULL) {
		const char *text = listen->items[i];
		struct error error;

		if (strcmp(text, "none") == 0 && listen->count == 1)
			continue;
		if (strcmp(text, "none") == 0) {
			faults_add(faults, item ? item : node,
				   "none stands alone or not at all in %s", node->key);
			continue;
		}
		if ((strncmp(text, "unix:", 5) == 0 ? check_unix(text + 5, &error)
						    : check_address(text, &error)) != 0)
			faults_add(faults, item ? item : node,
				   "cannot listen on \"%.60s\": %s; expected one such as %s, "
				   "[::]:8086 or unix:/run/readyd.sock",
				   text, error.text, example);
	}
}

static void check_socket(const struct node *node, const char *socket, struct faults *faults)
{
	struct error error;

	if (socket && strcmp(socket, "none") != 0 && check_unix(socket, &error) != 0)
		faults_add(faults, node, "socket: %s; expected @NAME, /PATH or none", error.text);
}

/* ---- signals ---- */

static void check_signal(const struct node *node, const char *text, struct faults *faults)
{
	int number = text ? signal_by_name(text) : -1;

	if (number < 0)
		faults_add(faults, node,
			   "stopSignal: there is no signal \"%.40s\", expected one such as "
			   "SIGTERM, QUIT, SIGRTMIN+3 or 15",
			   text ? text : "");
	else if (number == SIGSTOP || number == SIGCONT || number == SIGCHLD)
		faults_add(faults, node, "stopSignal: %.40s ends no process", text);
}

/* ---- labels ---- */

/* Whether a control character begins here: of ASCII or, in UTF-8, of those up to U+009F. */
static bool is_control(const char *text)
{
	return iscntrl((unsigned char)text[0]) ||
	       ((unsigned char)text[0] == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80);
}

static void check_label(const struct node *node, const char *name, const char *text,
			struct faults *faults)
{
	size_t len = strlen(text);

	if (len > LABEL_MAX)
		faults_add(faults, node, "%s has %zu bytes, expected at most %d", name, len,
			   LABEL_MAX);
	for (const char *c = text; *c; c++) {
		if (is_control(c)) {
			faults_add(faults, node,
				   "%s has a line end or another control character, expected "
				   "plain text",
				   name);
			return;
		}
	}
}

/* ---- all ---- */

void config_settings_take(const struct node *root, struct settings *settings, struct faults *faults)
{
	for (const struct node *member = root->first_child; member; member = member->next) {
		const struct field *field = strchr(member->key, '.')
						    ? NULL
						    : field_find(config_fields, member->key, NULL);

		if (is_role(member->key))
			continue;
		if (is_section(member->key)) {
			take_section(member, settings, faults);
		} else if (!field) {
			fault_unknown(member, "", faults);
		} else if (field_assign(field, false, settings, member, faults) != 0) {
			continue;
		} else if (strcmp(field->name, "listen") == 0) {
			check_listen(member, &settings->listen, "0.0.0.0:8086", faults);
		} else if (strcmp(field->name, "haproxyAgent") == 0) {
			check_listen(member, &settings->haproxy_agent, "0.0.0.0:8087", faults);
		} else if (strcmp(field->name, "socket") == 0) {
			check_socket(member, settings->socket, faults);
		} else if (strcmp(field->name, "stopSignal") == 0) {
			check_signal(member, settings->stop_signal, faults);
		} else if (strcmp(field->name, "service") == 0) {
			check_label(member, "service", settings->service, faults);
		} else if (strcmp(field->name, "version") == 0) {
			check_label(member, "version", settings->version, faults);
		}
	}
}
