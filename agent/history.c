#include "agent/history.h"

#include <stdlib.h>
#include <string.h>

/* Of a message, what is kept. */
enum { MESSAGE_MAX = 240 };

const char *transition_kind_name(enum transition_kind kind)
{
	static const char *const names[] = {[TRANSITION_PROBE] = "probe",
					    [TRANSITION_VERDICT] = "verdict",
					    [TRANSITION_DRAIN] = "drain",
					    [TRANSITION_RELOAD] = "reload",
					    [TRANSITION_RESTART] = "restart"};

	return names[kind];
}

/* Of the text, as much as is kept: whole characters. */
static size_t kept_len(const char *text)
{
	size_t len = strlen(text);

	if (len <= MESSAGE_MAX)
		return len;
	len = MESSAGE_MAX;
	while (len > 0 && (text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

/* A copy with its texts behind it; NULL without memory. */
static struct transition *copy(const struct transition *transition)
{
	bool has_texts = transition->kind == TRANSITION_PROBE;
	const char *message =
		has_texts && transition->probe.message ? transition->probe.message : "";
	size_t name_size = has_texts ? strlen(transition->probe.name) + 1 : 0;
	size_t message_len = kept_len(message);
	struct transition *kept = malloc(sizeof(*kept) + name_size + message_len + 1);
	char *texts;

	if (!kept)
		return NULL;
	*kept = *transition;
	if (!has_texts)
		return kept;
	texts = (char *)(kept + 1);
	memcpy(texts, transition->probe.name, name_size);
	memcpy(texts + name_size, message, message_len);
	texts[name_size + message_len] = '\0';
	kept->probe.name = texts;
	kept->probe.message = texts + name_size;
	return kept;
}

void history_add(struct history *history, const struct transition *transition)
{
	struct transition **place = &history->transitions[history->count % HISTORY_TRANSITIONS];

	free(*place);
	*place = copy(transition);
	history->count++;
}

uint64_t history_first(const struct history *history)
{
	return history->count > HISTORY_TRANSITIONS ? history->count - HISTORY_TRANSITIONS : 0;
}

const struct transition *history_at(const struct history *history, uint64_t number)
{
	return history->transitions[number % HISTORY_TRANSITIONS];
}

void history_free(struct history *history)
{
	for (size_t i = 0; i < HISTORY_TRANSITIONS; i++)
		free(history->transitions[i]);
	*history = (struct history){0};
}
