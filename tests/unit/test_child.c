/* Child processes, real ones: how they start, what they inherit, how they end and what they leave.
 */
#include "agent/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/account.h"
#include "agent/loop.h"

enum { WORDS_MAX = 15, TEXT_SIZE = 4096, PATIENCE_US = 20 * 1000 * 1000 };

static struct loop *loop;
static char directory[] = "/tmp/readyd-test-XXXXXX";

/* A command under way and what has come of it. */
struct trial {
	struct child child;
	int output_fd;
	bool ended;
	int status;
	char output[TEXT_SIZE];
	int error_number;
	struct error error;
};

static void on_exit_status(struct child *child, int status)
{
	struct trial *trial = child->owner;

	assert_false(trial->ended);
	trial->ended = true;
	trial->status = status;
}

/* Starts a command whose arguments are the parts of `arguments` between bars. */
static int begin(struct trial *trial, const char *arguments, struct child_command command)
{
	char text[TEXT_SIZE], *rest = text, *argv[WORDS_MAX + 1];
	size_t count = 0;

	*trial = (struct trial){.output_fd = -1};
	trial->child.on_exit = on_exit_status;
	trial->child.owner = trial;
	snprintf(text, sizeof(text), "%s", arguments);
	while (rest && count < WORDS_MAX)
		argv[count++] = strsep(&rest, "|");
	argv[count] = NULL;
	command.argv = argv;
	return child_spawn(&trial->child, &command, &trial->output_fd, &trial->error_number,
			   &trial->error);
}

static void turn_until(bool (*done)(const void *), const void *what)
{
	int64_t end_us = clock_monotonic_us() + PATIENCE_US;

	while (!done(what)) {
		assert_true(clock_monotonic_us() < end_us);
		loop_turn(loop, 100000);
	}
}

static bool has_ended(const void *what)
{
	const struct trial *trial = what;

	return trial->ended;
}

static bool none_left(const void *what)
{
	(void)what;
	return child_count() == 0;
}

/* Waits for the end and takes the output. */
static void finish(struct trial *trial)
{
	ssize_t len;

	turn_until(has_ended, trial);
	len = read(trial->output_fd, trial->output, sizeof(trial->output) - 1);
	trial->output[len > 0 ? len : 0] = '\0';
	close(trial->output_fd);
}

/* Runs a command to its end; it must start. */
static void run(struct trial *trial, const char *arguments, struct child_command command)
{
	if (begin(trial, arguments, command) < 0)
		fail_msg("%s", trial->error.text);
	finish(trial);
}

static void run_shell(struct trial *trial, const char *script)
{
	char arguments[TEXT_SIZE];

	snprintf(arguments, sizeof(arguments), "sh|-c|%s", script);
	run(trial, arguments, (struct child_command){0});
}

/* Runs `act` in a process of its own, whose exit status it returns. */
static int in_another_process(void (*act)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		child_shutdown(0);
		loop = loop_create();
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int count_descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(list);
	while (readdir(list))
		count++;
	closedir(list);
	return count;
}

