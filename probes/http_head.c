#include "probes/http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "probes/http_settings.h"

enum { HEAD_MAX = 128 * 1024 }; /* bytes of an answer's heads, interim ones included */

static bool refuse(struct http_head *head, const char *fault)
{
	head->fault = fault;
	return false;
}

/* "HTTP/1.1 200 OK" */
static bool take_status_line(struct http_head *head, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	const char *end = line + len;
	int digits = 0;

	*head = (struct http_head){.received = head->received};
	for (const char *c = space ? space + 1 : end; c < end && isdigit((unsigned char)*c); c++) {
		head->status = digits < 3 ? head->status * 10 + (*c - '0') : 0;
		digits++;
	}
	return digits == 3 || refuse(head, "the answer has no status of three digits");
}

/* A Content-Length that is none, or a second one that differs, leaves unknown where the answer ends
 * (RFC 9112, 6.3). */
static bool take_length(struct http_head *head, const char *digits, size_t len)
{
	if (len == 0 || len >= sizeof(head->content_length))
		return refuse(head, "the Content-Length of the answer is no number");
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)digits[i]))
			return refuse(head, "the Content-Length of the answer is no number");
	}
	if (head->content_length[0] != '\0' &&
	    (strlen(head->content_length) != len || memcmp(head->content_length, digits, len) != 0))
		return refuse(head, "the answer has two different Content-Length headers");
	memcpy(head->content_length, digits, len);
	head->content_length[len] = '\0';
	return true;
}

/* Copies what a server sent so that it can stand in a sentence. */
static void copy_printable(char *text, size_t size, const char *bytes, size_t len)
{
	size_t at = 0;

	for (; at < len && at + 1 < size; at++)
		text[at] = isprint((unsigned char)bytes[at]) ? bytes[at] : '?';
	text[at] = '\0';
}

static void apply_rules(struct http_head *head, const struct pair_list *rules, const char *name,
			size_t name_len, const char *value, size_t value_len)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct pair *rule = &rules->items[i];
		uint64_t bit = (uint64_t)1 << i;

		if (strlen(rule->name) != name_len || strncasecmp(rule->name, name, name_len) != 0)
			continue;
		if (rule->value[0] == '\0' || (strlen(rule->value) == value_len &&
					       memcmp(rule->value, value, value_len) == 0)) {
			head->met |= bit;
		} else if (head->found[0] == '\0' || i < head->found_rule) {
			head->found_rule = i;
			copy_printable(head->found, sizeof(head->found), value, value_len);
		}
		head->seen |= bit;
	}
}

static bool take_header(struct http_head *head, const struct http_settings *settings,
			const char *line, size_t len)
{
	static const char length_name[] = "Content-Length";
	const char *colon = memchr(line, ':', len);
	const char *value, *end = line + len;
	size_t name_len;

	if (!colon)
		return true;
	name_len = (size_t)(colon - line);
	value = colon + 1;
	while (value < end && isspace((unsigned char)*value))
		value++;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	apply_rules(head, &settings->response_headers, line, name_len, value,
		    (size_t)(end - value));
	if (name_len == sizeof(length_name) - 1 && strncasecmp(line, length_name, name_len) == 0)
		return take_length(head, value, (size_t)(end - value));
	return true;
}

bool http_head_take(struct http_head *head, const struct http_settings *settings, const char *line,
		    size_t len)
{
	head->received += len;
	if (head->received > HEAD_MAX)
		return refuse(head, "the headers of the answer do not end");
	if (head->status == 0 || head->complete)
		return take_status_line(head, line, len);
	head->complete = len == 0 || line[0] == '\r' || line[0] == '\n';
	return head->complete || take_header(head, settings, line, len);
}

bool http_head_accept(struct http_head *head, const struct http_settings *settings, bool is_http2)
{
	if (head->status == 101)
		head->fault = "the server switches to a protocol that was not asked for";
	else if (head->status >= 200 && settings->version == HTTP_VERSION_2 && !is_http2)
		head->fault = "the server answers in HTTP/1, expected HTTP/2";
	return !head->fault;
}
