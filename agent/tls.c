#include "agent/tls.h"

#if READYD_TLS

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum {
	FILE_SIZE_MAX = 4 * 1024 * 1024, /* of certificates and keys */
	NAME_TEXT_SIZE = 80,
	NAMES_TEXT_SIZE = 160,
	NAMES_SHOWN = 3,
};

/* A file as it was when it was read. */
struct loaded_file {
	char *path; /* NULL = none */
	struct stat stat;
};

enum { FILE_CA, FILE_CERTIFICATE, FILE_KEY, FILE_COUNT };

struct tls_context {
	SSL_CTX *ssl;
	struct loaded_file files[FILE_COUNT];
	size_t user_count;
	struct tls_context *next;
};

struct tls {
	SSL *ssl;
	bool established;
	bool broken; /* nothing more may be sent */
};

/* What the verification of a peer found first; belongs to its SSL. */
struct verification {
	long code;
	struct error error;
	char expected[256]; /* host name or address */
};

static struct tls_context *contexts; /* all there are, to be shared */
static int verification_index = -1;
static int peer_index = -1;
static void **caught_ssl; /* where the next SSL is to be put, see tls_catch() */

/* ---- the library ---- */

#if READYD_DEFER_CPUID
/* OpenSSL asks the processor what it can do as soon as the program starts, and under virtualisation
 * that instruction traps, which costs more than an empty program does in all. Most runs of readyd
 * never come to use TLS, so the linker leads that call here (--wrap), and the real work is done in
 * tls_library_prepare(). */
void __wrap_OPENSSL_cpuid_setup(void);
void __real_OPENSSL_cpuid_setup(void);

void __wrap_OPENSSL_cpuid_setup(void)
{
}
#endif

/* Called by OpenSSL for each new SSL, which has its reference count by then and nothing else. */
static void catch_ssl(void *ssl, void *verification, CRYPTO_EX_DATA *data, int index, long argument,
		      void *pointer)
{
	(void)verification;
	(void)data;
	(void)index;
	(void)argument;
	(void)pointer;
	if (!caught_ssl)
		return;
	SSL_free(*caught_ssl);
	*caught_ssl = SSL_up_ref(ssl) ? ssl : NULL;
}

static void free_verification(void *ssl, void *verification, CRYPTO_EX_DATA *data, int index,
			      long argument, void *pointer)
{
	(void)ssl;
	(void)data;
	(void)index;
	(void)argument;
	(void)pointer;
	free(verification);
}

void tls_library_prepare(void)
{
	static bool prepared;

	if (prepared)
		return;
	prepared = true;
#if READYD_DEFER_CPUID
	__real_OPENSSL_cpuid_setup();
#endif
	/* A stray openssl.cnf of the image must not change what readyd does. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	verification_index = SSL_get_ex_new_index(0, NULL, catch_ssl, NULL, free_verification);
	peer_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

const char *tls_library_version(void)
{
	static char version[48];
	const char *text = OpenSSL_version(OPENSSL_VERSION);
	const char *name_end = strchr(text, ' ');
	const char *end = name_end ? strchr(name_end + 1, ' ') : NULL;

	/* Without the date: "OpenSSL 3.5.1 1 Jul 2025". */
	snprintf(version, sizeof(version), "%.*s", end ? (int)(end - text) : (int)strlen(text),
		 text);
	return version;
}

/* The first thing OpenSSL has to complain about, as a phrase; empties its queue. */
static void take_library_error(char *text, size_t size)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(text, size, "%s", reason ? reason : "unknown error");
	ERR_clear_error();
}

/* ---- texts about certificates ---- */

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

