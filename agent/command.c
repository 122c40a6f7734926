#include "agent/command.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/config.h"
#include "agent/field.h"
#include "agent/text.h"
#include "agent/url.h"

/* The copies, kept reachable. */
struct taken_word {
	struct taken_word *next;
	char text[];
};

static struct taken_word *taken_words;

/* The length of "NAME=" if the word is a setting with a path for a name, else 0. */
static size_t setting_name_len(const char *word)
{
	size_t len = strcspn(word, "= \t\r\n/:@?&");

	return len > 0 && word[len] == '=' ? len + 1 : 0;
}

/* Whether the value of a setting must not be shown at all: by the end of its name, or because it is
 * a header, of which any may be a key. */
static bool is_secret_setting(const char *name, size_t len)
{
	static const char headers[] = "headers";

	if (url_is_secret_name(name, len))
		return true;
	for (size_t i = 0; i + sizeof(headers) - 1 <= len; i++) {
		if (strncasecmp(name + i, headers, sizeof(headers) - 1) == 0)
			return true;
	}
	return false;
}

/* Where a command's option for a secret ("--password x") ends, or NULL. */
static char *secret_option_end(char *text)
{
	for (char *dash = strstr(text, " -"); dash; dash = strstr(dash + 1, " -")) {
		char *name = dash + 1 + strspn(dash + 1, "-");
		size_t len = strcspn(name, " \t=");

		if (len > 0 && name[len] != '=' && name[len] != '\0' &&
		    url_is_secret_name(name, len))
			return name + len;
	}
	return NULL;
}

/* Masks the whole word; `size` is at least 8. */
static void mask(const char *word, char *masked, size_t size)
{
	size_t name_len = setting_name_len(word);
	char *end;

	if (name_len + 4 > size)
		name_len = 0;
	memcpy(masked, word, name_len);
	if (name_len > 0 && word[name_len] != '\0' && is_secret_setting(word, name_len - 1))
		memcpy(masked + name_len, "***", 4);
	else
		url_mask(word + name_len, masked + name_len, size - name_len);
	end = secret_option_end(masked);
	if (end && (size_t)(end - masked) + 5 < size)
		memcpy(end, " ***", 5);
}

void command_show_word(const char *word, char *shown, size_t size)
{
	/* Masking makes a word at most a little longer: three stars for each hidden byte or more.
	 */
	char whole[1024];
	size_t len;

	mask(word, whole, sizeof(whole));
	len = strlen(whole);
	if (len >= size) {
		len = size - sizeof("...");
		/* Whole characters. */
		while (len > 0 && (whole[len] & 0xc0) == 0x80)
			len--;
		memcpy(whole + len, "...", sizeof("..."));
	}
	text_make_printable(whole);
	memcpy(shown, whole, strlen(whole) + 1);
}

int command_usage_error(const char *verb, const char *sentence, const char *word)
{
	char shown[COMMAND_WORD_SIZE] = "";

	if (word)
		command_show_word(word, shown, sizeof(shown));
	fprintf(stderr, "readyd %s: %s%s%s; see `readyd %s --help`\n", verb, sentence,
		word ? ": " : "", shown, verb);
	return -1;
}

int command_option_error(const char *verb, int letter, char **argv)
{
	return command_usage_error(verb,
				   letter == ':' ? "a value is missing after" : "unknown option",
				   argv[optind - 1]);
}

char *command_take_word(char *word)
{
	size_t len = strlen(word);
	/* Each hidden byte can become three stars. */
	size_t size = 3 * len + 8;
	char *masked = malloc(size);
	struct taken_word *taken;

	if (!masked)
		return NULL;
	mask(word, masked, size);
	if (strcmp(masked, word) == 0) {
		free(masked);
		return word;
	}
	taken = malloc(sizeof(*taken) + len + 1);
	if (!taken) {
		free(masked);
		return NULL;
	}
	memcpy(taken->text, word, len + 1);
	taken->next = taken_words;
	taken_words = taken;
	for (size_t i = 0, end = strlen(masked); i < len; i++)
		word[i] = i < end ? masked[i] : ' ';
	free(masked);
	return taken->text;
}

int command_add_override(const char *verb, char *word, struct override *overrides, size_t max,
			 size_t *count)
{
	char *text = command_take_word(word);
	char *equals = text ? strchr(text, '=') : NULL;

	if (!text)
		return command_usage_error(verb, "out of memory", NULL);
	if (!equals || equals == text)
		return command_usage_error(verb, "-o takes NAME=VALUE, not", text);
	if (*count == max)
		return command_usage_error(verb, "too many -o options", NULL);
	*equals = '\0';
	overrides[(*count)++] = (struct override){text, equals + 1};
	return 0;
}

void command_print_faults(const char *verb, const struct faults *faults)
{
	size_t left_out = faults->errors + faults->warnings - faults->kept;

	for (const struct fault *fault = faults->first; fault; fault = fault->next)
		fprintf(stderr, "readyd %s: %s%s\n", verb, fault->warning ? "warning: " : "",
			fault->text);
	if (left_out > 0)
		fprintf(stderr, "readyd %s: and %zu more\n", verb, left_out);
}

int command_take_time(const char *verb, const char *option, const char *word, int64_t *ret_us)
{
	int64_t time_us = parse_seconds(word);
	char sentence[80];

	if (time_us <= 0) {
		snprintf(sentence, sizeof(sentence), "%s takes a time such as 2.5 or 500ms, not",
			 option);
		return command_usage_error(verb, sentence, word);
	}
	*ret_us = time_us;
	return 0;
}

int command_take_timeout(const char *verb, const char *word, int64_t *ret_us)
{
	return command_take_time(verb, "--timeout", word, ret_us);
}

int command_print_help(const char *help)
{
	fputs(help, stdout);
	return fflush(stdout) == 0 ? 0 : -1;
}
