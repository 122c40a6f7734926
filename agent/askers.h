/* Who asks whether the instance is ready, how often, and when last: so that a drain knows whether
 * anybody still has to see it. */
#ifndef READYD_AGENT_ASKERS_H
#define READYD_AGENT_ASKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ASKERS_MAX = 64 };

/* One who asks again and again: the same address with the same User-Agent. */
struct asker {
	uint64_t identity; /* a hash over both; 0 = free */
	uint64_t asked;    /* how often */
	int64_t last_us;
	int64_t gap_us; /* the longest of its latest gaps; unknown while asked is 1 */
};

/* Zero-filled is valid and empty. When it is full, whoever has been away longest is forgotten, and
 * that is noted: how often those come who are not known is not known either. */
struct askers {
	struct asker items[ASKERS_MAX];
	int64_t forgot_us; /* when somebody was forgotten last; 0 = never */
};

/* Notes that somebody asked now. `user_agent` may be NULL. */
void askers_note(struct askers *askers, uint64_t peer_hash, const char *user_agent, int64_t now_us);

/* Whether nobody is to be expected any more: all who ever asked have stayed away for more than
 * twice their usual gap and a second. Who asked only once, or was forgotten, may come again for as
 * long as one who asks every ten seconds. */
bool askers_are_gone(const struct askers *askers, int64_t now_us);

#endif
