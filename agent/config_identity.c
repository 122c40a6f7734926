#include <string.h>

#include "agent/config_probe.h"
#include "agent/hash.h"

static void hash_pairs(uint64_t *hash, const struct pair_list *list)
{
	hash_bytes(hash, &list->count, sizeof(list->count));
	for (size_t i = 0; i < list->count; i++) {
		hash_text(hash, list->items[i].name);
		hash_text(hash, list->items[i].value);
	}
}

static void hash_value(uint64_t *hash, const struct field *field, const void *value)
{
	switch (field->kind) {
	case FIELD_TEXT:
		hash_text(hash, *(char *const *)value);
		return;
	case FIELD_SECRET:
		hash_text(hash, ((const struct secret *)value)->value);
		hash_text(hash, ((const struct secret *)value)->file);
		return;
	case FIELD_BOOLEAN:
		hash_bytes(hash, value, sizeof(bool));
		return;
	case FIELD_INTEGER:
	case FIELD_SECONDS:
		hash_bytes(hash, value, sizeof(int64_t));
		return;
	case FIELD_NUMBER:
		hash_bytes(hash, value, sizeof(double));
		return;
	case FIELD_CHOICE:
		hash_bytes(hash, value, sizeof(int));
		return;
	case FIELD_TEXT_LIST:
	case FIELD_COMMAND: {
		const struct text_list *list = value;

		hash_bytes(hash, &list->count, sizeof(list->count));
		for (size_t i = 0; i < list->count; i++)
			hash_text(hash, list->items[i]);
		return;
	}
	case FIELD_PAIR_LIST:
		hash_pairs(hash, value);
		return;
	case FIELD_STATUS_RANGES: {
		const struct status_ranges *ranges = value;

		hash_bytes(hash, &ranges->count, sizeof(ranges->count));
		hash_bytes(hash, ranges->items, ranges->count * sizeof(ranges->items[0]));
		return;
	}
	}
}

static void hash_fields(uint64_t *hash, const struct field *fields, const void *structure)
{
	for (; fields->name; fields++)
		hash_value(hash, fields, (const char *)structure + fields->offset);
}

uint64_t probe_config_identity(const struct probe_config *probe, const char *target,
			       bool kubernetes_form)
{
	uint64_t hash = HASH_START;

	hash_text(&hash, role_name(probe->role));
	hash_text(&hash, probe->name);
	hash_text(&hash, probe->type->name);
	hash_bytes(&hash, &kubernetes_form, sizeof(kubernetes_form));
	hash_text(&hash, target);
	hash_fields(&hash, probe_common_fields, probe);
	hash_fields(&hash, probe->type->fields, probe->conf);
	return hash;
}
