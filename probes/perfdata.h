/* The measured values in the output of a Nagios plugin, as the guidelines for plugins have it:
 *
 *	TEXT | 'label'=value[unit];[warning];[critical];[minimum];[maximum] ...
 *	MORE TEXT
 *	STILL MORE TEXT | label=value ...
 *	label=value ...
 */
#ifndef READYD_PROBES_PERFDATA_H
#define READYD_PROBES_PERFDATA_H

#include <stddef.h>

#include "probes/probe.h"

/* Fills `list` with the values in `output`, which is any bytes. What is not understood is left out,
 * and so is what comes after PERFDATA_MAX values or has a label that was there before. */
void perfdata_parse(const char *output, size_t len, struct perfdata_list *list);

#endif
