/* The HTTP side: connections and answers, by libmicrohttpd, whose header only serve.c includes. */
#ifndef READYD_AGENT_SERVE_H
#define READYD_AGENT_SERVE_H

#include "agent/engine.h"
#include "agent/error.h"
#include "agent/loop.h"
#include "agent/requests.h"

struct server;

/* Opens the listeners of the configuration and begins to answer. NULL with a sentence. The engine
 * must outlive the server. Limits and details are read from the engine's configuration as they are
 * needed, so a reload of the engine suffices. */
struct server *server_create(struct loop *loop, struct engine *engine, struct error *error);

/* What `readyd drain --stop` calls: it begins the end and returns. */
void server_set_stop(struct server *server, void (*stop)(void *owner), void *owner);

/* Where those are counted who ask, for those that are answered elsewhere. */
struct requests *server_requests(struct server *server);

/* Answers all who are held, and closes everything. */
void server_destroy(struct server *server);

/* The libmicrohttpd version that is linked. */
const char *server_library_version(void);

#endif