static int64_t unix_time(const ASN1_TIME *time)
{
	struct tm parts;

	return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void date_text(const ASN1_TIME *time, char *text, size_t size)
{
	struct tm parts;

	if (ASN1_TIME_to_tm(time, &parts) != 1 || strftime(text, size, "%Y-%m-%d", &parts) == 0)
		snprintf(text, size, "?");
}

static enum tls_outcome outcome_of_code(long code)
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

/* The sentence for a failed verification. `certificate` is the one at fault, or NULL if it is not
 * known; `expected` the wanted name or "". */
static void describe_verification(long code, X509 *certificate, const char *expected,
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
	describe_verification(code, NULL, "", error);
	return outcome_of_code(code);
}

enum tls_outcome tls_verify_outcome(void *ssl, struct error *error)
{
	const struct verification *found =
		verification_index < 0 ? NULL : SSL_get_ex_data(ssl, verification_index);
	long code;

	if (found && found->code != X509_V_OK) {
		error_set(error, "%s", found->error.text);
		return outcome_of_code(found->code);
	}
	code = SSL_get_verify_result(ssl);
	describe_verification(code, SSL_get0_peer_certificate(ssl), found ? found->expected : "",
			      error);
	return outcome_of_code(code);
}

/* Called by OpenSSL for each certificate of the chain. After a failed handshake the certificate is
 * gone, so what is wrong with it is noted here. */
static int on_verify(int accepted, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct verification *found = ssl ? SSL_get_ex_data(ssl, verification_index) : NULL;

	if (!accepted && found && found->code == X509_V_OK) {
		found->code = X509_STORE_CTX_get_error(store);
		describe_verification(found->code, X509_STORE_CTX_get_current_cert(store),
				      found->expected, &found->error);
	}
	return accepted;
}

/* ---- contexts ---- */

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

/* The files that these settings ask for. */
static void file_paths(const struct tls_settings *settings, const char *paths[FILE_COUNT])
{
	paths[FILE_CA] = NULL;
	if (!settings->insecure_skip_verify)
		paths[FILE_CA] =
			is_set(settings->ca_file) ? settings->ca_file : tls_system_bundle();
	paths[FILE_CERTIFICATE] = NULL;
	paths[FILE_KEY] = NULL;
	if (!is_set(settings->certificate_file))
		return;
	paths[FILE_CERTIFICATE] = settings->certificate_file;
	paths[FILE_KEY] =
		is_set(settings->key_file) ? settings->key_file : settings->certificate_file;
}

static bool is_unchanged(const struct loaded_file *file)
{
	struct stat now;

	if (!file->path)
		return true;
	return stat(file->path, &now) == 0 && now.st_dev == file->stat.st_dev &&
	       now.st_ino == file->stat.st_ino && now.st_size == file->stat.st_size &&
	       now.st_mtim.tv_sec == file->stat.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == file->stat.st_mtim.tv_nsec;
}

bool tls_context_is_current(const struct tls_context *context, const struct tls_settings *settings)
{
	const char *paths[FILE_COUNT];

	file_paths(settings, paths);
	for (size_t i = 0; i < FILE_COUNT; i++) {
		const char *loaded = context->files[i].path;

		if (!paths[i] != !loaded || (loaded && strcmp(paths[i], loaded) != 0))
			return false;
		if (!is_unchanged(&context->files[i]))
			return false;
	}
	return true;
}

void tls_context_destroy(struct tls_context *context)
{
	struct tls_context **link = &contexts;

	if (!context || --context->user_count > 0)
		return;
	while (*link != context)
		link = &(*link)->next;
	*link = context->next;
	for (size_t i = 0; i < FILE_COUNT; i++)
		free(context->files[i].path);
	SSL_CTX_free(context->ssl);
	free(context);
}

/* A key that needs a passphrase cannot be used: there is nobody to ask. */
static int no_passphrase(char *text, int size, int writing, void *data)
{
	(void)writing;
	(void)data;
	if (size > 0)
		text[0] = '\0';
	return -1;
}

/* Looks at the file before OpenSSL opens it, which would block on a pipe. */
static int take_file(struct loaded_file *file, const char *path, const char *setting,
		     struct error *error)
{
	file->path = strdup(path);
	if (!file->path)
		return error_set(error, "out of memory");
	if (stat(path, &file->stat) < 0)
		return error_set(error, "%s %s: %s", setting, path, strerror(errno));
	if (!S_ISREG(file->stat.st_mode) || file->stat.st_size > FILE_SIZE_MAX)
		return error_set(error, "%s %s: not a regular file of at most %d MiB", setting,
				 path, FILE_SIZE_MAX / 1024 / 1024);
	return 0;
}

static int load_error(const char *setting, const char *path, const char *expected,
		      struct error *error)
{
	unsigned long code = ERR_peek_error();
	char why[120];

	if (ERR_SYSTEM_ERROR(code)) {
		snprintf(why, sizeof(why), "%s", strerror(ERR_GET_REASON(code)));
		ERR_clear_error();
	} else {
		take_library_error(why, sizeof(why));
	}
	return error_set(error, "%s %.120s: %s is expected (%s)", setting, path, expected, why);
}

static int load_files(struct tls_context *context, const struct tls_settings *settings,
		      struct error *error)
{
	const char *paths[FILE_COUNT];
	const char *ca_setting = is_set(settings->ca_file) ? "caFile" : "the system's bundle";

	file_paths(settings, paths);
	if (!paths[FILE_CA] && !settings->insecure_skip_verify)
		return error_set(error, "no bundle of trusted authorities was found on this "
					"system; caFile sets one");
	if (paths[FILE_CA]) {
		if (take_file(&context->files[FILE_CA], paths[FILE_CA], ca_setting, error) < 0)
			return -1;
		if (SSL_CTX_load_verify_file(context->ssl, paths[FILE_CA]) != 1)
			return load_error(ca_setting, paths[FILE_CA], "a PEM certificate", error);
	}
	if (!paths[FILE_CERTIFICATE])
		return 0;
	if (take_file(&context->files[FILE_CERTIFICATE], paths[FILE_CERTIFICATE], "certFile",
		      error) < 0 ||
	    take_file(&context->files[FILE_KEY], paths[FILE_KEY], "keyFile", error) < 0)
		return -1;
	if (SSL_CTX_use_certificate_chain_file(context->ssl, paths[FILE_CERTIFICATE]) != 1)
		return load_error("certFile", paths[FILE_CERTIFICATE], "a PEM certificate", error);
	if (SSL_CTX_use_PrivateKey_file(context->ssl, paths[FILE_KEY], SSL_FILETYPE_PEM) != 1)
		return load_error("keyFile", paths[FILE_KEY],
				  "the certificate's PEM key without a passphrase", error);
	return 0;
}

static struct tls_context *context_load(const struct tls_settings *settings, struct error *error)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	if (!context) {
		error_set(error, "out of memory");
		return NULL;
	}
	context->user_count = 1;
	context->next = contexts;
	contexts = context;
	ERR_clear_error();
	context->ssl = SSL_CTX_new(TLS_client_method());
	if (!context->ssl) {
		char why[120];

		take_library_error(why, sizeof(why));
		error_set(error, "TLS cannot be set up: %s", why);
		tls_context_destroy(context);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					       SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_default_passwd_cb(context->ssl, no_passphrase);
	/* Whoever puts the server's own certificate or an intermediate one into caFile means it. */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->ssl), X509_V_FLAG_PARTIAL_CHAIN);
	if (load_files(context, settings, error) < 0) {
		tls_context_destroy(context);
		context = NULL;
	}
	ERR_clear_error();
	return context;
}

