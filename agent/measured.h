/* What the Nagios plugin of one probe has measured, by label: the latest value of each. Pure.
 *
 * Each label is a series to whoever collects them, and one that is gone stays one for as long as
 * they keep it. So the labels are bounded over all runs of the probe together: the first ones have
 * a place for good, and what comes when there is none left is dropped. */
#ifndef READYD_AGENT_MEASURED_H
#define READYD_AGENT_MEASURED_H

#include <stdbool.h>
#include <stddef.h>

#include "probes/probe.h"

enum { MEASURED_MAX = 2 * PERFDATA_MAX };

/* A label with a unit; with another unit it is another one. */
struct measured_value {
	char label[sizeof(((struct perfdata *)0)->label)];
	char unit[sizeof(((struct perfdata *)0)->unit)];
	double value;
	bool present; /* the last run that measured anything has measured it */
};

struct measured {
	size_t count;
	bool told; /* that something was dropped: its owner's */
	struct measured_value values[];
};

/* Takes what a run has measured into *measured, which is made when it is NULL; NULL or an empty
 * list leaves everything as it was. Returns how many values were dropped. */
size_t measured_note(struct measured **measured, const struct perfdata_list *list);

#endif
