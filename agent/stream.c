#include "agent/stream.h"

#include <string.h>

void stream_init(struct stream *stream, int (*next_piece)(struct stream *, struct buffer *),
		 void (*destroy)(struct stream *), size_t piece_ceiling)
{
	stream->next_piece = next_piece;
	stream->destroy = destroy;
	stream->sent = 0;
	buffer_init(&stream->piece, piece_ceiling);
}

/* How many bytes are at hand, a new piece being made when there are none; 0 at the end, -1 when it
 * is void. */
static ssize_t at_hand(struct stream *stream)
{
	if (stream->sent == stream->piece.len) {
		buffer_clear(&stream->piece);
		stream->sent = 0;
		if (stream->next_piece(stream, &stream->piece) < 0)
			return -1;
	}
	return (ssize_t)(stream->piece.len - stream->sent);
}

ssize_t stream_read(struct stream *stream, char *bytes, size_t max)
{
	size_t filled = 0;

	while (filled < max) {
		ssize_t available = at_hand(stream);
		size_t len = max - filled;

		if (available < 0)
			return -1;
		if (available == 0)
			break;
		if (len > (size_t)available)
			len = (size_t)available;
		memcpy(bytes + filled, stream->piece.data + stream->sent, len);
		stream->sent += len;
		filled += len;
	}
	return (ssize_t)filled;
}

int stream_read_all(struct stream *stream, struct buffer *buffer)
{
	for (;;) {
		ssize_t available = at_hand(stream);

		if (available <= 0)
			return (int)available;
		buffer_append(buffer, stream->piece.data + stream->sent, (size_t)available);
		stream->sent += (size_t)available;
	}
}

void stream_destroy(struct stream *stream)
{
	if (!stream)
		return;
	buffer_free(&stream->piece);
	stream->destroy(stream);
}
