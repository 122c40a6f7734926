/* The terminal under `run`: whose foreground the command's group is, what happens when Ctrl-Z stops
 * it, and how the terminal comes back. */
#ifndef READYD_AGENT_RUN_TERMINAL_H
#define READYD_AGENT_RUN_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>

struct run_terminal {
	int fd;     /* our controlling terminal; -1 = there is none */
	bool given; /* a command's group has been put in its foreground by us */
};

/* Finds the terminal. */
void run_terminal_open(struct run_terminal *terminal);

/* The descriptor with which a command that is about to start can become the foreground; -1 when
 * there is no terminal, or we ourselves are in the background. */
int run_terminal_to_give(const struct run_terminal *terminal);

/* Puts the group in the foreground if we are there. */
void run_terminal_give(struct run_terminal *terminal, pid_t group);

/* Puts ourselves in the foreground again if we gave it away. */
void run_terminal_take_back(struct run_terminal *terminal);

/* Stops us as Ctrl-Z stops a program, until somebody continues us. The kernel does not stop a
 * process that nobody could continue: then it returns at once. */
void run_terminal_suspend(void);

/* Whether a shell waits for us that would learn of our stopping. */
bool run_terminal_has_shell(void);

void run_terminal_close(struct run_terminal *terminal);

#endif
