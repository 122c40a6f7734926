/* Numbers and times as they are spelt in the configuration. */
#ifndef READYD_AGENT_NUMBER_H
#define READYD_AGENT_NUMBER_H

#include <stdbool.h>

/* A decimal number: an optional sign, digits, an optional fraction, and nothing else (no
 * hexadecimal, no octal: a leading zero of a whole number is refused, no exponent). Returns whether
 * it is one. */
bool parse_decimal(const char *text, double *ret_number);

/* As above, and whole, and small enough to be exact in a double. */
bool parse_whole(const char *text, double *ret_number);

/* true/false, yes/no, on/off in any case. Returns whether it is one of them. */
bool parse_boolean(const char *text, bool *ret_value);

#endif
