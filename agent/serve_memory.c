#include "agent/serve_memory.h"

#include <stddef.h>

/* As many as are usually closed in one turn of the loop. All connections have pools of the same
 * size. */
enum { POOLS_KEPT_MAX = 32 };

/* libmicrohttpd has no setting for this, so the linker leads its calls of the two functions here
 * (--wrap). */
struct MemoryPool;
struct MemoryPool *__real_MHD_pool_create(size_t size);
void __real_MHD_pool_destroy(struct MemoryPool *pool);
void *MHD_pool_reset(struct MemoryPool *pool, void *keep, size_t keep_len, size_t new_len);
struct MemoryPool *__wrap_MHD_pool_create(size_t size);
void __wrap_MHD_pool_destroy(struct MemoryPool *pool);

static struct MemoryPool *kept[POOLS_KEPT_MAX];
static size_t kept_count;

struct MemoryPool *__wrap_MHD_pool_create(size_t size)
{
	return kept_count > 0 ? kept[--kept_count] : __real_MHD_pool_create(size);
}

void __wrap_MHD_pool_destroy(struct MemoryPool *pool)
{
	if (pool && kept_count < POOLS_KEPT_MAX) {
		/* Empties it, and overwrites what the connection has left. */
		MHD_pool_reset(pool, NULL, 0, 0);
		kept[kept_count++] = pool;
		return;
	}
	__real_MHD_pool_destroy(pool);
}

void serve_memory_trim(void)
{
	if (kept_count > 0)
		__real_MHD_pool_destroy(kept[--kept_count]);
}

void serve_memory_free(void)
{
	while (kept_count > 0)
		serve_memory_trim();
}
