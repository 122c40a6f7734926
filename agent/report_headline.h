/* The first line of `readyd status`: the instance and its verdicts, or what matters most of them.
 */
#ifndef READYD_AGENT_REPORT_HEADLINE_H
#define READYD_AGENT_REPORT_HEADLINE_H

#include "agent/engine.h"
#include "agent/error.h"

enum { HEADLINE_PARTS_MAX = 2 + 2 * ENDPOINT_COUNT };

struct headline_part {
	int rank; /* those of low rank come first when there is no room for all */
	struct verdict verdict;
	bool is_verdict; /* the text ends with its "yes" or "no" */
	bool says_more;  /* of the part before it, without which it is nothing */
	bool shown;
	char text[ERROR_TEXT_SIZE]; /* with the blanks that part it from the one before */
};

/* Fills `parts`, of which there must be HEADLINE_PARTS_MAX, and marks those that fit into `columns`
 * together as shown: whether it is ready in any case, even where that alone does not fit. Returns
 * how many there are. */
size_t report_headline(const struct engine *engine, size_t columns, struct headline_part *parts);

#endif
