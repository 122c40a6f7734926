#include "agent/report_headline.h"

#include <stdio.h>
#include <string.h>

enum { RANKS = 7 };

/* Adds a part of three texts behind the others, and returns it. */
static struct headline_part *add_part(struct headline_part *parts, size_t *count, int rank,
				      const char *before, const char *text, const char *after)
{
	struct headline_part *part = &parts[(*count)++];

	*part = (struct headline_part){.rank = rank};
	snprintf(part->text, sizeof(part->text), "%s%s%s", before, text, after);
	return part;
}

/* The same for one that says more of the part before it. */
static void add_more(struct headline_part *parts, size_t *count, int rank, const char *before,
		     const char *text, const char *after)
{
	add_part(parts, count, rank, before, text, after)->says_more = true;
}

/* Whether it is ready comes before all, then what else is wrong, and why. */
static size_t collect_parts(const struct engine *engine, struct headline_part *parts)
{
	const struct settings *settings = &engine_config(engine)->settings;
	size_t count = 0;

	add_part(parts, &count, 4, "", settings->service, "");
	add_more(parts, &count, 6, " ", settings->version ? settings->version : "", "");
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		struct verdict verdict = engine_verdict(engine, (enum endpoint)i);
		bool is_ready = i == ENDPOINT_READINESS;
		int rank = is_ready ? 0 : verdict.ok ? 3 : 1;
		struct headline_part *part =
			add_part(parts, &count, rank, "  ", endpoint_name((enum endpoint)i),
				 verdict.ok ? " yes" : " no");

		part->is_verdict = true;
		part->verdict = verdict;
		if (!verdict.ok)
			add_more(parts, &count, is_ready ? 2 : 5, " (",
				 hindrance_text(verdict.hindrance), ")");
	}
	return count;
}

/* How wide those that are shown are together, without the blanks at their beginning. */
static size_t width_of(const struct headline_part *parts, size_t count)
{
	size_t width = 0;

	for (size_t i = 0; i < count; i++) {
		const char *text = parts[i].text;

		if (!parts[i].shown)
			continue;
		if (width == 0)
			text += strspn(text, " ");
		for (; *text != '\0'; text++)
			width += ((unsigned char)*text & 0xc0) != 0x80;
	}
	return width;
}

/* Whether it is ready is shown in any case, and of the rest what there is room for. */
static void choose_parts(struct headline_part *parts, size_t count, size_t columns)
{
	for (int rank = 0; rank < RANKS; rank++) {
		for (size_t i = 0; i < count; i++) {
			if (parts[i].rank != rank || (parts[i].says_more && !parts[i - 1].shown))
				continue;
			parts[i].shown = true;
			parts[i].shown = rank == 0 || width_of(parts, count) <= columns;
		}
	}
}

size_t report_headline(const struct engine *engine, size_t columns, struct headline_part *parts)
{
	size_t count = collect_parts(engine, parts);

	choose_parts(parts, count, columns);
	return count;
}
