/* The verbs. Each is one file cmd_VERB.c with one function; argv[0] is the verb, the result is the
 * exit status. */
#ifndef READYD_AGENT_COMMAND_H
#define READYD_AGENT_COMMAND_H

int cmd_serve(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_config(int argc, char **argv);

#endif
