#include "agent/tls_error.h"

#if READYD_TLS

#include <errno.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>
#include <string.h>

void tls_error_clear(void)
{
	ERR_clear_error();
}

void tls_error_take(char *text, size_t size)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code));
	snprintf(text, size, "%s", reason ? reason : "unknown error");
	ERR_clear_error();
}

enum tls_outcome tls_error_of_socket(int error_number, const char *doing, struct error *error)
{
	if (error_number == ECONNRESET || error_number == EPIPE) {
		error_set(error, "the peer reset the connection during %s", doing);
		return TLS_RESET;
	}
	if (error_number == 0) {
		error_set(error, "the peer closed the connection during %s", doing);
		return TLS_CLOSED;
	}
	error_set(error, "%s failed: %s", doing, strerror(error_number));
	return TLS_FAILED;
}

static enum tls_outcome broken_protocol(unsigned long code, const char *doing, struct error *error)
{
	int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
	const char *why;

	switch (reason) {
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return tls_error_of_socket(0, doing, error);
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_RECORD_LAYER_FAILURE:
		error_set(error, "the peer's answer is not TLS");
		return TLS_FAILED;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		error_set(error, "the peer offers no TLS 1.2 or newer");
		return TLS_FAILED;
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		error_set(error, "the peer requires a client certificate (certFile)");
		return TLS_FAILED;
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		error_set(error,
			  "the peer refused the handshake (it may require certFile, a client "
			  "certificate)");
		return TLS_FAILED;
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		error_set(error, "the peer does not accept the client certificate (certFile)");
		return TLS_FAILED;
	case SSL_R_TLSV1_UNRECOGNIZED_NAME:
		error_set(error, "the peer does not know the server name (serverName)");
		return TLS_FAILED;
	default:
		why = ERR_reason_error_string(code);
		error_set(error, "%s failed: %s", doing, why ? why : "unknown error");
		return TLS_FAILED;
	}
}

enum tls_outcome tls_error_of_library(const char *doing, struct error *error)
{
	return broken_protocol(ERR_peek_error(), doing, error);
}

enum tls_outcome tls_outcome_of_error_code(unsigned long code, struct error *error)
{
	return broken_protocol(code, "the TLS handshake", error);
}

#endif
