/* The head of an HTTP answer, line by line: status, and what the settings want of the headers.
 * Pure. */
#ifndef READYD_PROBES_HTTP_HEAD_H
#define READYD_PROBES_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_settings;

enum { HTTP_LENGTH_SIZE = 24, HTTP_FOUND_SIZE = 80 };

/* Zero-filled is valid and empty. */
struct http_head {
	int status;
	bool complete;     /* the empty line has come; the next line begins another head */
	const char *fault; /* a sentence about what can not be accepted; NULL = nothing */

	/* What responseHeaders found, one bit a rule. */
	uint64_t met;
	uint64_t seen;               /* the header is there, perhaps with another value */
	char found[HTTP_FOUND_SIZE]; /* the other value, of the first rule that has one */
	size_t found_rule;

	size_t received; /* bytes, of all heads */
	char content_length[HTTP_LENGTH_SIZE];
};

/* Takes one line, with its line end. False when `fault` says why the answer is not accepted. */
bool http_head_take(struct http_head *head, const struct http_settings *settings, const char *line,
		    size_t len);

/* Whether an answer whose head is complete is accepted as far as its protocol goes; false when
 * `fault` says why not. A status below 200 is an interim answer's, after which the real one comes.
 */
bool http_head_accept(struct http_head *head, const struct http_settings *settings, bool is_http2);

#endif
