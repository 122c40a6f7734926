#include "agent/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *buffer, size_t ceiling)
{
	*buffer = (struct buffer){.ceiling = ceiling};
}

void buffer_init_with(struct buffer *buffer, size_t ceiling, char *storage, size_t size)
{
	*buffer = (struct buffer){.data = storage,
				  .capacity = size,
				  .ceiling = ceiling,
				  .borrowed = true};
	storage[0] = '\0';
}

/* Makes room for `len` more bytes and the NUL; returns how many of them fit. */
static size_t buffer_reserve(struct buffer *buffer, size_t len)
{
	size_t room = buffer->ceiling - buffer->len;
	size_t wanted, capacity;
	char *data;

	if (len > room)
		len = room;
	wanted = buffer->len + len + 1;
	if (wanted <= buffer->capacity)
		return len;
	capacity = buffer->capacity ? buffer->capacity : 64;
	while (capacity < wanted)
		capacity *= 2;
	if (capacity > buffer->ceiling + 1)
		capacity = buffer->ceiling + 1;
	data = realloc(buffer->borrowed ? NULL : buffer->data, capacity);
	if (!data)
		return 0;
	if (buffer->borrowed)
		memcpy(data, buffer->data, buffer->len + 1);
	buffer->borrowed = false;
	buffer->data = data;
	buffer->capacity = capacity;
	return len;
}

int buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
	size_t fits = buffer_reserve(buffer, len);

	if (fits > 0) {
		memcpy(buffer->data + buffer->len, bytes, fits);
		buffer->len += fits;
	}
	if (buffer->data)
		buffer->data[buffer->len] = '\0';
	if (fits == len)
		return 0;
	buffer->overflow = true;
	return -1;
}

char *buffer_space(struct buffer *buffer, size_t len)
{
	if (buffer_reserve(buffer, len) == len)
		return buffer->data + buffer->len;
	buffer->overflow = true;
	return NULL;
}

void buffer_filled(struct buffer *buffer, const char *end)
{
	buffer->len = (size_t)(end - buffer->data);
	buffer->data[buffer->len] = '\0';
}

int buffer_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

int buffer_format(struct buffer *buffer, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (len < 0)
		return -1;
	if ((size_t)len >= sizeof(text)) {
		buffer_append(buffer, text, sizeof(text) - 1);
		buffer->overflow = true;
		return -1;
	}
	return buffer_append(buffer, text, (size_t)len);
}

void buffer_clear(struct buffer *buffer)
{
	buffer->len = 0;
	buffer->overflow = false;
	if (buffer->data)
		buffer->data[0] = '\0';
}

void buffer_truncate(struct buffer *buffer, size_t len)
{
	if (len > buffer->len)
		return;
	buffer->len = len;
	buffer->overflow = false;
	if (buffer->data)
		buffer->data[len] = '\0';
}

void buffer_free(struct buffer *buffer)
{
	if (!buffer->borrowed)
		free(buffer->data);
	buffer_init(buffer, buffer->ceiling);
}
