#include "agent/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS_PER_TURN = 256,
	/* I/O gets its chance after so many expired timers, so that ten thousand probes that are
	 * due together cannot keep an asker waiting. */
	TIMERS_PER_TURN = 64,
	SIGNALS_PER_TURN = 8,
};

struct heap_entry {
	int64_t at_us; /* a copy, so that sifting touches one array only */
	struct loop_timer *timer;
};

struct loop_signal {
	void (*on_signal)(void *owner, int signal_number);
	void *owner;
};

struct loop {
	int epoll_fd;
	bool stopped;
	int64_t now_us;

	struct epoll_event events[EVENTS_PER_TURN];
	int event_count; /* of the batch being delivered */

	struct heap_entry *heap; /* heap[0] is unused: positions count from 1 */
	size_t heap_len, heap_capacity;

	struct loop_task *first_task, **last_task;

	void (*on_turn)(void *owner);
	void *turn_owner;

	int signal_fd;
	sigset_t signals;
	struct loop_io signal_io;
	struct loop_signal handlers[NSIG];
};

int64_t clock_monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_once_us(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct loop *loop_create(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->signal_fd = -1;
	sigemptyset(&loop->signals);
	loop->last_task = &loop->first_task;
	loop->now_us = clock_monotonic_us();
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	return loop;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	close(loop->epoll_fd);
	free(loop->heap);
	free(loop);
}

int64_t loop_now_us(const struct loop *loop)
{
	return loop->now_us;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

void loop_set_observer(struct loop *loop, void (*on_turn)(void *owner), void *owner)
{
	loop->on_turn = on_turn;
	loop->turn_owner = owner;
}

/* ---- descriptors ---- */

static uint32_t epoll_mask(unsigned interest)
{
	uint32_t mask = 0;

	if (interest & LOOP_READ)
		mask |= EPOLLIN | EPOLLRDHUP;
	if (interest & LOOP_WRITE)
		mask |= EPOLLOUT;
	return mask;
}

int loop_io_set(struct loop *loop, struct loop_io *io, int fd, unsigned interest)
{
	struct epoll_event event = {.events = epoll_mask(interest), .data.ptr = io};
	bool known = io->interest != 0 && io->fd == fd;
	int result;

	if (interest == 0) {
		loop_io_clear(loop, io);
		return 0;
	}
	if (io->interest != 0 && io->fd != fd)
		loop_io_clear(loop, io);
	/* A library may have closed and reopened the same number since we last looked, so what we
	 * remember of the registration is a guess; the kernel's answer corrects it. */
	result = epoll_ctl(loop->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	if (result < 0 && known && errno == ENOENT)
		result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	else if (result < 0 && !known && errno == EEXIST)
		result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event);
	if (result < 0)
		return -1;
	io->fd = fd;
	io->interest = interest;
	return 0;
}

void loop_io_clear(struct loop *loop, struct loop_io *io)
{
	if (io->interest == 0)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	io->interest = 0;
	for (int i = 0; i < loop->event_count; i++) {
		if (loop->events[i].data.ptr == io)
			loop->events[i].data.ptr = NULL;
	}
}

static void deliver_io(struct loop *loop)
{
	for (int i = 0; i < loop->event_count; i++) {
		struct loop_io *io = loop->events[i].data.ptr;
		uint32_t mask = loop->events[i].events;
		unsigned events = 0;

		if (!io)
			continue;
		if (mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			events |= LOOP_READ;
		if (mask & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			events |= LOOP_WRITE;
		/* An error is told to whoever waits, whatever he waits for. */
		if (events & io->interest)
			io->on_ready(io, events & io->interest);
	}
	loop->event_count = 0;
}

/* ---- timers ---- */

static void heap_place(struct loop *loop, size_t position, struct heap_entry entry)
{
	loop->heap[position] = entry;
	entry.timer->position = position;
}

static void heap_sift_up(struct loop *loop, size_t position, struct heap_entry entry)
{
	while (position > 1 && loop->heap[position / 2].at_us > entry.at_us) {
		heap_place(loop, position, loop->heap[position / 2]);
		position /= 2;
	}
	heap_place(loop, position, entry);
}

static void heap_sift_down(struct loop *loop, size_t position, struct heap_entry entry)
{
	for (;;) {
		size_t child = position * 2;

		if (child > loop->heap_len)
			break;
		if (child < loop->heap_len && loop->heap[child + 1].at_us < loop->heap[child].at_us)
			child++;
		if (loop->heap[child].at_us >= entry.at_us)
			break;
		heap_place(loop, position, loop->heap[child]);
		position = child;
	}
	heap_place(loop, position, entry);
}

static void heap_settle(struct loop *loop, size_t position, struct heap_entry entry)
{
	if (position > 1 && loop->heap[position / 2].at_us > entry.at_us)
		heap_sift_up(loop, position, entry);
	else
		heap_sift_down(loop, position, entry);
}

int loop_reserve_timers(struct loop *loop, size_t count)
{
	struct heap_entry *heap;

	if (count <= loop->heap_capacity)
		return 0;
	heap = realloc(loop->heap, (count + 1) * sizeof(*heap));
	if (!heap)
		return -1;
	loop->heap = heap;
	loop->heap_capacity = count;
	return 0;
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_us)
{
	struct heap_entry entry = {.at_us = at_us, .timer = timer};

	timer->at_us = at_us;
	if (timer->position != 0) {
		heap_settle(loop, timer->position, entry);
		return 0;
	}
	if (loop->heap_len == loop->heap_capacity &&
	    loop_reserve_timers(loop, loop->heap_capacity * 2 + 16) < 0)
		return -1;
	loop->heap_len++;
	heap_sift_up(loop, loop->heap_len, entry);
	return 0;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	size_t position = timer->position;
	struct heap_entry last;

	if (position == 0)
		return;
	timer->position = 0;
	last = loop->heap[loop->heap_len--];
	if (last.timer != timer)
		heap_settle(loop, position, last);
}

int64_t loop_overdue_us(const struct loop *loop)
{
	int64_t overdue_us;

	if (loop->heap_len == 0)
		return 0;
	overdue_us = loop->now_us - loop->heap[1].at_us;
	return overdue_us > 0 ? overdue_us : 0;
}

static void deliver_timers(struct loop *loop)
{
	for (int i = 0; i < TIMERS_PER_TURN && loop->heap_len > 0; i++) {
		struct loop_timer *timer = loop->heap[1].timer;

		if (loop->heap[1].at_us > loop->now_us)
			return;
		loop_timer_clear(loop, timer);
		timer->on_expire(timer);
	}
}

/* ---- tasks ---- */

void loop_defer(struct loop *loop, struct loop_task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	task->next = NULL;
	*loop->last_task = task;
	loop->last_task = &task->next;
}

void loop_task_clear(struct loop *loop, struct loop_task *task)
{
	struct loop_task **link = &loop->first_task;

	if (!task->queued)
		return;
	while (*link != task)
		link = &(*link)->next;
	*link = task->next;
	if (loop->last_task == &task->next)
		loop->last_task = link;
	task->queued = false;
}

static void run_tasks(struct loop *loop)
{
	while (loop->first_task) {
		struct loop_task *task = loop->first_task;

		loop_task_clear(loop, task);
		task->on_run(task);
	}
}

/* ---- signals ---- */

static void on_signals(struct loop_io *io, unsigned events)
{
	struct loop *loop = io->owner;
	struct signalfd_siginfo info;

	(void)events;
	/* A few a turn: signals that come faster than they are handled must not keep others out. */
	for (int i = 0; i < SIGNALS_PER_TURN &&
			read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
	     i++) {
		const struct loop_signal *handler = &loop->handlers[info.ssi_signo];

		if (handler->on_signal)
			handler->on_signal(handler->owner, (int)info.ssi_signo);
	}
}

/* By the bit, because the C library refuses to speak of the real-time signals that it keeps to
 * itself; to musl that is 34 as well, everybody else's SIGRTMIN. */
static void add_to_set(sigset_t *set, int signal_number)
{
	unsigned long *words = (unsigned long *)(void *)set;
	size_t bit = (size_t)signal_number - 1, word_bits = 8 * sizeof(*words);

	words[bit / word_bits] |= 1UL << bit % word_bits;
}

int loop_signal_set(struct loop *loop, int signal_number,
		    void (*on_signal)(void *owner, int signal_number), void *owner)
{
	add_to_set(&loop->signals, signal_number);
	if (sigprocmask(SIG_BLOCK, &loop->signals, NULL) < 0)
		return -1;
	loop->signal_fd = signalfd(loop->signal_fd, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return -1;
	loop->handlers[signal_number] = (struct loop_signal){on_signal, owner};
	loop->signal_io.on_ready = on_signals;
	loop->signal_io.owner = loop;
	return loop_io_set(loop, &loop->signal_io, loop->signal_fd, LOOP_READ);
}

/* ---- turns ---- */

/* Whole milliseconds until the next timer, rounded up so that we never wake early and spin. */
static int wait_ms(const struct loop *loop, int64_t wait_us)
{
	if (loop->first_task)
		return 0;
	if (loop->heap_len > 0) {
		int64_t next_us = loop->heap[1].at_us - clock_monotonic_us();

		if (next_us < 0)
			next_us = 0;
		if (wait_us < 0 || next_us < wait_us)
			wait_us = next_us;
	}
	if (wait_us < 0)
		return -1;
	if (wait_us > 3600LL * 1000000)
		wait_us = 3600LL * 1000000;
	return (int)((wait_us + 999) / 1000);
}

void loop_turn(struct loop *loop, int64_t wait_us)
{
	int count =
		epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_TURN, wait_ms(loop, wait_us));

	loop->now_us = clock_monotonic_us();
	loop->event_count = count > 0 ? count : 0;
	if (loop->on_turn)
		loop->on_turn(loop->turn_owner);
	deliver_io(loop);
	deliver_timers(loop);
	run_tasks(loop);
}

void loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped)
		loop_turn(loop, -1);
}
