/* Structured log events on stderr: one JSON object a line, or plain text on a terminal.
 *
 * Never blocks: what the reader of stderr does not take in time waits in a bounded queue; what does
 * not fit there is counted and the count is logged as soon as there is room. */
#ifndef READYD_AGENT_LOG_H
#define READYD_AGENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

enum log_field_kind {
	LOG_FIELD_END,
	LOG_FIELD_TEXT,
	LOG_FIELD_INTEGER,
	LOG_FIELD_BOOLEAN,
	LOG_FIELD_MILLISECONDS
};

/* One field of an event; see log_text() and its kin. */
struct log_field {
	enum log_field_kind kind;
	const char *name;
	const char *text;
	int64_t number;
};

static inline struct log_field log_text(const char *name, const char *text)
{
	return (struct log_field){LOG_FIELD_TEXT, name, text, 0};
}

static inline struct log_field log_integer(const char *name, int64_t number)
{
	return (struct log_field){LOG_FIELD_INTEGER, name, NULL, number};
}

static inline struct log_field log_boolean(const char *name, bool value)
{
	return (struct log_field){LOG_FIELD_BOOLEAN, name, NULL, value};
}

/* Microseconds, shown as milliseconds. */
static inline struct log_field log_milliseconds(const char *name, int64_t microseconds)
{
	return (struct log_field){LOG_FIELD_MILLISECONDS, name, NULL, microseconds};
}

/* Prepares the log. `service` and `version` are copied; `json` false = plain text,
 * which tells both only if there is a version. Events below `minimum` are left out. May be called
 * again after a reload. */
void log_open(struct loop *loop, const char *service, const char *version, enum log_level minimum,
	      bool json);

/* Writes one event with its fields (ends with LOG_FIELD_END; NULL = none). Text fields that are
 * NULL or empty are left out. */
void log_event(enum log_level level, const char *event, const struct log_field *fields);

/* Gives what is queued a last, short chance (at most `wait_us`) and frees everything. */
void log_close(int64_t wait_us);

#endif
