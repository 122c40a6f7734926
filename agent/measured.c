#include "agent/measured.h"

#include <stdlib.h>
#include <string.h>

#include "agent/text.h"

static struct measured_value *find(struct measured *measured, const char *label, const char *unit)
{
	for (size_t i = 0; measured && i < measured->count; i++) {
		struct measured_value *value = &measured->values[i];

		if (strcmp(value->label, label) == 0 && strcmp(value->unit, unit) == 0)
			return value;
	}
	return NULL;
}

/* A new place at the end; NULL when there is none left, or no memory. */
static struct measured_value *add(struct measured **measured)
{
	size_t count = *measured ? (*measured)->count : 0;
	struct measured *grown;

	if (count == MEASURED_MAX)
		return NULL;
	grown = realloc(*measured, sizeof(*grown) + (count + 1) * sizeof(grown->values[0]));
	if (!grown)
		return NULL;
	if (!*measured)
		grown->told = false;
	grown->count = count + 1;
	*measured = grown;
	return &grown->values[count];
}

size_t measured_note(struct measured **measured, const struct perfdata_list *list)
{
	size_t dropped = 0;

	if (!list || list->count == 0)
		return 0;
	for (size_t i = 0; *measured && i < (*measured)->count; i++)
		(*measured)->values[i].present = false;
	for (size_t i = 0; i < list->count; i++) {
		struct measured_value item = {.value = list->items[i].value, .present = true};
		struct measured_value *place;

		/* Labels that look the same are the same. */
		memcpy(item.label, list->items[i].label, sizeof(item.label));
		memcpy(item.unit, list->items[i].unit, sizeof(item.unit));
		text_make_printable(item.label);
		text_make_printable(item.unit);
		place = find(*measured, item.label, item.unit);
		if (!place)
			place = add(measured);
		if (place)
			*place = item;
		else
			dropped++;
	}
	return dropped;
}
