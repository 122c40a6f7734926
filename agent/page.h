/* The page for people at "/": agent/page/page.html with its style and script in it, as the build
 * has put them together (agent/page/assemble). It asks for /status by itself. */
#ifndef READYD_AGENT_PAGE_H
#define READYD_AGENT_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_len;

/* The value of Content-Security-Policy: the hashes of this style and this script, and requests to
 * this agent alone. */
extern const char page_policy[];

#endif
