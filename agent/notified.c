#include "agent/notified.h"

#include <string.h>

void notified_reset(struct notified *notified, struct loop *loop, bool asked)
{
	loop_timer_clear(loop, &notified->reminder);
	*notified = (struct notified){.asked = asked, .reminder = notified->reminder};
}

static void take_status(struct notified *notified, const char *text, size_t len)
{
	if (len >= sizeof(notified->status)) {
		len = sizeof(notified->status) - 1;
		/* not in the middle of a character */
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(notified->status, text, len);
	notified->status[len] = '\0';
}

static void take_sign_of_life(struct notified *notified, int64_t now_us)
{
	notified->sign_of_life_us = now_us;
	notified->missed = false;
}

static void take_ready(struct notified *notified, int64_t now_us)
{
	if (notified->stopping)
		return;
	notified->ready = true;
	notified->reloading = false;
	take_sign_of_life(notified, now_us);
}

/* Whether the line is exactly this word. */
static bool is_line(const char *line, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(line, word, len) == 0;
}

static void take_line(struct notified *notified, const char *line, size_t len, int64_t now_us)
{
	static const char status[] = "STATUS=";
	size_t status_len = sizeof(status) - 1;

	if (is_line(line, len, "READY=1")) {
		take_ready(notified, now_us);
	} else if (is_line(line, len, "RELOADING=1")) {
		notified->reloading = !notified->stopping;
		notified->ready = false;
	} else if (is_line(line, len, "STOPPING=1")) {
		notified->stopping = true;
		notified->reloading = notified->ready = false;
	} else if (is_line(line, len, "WATCHDOG=1")) {
		take_sign_of_life(notified, now_us);
	} else if (is_line(line, len, "WATCHDOG=trigger")) {
		notified->wants_restart = true;
	} else if (len >= status_len && memcmp(line, status, status_len) == 0) {
		take_status(notified, line + status_len, len - status_len);
	}
}

static bool same_news(const struct notified *before, const struct notified *after)
{
	return before->ready == after->ready && before->reloading == after->reloading &&
	       before->stopping == after->stopping &&
	       before->wants_restart == after->wants_restart && before->missed == after->missed &&
	       strcmp(before->status, after->status) == 0;
}

bool notified_take(struct notified *notified, const char *message, size_t len, int64_t now_us)
{
	struct notified before = *notified;
	const char *end = message + strnlen(message, len);

	while (message < end) {
		const char *line_end = memchr(message, '\n', (size_t)(end - message));

		if (!line_end)
			line_end = end;
		take_line(notified, message, (size_t)(line_end - message), now_us);
		message = line_end + 1;
	}
	return !same_news(&before, notified);
}

void notified_forgive(struct notified *notified, int64_t now_us)
{
	if (notified->sign_of_life_us != 0)
		notified->sign_of_life_us = now_us;
}

void notified_remind(struct notified *notified, struct loop *loop, int64_t at_us)
{
	if (notified->reminder.position == 0 || at_us < notified->reminder.at_us)
		loop_timer_set(loop, &notified->reminder, at_us);
}
