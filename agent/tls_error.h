/* What goes wrong in OpenSSL and below it, in the words of people. A part of agent/tls.h. */
#ifndef READYD_AGENT_TLS_ERROR_H
#define READYD_AGENT_TLS_ERROR_H

#include <stddef.h>

#include "agent/error.h"
#include "agent/tls.h"

enum { TLS_ERROR_SIZE = 120 }; /* of a phrase */

/* Empties OpenSSL's queue of errors. To be called before what may add to it and be asked for it. */
void tls_error_clear(void);

/* The first thing OpenSSL has to complain about, as a phrase; empties its queue. */
void tls_error_take(char *text, size_t size);

/* The outcome and the sentence of a broken socket; errno 0 = the peer has closed. `doing` is for
 * example "the TLS handshake". */
enum tls_outcome tls_error_of_socket(int error_number, const char *doing, struct error *error);

/* The same of what OpenSSL has to complain about. */
enum tls_outcome tls_error_of_library(const char *doing, struct error *error);

#endif