struct tls_context *tls_context_create(const struct tls_settings *settings, struct error *error)
{
	tls_library_prepare();
	for (struct tls_context *context = contexts; context; context = context->next) {
		if (tls_context_is_current(context, settings)) {
			context->user_count++;
			return context;
		}
	}
	return context_load(settings, error);
}

/* ---- connections ---- */

/* The name to ask for and to expect: without a zone, which is ours alone, and without the final dot
 * of an absolute name. */
static int expected_name(char *text, size_t size, const struct tls_settings *settings,
			 const char *host, struct error *error)
{
	const char *name = is_set(settings->server_name) ? settings->server_name : host;
	size_t len = is_set(name) ? strlen(name) : 0;

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

/* Sets what is to be asked for and verified. Returns 1, or 0 with OpenSSL's error. */
static int set_peer(SSL *ssl, const char *name, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	bool is_address = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;

	ERR_clear_error();
	SSL_set_verify(ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verify);
	if (is_address || name[0] == '\0')
		return 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
	       SSL_set_tlsext_host_name(ssl, name) == 1;
}

static int set_alpn(SSL *ssl, const char *protocol)
{
	unsigned char wire[64];
	size_t len = strlen(protocol);

	if (len == 0 || len >= sizeof(wire))
		return 0;
	wire[0] = (unsigned char)len;
	memcpy(wire + 1, protocol, len);
	return SSL_set_alpn_protos(ssl, wire, (unsigned)len + 1) == 0;
}

struct tls *tls_create(struct tls_context *context, const struct tls_settings *settings, int fd,
		       const char *host, const char *alpn, struct error *error)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	struct verification *verification = calloc(1, sizeof(*verification));
	char why[120];

	ERR_clear_error();
	if (tls && verification)
		tls->ssl = SSL_new(context->ssl);
	if (!tls || !tls->ssl || !SSL_set_ex_data(tls->ssl, verification_index, verification)) {
		free(verification);
		error_set(error, "out of memory");
		goto fail;
	}
	if (expected_name(verification->expected, sizeof(verification->expected), settings, host,
			  error) < 0)
		goto fail;
	if (!set_peer(tls->ssl, verification->expected, !settings->insecure_skip_verify) ||
	    (alpn && !set_alpn(tls->ssl, alpn)) || (fd >= 0 && SSL_set_fd(tls->ssl, fd) != 1)) {
		take_library_error(why, sizeof(why));
		error_set(error, "TLS cannot be set up: %s", why);
		goto fail;
	}
	SSL_set_connect_state(tls->ssl);
	return tls;
fail:
	tls_destroy(tls);
	return NULL;
}

