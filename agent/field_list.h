/* The settings that hold several values; a part of field.c. */
#ifndef READYD_AGENT_FIELD_LIST_H
#define READYD_AGENT_FIELD_LIST_H

#include "agent/field.h"
#include "agent/tree.h"

/* Each takes a node that is not null into a list that is empty. Returns 0, or -1 with faults; the
 * list may then hold a part and is to be freed as usual. */
int text_list_assign(struct text_list *list, const struct field *field, const struct node *value,
		     struct faults *faults);
int command_assign(struct text_list *list, const struct field *field, const struct node *value,
		   struct faults *faults);
int pair_list_assign(struct pair_list *list, const struct field *field, const struct node *value,
		     struct faults *faults);
int status_ranges_assign(struct status_ranges *ranges, const struct field *field,
			 const struct node *value, struct faults *faults);

void text_list_free(struct text_list *list);
void pair_list_free(struct pair_list *list);
void status_ranges_free(struct status_ranges *ranges);

/* "a map", "a list", "nothing" or the quoted beginning of a scalar, for "found …". */
const char *node_found(const struct node *node, char *text, size_t size);

#endif
