#include "agent/tls_certificate.h"

#if READYD_TLS

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/tls_error.h"

enum {
	NAME_TEXT_SIZE = 80,
	NAMES_TEXT_SIZE = 160,
	NAMES_SHOWN = 3,
};

/* Copies what a certificate says, which may be anything. */
static void copy_printable(char *text, size_t size, const void *bytes, size_t len)
{
	const unsigned char *in = bytes;
	size_t i;

	for (i = 0; i < len && i + 1 < size; i++)
		text[i] = isprint(in[i]) ? (char)in[i] : '?';
	text[i] = '\0';
}

static void common_name(const X509_NAME *name, char *text, size_t size)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *value;

	snprintf(text, size, "?");
	if (at < 0)
		at = X509_NAME_entry_count(name) - 1;
	if (at < 0)
		return;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	copy_printable(text, size, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

static bool subject_name(const GENERAL_NAME *name, char *text, size_t size)
{
	if (name->type == GEN_DNS) {
		copy_printable(text, size, ASN1_STRING_get0_data(name->d.dNSName),
			       (size_t)ASN1_STRING_length(name->d.dNSName));
		return true;
	}
	if (name->type == GEN_IPADD) {
		const unsigned char *ip = ASN1_STRING_get0_data(name->d.iPAddress);
		int len = ASN1_STRING_length(name->d.iPAddress);

		if (len != 4 && len != 16)
			return false;
		inet_ntop(len == 4 ? AF_INET : AF_INET6, ip, text, (socklen_t)size);
		return true;
	}
	return false;
}

/* "a.example, b.example and others": whom the certificate is for. */
static void subject_names(X509 *certificate, char *text, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	size_t len = 0;
	int shown = 0;

	text[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		char one[NAME_TEXT_SIZE];

		if (!subject_name(sk_GENERAL_NAME_value(names, i), one, sizeof(one)))
			continue;
		if (++shown > NAMES_SHOWN || len + strlen(one) + sizeof(", and others") > size) {
			snprintf(text + len, size - len, " and others");
			break;
		}
		len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "", one);
	}
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	if (text[0] == '\0')
		common_name(X509_get_subject_name(certificate), text, size);
}

int64_t tls_certificate_end(const X509 *certificate)
{
	const ASN1_TIME *time = X509_get0_notAfter(certificate);
	struct tm parts;
	int64_t end_s;

	if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
		return 0;
	end_s = (int64_t)timegm(&parts);
	return end_s != 0 ? end_s : -1; /* 0 stands for none */
}

static void date_text(const ASN1_TIME *time, char *text, size_t size)
{
	struct tm parts;

	if (ASN1_TIME_to_tm(time, &parts) != 1 || strftime(text, size, "%Y-%m-%d", &parts) == 0)
		snprintf(text, size, "?");
}

enum tls_outcome tls_certificate_outcome(long code)
{
	switch (code) {
	case X509_V_OK:
		return TLS_OK;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_HOSTNAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_NOT_YET_VALID;
	default:
		return TLS_UNTRUSTED;
	}
}

void tls_certificate_describe(long code, X509 *certificate, const char *expected,
			      struct error *error)
{
	char name[NAME_TEXT_SIZE] = "", issuer[NAME_TEXT_SIZE] = "", names[NAMES_TEXT_SIZE] = "";
	char from[16] = "", to[16] = "";

	if (certificate) {
		common_name(X509_get_subject_name(certificate), name, sizeof(name));
		common_name(X509_get_issuer_name(certificate), issuer, sizeof(issuer));
		date_text(X509_get0_notBefore(certificate), from, sizeof(from));
		date_text(X509_get0_notAfter(certificate), to, sizeof(to));
	}
	switch (code) {
	case X509_V_OK:
		error_set(error, "%s", "");
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		if (certificate)
			subject_names(certificate, names, sizeof(names));
		if (certificate && expected[0] != '\0')
			error_set(error, "the certificate is for %s, not for %s", names, expected);
		else
			error_set(error, "the certificate is for another name");
		return;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		error_set(error, "the certificate%s%s has expired%s%s", name[0] ? " of " : "", name,
			  to[0] ? " on " : "", to);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		error_set(error, "the certificate%s%s is not valid yet%s%s", name[0] ? " of " : "",
			  name, from[0] ? ", only from " : "", from);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		error_set(error, "the certificate is signed by itself and not among the trusted "
				 "ones (caFile)");
		return;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		error_set(error,
			  "the certificate's issuer%s%s is not among the trusted authorities "
			  "(caFile)",
			  issuer[0] ? " " : "", issuer);
		return;
	default:
		error_set(error, "the certificate is not accepted: %s",
			  X509_verify_cert_error_string(code));
	}
}

enum tls_outcome tls_outcome_of_verify_code(long code, struct error *error)
{
	tls_certificate_describe(code, NULL, "", error);
	return tls_certificate_outcome(code);
}

int tls_certificate_name(char *text, size_t size, const struct tls_settings *settings,
			 const char *host, struct error *error)
{
	const char *name =
		settings->server_name && *settings->server_name ? settings->server_name : host;
	size_t len = name ? strlen(name) : 0;

	if (len >= size)
		return error_set(error, "a host name has at most %zu characters", size - 1);
	if (len > 0 && memchr(name, ':', len))
		len = strcspn(name, "%");
	if (len > 1 && name[len - 1] == '.')
		len--;
	if (len > 0)
		memcpy(text, name, len);
	text[len] = '\0';
	if (len == 0 && !settings->insecure_skip_verify)
		return error_set(error, "TLS over a unix socket needs serverName, the name to "
					"expect in the certificate");
	return 0;
}

bool tls_certificate_expect(X509_VERIFY_PARAM *param, const char *name, bool *ret_is_host)
{
	*ret_is_host = name[0] != '\0' && X509_VERIFY_PARAM_set1_ip_asc(param, name) != 1;
	tls_error_clear();
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return !*ret_is_host || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

#endif