void tls_destroy(struct tls *tls)
{
	char unread[4096];
	int fd;

	if (!tls)
		return;
	if (tls->established && !tls->broken) {
		SSL_shutdown(tls->ssl);
		/* Closing a socket with unread bytes (session tickets, say) resets the connection,
		 * which servers log as an error. */
		fd = SSL_get_fd(tls->ssl);
		for (int i = 0; i < 4; i++) {
			if (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) <= 0)
				break;
		}
	}
	SSL_free(tls->ssl);
	free(tls);
	ERR_clear_error();
}

static enum tls_outcome broken_socket(int error_number, const char *doing, struct error *error)
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

/* What the library's own errors mean to people. */
static enum tls_outcome broken_protocol(unsigned long code, const char *doing, struct error *error)
{
	int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
	const char *why;

	switch (reason) {
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return broken_socket(0, doing, error);
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

/* The outcome of a call that did not succeed; errno is that of the call. */
static enum tls_outcome judge(struct tls *tls, int result, const char *doing, struct error *error)
{
	int error_number = errno;
	const struct verification *found = SSL_get_ex_data(tls->ssl, verification_index);
	enum tls_outcome outcome;

	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		error_set(error, "the peer closed the connection");
		return TLS_CLOSED;
	case SSL_ERROR_SYSCALL:
		outcome = broken_socket(error_number, doing, error);
		break;
	default:
		if (!tls->established && found && found->code != X509_V_OK)
			outcome = tls_verify_outcome(tls->ssl, error);
		else
			outcome = broken_protocol(ERR_peek_error(), doing, error);
	}
	tls->broken = true;
	ERR_clear_error();
	return outcome;
}

enum tls_outcome tls_handshake(struct tls *tls, struct error *error)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(tls->ssl);
	if (result != 1)
		return judge(tls, result, "the TLS handshake", error);
	tls->established = true;
	return TLS_OK;
}

