/* What agent/tls.h offers in a build without TLS: a sentence that says so. */
#include "agent/tls.h"

#if !READYD_TLS

static int unavailable(struct error *error)
{
	return error_set(error, "%s", TLS_UNAVAILABLE_SENTENCE);
}

struct tls_context *tls_context_create(const struct tls_settings *settings, struct error *error)
{
	(void)settings;
	unavailable(error);
	return NULL;
}

bool tls_context_is_current(const struct tls_context *context, const struct tls_settings *settings)
{
	(void)context;
	(void)settings;
	return false;
}

void tls_context_destroy(struct tls_context *context)
{
	(void)context;
}

struct tls *tls_create(struct tls_context *context, const struct tls_settings *settings, int fd,
		       const char *host, const char *alpn, struct error *error)
{
	(void)context;
	(void)settings;
	(void)fd;
	(void)host;
	(void)alpn;
	unavailable(error);
	return NULL;
}

void tls_destroy(struct tls *tls)
{
	(void)tls;
}

enum tls_outcome tls_handshake(struct tls *tls, struct error *error)
{
	(void)tls;
	unavailable(error);
	return TLS_FAILED;
}

enum tls_outcome tls_read(struct tls *tls, void *bytes, size_t len, size_t *ret_len,
			  struct error *error)
{
	(void)tls;
	(void)bytes;
	(void)len;
	*ret_len = 0;
	unavailable(error);
	return TLS_FAILED;
}

enum tls_outcome tls_write(struct tls *tls, const void *bytes, size_t len, size_t *ret_len,
			   struct error *error)
{
	(void)tls;
	(void)bytes;
	(void)len;
	*ret_len = 0;
	unavailable(error);
	return TLS_FAILED;
}

void *tls_take_ssl(struct tls *tls)
{
	(void)tls;
	return NULL;
}

int tls_context_lend(struct tls_context *context, const struct tls_settings *settings,
		     const char *host, void *ssl_context, struct tls_peer *peer,
		     struct error *error)
{
	(void)context;
	(void)settings;
	(void)host;
	(void)ssl_context;
	*peer = (struct tls_peer){0};
	return unavailable(error);
}

enum tls_outcome tls_outcome_of_error_code(unsigned long code, struct error *error)
{
	(void)code;
	unavailable(error);
	return TLS_FAILED;
}

int64_t tls_expiry(const struct tls *tls)
{
	(void)tls;
	return 0;
}

int64_t tls_peer_expiry(void *ssl)
{
	(void)ssl;
	return 0;
}

enum tls_outcome tls_verify_outcome(void *ssl, struct error *error)
{
	(void)ssl;
	unavailable(error);
	return TLS_FAILED;
}

enum tls_outcome tls_outcome_of_verify_code(long code, struct error *error)
{
	(void)code;
	unavailable(error);
	return TLS_FAILED;
}

void tls_library_prepare(void)
{
}

const char *tls_library_version(void)
{
	return NULL;
}

void tls_catch(void **ret_ssl)
{
	(void)ret_ssl;
}

void tls_release(void *ssl)
{
	(void)ssl;
}

#endif
