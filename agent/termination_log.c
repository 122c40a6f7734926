#include "agent/termination_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/log.h"

enum { LENGTH_MAX = 4096 };

/* 0, or -1 with errno. */
static int write_line(int fd, const char *text)
{
	char line[LENGTH_MAX];
	size_t len = strnlen(text, sizeof(line) - 1);
	ssize_t written;

	memcpy(line, text, len);
	line[len++] = '\n';
	written = write(fd, line, len);
	if (written >= 0 && (size_t)written < len)
		errno = ENOSPC;
	return written == (ssize_t)len ? 0 : -1;
}

void termination_log_write(const char *path, const char *text)
{
	int fd, error_number = 0;

	if (!path || path[0] == '\0')
		return;
	/* Should it be a pipe or a terminal, then nobody is waited for. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
	if (fd < 0 || write_line(fd, text) < 0)
		error_number = errno;
	if (fd >= 0)
		close(fd);
	if (error_number != 0) {
		char message[512];
		struct log_field fields[] = {log_text("message", message), {0}};

		snprintf(message, sizeof(message), "cannot write terminationLogFile %.300s: %s",
			 path, strerror(error_number));
		log_event(LOG_ERROR, "termination_log", fields);
	}
}