static void assert_no_children(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int set_up(void **state)
{
	struct error error;

	(void)state;
	loop = loop_create();
	return loop && mkdtemp(directory) && child_init(loop, &error) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[256];

	(void)state;
	child_shutdown(PATIENCE_US);
	loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* ---- how they end ---- */

static void test_exit_codes_and_signals(void **state)
{
	struct trial trial;

	(void)state;
	run_shell(&trial, "echo out; echo err >&2; exit 0");
	assert_true(WIFEXITED(trial.status));
	assert_int_equal(WEXITSTATUS(trial.status), 0);
	assert_string_equal(trial.output, "out\nerr\n");
	assert_int_equal(trial.child.pid, 0);
	run_shell(&trial, "exit 127");
	assert_int_equal(WEXITSTATUS(trial.status), 127);
	run_shell(&trial, "kill -TERM $$");
	assert_true(WIFSIGNALED(trial.status));
	assert_int_equal(WTERMSIG(trial.status), SIGTERM);
	run(&trial, "echo|a b|$HOME;*", (struct child_command){0});
	assert_string_equal(trial.output, "a b $HOME;*\n");
}

static void test_group_is_killed_when_its_leader_ends(void **state)
{
	struct trial trial;
	pid_t background;

	(void)state;
	run_shell(&trial, "sleep 1000 & echo $!; exit 3");
	assert_int_equal(WEXITSTATUS(trial.status), 3);
	background = (pid_t)strtol(trial.output, NULL, 10);
	assert_true(background > 1);
	turn_until(none_left, NULL);
	assert_int_equal(kill(background, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_no_children();
}

static bool output_has_line(const void *what)
{
	const struct trial *trial = what;

	return strchr(trial->output, '\n') != NULL;
}

static void test_abandoned_group_is_killed_and_reaped(void **state)
{
	struct trial trial;
	pid_t background;

	(void)state;
	/* it ignores what can be ignored */
	assert_int_equal(begin(&trial, "sh|-c|trap '' TERM INT HUP; sleep 1000 & echo $!; wait",
			       (struct child_command){0}),
			 0);
	while (!output_has_line(&trial)) {
		loop_turn(loop, 10000);
		if (read(trial.output_fd, trial.output, sizeof(trial.output) - 1) == 0)
			fail_msg("it has ended");
	}
	background = (pid_t)strtol(trial.output, NULL, 10);
	assert_int_equal(kill(background, 0), 0);
	assert_int_equal(child_count(), 1);
	child_abandon(&trial.child);
	child_abandon(&trial.child);
	assert_int_equal(trial.child.pid, 0);
	turn_until(none_left, NULL);
	assert_false(trial.ended);
	assert_int_equal(kill(background, 0), -1);
	close(trial.output_fd);
	assert_no_children();
}

static void test_signal_reaches_the_group(void **state)
{
	struct trial trial;

	(void)state;
	assert_int_equal(begin(&trial, "sh|-c|trap 'exit 7' TERM; echo; sleep 1000; exit 1",
			       (struct child_command){0}),
			 0);
	while (read(trial.output_fd, trial.output, 1) != 1)
		loop_turn(loop, 10000);
	/* The shell acts on it only when the sleep, which gets it too, has ended; and again,
	 * because the first may come between the two. */
	while (!trial.ended) {
		child_signal_group(&trial.child, SIGTERM);
		loop_turn(loop, 10000);
	}
	finish(&trial);
	assert_int_equal(WEXITSTATUS(trial.status), 7);
	child_signal_group(&trial.child, SIGTERM);
}

static bool no_children(const void *what)
{
	(void)what;
	return waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT) < 0;
}

static void test_orphans_of_other_groups_are_reaped(void **state)
{
	struct trial trial;

	(void)state;
	run_shell(&trial, "setsid sh -c 'sleep 0.2; exit 5' & exit 0");
	assert_int_equal(WEXITSTATUS(trial.status), 0);
	turn_until(no_children, NULL);
}

static void test_many_at_once(void **state)
{
	enum { COUNT = 200 };
	static struct trial trials[COUNT];
	int before = count_descriptors();

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		char arguments[64];

		snprintf(arguments, sizeof(arguments), "sh|-c|exit %d", i);
		assert_int_equal(begin(&trials[i], arguments, (struct child_command){0}), 0);
	}
	for (int i = 0; i < COUNT; i++) {
		finish(&trials[i]);
		assert_int_equal(WEXITSTATUS(trials[i].status), i);
	}
	turn_until(none_left, NULL);
	assert_no_children();
	assert_int_equal(count_descriptors(), before);
}

static void free_owner(struct child *child, int status)
{
	int *result = child->owner;

	*result = status;
	free(child);
}

static bool is_set(const void *what)
{
	return *(const int *)what >= 0;
}

static void test_owner_may_go_in_the_callback(void **state)
{
	struct child *child = calloc(1, sizeof(*child));
	char program[] = "true", *argv[] = {program, NULL};
	int result = -1, output_fd, error_number;

	(void)state;
	assert_non_null(child);
	child->on_exit = free_owner;
	child->owner = &result;
	assert_int_equal(child_spawn(child, &(struct child_command){.argv = argv}, &output_fd,
				     &error_number, NULL),
			 0);
	turn_until(is_set, &result);
	close(output_fd);
}

/* ---- why they do not start ---- */

static void test_cannot_start(void **state)
{
	static const struct {
		const char *program;
		int error_number;
		const char *sentence;
	} rows[] = {
		{"missing", ENOENT, "no such file"},
		{"plain", EACCES, "it is not executable (chmod +x is missing)"},
		{"", EACCES, "it is a directory"},
		{"plain/x", ENOTDIR, "a part of its path is not a directory"},
		{"garbage", ENOEXEC,
		 "it is neither a program for this machine nor a script with a #! line"},
		{"orphan-script", ENOENT, "its interpreter /no/such/sh does not exist"},
		{"windows-script", ENOENT,
		 "its interpreter /bin/sh does not exist, because the line ends as on Windows"},
	};
	int before = count_descriptors();

	(void)state;
	write_file("plain", "#!/bin/sh\n", 0644);
	write_file("garbage",
		   "\x7f"
		   "ELF?",
		   0755);
	write_file("orphan-script", "#! /no/such/sh -e\n", 0755);
	write_file("windows-script", "#!/bin/sh\r\nexit 0\r\n", 0755);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trial trial;
		char expected[ERROR_TEXT_SIZE], path[256];

		snprintf(path, sizeof(path), "%s", path_of(rows[i].program));
		assert_int_equal(begin(&trial, path, (struct child_command){0}), -1);
		snprintf(expected, sizeof(expected), "cannot start %s: %s", path, rows[i].sentence);
		assert_string_equal(trial.error.text, expected);
		assert_int_equal(trial.error_number, rows[i].error_number);
		assert_int_equal(trial.child.pid, 0);
	}
	assert_int_equal(child_count(), 0);
	assert_no_children();
	assert_int_equal(count_descriptors(), before);
}

static void test_cannot_start_there_or_as_that_user(void **state)
{
	struct trial trial;

	(void)state;
	assert_int_equal(begin(&trial, "no-such-program", (struct child_command){0}), -1);
	assert_string_equal(trial.error.text,
			    "cannot start no-such-program: no such program in PATH");
	assert_int_equal(begin(&trial, "true", (struct child_command){.directory = "/no/dir"}), -1);
	assert_string_equal(
		trial.error.text,
		"cannot start true in the directory /no/dir: No such file or directory");
	assert_int_equal(begin(&trial, "true", (struct child_command){.user = "nosuch"}), -1);
	assert_string_equal(trial.error.text,
			    "cannot start true: there is no user \"nosuch\" in /etc/passwd");
	assert_no_children();
}

/* ---- what they inherit ---- */

static void test_no_descriptor_is_inherited(void **state)
{
	struct trial trial;
	int low = open("/dev/null", O_RDWR), high = fcntl(low, F_DUPFD, 500);

	(void)state;
	assert_true(low >= 0 && high >= 500);
	/* the fourth is the list's own */
	run(&trial, "ls|/proc/self/fd", (struct child_command){0});
	assert_string_equal(trial.output, "0\n1\n2\n3\n");
	/* ours may well be /dev/null itself */
	dup2(STDIN_FILENO, high);
	write_file("input", "secret", 0600);
	assert_int_equal(dup2(open(path_of("input"), O_RDONLY), STDIN_FILENO), STDIN_FILENO);
	run_shell(&trial, "readlink /proc/self/fd/0; cat");
	dup2(high, STDIN_FILENO);
	assert_string_equal(trial.output, "/dev/null\n");
	close(low);
	close(high);
}

/* As on a kernel, or under a seccomp filter, without close_range. */
static void run_without_close_range(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	assert_int_equal(child_init(loop, NULL), 0);
	test_no_descriptor_is_inherited(NULL);
}

static void test_no_descriptor_is_inherited_without_close_range(void **state)
{
	(void)state;
	/* a filter cannot be taken back */
	assert_int_equal(in_another_process(run_without_close_range), 0);
}

/* Then what we open takes their numbers. */
static void run_with_closed_standard_descriptors(void)
{
	struct trial trial;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	assert_int_equal(child_init(loop, NULL), 0);
	run(&trial, "ls|/proc/self/fd", (struct child_command){0});
	assert_string_equal(trial.output, "0\n1\n2\n3\n");
}

static void test_closed_standard_descriptors(void **state)
{
	(void)state;
	assert_int_equal(in_another_process(run_with_closed_standard_descriptors), 0);
}

static void test_session_and_signals(void **state)
{
	struct trial trial;
	sigset_t some;
	char zeroes[128];

	(void)state;
	/* pid, parent, group and session, from the file's first and fourth to sixth word */
	run_shell(&trial, "read -r pid name state parent group session rest < /proc/$$/stat; "
			  "test $$ = $group && test $$ = $session && echo $parent");
	assert_int_equal(strtol(trial.output, NULL, 10), getpid());
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigaddset(&some, SIGPIPE);
	sigprocmask(SIG_BLOCK, &some, NULL);
	run(&trial, "sed|-n|/^Sig[BI]/p|/proc/self/status", (struct child_command){0});
	snprintf(zeroes, sizeof(zeroes), "SigBlk:\t%016d\nSigIgn:\t%016d\n", 0, 0);
	assert_string_equal(trial.output, zeroes);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &some, NULL);
}

