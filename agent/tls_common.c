/* The part of agent/tls.h that needs no OpenSSL. */
#include "agent/tls.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

const char *tls_system_bundle(void)
{
	static const char *const places[] = {
		"/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
		"/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL 6 */
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL 7 and later */
		"/etc/ssl/ca-bundle.pem",                            /* SUSE */
		"/etc/ssl/cert.pem",                                 /* Alpine, BSD */
	};
	const char *chosen = getenv("SSL_CERT_FILE");

	/* Returned even if it does not exist: the error about it is then the helpful one. */
	if (chosen && chosen[0] != '\0')
		return chosen;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (access(places[i], R_OK) == 0)
			return places[i];
	}
	return NULL;
}

int tls_context_renew(struct tls_context **context, const struct tls_settings *settings,
		      struct error *error)
{
	struct tls_context *renewed;

	if (*context && tls_context_is_current(*context, settings))
		return 0;
	renewed = tls_context_create(settings, error);
	tls_context_destroy(*context);
	*context = renewed;
	return renewed ? 0 : -1;
}

enum tls_lifetime tls_judge_expiry(const struct tls_settings *settings, int64_t expires_s,
				   struct error *error)
{
	enum { DAY_S = 24 * 60 * 60 };
	int64_t left_s = expires_s - (int64_t)time(NULL);
	int64_t limit_days;
	time_t ends = (time_t)expires_s;
	char date[32] = "?";
	struct tm parts;

	if (expires_s == 0)
		return TLS_LIFETIME_FINE;
	if (settings->fail_days > 0 && left_s < settings->fail_days * DAY_S)
		limit_days = settings->fail_days;
	else if (settings->warn_days > 0 && left_s < settings->warn_days * DAY_S)
		limit_days = settings->warn_days;
	else
		return TLS_LIFETIME_FINE;
	if (gmtime_r(&ends, &parts))
		strftime(date, sizeof(date), "%Y-%m-%d", &parts);
	if (left_s < 0)
		error_set(error,
			  "the certificate ended on %s; at least %" PRId64 " days are wanted", date,
			  limit_days);
	else
		error_set(error,
			  "the certificate ends on %s, in %" PRId64 " days; at least %" PRId64
			  " are wanted",
			  date, left_s / DAY_S, limit_days);
	return limit_days == settings->fail_days ? TLS_LIFETIME_FAIL : TLS_LIFETIME_WARN;
}

enum probe_reason tls_reason(enum tls_outcome outcome)
{
	switch (outcome) {
	case TLS_CLOSED:
		return REASON_CONNECTION_CLOSED;
	case TLS_RESET:
		return REASON_CONNECTION_RESET;
	case TLS_UNTRUSTED:
		return REASON_TLS_UNTRUSTED;
	case TLS_HOSTNAME:
		return REASON_TLS_HOSTNAME;
	case TLS_EXPIRED:
		return REASON_TLS_EXPIRED;
	case TLS_NOT_YET_VALID:
		return REASON_TLS_NOT_YET_VALID;
	default:
		return READYD_TLS ? REASON_TLS_FAILED : REASON_TLS_UNAVAILABLE;
	}
}
