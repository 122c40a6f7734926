#include "agent/inherited.h"

#include <stddef.h>
#include <sys/prctl.h>

void inherited_save(struct inherited *inherited)
{
	sigprocmask(SIG_SETMASK, NULL, &inherited->blocked);
	sigemptyset(&inherited->ignored);
	/* The C library refuses to speak of the few that it keeps to itself; they are not touched.
	 */
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;

		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			sigaddset(&inherited->ignored, number);
	}
	inherited->has_descriptors = getrlimit(RLIMIT_NOFILE, &inherited->descriptors) == 0;
	inherited->subreaper = 0;
	prctl(PR_GET_CHILD_SUBREAPER, &inherited->subreaper);
}

void inherited_restore(const struct inherited *inherited)
{
	for (int number = 1; number < NSIG; number++) {
		bool ignored = sigismember(&inherited->ignored, number) == 1;
		struct sigaction action = {.sa_handler = ignored ? SIG_IGN : SIG_DFL};

		sigaction(number, &action, NULL);
	}
	if (inherited->has_descriptors)
		setrlimit(RLIMIT_NOFILE, &inherited->descriptors);
	/* Unlike most of its kind it outlives exec. */
	prctl(PR_SET_CHILD_SUBREAPER, inherited->subreaper);
	sigprocmask(SIG_SETMASK, &inherited->blocked, NULL);
}
