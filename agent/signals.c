#include "agent/signals.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	int number;
} signals[] = {
	{"HUP", SIGHUP},
	{"INT", SIGINT},
	{"QUIT", SIGQUIT},
	{"ILL", SIGILL},
	{"TRAP", SIGTRAP},
	{"ABRT", SIGABRT},
	{"BUS", SIGBUS},
	{"FPE", SIGFPE},
	{"KILL", SIGKILL},
	{"USR1", SIGUSR1},
	{"SEGV", SIGSEGV},
	{"USR2", SIGUSR2},
	{"PIPE", SIGPIPE},
	{"ALRM", SIGALRM},
	{"TERM", SIGTERM},
	{"STKFLT", SIGSTKFLT},
	{"CHLD", SIGCHLD},
	{"CONT", SIGCONT},
	{"STOP", SIGSTOP},
	{"TSTP", SIGTSTP},
	{"TTIN", SIGTTIN},
	{"TTOU", SIGTTOU},
	{"URG", SIGURG},
	{"XCPU", SIGXCPU},
	{"XFSZ", SIGXFSZ},
	{"VTALRM", SIGVTALRM},
	{"PROF", SIGPROF},
	{"WINCH", SIGWINCH},
	{"IO", SIGIO},
	{"PWR", SIGPWR},
	{"SYS", SIGSYS},
	{"POLL", SIGIO},
	{"IOT", SIGABRT},
	{"CLD", SIGCHLD},
	{"RTMIN", SIGNALS_REAL_TIME_FIRST},
	{"RTMAX", SIGNALS_LAST},
};

/* One or two digits, and nothing else; -1 for anything else. */
static int small_number(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len > 2 || strspn(text, "0123456789") != len)
		return -1;
	return (int)strtol(text, NULL, 10);
}

static int checked(int number, int lowest)
{
	return number >= lowest && number <= SIGNALS_LAST ? number : -1;
}

int signal_by_name(const char *text)
{
	size_t len;

	if (isdigit((unsigned char)text[0]))
		return checked(small_number(text), 1);
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	len = strcspn(text, "+-");
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int distance;

		if (strncasecmp(signals[i].name, text, len) != 0 || signals[i].name[len] != '\0')
			continue;
		if (text[len] == '\0')
			return signals[i].number;
		/* RTMIN+3 and RTMAX-3 */
		distance = small_number(text + len + 1);
		if (distance < 0 || signals[i].number != (text[len] == '+' ? SIGNALS_REAL_TIME_FIRST
									   : SIGNALS_LAST))
			return -1;
		return checked(signals[i].number + (text[len] == '+' ? distance : -distance),
			       SIGNALS_REAL_TIME_FIRST);
	}
	return -1;
}

void signal_print_name(int number, char name[static SIGNAL_NAME_SIZE])
{
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (signals[i].number == number) {
			snprintf(name, SIGNAL_NAME_SIZE, "SIG%s", signals[i].name);
			return;
		}
	}
	if (number > SIGNALS_REAL_TIME_FIRST && number <= SIGNALS_LAST)
		snprintf(name, SIGNAL_NAME_SIZE, "SIGRTMIN+%d", number - SIGNALS_REAL_TIME_FIRST);
	else
		snprintf(name, SIGNAL_NAME_SIZE, "%d", number);
}
