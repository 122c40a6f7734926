/* TLS on a connected, non-blocking socket, and what certificates say. Behind it is OpenSSL: in
 * tls.c contexts and connections, in tls_certificate.c names and verdicts, in tls_error.c its
 * errors; tls_files.c and tls_common.c need none of it. In a build without TLS (READYD_TLS=0) there
 * is tls_none.c, and every call fails with TLS_UNAVAILABLE_SENTENCE. */
#ifndef READYD_AGENT_TLS_H
#define READYD_AGENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "probes/probe.h"

#define TLS_UNAVAILABLE_SENTENCE "this readyd was built without TLS (make TLS=0)"

/* What the user may set; embedded in a probe's conf. All texts may be NULL. */
struct tls_settings {
	char *ca_file;             /* caFile: PEM; NULL = the system's bundle */
	char *certificate_file;    /* certFile: PEM client certificate (chain) */
	char *key_file;            /* keyFile: PEM; NULL = in certificate_file */
	char *server_name;         /* serverName: expected name and SNI; NULL = the host dialled */
	bool insecure_skip_verify; /* insecureSkipVerify */
	int64_t warn_days;         /* certificateWarnDays: 0 = do not look */
	int64_t fail_days;         /* certificateFailDays: 0 = do not look */
};

/* The rows of a field table for a `struct tls_settings` member called `member` of `structure`. */
/* clang-format off */
#define TLS_FIELDS(structure, member) \
	{.name = "caFile", .kind = FIELD_TEXT, \
	 .offset = offsetof(structure, member.ca_file), \
	 .help = "PEM file with the trusted authorities (default: the system's)"}, \
	{.name = "certFile", .kind = FIELD_TEXT, \
	 .offset = offsetof(structure, member.certificate_file), \
	 .help = "PEM file with the client certificate"}, \
	{.name = "keyFile", .kind = FIELD_TEXT, \
	 .offset = offsetof(structure, member.key_file), \
	 .help = "PEM file with the client's key (default: in certFile)"}, \
	{.name = "serverName", .kind = FIELD_TEXT, \
	 .offset = offsetof(structure, member.server_name), \
	 .help = "name to ask for and to expect in the certificate (default: the host)"}, \
	{.name = "insecureSkipVerify", .kind = FIELD_BOOLEAN, \
	 .offset = offsetof(structure, member.insecure_skip_verify), \
	 .help = "accept any certificate"}, \
	{.name = "certificateWarnDays", .kind = FIELD_INTEGER, \
	 .offset = offsetof(structure, member.warn_days), .maximum = 36500, \
	 .help = "warn when the certificate ends in fewer days"}, \
	{.name = "certificateFailDays", .kind = FIELD_INTEGER, \
	 .offset = offsetof(structure, member.fail_days), .maximum = 36500, \
	 .help = "fail when the certificate ends in fewer days"}
/* clang-format on */

enum tls_outcome {
	TLS_OK,
	TLS_WANT_READ,  /* call again when readable */
	TLS_WANT_WRITE, /* call again when writable */
	TLS_CLOSED,     /* the peer has closed */
	TLS_RESET,      /* the peer has reset the connection */
	TLS_FAILED,     /* another failure of the handshake or the connection */
	TLS_UNTRUSTED,
	TLS_HOSTNAME,
	TLS_EXPIRED,
	TLS_NOT_YET_VALID,
	TLS_LOCAL, /* our own files or memory: the sentence says which */
};

struct tls_context; /* trusted authorities and client certificate: costly, shared by runs */
struct tls;         /* one connection */

/* The system's bundle of authorities, the first that exists of the usual places or SSL_CERT_FILE;
 * NULL if there is none. */
const char *tls_system_bundle(void);

/* The context for these settings; NULL with a sentence. Loading the system's bundle takes
 * milliseconds, so contexts of equal settings are shared: the files are read again only when they
 * have changed, which tls_context_is_current() tells. */
struct tls_context *tls_context_create(const struct tls_settings *settings, struct error *error);
bool tls_context_is_current(const struct tls_context *context, const struct tls_settings *settings);
void tls_context_destroy(struct tls_context *context);

/* Makes *context, which may be NULL, the current one for these settings. Returns 0, or -1 with a
 * sentence and *context NULL. */
int tls_context_renew(struct tls_context **context, const struct tls_settings *settings,
		      struct error *error);

