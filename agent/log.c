#include "agent/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/json.h"
#include "agent/loop.h"

enum {
	/* A pipe that polls writable takes this many bytes without blocking (PIPE_BUF). */
	PIECE_SIZE = 4096,
	LINE_CEILING = PIECE_SIZE,
	TEXT_MAX = 2048,
	QUEUE_CEILING = 64 * 1024,
	RETRY_US = 50 * 1000,
};

/* How to write without ever blocking. */
enum way {
	WAY_PLAIN,  /* ask poll() before each small write: right for pipes and files */
	WAY_OWN,    /* a description of our own, which does not block */
	WAY_SOCKET, /* send() can be told not to block */
	WAY_TINY,   /* as plain, a byte at a time: a terminal promises room for no more */
};

static struct {
	int fd; /* our own description of stderr, or stderr itself */
	enum way way;
	bool opened;
	struct loop *loop;
	char *service, *version;
	enum log_level minimum;
	bool json;
	struct buffer queue;
	int64_t dropped;
	struct loop_timer retry;
} logger;

static const char *const level_names[] = {[LOG_DEBUG] = "debug",
					  [LOG_INFO] = "info",
					  [LOG_WARNING] = "warning",
					  [LOG_ERROR] = "error"};

/* stderr is shared with others, so it must not be switched to non-blocking. */
static void choose_way(void)
{
	struct stat status;

	logger.fd = STDERR_FILENO;
	logger.way = WAY_PLAIN;
	if (fstat(STDERR_FILENO, &status) < 0 || S_ISFIFO(status.st_mode) ||
	    S_ISREG(status.st_mode))
		return;
	if (S_ISSOCK(status.st_mode)) {
		logger.way = WAY_SOCKET;
		return;
	}
	logger.fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	logger.way = logger.fd >= 0 ? WAY_OWN : WAY_TINY;
	if (logger.fd < 0)
		logger.fd = STDERR_FILENO;
}

static bool takes_more(void)
{
	struct pollfd descriptor = {.fd = logger.fd, .events = POLLOUT};

	return poll(&descriptor, 1, 0) > 0;
}