enum tls_outcome tls_read(struct tls *tls, void *bytes, size_t len, size_t *ret_len,
			  struct error *error)
{
	*ret_len = 0;
	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(tls->ssl, bytes, len, ret_len) == 1)
		return TLS_OK;
	return judge(tls, 0, "reading", error);
}

enum tls_outcome tls_write(struct tls *tls, const void *bytes, size_t len, size_t *ret_len,
			   struct error *error)
{
	*ret_len = 0;
	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(tls->ssl, bytes, len, ret_len) == 1)
		return TLS_OK;
	return judge(tls, 0, "writing", error);
}

void *tls_take_ssl(struct tls *tls)
{
	SSL *ssl = tls->ssl;

	free(tls);
	return ssl;
}

int64_t tls_peer_expiry(void *ssl)
{
	const X509 *certificate = SSL_get0_peer_certificate(ssl);

	return certificate ? unix_time(X509_get0_notAfter(certificate)) : 0;
}

int64_t tls_expiry(const struct tls *tls)
{
	return tls_peer_expiry(tls->ssl);
}

/* ---- connections that another library makes ---- */

static int on_lent_verify(int accepted, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *peer = ssl ? SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), peer_index) : NULL;
	X509 *leaf = X509_STORE_CTX_get0_cert(store);

	if (!peer)
		return accepted;
	if (leaf)
		peer->expires_s = unix_time(X509_get0_notAfter(leaf));
	if (!accepted && peer->outcome == TLS_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
		long code = X509_STORE_CTX_get_error(store);

		peer->outcome = outcome_of_code(code);
		describe_verification(code, X509_STORE_CTX_get_current_cert(store), peer->expected,
				      &peer->error);
	}
	return accepted;
}

int tls_context_lend(struct tls_context *context, const struct tls_settings *settings,
		     const char *host, void *ssl_context, struct tls_peer *peer,
		     struct error *error)
{
	SSL_CTX *borrower = ssl_context;
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(borrower);
	X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
	STACK_OF(X509) *chain = NULL;
	char why[120];
	bool done;

	*peer = (struct tls_peer){.outcome = TLS_OK};
	if (expected_name(peer->expected, sizeof(peer->expected), settings, host, error) < 0)
		return -1;
	ERR_clear_error();
	SSL_CTX_set1_cert_store(borrower, SSL_CTX_get_cert_store(context->ssl));
	SSL_CTX_set_verify(borrower,
			   settings->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
			   on_lent_verify);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	done = SSL_CTX_set_ex_data(borrower, peer_index, peer) == 1;
	if (done && peer->expected[0] != '\0' &&
	    X509_VERIFY_PARAM_set1_ip_asc(param, peer->expected) != 1)
		done = X509_VERIFY_PARAM_set1_host(param, peer->expected, 0) == 1;
	if (done && certificate) {
		SSL_CTX_get0_chain_certs(context->ssl, &chain);
		done = SSL_CTX_use_cert_and_key(borrower, certificate,
						SSL_CTX_get0_privatekey(context->ssl), chain,
						1) == 1;
	}
	if (!done) {
		take_library_error(why, sizeof(why));
		error_set(error, "TLS cannot be set up: %s", why);
	}
	ERR_clear_error();
	return done ? 0 : -1;
}

enum tls_outcome tls_outcome_of_error_code(unsigned long code, struct error *error)
{
	return broken_protocol(code, "the TLS handshake", error);
}

void tls_catch(void **ret_ssl)
{
	caught_ssl = ret_ssl;
}

void tls_release(void *ssl)
{
	SSL_free(ssl);
}

int tls_derive_key(const char *password, const unsigned char *salt, size_t salt_len, int rounds,
		   unsigned char key[32])
{
	int done = PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len, rounds,
				     EVP_sha256(), 32, key);

	ERR_clear_error();
	return done == 1 ? 0 : -1;
}

#endif
