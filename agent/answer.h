/* Which answer belongs to which question: paths, methods and who may ask what. Knows nothing of
 * libmicrohttpd, which brings the question and takes the answer away. */
#ifndef READYD_AGENT_ANSWER_H
#define READYD_AGENT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/askers.h"
#include "agent/buffer.h"
#include "agent/engine.h"
#include "agent/negotiate.h"
#include "agent/requests.h"
#include "agent/stream.h"

/* What the answers are taken from, and what they may change. */
struct answer_source {
	struct engine *engine;
	struct askers askers;
	struct requests requests;
	void (*stop)(void *owner); /* begins the end; NULL = there is none to begin */
	void *stop_owner;
	bool stopping; /* the server is closing: nobody is held any more */
};

enum { EXCLUDED_MAX = 64 };

struct question {
	const char *method;
	const char *target;     /* of the request line, decoded, without the query */
	const char *user_agent; /* NULL = none */
	uint64_t peer_hash;
	int64_t now_us;
	const char *accept;           /* NULL = none */
	const char *format_name;      /* ?format=NAME, which comes before Accept; NULL = none */
	char *excluded[EXCLUDED_MAX]; /* ?exclude=NAME */
	size_t excluded_count;
	bool too_many_excluded;
	size_t limit;    /* ?limit=N, of probes that are told of; SIZE_MAX = none */
	bool bad_number; /* the limit or the columns */
	size_t columns;  /* ?columns=N, how wide the terminal is; SIZE_MAX = any */
	bool verbose, colour, unicode, wait; /* ?verbose and so on */
	bool wait_over;                      /* it was held, and is to be answered now */
	bool may_be_held;                    /* there is room for it to wait */
	bool admin;                          /* over the admin socket */
	bool trusted;                        /* from root or our own user, over a unix socket */
	bool details;                        /* may see more than verdicts and figures */
};

enum answer_kind {
	ANSWER_BARE,   /* the endpoint's plain text, which depends on its verdict alone */
	ANSWER_TEXT,   /* `text` */
	ANSWER_BODY,   /* `body`, which is the receiver's now */
	ANSWER_STREAM, /* `stream`, which is the receiver's now; of unknown length */
	ANSWER_NONE,   /* out of memory: hang up */
	ANSWER_HELD,   /* none yet: ask again when answer_is_due() */
};

/* What an answer that is held waits for. */
enum answer_wait { WAIT_READY, WAIT_STARTED, WAIT_ASKERS_GONE, WAIT_END };

struct answer {
	enum answer_kind kind;
	unsigned status;
	enum endpoint endpoint; /* of ANSWER_BARE */
	const char *content_type;
	const char *text;
	size_t text_len;
	bool nosniff;       /* a browser is to take it for what it says it is */
	const char *policy; /* Content-Security-Policy; NULL = none is needed */
	struct buffer body;
	struct stream *stream;
	enum answer_wait wait; /* of ANSWER_HELD */
	const char *allow;     /* the methods, for Allow; NULL = none is needed */
	/* Headers for load balancers. */
	bool close;    /* Connection: close, and Envoy is to leave at once */
	bool degraded; /* x-envoy-degraded */
};

/* Takes one argument of the query, decoded; `value` is NULL for a mere name. Others than those
 * above mean nothing. The texts must last as long as the question. */
void question_take_argument(struct question *question, const char *key, const char *value);

/* Answers one question. What changes state (drain, undrain, stop) is done when it returns. */
void answer_question(struct answer_source *source, const struct question *question,
		     struct answer *answer);

/* The text, status and headers of a bare answer (its `body` holds the text). */
void answer_bare(const struct engine *engine, enum endpoint endpoint, bool admin,
		 struct answer *answer);

/* Whether what a held answer waits for has come. */
bool answer_is_due(const struct answer_source *source, enum answer_wait wait, int64_t now_us);

#endif
