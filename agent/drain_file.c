#include "agent/drain_file.h"

#include <sys/stat.h>

enum {
	LOOK_US = 200 * 1000,
	/* While none is configured: a reload may bring one. */
	IDLE_US = 1000 * 1000,
};

static bool is_configured(const struct settings *settings)
{
	return settings->drain_file && settings->drain_file[0] != '\0';
}

bool drain_file_exists(const struct settings *settings)
{
	struct stat status;

	/* A link that points nowhere counts: somebody has put it there. */
	return is_configured(settings) && lstat(settings->drain_file, &status) == 0;
}

static void look(struct loop_timer *timer)
{
	struct drain_file *file = timer->owner;
	const struct settings *settings = &engine_config(file->engine)->settings;

	if (drain_file_exists(settings))
		engine_drain(file->engine, DRAIN_FILE);
	else
		engine_undrain(file->engine, DRAIN_FILE);
	loop_timer_set(file->loop, timer,
		       loop_now_us(file->loop) + (is_configured(settings) ? LOOK_US : IDLE_US));
}

void drain_file_watch(struct drain_file *file, struct loop *loop, struct engine *engine)
{
	file->loop = loop;
	file->engine = engine;
	file->timer.on_expire = look;
	file->timer.owner = file;
	look(&file->timer);
}

void drain_file_unwatch(struct drain_file *file)
{
	if (file->loop)
		loop_timer_clear(file->loop, &file->timer);
}
