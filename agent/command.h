/* The verbs. Each is one file cmd_VERB.c with one function; argv[0] is the verb, the result is the
 * exit status. And what they have in common: words of the command line may hold passwords, and what
 * a verb says about them must not. */
#ifndef READYD_AGENT_COMMAND_H
#define READYD_AGENT_COMMAND_H

#include <stddef.h>
#include <stdint.h>

struct faults;
struct override;

int cmd_serve(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_undrain(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_wait(int argc, char **argv);

enum { COMMAND_WORD_SIZE = 104 };

/* Writes a word of the command line for people: a target or NAME=VALUE, with anything that may be
 * a password masked, on one line, cut to fit with "..." at its end. */
void command_show_word(const char *word, char *shown, size_t size);

/* Prints "readyd VERB: SENTENCE: WORD; see `readyd VERB --help`" on stderr, the word as
 * command_show_word() has it, or none (NULL). Returns -1. */
int command_usage_error(const char *verb, const char *sentence, const char *word);

/* Says what is wrong with the option that getopt_long() has stopped at; `letter` is what it
 * returned: ':' or '?'. Returns -1. */
int command_option_error(const char *verb, int letter, char **argv);

/* Takes -o's "NAME=VALUE" as the next of `overrides`, of which *count of at most `max` are in use.
 * Returns 0, or -1 after saying what is wrong. */
int command_add_override(const char *verb, char *word, struct override *overrides, size_t max,
			 size_t *count);

/* Prints what is wrong with a configuration on stderr, a line each. */
void command_print_faults(const char *verb, const struct faults *faults);

/* Takes an option's value, a time above zero; 0, or -1 after saying what is wrong. */
int command_take_time(const char *verb, const char *option, const char *word, int64_t *ret_us);

/* Takes --timeout's value; 0, or -1 after saying what is wrong. */
int command_take_timeout(const char *verb, const char *word, int64_t *ret_us);

/* Prints a help text; 0, or -1 when it did not reach the reader. */
int command_print_help(const char *help);

/* Takes a word of argv that may hold a secret out of the process title, which every user of the
 * machine can read: if so, its bytes are overwritten with its masked form and a copy is returned
 * that lasts as long as the process. Otherwise returns the word itself. NULL without memory. */
char *command_take_word(char *word);

#endif