static void test_descriptor_limit(void **state)
{
	struct trial trial;
	struct rlimit limit;
	char expected[32];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	snprintf(expected, sizeof(expected), "%lu\n", (unsigned long)limit.rlim_cur);
	run_shell(&trial, "ulimit -n");
	assert_string_equal(trial.output, expected);
	child_set_descriptor_limit(123);
	run_shell(&trial, "ulimit -Sn");
	assert_string_equal(trial.output, "123\n");
	child_set_descriptor_limit(0);
}

static void test_environment_directory_and_path(void **state)
{
	char path[64], variable[] = "GREETING=hello", *environment[] = {variable, path, NULL};
	char expected[256];
	struct trial trial;

	(void)state;
	run(&trial, "/usr/bin/env", (struct child_command){.environment = environment + 2});
	assert_string_equal(trial.output, "");
	write_file("greet", "#!/bin/sh\necho $GREETING from $PWD\n", 0755);
	write_file("denied", "#!/bin/sh\n", 0644);
	snprintf(expected, sizeof(expected), "hello from %s\n", directory);
	/* found in the child's PATH, not in ours, behind one that may not be run */
	snprintf(path, sizeof(path), "PATH=/nowhere:/etc/passwd:%s", directory);
	run(&trial, "greet",
	    (struct child_command){.environment = environment, .directory = directory});
	assert_string_equal(trial.output, expected);
	/* relative to the child's directory: as a path, in an empty and in a relative entry */
	run(&trial, "./greet",
	    (struct child_command){.environment = environment, .directory = directory});
	assert_string_equal(trial.output, expected);
	snprintf(path, sizeof(path), "PATH=/nowhere:");
	run(&trial, "greet",
	    (struct child_command){.environment = environment, .directory = directory});
	assert_string_equal(trial.output, expected);
	assert_int_equal(begin(&trial, "denied",
			       (struct child_command){.environment = environment,
						      .directory = directory}),
			 -1);
	assert_string_equal(trial.error.text,
			    "cannot start denied: it is not executable (chmod +x is missing)");
}