/* A client connection over `fd` (which stays the caller's) to `host` for SNI and verification; a
 * unix socket has none (NULL). `alpn` is NULL or one protocol name. NULL with a sentence. */
struct tls *tls_create(struct tls_context *context, const struct tls_settings *settings, int fd,
		       const char *host, const char *alpn, struct error *error);

/* Sends the closing alert if that is possible at once, and frees. Harmless on NULL. The descriptor
 * must still be open. */
void tls_destroy(struct tls *tls);

/* Goes on with the handshake. On a failure the sentence says why. */
enum tls_outcome tls_handshake(struct tls *tls, struct error *error);

/* Read and write `len` bytes at most; *ret_len tells how many. */
enum tls_outcome tls_read(struct tls *tls, void *bytes, size_t len, size_t *ret_len,
			  struct error *error);
enum tls_outcome tls_write(struct tls *tls, const void *bytes, size_t len, size_t *ret_len,
			   struct error *error);

/* For libraries that take over a connection: the SSL * as void *, whose ownership passes on. `tls`
 * is gone afterwards. */
void *tls_take_ssl(struct tls *tls);

/* What is found out about the peer of a connection that another library makes. */
struct tls_peer {
	enum tls_outcome outcome; /* of the verification: TLS_OK or what was wrong first */
	struct error error;       /* the sentence to it */
	int64_t expires_s;        /* when its certificate ends, Unix time; 0 = none came */
	char expected[256];       /* host name or address */
};

/* For libraries that make contexts and connections of their own: gives an SSL_CTX the authorities,
 * the client certificate and the verification of `context`, for one connection to `host`. What is
 * found is noted in *peer, also when the handshake fails; it must live as long as the connection.
 * Returns 0, or -1 with a sentence. */
int tls_context_lend(struct tls_context *context, const struct tls_settings *settings,
		     const char *host, void *ssl_context, struct tls_peer *peer,
		     struct error *error);

/* The sentence for an error code of OpenSSL in a handshake, as other libraries report it, and
 * TLS_FAILED or TLS_CLOSED. */
enum tls_outcome tls_outcome_of_error_code(unsigned long code, struct error *error);

/* When the peer's certificate ends, Unix time; 0 if unknown. */
int64_t tls_expiry(const struct tls *tls);

/* The same of an SSL *. */
int64_t tls_peer_expiry(void *ssl);

enum tls_lifetime { TLS_LIFETIME_FINE, TLS_LIFETIME_WARN, TLS_LIFETIME_FAIL };

/* Judges the end of a certificate (Unix time, 0 = unknown and fine) by warn_days and fail_days,
 * with a sentence for WARN and FAIL. */
enum tls_lifetime tls_judge_expiry(const struct tls_settings *settings, int64_t expires_s,
				   struct error *error);

/* The reason for a failed run that stands for an outcome. */
enum probe_reason tls_reason(enum tls_outcome outcome);

/* What the verification of the peer's certificate said, of an SSL *: TLS_OK or one of
 * TLS_UNTRUSTED, TLS_HOSTNAME, TLS_EXPIRED, TLS_NOT_YET_VALID, with a sentence. */
enum tls_outcome tls_verify_outcome(void *ssl, struct error *error);

/* From now on the newest SSL * that a library makes is put into *ret_ssl and kept alive, so that it
 * can be asked about the verification even if the library frees it at once on a failed handshake.
 * Until tls_catch(NULL). What is in *ret_ssl before is released; the owner releases what is in it
 * in the end. */
void tls_catch(void **ret_ssl);

/* Gives up what tls_catch() has kept; harmless on NULL. */
void tls_release(void *ssl);

/* What tls_verify_outcome() says, for a bare X509_V_ERR_ code, as other libraries report it. */
enum tls_outcome tls_outcome_of_verify_code(long code, struct error *error);

/* Must be called before another library uses OpenSSL: does the start-up work that the program
 * otherwise leaves out. Idempotent and cheap. */
void tls_library_prepare(void);

/* PBKDF2 with HMAC-SHA-256 (RFC 8018): derives 32 bytes into `key`. Returns 0, or -1. Costs as much
 * time as the number of rounds asks for: some tenths of a millisecond for 4096. */
int tls_derive_key(const char *password, const unsigned char *salt, size_t salt_len, int rounds,
		   unsigned char key[32]);

/* "OpenSSL 3.5.1", or NULL in a build without TLS. */
const char *tls_library_version(void);

#endif
