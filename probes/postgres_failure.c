#include "probes/postgres_failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/tls.h"
#include "probes/postgres_text.h"

void postgres_failure_set(struct postgres_failure *failure, enum postgres_failure_kind kind,
			  enum probe_reason reason, const char *format, ...)
{
	va_list arguments;

	failure->kind = kind;
	failure->reason = reason;
	va_start(arguments, format);
	vsnprintf(failure->sentence, sizeof(failure->sentence), format, arguments);
	va_end(arguments);
}

int postgres_failure_weight(const struct postgres_failure *failure)
{
	enum probe_reason reason = failure->reason;

	if (probe_reason_alive(reason))
		return 2;
	return reason == REASON_UNREACHABLE || reason == REASON_DNS_FAILURE ? 0 : 1;
}

/* ---- no connection ---- */

void postgres_explain_attempt(const struct postgres_attempt *attempt,
			      struct postgres_failure *failure)
{
	bool is_ipv6 = strchr(attempt->address, ':') != NULL;
	int error_number = postgres_errno_of(attempt->message);
	enum probe_reason reason;

	/* libpq keeps quiet about a socket that it could not create, so it is done again. */
	if (attempt->message[0] == '\0') {
		int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		error_number = fd < 0 ? errno : EMFILE;
		if (fd >= 0)
			close(fd);
	}
	reason = probe_reason_from_errno(error_number);
	if (error_number == 0) {
		/* It has not come to connecting: a parameter is of no use. */
		postgres_failure_set(failure, POSTGRES_NO_CONNECTION, REASON_CANNOT_START, "%s",
				     "");
		postgres_sentence(attempt->message, failure->sentence, sizeof(failure->sentence));
	} else if (*attempt->address) {
		postgres_failure_set(failure, POSTGRES_NO_CONNECTION, reason,
				     is_ipv6 ? "cannot connect to [%s]:%s: %s"
					     : "cannot connect to %s:%s: %s",
				     attempt->address, attempt->port, strerror(error_number));
	} else {
		postgres_failure_set(failure, POSTGRES_NO_CONNECTION, reason,
				     "cannot connect to %.120s/.s.PGSQL.%s: %s", attempt->host,
				     attempt->port, strerror(error_number));
	}
}

/* ---- no session ---- */

static void explain_handshake(const struct postgres_end *end, struct postgres_failure *failure)
{
	struct error error = {0};
	enum tls_outcome outcome = end->ssl ? tls_verify_outcome(end->ssl, &error) : TLS_OK;
	enum probe_reason reason = REASON_TLS_FAILED;
	char sentence[160];

	if (outcome != TLS_OK) {
		postgres_failure_set(failure, POSTGRES_NO_SESSION, tls_reason(outcome), "%.199s",
				     error.text);
		return;
	}
	if (strstr(end->message, "server does not support SSL")) {
		postgres_failure_set(failure, POSTGRES_NO_SESSION, reason,
				     "the server offers no TLS, and sslmode demands it");
		return;
	}
	if (strstr(end->message, "does not match host name") ||
	    strstr(end->message, "server's host name"))
		reason = REASON_TLS_HOSTNAME;
	else if (postgres_is_garbage(end->message))
		reason = REASON_PROTOCOL_ERROR;
	postgres_sentence(end->message, sentence, sizeof(sentence));
	postgres_failure_set(failure, POSTGRES_NO_SESSION, reason, "%s", sentence);
}

/* The server has said nothing; libpq has. */
static void explain_by_message(const struct postgres_end *end, struct postgres_failure *failure)
{
	enum probe_reason reason = REASON_PROTOCOL_ERROR;
	char sentence[160];

	if (!postgres_is_garbage(end->message)) {
		if (end->used_password || strstr(end->message, "authentication"))
			reason = REASON_AUTH_FAILED;
		else if (postgres_errno_of(end->message) != 0)
			reason = probe_reason_from_errno(postgres_errno_of(end->message));
	}
	postgres_sentence(end->message, sentence, sizeof(sentence));
	postgres_failure_set(failure, POSTGRES_NO_SESSION, reason, "%s", sentence);
}

bool postgres_explain_end(const struct postgres_end *end, struct postgres_failure *failure)
{
	const char *when =
		end->in_handshake ? "during the TLS handshake" : "before there was a session";
	char sqlstate[SQLSTATE_SIZE], message[160];

	if (postgres_server_error(end->message, sqlstate, message, sizeof(message))) {
		enum probe_reason reason = postgres_reason_of_sqlstate(sqlstate);

		postgres_failure_set(failure,
				     reason == REASON_REJECTING ? POSTGRES_REJECTED
								: POSTGRES_NO_SESSION,
				     reason, "%s (SQLSTATE %s)", message, sqlstate);
		return true;
	}
	if (end->peer_errno != 0)
		postgres_failure_set(failure, POSTGRES_NO_SESSION,
				     probe_reason_from_errno(end->peer_errno),
				     "the connection broke %s: %s", when,
				     strerror(end->peer_errno));
	else if (end->peer_closed)
		postgres_failure_set(failure, POSTGRES_NO_SESSION, REASON_CONNECTION_CLOSED,
				     "the server closed the connection %s", when);
	else if (end->in_handshake)
		explain_handshake(end, failure);
	else if (end->needs_password)
		postgres_failure_set(
			failure, POSTGRES_NO_SESSION, REASON_AUTH_FAILED,
			"the server wants a password for user \"%.60s\", and there is none%s",
			end->user,
			end->ignores_passfile
				? " (the password file must be readable by its owner alone)"
				: "");
	else
		explain_by_message(end, failure);
	return false;
}

/* ---- no answer ---- */

void postgres_explain_loss(int peer_errno, struct postgres_failure *failure)
{
	if (peer_errno != 0)
		postgres_failure_set(failure, POSTGRES_LOST, probe_reason_from_errno(peer_errno),
				     "the connection broke during a query: %s",
				     strerror(peer_errno));
	else
		postgres_failure_set(failure, POSTGRES_LOST, REASON_CONNECTION_CLOSED,
				     "the server closed the connection during a query");
}

void postgres_explain_error(const char *sqlstate, const char *message,
			    struct postgres_failure *failure)
{
	enum probe_reason reason = REASON_QUERY_FAILED;
	char sentence[160];

	if (postgres_reason_of_sqlstate(sqlstate) == REASON_REJECTING)
		reason = REASON_REJECTING;
	postgres_sentence(message ? message : "the query failed", sentence, sizeof(sentence));
	postgres_failure_set(failure, POSTGRES_QUERY_FAILED, reason, "%s (SQLSTATE %s)", sentence,
			     sqlstate);
}