/* ---- users ---- */

static void test_accounts(void **state)
{
	static const struct {
		const char *text;
		uid_t uid;
		gid_t gid;
	} rows[] = {
		{"root", 0, 0},        {"0", 0, 0},
		{"daemon", 1, 1},      {"1", 1, 1},
		{"daemon:root", 1, 0}, {"123456:7", 123456, 7},
		{"1:sys", 1, 3},       {"4294967294", 4294967294U, 0},
	};
	static const char *const wrong[] = {"",       ":",
					    "root:",  ":root",
					    "nosuch", "root:nosuch",
					    "-1",     "4294967295",
					    "1x",     "root:4294967295"};
	struct account account;
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(account_find(rows[i].text, &account, &error), 0);
		assert_int_equal(account.uid, rows[i].uid);
		assert_int_equal(account.gid, i == 7 ? getegid() : rows[i].gid);
		assert_true(account.group_count >= 1);
		assert_int_equal(account.groups[0], account.gid);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		error.text[0] = '\0';
		assert_int_equal(account_find(wrong[i], &account, &error), -1);
		assert_true(error.text[0] != '\0');
	}
}

static void test_user(void **state)
{
	struct trial trial;
	char own[64];

	(void)state;
	/* our own user needs no privilege */
	snprintf(own, sizeof(own), "%u:%u", (unsigned)geteuid(), (unsigned)getegid());
	run(&trial, "true", (struct child_command){.user = own});
	assert_int_equal(trial.status, 0);
	if (geteuid() != 0) {
		assert_int_equal(begin(&trial, "id", (struct child_command){.user = "daemon"}), -1);
		assert_string_equal(
			trial.error.text,
			"cannot start id as the user daemon: readyd may not change its user");
		return;
	}
	assert_int_equal(setgroups(2, (gid_t[]){0, 42}), 0);
	run(&trial, "id|-u", (struct child_command){.user = "daemon"});
	assert_string_equal(trial.output, "1\n");
	run(&trial, "sh|-c|id -g; id -G; cat /etc/shadow 2>/dev/null",
	    (struct child_command){.user = "54321:6"});
	assert_string_equal(trial.output, "6\n6\n");
	setgroups(0, NULL);
	/* what root may start and the user may not */
	write_file("private", "#!/bin/sh\n", 0700);
	chmod(directory, 0755);
	assert_int_equal(begin(&trial, path_of("private"),
			       (struct child_command){.user = "daemon"}),
			 -1);
	assert_int_equal(trial.error_number, EACCES);
	assert_non_null(strstr(trial.error.text, ": permission denied"));
}

