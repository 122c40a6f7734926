#include "agent/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const char *program_search_path(const char *name, char *const *environment)
{
	if (strchr(name, '/'))
		return NULL;
	for (; *environment; environment++) {
		if (strncmp(*environment, "PATH=", 5) == 0)
			return *environment + 5;
	}
	return default_path;
}

/* ---- starting ---- */

/* Tries each directory of the search path, as a shell does. Returns only on failure, with errno. */
static void execute_from_path(char *const *argv, char *const *environment, const char *directory)
{
	size_t name_size = strlen(argv[0]) + 1;
	char path[PATH_MAX];
	int reason = ENOENT;

	for (;;) {
		size_t len = strcspn(directory, ":");

		if (len + 1 + name_size <= sizeof(path)) {
			memcpy(path, directory, len);
			path[len] = '/';
			memcpy(path + len + (len > 0), argv[0], name_size);
			execve(path, argv, environment);
			if (errno != ENOENT && errno != ENOTDIR)
				reason = errno;
			if (reason != ENOENT && reason != EACCES)
				break;
		}
		if (directory[len] == '\0')
			break;
		directory += len + 1;
	}
	errno = reason;
}

void program_execute(char *const *argv, char *const *environment, const char *search_path)
{
	if (argv[0][0] == '\0')
		errno = ENOENT; /* and not the directory that a search would find */
	else if (search_path)
		execute_from_path(argv, environment, search_path);
	else
		execve(argv[0], argv, environment);
}

/* ---- why it failed ---- */

/* A file that was meant. */
struct found {
	int directory_fd; /* of what a relative path begins at */
	char path[PATH_MAX];
	struct stat status;
};

/* Finds the file that was meant, also relative to the directory. False when there is none. */
static bool find_program(const char *name, const char *search_path, struct found *found)
{
	if (!search_path) {
		snprintf(found->path, sizeof(found->path), "%s", name);
		return fstatat(found->directory_fd, found->path, &found->status, 0) == 0;
	}
	for (;;) {
		size_t len = strcspn(search_path, ":");

		snprintf(found->path, sizeof(found->path), "%.*s%s%s", (int)len, search_path,
			 len > 0 ? "/" : "", name);
		if (fstatat(found->directory_fd, found->path, &found->status, 0) == 0)
			return true;
		if (search_path[len] == '\0')
			return false;
		search_path += len + 1;
	}
}

/* The file is there and its start says ENOENT: what it needs to run is missing. */
static void explain_interpreter(const char *name, const struct found *found, struct error *error)
{
	int fd = openat(found->directory_fd, found->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char line[128] = ""; /* ends with NUL, whatever is read */
	ssize_t len = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (len > 2 && memcmp(line, "#!", 2) == 0) {
		const char *interpreter = line + 2 + strspn(line + 2, " \t");
		size_t interpreter_len = strcspn(interpreter, " \t\r\n");

		error_set(error, "cannot start %.100s: its interpreter %.*s does not exist%s", name,
			  (int)interpreter_len, interpreter,
			  interpreter[interpreter_len] == '\r'
				  ? ", because the line ends as on Windows"
				  : "");
	} else {
		error_set(
			error,
			"cannot start %.100s: the dynamic loader it was linked for does not exist",
			name);
	}
}

static const char *why_denied(const struct found *found)
{
	struct statvfs file_system;
	int fd;
	bool no_exec;

	if (S_ISDIR(found->status.st_mode))
		return "it is a directory";
	if (!S_ISREG(found->status.st_mode))
		return "it is not a regular file";
	if (!(found->status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
		return "it is not executable (chmod +x is missing)";
	fd = openat(found->directory_fd, found->path, O_PATH | O_CLOEXEC);
	no_exec = fd >= 0 && fstatvfs(fd, &file_system) == 0 && file_system.f_flag & ST_NOEXEC;
	if (fd >= 0)
		close(fd);
	return no_exec ? "its file system is mounted noexec" : "permission denied";
}

void program_explain(const char *name, const char *search_path, const char *directory,
		     int error_number, struct error *error)
{
	struct found found = {.directory_fd = AT_FDCWD};
	const char *why = strerror(error_number);
	bool exists;

	if (name[0] == '\0') {
		error_set(error, "cannot start \"\": the name of the program is empty");
		return;
	}
	if (directory)
		found.directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	exists = find_program(name, search_path, &found);
	if (error_number == ENOENT && exists) {
		explain_interpreter(name, &found, error);
	} else {
		if (error_number == ENOENT)
			why = search_path ? "no such program in PATH" : "no such file";
		else if (error_number == EACCES && exists)
			why = why_denied(&found);
		else if (error_number == ENOTDIR)
			why = "a part of its path is not a directory";
		else if (error_number == ENOEXEC)
			why = "it is neither a program for this machine nor a script with a #! "
			      "line";
		error_set(error, "cannot start %.100s: %s", name, why);
	}
	if (found.directory_fd >= 0)
		close(found.directory_fd);
}
