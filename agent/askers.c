#include "agent/askers.h"

#include "agent/hash.h"

enum {
	/* Polls are late now and then, and a load balancer may speed up or slow down. */
	GAPS_UNTIL_GONE = 2,
	SLACK_US = 1000 * 1000,
	/* The kubelet's default period. */
	UNKNOWN_GAP_US = 10 * 1000 * 1000,
};

static struct asker *find(struct askers *askers, uint64_t identity, int64_t now_us)
{
	struct asker *oldest = &askers->items[0];

	for (size_t i = 0; i < ASKERS_MAX; i++) {
		struct asker *asker = &askers->items[i];

		if (asker->identity == identity)
			return asker;
		if (asker->last_us < oldest->last_us)
			oldest = asker;
	}
	if (oldest->identity != 0)
		askers->forgot_us = now_us;
	*oldest = (struct asker){.identity = identity};
	return oldest;
}

void askers_note(struct askers *askers, uint64_t peer_hash, const char *user_agent, int64_t now_us)
{
	uint64_t identity = HASH_START;
	struct asker *asker;
	int64_t gap_us;

	hash_bytes(&identity, &peer_hash, sizeof(peer_hash));
	hash_text(&identity, user_agent);
	asker = find(askers, identity | 1, now_us);
	gap_us = now_us - asker->last_us;
	/* A long gap is forgotten by and by: half of what it is above the present one each time. */
	if (asker->asked > 0)
		asker->gap_us = gap_us > asker->gap_us ? gap_us : (asker->gap_us + gap_us) / 2;
	asker->last_us = now_us;
	asker->asked++;
}

static bool is_gone(int64_t last_us, int64_t gap_us, int64_t now_us)
{
	return now_us - last_us > GAPS_UNTIL_GONE * gap_us + SLACK_US;
}

bool askers_are_gone(const struct askers *askers, int64_t now_us)
{
	if (askers->forgot_us != 0 && !is_gone(askers->forgot_us, UNKNOWN_GAP_US, now_us))
		return false;
	for (size_t i = 0; i < ASKERS_MAX; i++) {
		const struct asker *asker = &askers->items[i];

		if (asker->identity != 0 &&
		    !is_gone(asker->last_us, asker->asked > 1 ? asker->gap_us : UNKNOWN_GAP_US,
			     now_us))
			return false;
	}
	return true;
}
