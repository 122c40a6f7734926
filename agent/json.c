#include "agent/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yyjson.h>

#include "agent/utf8.h"

const char *json_library_version(void)
{
	static char text[32];
	uint32_t version = yyjson_version();

	snprintf(text, sizeof(text), "%u.%u.%u", version >> 16 & 0xff, version >> 8 & 0xff,
		 version & 0xff);
	return text;
}

/* ---- reading ---- */

/* One step of a path: from `*path` up to the next separator. */
static yyjson_val *step(yyjson_val *value, const char *name, size_t len)
{
	char *end = NULL;
	unsigned long index;

	if (yyjson_is_obj(value))
		return yyjson_obj_getn(value, name, len);
	if (!yyjson_is_arr(value) || len == 0 || name[0] < '0' || name[0] > '9')
		return NULL;
	index = strtoul(name, &end, 10);
	return end == name + len ? yyjson_arr_get(value, index) : NULL;
}

static yyjson_val *find(yyjson_doc *document, const char *path)
{
	yyjson_val *value = yyjson_doc_get_root(document);

	if (path[0] == '/')
		return yyjson_doc_ptr_get(document, path);
	while (value && *path != '\0') {
		size_t len = strcspn(path, ".");

		value = step(value, path, len);
		path += len;
		if (*path == '.')
			path++;
	}
	return value;
}

/* The value as the user would write it. */
static void value_text(yyjson_val *value, char *text, size_t size)
{
	if (yyjson_is_str(value))
		snprintf(text, size, "%s", yyjson_get_str(value));
	else if (yyjson_is_bool(value))
		snprintf(text, size, "%s", yyjson_get_bool(value) ? "true" : "false");
	else if (yyjson_is_uint(value))
		snprintf(text, size, "%llu", (unsigned long long)yyjson_get_uint(value));
	else if (yyjson_is_sint(value))
		snprintf(text, size, "%lld", (long long)yyjson_get_sint(value));
	else if (yyjson_is_real(value))
		snprintf(text, size, "%.15g", yyjson_get_real(value));
	else if (yyjson_is_null(value))
		snprintf(text, size, "null");
	else
		snprintf(text, size, "an %s", yyjson_is_obj(value) ? "object" : "array");
}

static bool value_equals(yyjson_val *value, const char *expected, const char *text)
{
	char *end = NULL;
	double number;

	if (yyjson_is_ctn(value))
		return false;
	if (yyjson_is_str(value))
		return yyjson_equals_str(value, expected);
	if (strcmp(text, expected) == 0)
		return true;
	if (!yyjson_is_num(value) || *expected == '\0')
		return false;
	number = strtod(expected, &end);
	return *end == '\0' && !islessgreater(number, yyjson_get_num(value));
}

enum json_match json_compare(const char *text, size_t len, const char *path, const char *expected,
			     char *found, size_t found_size)
{
	yyjson_doc *document = yyjson_read(text, len, YYJSON_READ_NOFLAG);
	enum json_match match = JSON_MISSING;
	yyjson_val *value;

	found[0] = '\0';
	if (!document)
		return JSON_INVALID;
	value = find(document, path);
	if (value) {
		value_text(value, found, found_size);
		match = value_equals(value, expected, found) ? JSON_MATCH : JSON_DIFFERENT;
	}
	yyjson_doc_free(document);
	return match;
}

/* ---- writing ---- */

void json_begin(struct json_writer *writer, struct buffer *buffer)
{
	writer->buffer = buffer;
	writer->comma = false;
}

static void write_string(struct buffer *buffer, const char *text, size_t len)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t plain = 0; /* where the run of bytes begins that need no escape */
	unsigned code;

	buffer_append(buffer, "\"", 1);
	for (size_t i = 0; i < len;) {
		size_t width = utf8_decode(text + i, len - i, &code);

		if (width > 0 && bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\' &&
		    bytes[i] != 0x7f) {
			i += width;
			continue;
		}
		buffer_append(buffer, text + plain, i - plain);
		if (width == 0)
			buffer_text(buffer, "\xef\xbf\xbd");
		else if (bytes[i] == '"' || bytes[i] == '\\')
			buffer_format(buffer, "\\%c", bytes[i]);
		else if (bytes[i] == '\n')
			buffer_text(buffer, "\\n");
		else if (bytes[i] == '\t')
			buffer_text(buffer, "\\t");
		else
			buffer_format(buffer, "\\u%04x", bytes[i]);
		i++;
		plain = i;
	}
	buffer_append(buffer, text + plain, len - plain);
	buffer_append(buffer, "\"", 1);
}

/* The comma before a value and its name, if it has one. */
static void write_name(struct json_writer *writer, const char *name)
{
	if (writer->comma)
		buffer_append(writer->buffer, ",", 1);
	writer->comma = true;
	if (name) {
		write_string(writer->buffer, name, strlen(name));
		buffer_append(writer->buffer, ":", 1);
	}
}

static void open_container(struct json_writer *writer, const char *name, const char *bracket)
{
	write_name(writer, name);
	buffer_text(writer->buffer, bracket);
	writer->comma = false;
}

static void close_container(struct json_writer *writer, const char *bracket)
{
	buffer_text(writer->buffer, bracket);
	writer->comma = true;
}

void json_object_begin(struct json_writer *writer, const char *name)
{
	open_container(writer, name, "{");
}

void json_object_end(struct json_writer *writer)
{
	close_container(writer, "}");
}

void json_array_begin(struct json_writer *writer, const char *name)
{
	open_container(writer, name, "[");
}

void json_array_end(struct json_writer *writer)
{
	close_container(writer, "]");
}

void json_text_len(struct json_writer *writer, const char *name, const char *text, size_t len)
{
	write_name(writer, name);
	write_string(writer->buffer, text, len);
}

void json_text(struct json_writer *writer, const char *name, const char *text)
{
	if (text) {
		json_text_len(writer, name, text, strlen(text));
		return;
	}
	write_name(writer, name);
	buffer_text(writer->buffer, "null");
}

void json_boolean(struct json_writer *writer, const char *name, bool value)
{
	write_name(writer, name);
	buffer_text(writer->buffer, value ? "true" : "false");
}

void json_integer(struct json_writer *writer, const char *name, int64_t value)
{
	write_name(writer, name);
	buffer_format(writer->buffer, "%lld", (long long)value);
}

void json_milliseconds(struct json_writer *writer, const char *name, int64_t microseconds)
{
	write_name(writer, name);
	if (microseconds % 1000 == 0)
		buffer_format(writer->buffer, "%lld", (long long)(microseconds / 1000));
	else
		buffer_format(writer->buffer, "%s%lld.%03lld", microseconds < 0 ? "-" : "",
			      llabs((long long)microseconds / 1000),
			      llabs((long long)microseconds % 1000));
}

void json_number(struct json_writer *writer, const char *name, double value)
{
	write_name(writer, name);
	if (isfinite(value))
		buffer_format(writer->buffer, "%.15g", value);
	else
		buffer_text(writer->buffer, "null");
}

void json_time(struct json_writer *writer, const char *name, int64_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	write_name(writer, name);
	buffer_format(writer->buffer, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
		      parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
		      parts.tm_min, parts.tm_sec, (int)(unix_ms % 1000));
}
