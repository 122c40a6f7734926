/* What this binary is made of. */
#ifndef READYD_AGENT_VERSION_H
#define READYD_AGENT_VERSION_H

#include "agent/buffer.h"

/* The version and those of the linked libraries, one a line. */
void version_text(struct buffer *buffer);

/* The same as a JSON object: {"readyd": "…", "tls": true, "libraries": {"libcurl": "…", …}}. */
void version_json(struct buffer *buffer);

#endif
