#include "agent/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/loop.h"

enum {
	OUTPUT_MAX = 1024 * 1024,
	COLUMNS_DEFAULT = 80,
	ROWS_DEFAULT = 24,
};

bool terminal_is_capable(int fd)
{
	const char *kind = getenv("TERM");

	return isatty(fd) && kind && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
}

/* Others have the terminal too, so it must not be switched to non-blocking. */
static int open_again(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int terminal_open(struct terminal *terminal, int fd)
{
	*terminal = (struct terminal){.fd = open_again(fd)};
	buffer_init(&terminal->output, OUTPUT_MAX);
	return terminal->fd >= 0 ? 0 : -1;
}

/* Writes what the terminal takes. Returns whether all is written. */
static bool flush(struct terminal *terminal)
{
	struct buffer *output = &terminal->output;

	while (terminal->written < output->len) {
		struct pollfd writable = {.fd = terminal->fd, .events = POLLOUT};
		ssize_t len;

		if (poll(&writable, 1, 0) <= 0)
			return false;
		len = write(terminal->fd, output->data + terminal->written,
			    output->len - terminal->written);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			return false;
		if (len < 0)
			break; /* nobody will ever read it */
		terminal->written += (size_t)len;
	}
	buffer_clear(output);
	terminal->written = 0;
	return true;
}

/* Each time, because only the processes in the foreground are told of a change. */
void terminal_take_size(struct terminal *terminal)
{
	struct winsize size = {0};

	ioctl(terminal->fd, TIOCGWINSZ, &size);
	terminal->columns = size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
	terminal->rows = size.ws_row > 0 ? size.ws_row : ROWS_DEFAULT;
}

size_t terminal_room(const struct terminal *terminal)
{
	return terminal->rows > 1 ? terminal->rows - 1 : 1;
}

/* To the first line that was drawn, which will be written over. */
static void go_back(struct terminal *terminal)
{
	buffer_text(&terminal->output, "\r");
	if (terminal->below > 0)
		buffer_format(&terminal->output, "\033[%zuA", terminal->below);
	terminal->drawn = terminal->below = 0;
}

/* A line is erased before it is written: after one that is as wide as the terminal the cursor still
 * stands on its last character. */
bool terminal_begin(struct terminal *terminal)
{
	if (!flush(terminal))
		return false;
	terminal_take_size(terminal);
	go_back(terminal);
	/* What is wider than it seems must not go on in the next line. */
	buffer_text(&terminal->output, "\033[?7l");
	buffer_text(&terminal->output, terminal->rows > 1 ? "\033[K" : "\033[J");
	return true;
}

void terminal_end_line(struct terminal *terminal)
{
	terminal->drawn++;
	/* In the only line there is, another one would scroll it away. */
	if (terminal->rows < 2)
		return;
	buffer_text(&terminal->output, "\r\n\033[K");
	terminal->below++;
}

void terminal_end(struct terminal *terminal)
{
	buffer_text(&terminal->output, terminal->rows > 1 ? "\033[J\033[?7h" : "\033[?7h");
	flush(terminal);
}

void terminal_resume(struct terminal *terminal)
{
	terminal->drawn = terminal->below = 0;
}

void terminal_wipe(struct terminal *terminal)
{
	if (terminal->drawn == 0)
		return;
	go_back(terminal);
	buffer_text(&terminal->output, "\033[J\033[?7h");
}

void terminal_close(struct terminal *terminal, int64_t wait_us)
{
	int64_t end_us = clock_monotonic_us() + wait_us;

	while (!flush(terminal) && clock_monotonic_us() < end_us) {
		struct pollfd writable = {.fd = terminal->fd, .events = POLLOUT};

		poll(&writable, 1, 10);
	}
	close(terminal->fd);
	buffer_free(&terminal->output);
}
