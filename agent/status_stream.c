#include "agent/status_stream.h"

#include <stdlib.h>
#include <string.h>

#include "agent/json.h"
#include "agent/report.h"

enum { PIECE_CEILING = 64 * 1024 };

struct status_stream {
	const struct engine *engine;
	struct json_writer json;
	struct buffer piece;
	size_t sent; /* of the piece */
	size_t next_probe;
	uint64_t generation;
	bool details, begun, ended;
};

struct status_stream *status_stream_create(const struct engine *engine, bool details)
{
	struct status_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->engine = engine;
	stream->details = details;
	stream->generation = engine_configuration_generation(engine);
	buffer_init(&stream->piece, PIECE_CEILING);
	json_begin(&stream->json, &stream->piece);
	return stream;
}

void status_stream_destroy(struct status_stream *stream)
{
	buffer_free(&stream->piece);
	free(stream);
}

static void make_piece(struct status_stream *stream)
{
	buffer_clear(&stream->piece);
	stream->sent = 0;
	if (!stream->begun) {
		report_status_begin(&stream->json, stream->engine);
		stream->begun = true;
	} else if (stream->next_probe < engine_probe_count(stream->engine)) {
		report_probe(&stream->json, engine_probe_at(stream->engine, stream->next_probe++),
			     stream->details);
	} else if (!stream->ended) {
		report_status_end(&stream->json);
		stream->ended = true;
	}
}

ssize_t status_stream_read(struct status_stream *stream, char *bytes, size_t max)
{
	size_t filled = 0;

	if (stream->generation != engine_configuration_generation(stream->engine))
		return -1;
	while (filled < max) {
		size_t len = stream->piece.len - stream->sent;

		if (len == 0) {
			make_piece(stream);
			if (stream->piece.len == 0)
				break;
			continue;
		}
		if (len > max - filled)
			len = max - filled;
		memcpy(bytes + filled, stream->piece.data + stream->sent, len);
		stream->sent += len;
		filled += len;
	}
	return (ssize_t)filled;
}

void status_stream_read_all(struct status_stream *stream, struct buffer *buffer)
{
	do {
		buffer_append(buffer, stream->piece.data + stream->sent,
			      stream->piece.len - stream->sent);
		make_piece(stream);
	} while (stream->piece.len > 0);
}
