/* Drains the instance while drain.file exists: for those who can put a file there but not run a
 * command. */
#ifndef READYD_AGENT_DRAIN_FILE_H
#define READYD_AGENT_DRAIN_FILE_H

#include <stdbool.h>

#include "agent/engine.h"
#include "agent/loop.h"

/* Embedded in its owner; zero-filled is valid and idle. */
struct drain_file {
	struct loop *loop;
	struct engine *engine;
	struct loop_timer timer;
};

/* Whether the file that the settings name is there. */
bool drain_file_exists(const struct settings *settings);

/* Looks now, and goes on looking several times a second at the file that the engine's present
 * configuration names. It is looked at, not watched, because changes from outside a container do
 * not always come with a notification. */
void drain_file_watch(struct drain_file *file, struct loop *loop, struct engine *engine);

/* Stops looking; harmless when idle. */
void drain_file_unwatch(struct drain_file *file);

#endif
