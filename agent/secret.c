#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/field.h"

enum { SECRET_SIZE_MAX = 64 * 1024 };

bool secret_is_set(const struct secret *secret)
{
	return secret->value || secret->file;
}

void secret_wipe(char *text)
{
	if (!text)
		return;
	explicit_bzero(text, strlen(text));
	free(text);
}

/* Reads to the end of the file or of the room; -1 with errno. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t got = read(fd, bytes + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

/* The open file's text without the newlines at its end; NULL with a sentence. */
static char *read_text(int fd, const char *path, struct error *error)
{
	struct stat status;
	size_t len, size;
	ssize_t got;
	char *text;

	if (fstat(fd, &status) != 0) {
		error_set(error, "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(status.st_mode)) {
		error_set(error, "%s is not a regular file", path);
		return NULL;
	}
	if (status.st_size > SECRET_SIZE_MAX) {
		error_set(error, "%s is larger than %d KiB", path, SECRET_SIZE_MAX / 1024);
		return NULL;
	}
	/* One byte more tells a file that has grown meanwhile; files of /proc have no size. */
	size = status.st_size > 0 ? (size_t)status.st_size + 1 : SECRET_SIZE_MAX + 1;
	text = calloc(1, size + 1);
	if (!text) {
		error_set(error, "out of memory");
		return NULL;
	}
	got = read_all(fd, text, size);
	len = got > 0 ? (size_t)got : 0;
	if (got < 0)
		error_set(error, "cannot read %s: %s", path, strerror(errno));
	else if (len > SECRET_SIZE_MAX)
		error_set(error, "%s is larger than %d KiB", path, SECRET_SIZE_MAX / 1024);
	else if (memchr(text, '\0', len))
		error_set(error, "%s contains a NUL byte and is no text", path);
	else {
		while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
			text[--len] = '\0';
		return text;
	}
	explicit_bzero(text, size);
	free(text);
	return NULL;
}

char *secret_read(const struct secret *secret, struct error *error)
{
	char *text;
	int fd;

	error_set(error, "%s", "");
	if (!secret->file) {
		text = secret->value ? strdup(secret->value) : NULL;
		if (!text && secret->value)
			error_set(error, "out of memory");
		return text;
	}
	/* Non-blocking, or opening a pipe that nobody writes to would never return. */
	fd = open(secret->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		error_set(error, "cannot open %s: %s", secret->file, strerror(errno));
		return NULL;
	}
	text = read_text(fd, secret->file, error);
	close(fd);
	return text;
}