static ssize_t write_piece(const char *bytes, size_t len)
{
	if (logger.way == WAY_SOCKET)
		return send(logger.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (logger.way == WAY_TINY)
		len = 1;
	return write(logger.fd, bytes, len);
}

static void flush_queue(void)
{
	size_t done = 0;

	while (done < logger.queue.len && takes_more()) {
		size_t len = logger.queue.len - done;
		ssize_t written =
			write_piece(logger.queue.data + done, len < PIECE_SIZE ? len : PIECE_SIZE);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (written < 0) {
			/* Nobody will ever read it; waiting would only fill the queue. */
			done = logger.queue.len;
			break;
		}
		done += (size_t)written;
	}
	if (done == 0)
		return;
	logger.queue.len -= done;
	memmove(logger.queue.data, logger.queue.data + done, logger.queue.len);
}

/* Texts of an event are cut to `text_max` bytes each. */
static void write_fields_json(struct json_writer *json, const struct log_field *fields,
			      size_t text_max)
{
	for (; fields && fields->kind != LOG_FIELD_END; fields++) {
		if (fields->kind == LOG_FIELD_INTEGER)
			json_integer(json, fields->name, fields->number);
		else if (fields->kind == LOG_FIELD_BOOLEAN)
			json_boolean(json, fields->name, fields->number != 0);
		else if (fields->kind == LOG_FIELD_MILLISECONDS)
			json_milliseconds(json, fields->name, fields->number);
		else if (fields->text && fields->text[0] != '\0')
			json_text_len(json, fields->name, fields->text,
				      strnlen(fields->text, text_max));
	}
}

static void write_json(struct buffer *line, enum log_level level, const char *event,
		       const struct log_field *fields, size_t text_max)
{
	struct json_writer json;

	json_begin(&json, line);
	json_object_begin(&json, NULL);
	json_time(&json, "timestamp", clock_wall_ms());
	json_text(&json, "level", level_names[level]);
	json_text(&json, "service", logger.service);
	json_text(&json, "version", logger.version);
	json_text(&json, "event", event);
	write_fields_json(&json, fields, text_max);
	json_object_end(&json);
}

static void write_field_text(struct buffer *line, const char *name, const char *text)
{
	if (text && text[0] != '\0')
		buffer_format(line, strchr(text, ' ') ? " %s=\"%s\"" : " %s=%s", name, text);
}

static void write_text(struct buffer *line, enum log_level level, const char *event,
		       const struct log_field *fields)
{
	int64_t now_ms = clock_wall_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm parts;

	localtime_r(&seconds, &parts);
	buffer_format(line, "%02d:%02d:%02d.%03d %-7s %s", parts.tm_hour, parts.tm_min,
		      parts.tm_sec, (int)(now_ms % 1000), level_names[level], event);
	/* One instance at a terminal needs no name; several versions in one log do. */
	if (logger.version && logger.version[0] != '\0') {
		write_field_text(line, "service", logger.service);
		write_field_text(line, "version", logger.version);
	}
	for (; fields && fields->kind != LOG_FIELD_END; fields++) {
		if (fields->kind == LOG_FIELD_INTEGER)
			buffer_format(line, " %s=%lld", fields->name, (long long)fields->number);
		else if (fields->kind == LOG_FIELD_BOOLEAN)
			buffer_format(line, " %s=%s", fields->name,
				      fields->number ? "true" : "false");
		else if (fields->kind == LOG_FIELD_MILLISECONDS)
			buffer_format(line, " %s=%.1f", fields->name,
				      (double)fields->number / 1000.0);
		else
			write_field_text(line, fields->name, fields->text);
	}
	/* Text from outside must not be able to fake lines or send escape sequences. */
	for (size_t i = 0; i < line->len; i++) {
		if ((unsigned char)line->data[i] < 0x20 || line->data[i] == 0x7f)
			line->data[i] = '?';
	}
}

/* A line goes in whole or not at all. */
static void enqueue(const struct buffer *line)
{
	if (logger.queue.len + line->len + 1 > QUEUE_CEILING) {
		logger.dropped++;
		return;
	}
	buffer_append(&logger.queue, line->data, line->len);
	buffer_append(&logger.queue, "\n", 1);
}

static void compose(enum log_level level, const char *event, const struct log_field *fields)
{
	struct buffer line;

	buffer_init(&line, LINE_CEILING - 1);
	if (logger.json) {
		/* A line that is cut off would be no JSON: rather shorten what it tells. */
		for (size_t text_max = TEXT_MAX; text_max > 0; text_max /= 2) {
			buffer_clear(&line);
			write_json(&line, level, event, fields, text_max);
			if (!line.overflow)
				break;
		}
	} else {
		write_text(&line, level, event, fields);
	}
	if (line.data)
		enqueue(&line);
	buffer_free(&line);
}

static void pump(void)
{
	flush_queue();
	if (logger.dropped > 0 && logger.queue.len < QUEUE_CEILING / 2) {
		struct log_field fields[] = {log_integer("count", logger.dropped), {0}};

		logger.dropped = 0;
		compose(LOG_WARNING, "log_dropped", fields);
		flush_queue();
	}
	if (logger.queue.len > 0 && logger.loop && logger.retry.position == 0)
		loop_timer_set(logger.loop, &logger.retry, loop_now_us(logger.loop) + RETRY_US);
}

static void on_retry(struct loop_timer *timer)
{
	(void)timer;
	pump();
}

void log_open(struct loop *loop, const char *service, const char *version, enum log_level minimum,
	      bool json)
{
	if (!logger.opened)
		choose_way();
	logger.opened = true;
	free(logger.service);
	free(logger.version);
	logger.loop = loop;
	logger.service = strdup(service ? service : "");
	logger.version = strdup(version ? version : "");
	logger.minimum = minimum;
	logger.json = json;
	logger.queue.ceiling = QUEUE_CEILING;
	logger.retry.on_expire = on_retry;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
	if (level < logger.minimum)
		return;
	compose(level, event, fields);
	pump();
}

void log_close(int64_t wait_us)
{
	int64_t end_us = clock_monotonic_us() + wait_us;

	flush_queue();
	while (logger.queue.len > 0 && clock_monotonic_us() < end_us) {
		struct pollfd descriptor = {.fd = logger.fd, .events = POLLOUT};

		poll(&descriptor, 1, 10);
		flush_queue();
	}
	if (logger.loop)
		loop_timer_clear(logger.loop, &logger.retry);
	free(logger.service);
	free(logger.version);
	buffer_free(&logger.queue);
	if (logger.way == WAY_OWN)
		close(logger.fd);
	memset(&logger, 0, sizeof(logger));
}
