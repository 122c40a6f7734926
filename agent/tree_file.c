#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tree.h"

/* Reads one byte more than is allowed, so that too much is noticed and nothing more is read. */
static int read_and_parse(struct tree *tree, const char *origin, int fd, struct faults *faults)
{
	size_t size = TREE_TEXT_MAX + 1, len = 0;
	struct node at = {.origin = origin};
	char *text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	if (text == MAP_FAILED) {
		faults_add(faults, NULL, "out of memory");
		return -1;
	}
	while (len < size) {
		ssize_t got = read(fd, text + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			faults_add(faults, &at, "cannot be read: %s", strerror(errno));
			munmap(text, size);
			return -1;
		}
		if (got == 0)
			break;
		len += (size_t)got;
	}
	result = tree_read_yaml(tree, origin, text, len, faults);
	munmap(text, size);
	return result;
}

int tree_read_file(struct tree *tree, const char *path, struct faults *faults)
{
	struct node at = {.origin = path};
	struct stat status;
	int fd, result = -1;

	if (strcmp(path, "-") == 0)
		return read_and_parse(tree, "standard input", STDIN_FILENO, faults);
	/* Non-blocking, or opening a pipe that nobody writes to would never return. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		faults_add(faults, &at, "cannot be opened: %s", strerror(errno));
		return -1;
	}
	if (fstat(fd, &status) != 0)
		faults_add(faults, &at, "cannot be read: %s", strerror(errno));
	else if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) /* /dev/null is empty */
		faults_add(faults, &at, "is not a regular file (\"-\" reads standard input)");
	else
		result = read_and_parse(tree, path, fd, faults);
	close(fd);
	return result;
}
