/* What certificates say, and what is wrong with one. A part of agent/tls.h. */
#ifndef READYD_AGENT_TLS_CERTIFICATE_H
#define READYD_AGENT_TLS_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/error.h"
#include "agent/tls.h"

struct x509_st; /* OpenSSL's X509 */
struct X509_VERIFY_PARAM_st;

/* Writes the name to ask a peer for and to expect in its certificate: without a zone, which is ours
 * alone, and without the final dot of an absolute name. Returns 0, or -1 with a sentence. */
int tls_certificate_name(char *text, size_t size, const struct tls_settings *settings,
			 const char *host, struct error *error);

/* Makes a verification want this name, or any when it is "". `ret_is_host` tells whether it is one,
 * and no address. Returns false with OpenSSL's error. */
bool tls_certificate_expect(struct X509_VERIFY_PARAM_st *param, const char *name,
			    bool *ret_is_host);

/* When it ends, Unix time; 0 = it does not say. */
int64_t tls_certificate_end(const struct x509_st *certificate);

/* What a code of a verification (X509_V_ERR_) means. */
enum tls_outcome tls_certificate_outcome(long code);

/* The sentence for a failed verification, empty for one that did not fail. `certificate` is the one
 * at fault, or NULL if it is not known; `expected` the wanted name or "". */
void tls_certificate_describe(long code, struct x509_st *certificate, const char *expected,
			      struct error *error);

#endif