/* ---- the end of the program ---- */

/* Whoever started us may ignore SIGCHLD, and then the kernel would do our reaping. */
static void run_with_ignored_sigchld(void)
{
	struct trial trial;

	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(child_init(loop, NULL), 0);
	run_shell(&trial, "exit 3");
	assert_int_equal(WEXITSTATUS(trial.status), 3);
}

static void test_ignored_sigchld(void **state)
{
	(void)state;
	assert_int_equal(in_another_process(run_with_ignored_sigchld), 0);
}

static void start_and_be_killed(void)
{
	struct trial trial;

	if (child_init(loop, NULL) == 0)
		begin(&trial, "sleep|1000", (struct child_command){0});
	kill(getpid(), SIGKILL);
}

static void test_child_does_not_outlive_us(void **state)
{
	(void)state;
	assert_int_equal(in_another_process(start_and_be_killed), SIGKILL);
	/* we are the subreaper that it has come to */
	turn_until(no_children, NULL);
}

static void test_shutdown_leaves_nothing(void **state)
{
	struct trial trials[3];
	int before;

	(void)state;
	child_shutdown(PATIENCE_US);
	before = count_descriptors();
	assert_int_equal(child_init(loop, NULL), 0);
	assert_int_equal(child_init(loop, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(begin(&trials[i], "sh|-c|sleep 1000 & sleep 1000",
				       (struct child_command){0}),
				 0);
	child_shutdown(PATIENCE_US);
	assert_int_equal(child_count(), 0);
	assert_no_children();
	for (size_t i = 0; i < 3; i++) {
		assert_false(trials[i].ended);
		close(trials[i].output_fd);
	}
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(child_init(loop, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes_and_signals),
		cmocka_unit_test(test_group_is_killed_when_its_leader_ends),
		cmocka_unit_test(test_abandoned_group_is_killed_and_reaped),
		cmocka_unit_test(test_signal_reaches_the_group),
		cmocka_unit_test(test_orphans_of_other_groups_are_reaped),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_owner_may_go_in_the_callback),
		cmocka_unit_test(test_cannot_start),
		cmocka_unit_test(test_cannot_start_there_or_as_that_user),
		cmocka_unit_test(test_no_descriptor_is_inherited),
		cmocka_unit_test(test_no_descriptor_is_inherited_without_close_range),
		cmocka_unit_test(test_closed_standard_descriptors),
		cmocka_unit_test(test_session_and_signals),
		cmocka_unit_test(test_descriptor_limit),
		cmocka_unit_test(test_environment_directory_and_path),
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_ignored_sigchld),
		cmocka_unit_test(test_child_does_not_outlive_us),
		cmocka_unit_test(test_shutdown_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
