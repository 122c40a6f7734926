/* Which form of an answer an Accept header asks for. Pure. */
#ifndef READYD_AGENT_NEGOTIATE_H
#define READYD_AGENT_NEGOTIATE_H

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_HEALTH_JSON };

/* The format that the value of an Accept header likes best (RFC 9110, section 12.5.1), NULL = none
 * given; text unless another is named. */
enum format negotiate_format(const char *accept);

/* The Content-Type of a format. */
const char *format_content_type(enum format format);

#endif
