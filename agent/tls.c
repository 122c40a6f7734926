#include "agent/tls.h"

#if READYD_TLS

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/tls_certificate.h"
#include "agent/tls_error.h"
#include "agent/tls_files.h"

struct tls_context {
	SSL_CTX *ssl;
	struct tls_files files;
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

/* ---- verification ---- */

enum tls_outcome tls_verify_outcome(void *ssl, struct error *error)
{
	const struct verification *found =
		verification_index < 0 ? NULL : SSL_get_ex_data(ssl, verification_index);
	long code;

	if (found && found->code != X509_V_OK) {
		error_set(error, "%s", found->error.text);
		return tls_certificate_outcome(found->code);
	}
	code = SSL_get_verify_result(ssl);
	tls_certificate_describe(code, SSL_get0_peer_certificate(ssl), found ? found->expected : "",
				 error);
	return tls_certificate_outcome(code);
}

/* Called by OpenSSL for each certificate of the chain. After a failed handshake the certificate is
 * gone, so what is wrong with it is noted here. */
static int on_verify(int accepted, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct verification *found = ssl ? SSL_get_ex_data(ssl, verification_index) : NULL;

	if (!accepted && found && found->code == X509_V_OK) {
		found->code = X509_STORE_CTX_get_error(store);
		tls_certificate_describe(found->code, X509_STORE_CTX_get_current_cert(store),
					 found->expected, &found->error);
	}
	return accepted;
}

/* ---- contexts ---- */

bool tls_context_is_current(const struct tls_context *context, const struct tls_settings *settings)
{
	return tls_files_are_current(&context->files, settings);
}

void tls_context_destroy(struct tls_context *context)
{
	struct tls_context **link = &contexts;

	if (!context || --context->user_count > 0)
		return;
	while (*link != context)
		link = &(*link)->next;
	*link = context->next;
	tls_files_free(&context->files);
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

static int load_error(const struct tls_file *file, const char *expected, struct error *error)
{
	char why[TLS_ERROR_SIZE];

	tls_error_take(why, sizeof(why));
	return error_set(error, "%s %.120s: %s is expected (%s)", file->setting, file->path,
			 expected, why);
}

static int load_files(struct tls_context *context, const struct tls_settings *settings,
		      struct error *error)
{
	const struct tls_file *files = context->files.items;

	if (tls_files_look(&context->files, settings, error) < 0)
		return -1;
	if (files[TLS_FILE_CA].path &&
	    SSL_CTX_load_verify_file(context->ssl, files[TLS_FILE_CA].path) != 1)
		return load_error(&files[TLS_FILE_CA], "a PEM certificate", error);
	if (!files[TLS_FILE_CERTIFICATE].path)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(context->ssl, files[TLS_FILE_CERTIFICATE].path) != 1)
		return load_error(&files[TLS_FILE_CERTIFICATE], "a PEM certificate", error);
	if (SSL_CTX_use_PrivateKey_file(context->ssl, files[TLS_FILE_KEY].path, SSL_FILETYPE_PEM) !=
	    1)
		return load_error(&files[TLS_FILE_KEY],
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
	tls_error_clear();
	context->ssl = SSL_CTX_new(TLS_client_method());
	if (!context->ssl) {
		char why[TLS_ERROR_SIZE];

		tls_error_take(why, sizeof(why));
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
	tls_error_clear();
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

/* Sets what is to be asked for and verified; false with OpenSSL's error. */
static bool set_peer(SSL *ssl, const char *name, bool verify)
{
	bool is_host;

	SSL_set_verify(ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verify);
	if (!tls_certificate_expect(SSL_get0_param(ssl), name, &is_host))
		return false;
	return !is_host || SSL_set_tlsext_host_name(ssl, name) == 1;
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
	char why[TLS_ERROR_SIZE];

	tls_error_clear();
	if (tls && verification)
		tls->ssl = SSL_new(context->ssl);
	if (!tls || !tls->ssl || !SSL_set_ex_data(tls->ssl, verification_index, verification)) {
		free(verification);
		error_set(error, "out of memory");
		goto fail;
	}
	if (tls_certificate_name(verification->expected, sizeof(verification->expected), settings,
				 host, error) < 0)
		goto fail;
	if (!set_peer(tls->ssl, verification->expected, !settings->insecure_skip_verify) ||
	    (alpn && !set_alpn(tls->ssl, alpn)) || (fd >= 0 && SSL_set_fd(tls->ssl, fd) != 1)) {
		tls_error_take(why, sizeof(why));
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
	tls_error_clear();
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
		outcome = tls_error_of_socket(error_number, doing, error);
		break;
	default:
		if (!tls->established && found && found->code != X509_V_OK)
			outcome = tls_verify_outcome(tls->ssl, error);
		else
			outcome = tls_error_of_library(doing, error);
	}
	tls->broken = true;
	tls_error_clear();
	return outcome;
}

enum tls_outcome tls_handshake(struct tls *tls, struct error *error)
{
	int result;

	tls_error_clear();
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
	tls_error_clear();
	errno = 0;
	if (SSL_read_ex(tls->ssl, bytes, len, ret_len) == 1)
		return TLS_OK;
	return judge(tls, 0, "reading", error);
}

enum tls_outcome tls_write(struct tls *tls, const void *bytes, size_t len, size_t *ret_len,
			   struct error *error)
{
	*ret_len = 0;
	tls_error_clear();
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

	return certificate ? tls_certificate_end(certificate) : 0;
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
		peer->expires_s = tls_certificate_end(leaf);
	if (!accepted && peer->outcome == TLS_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
		long code = X509_STORE_CTX_get_error(store);

		peer->outcome = tls_certificate_outcome(code);
		tls_certificate_describe(code, X509_STORE_CTX_get_current_cert(store),
					 peer->expected, &peer->error);
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
	char why[TLS_ERROR_SIZE];
	bool done, is_host;

	*peer = (struct tls_peer){.outcome = TLS_OK};
	if (tls_certificate_name(peer->expected, sizeof(peer->expected), settings, host, error) < 0)
		return -1;
	tls_error_clear();
	SSL_CTX_set1_cert_store(borrower, SSL_CTX_get_cert_store(context->ssl));
	SSL_CTX_set_verify(borrower,
			   settings->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
			   on_lent_verify);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	done = SSL_CTX_set_ex_data(borrower, peer_index, peer) == 1 &&
	       tls_certificate_expect(param, peer->expected, &is_host);
	if (done && certificate) {
		SSL_CTX_get0_chain_certs(context->ssl, &chain);
		done = SSL_CTX_use_cert_and_key(borrower, certificate,
						SSL_CTX_get0_privatekey(context->ssl), chain,
						1) == 1;
	}
	if (!done) {
		tls_error_take(why, sizeof(why));
		error_set(error, "TLS cannot be set up: %s", why);
	}
	tls_error_clear();
	return done ? 0 : -1;
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

	tls_error_clear();
	return done == 1 ? 0 : -1;
}

#endif
