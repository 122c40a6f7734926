/* The settings of a TCP probe: where to connect, what to say and what to expect. */
#ifndef READYD_PROBES_TCP_SETTINGS_H
#define READYD_PROBES_TCP_SETTINGS_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/field.h"
#include "agent/tls.h"

enum { TCP_ANSWER_MAX = 64 * 1024 }; /* bytes of the answer in which the expected is looked for */

/* Where to connect: either `unix_path` or `host` and `port`. */
struct tcp_endpoint {
	char *host;
	char *unix_path;
	unsigned short port;
};

struct tcp_bytes {
	char *data; /* NULL = not set */
	size_t len;
};

struct tcp_settings {
	struct secret url;
	char *host;
	char *port; /* a text, because Kubernetes allows names here */
	bool tls;
	char *send, *send_hex;
	char *expect, *expect_hex, *expect_regex;
	int64_t warn_above_us;
	struct tls_settings tls_settings;

	/* made of the above by tcp_settings_check() */
	struct tcp_endpoint endpoint; /* empty when the URL is in a file */
	struct tcp_bytes to_send;
	struct tcp_bytes expected;
	regex_t *regex; /* NULL = not set */
};

extern const struct field tcp_fields[];
extern const char *const tcp_schemes[];

/* The hooks check, release and describe of struct probe_type. */
int tcp_settings_check(void *conf, bool kubernetes_form, struct error *error);
void tcp_settings_release(void *conf);
void tcp_settings_describe(const void *conf, char *text, size_t size);

/* Parses a target URL; 0, or -1 with a sentence. */
int tcp_endpoint_parse(struct tcp_endpoint *endpoint, const char *text, struct error *error);
void tcp_endpoint_free(struct tcp_endpoint *endpoint);

/* What is expected of the peer, for people; "" if nothing is. */
const char *tcp_expected_text(const struct tcp_settings *settings);

/* Whether the answer of `len` bytes has what is expected; its first `searched` bytes have been
 * looked at before. `answer` ends with a NUL that is not counted. */
bool tcp_answer_matches(const struct tcp_settings *settings, const char *answer, size_t len,
			size_t searched);

/* Whether the answer, whose first `searched` bytes have been looked at before, is to be looked at
 * again as soon as it has `len` bytes, although more may come. An expression is matched against the
 * whole answer, so doing that for each of many small pieces would cost quadratic time; then it is
 * done when the answer is short or has grown by a good part. */
bool tcp_answer_is_due(const struct tcp_settings *settings, size_t len, size_t searched);

#endif
