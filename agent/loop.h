/* The event loop: one thread, one epoll, a heap of timers, signals as events, one clock.
 *
 * Watchers are embedded in their owners; the loop allocates nothing per event. Deleting a watcher
 * also forgets its event in the batch being delivered, so an owner may free itself at any time. In
 * one turn of the loop I/O comes before timers: in a throttled container an answer and its deadline
 * often ripen together, and an answer that is already there is not a timeout. */
#ifndef READYD_AGENT_LOOP_H
#define READYD_AGENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

enum {
	LOOP_READ = 1,  /* readable, or the peer has hung up, or an error is to be fetched */
	LOOP_WRITE = 2, /* writable, or an error is to be fetched */
};

/* Watches one descriptor. The owner sets `on_ready` and `owner` before the first loop_io_set();
 * the rest belongs to the loop. A zero-filled watcher is a valid, idle one. */
struct loop_io {
	void (*on_ready)(struct loop_io *io, unsigned events);
	void *owner;
	int fd;
	unsigned interest; /* 0 = not watched */
};

/* Fires once at `at_us`, then is idle until set again. Zero-filled is valid and idle. */
struct loop_timer {
	void (*on_expire)(struct loop_timer *timer);
	void *owner;
	int64_t at_us;
	size_t position; /* in the heap, counted from 1; 0 = idle */
};

/* Runs once after the current batch of events, outside any library's callback. */
struct loop_task {
	void (*on_run)(struct loop_task *task);
	void *owner;
	struct loop_task *next;
	bool queued;
};

/* Creates a loop; NULL with errno set when descriptors or memory are lacking. */
struct loop *loop_create(void);

/* Frees the loop. Watchers still set are forgotten, their descriptors stay open. */
void loop_destroy(struct loop *loop);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);

/* One turn: waits at most `wait_us` (-1 = until something happens) and delivers what is due. */
void loop_turn(struct loop *loop, int64_t wait_us);

/* Makes loop_run() return after the current turn. */
void loop_stop(struct loop *loop);

/* Microseconds on the monotonic clock, read once a turn: for schedules and deadlines. */
int64_t loop_now_us(const struct loop *loop);

/* Microseconds on the monotonic clock, read now: for measuring. */
int64_t clock_monotonic_us(void);

/* The same for programs that look at the clock once or twice: finding the function by which the
 * kernel tells the time without a system call costs more than a few system calls. */
int64_t clock_monotonic_once_us(void);

/* Milliseconds since 1970, for people only; never used to decide anything. */
int64_t clock_wall_ms(void);

/* Watches `fd` for `interest`. Idempotent, and survives a library closing and reopening the same
 * descriptor number behind our back. interest 0 = loop_io_clear(). Returns 0, or -1 with errno. */
int loop_io_set(struct loop *loop, struct loop_io *io, int fd, unsigned interest);

/* Stops watching; harmless on an idle watcher or a descriptor that is already closed. */
void loop_io_clear(struct loop *loop, struct loop_io *io);

/* Fires at `at_us` on the monotonic clock (at once when that is past); replaces an earlier time.
 * Returns 0, or -1 when the heap could not grow (loop_reserve_timers() prevents that). */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_us);

/* Makes the timer idle; harmless on an idle one. */
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Makes sure `count` timers in all can be set without memory. Returns 0 or -1. */
int loop_reserve_timers(struct loop *loop, size_t count);

/* How late the earliest timer is, in microseconds (0 when none is due): the sign of a stalled loop,
 * measured before that turn's work is done. */
int64_t loop_overdue_us(const struct loop *loop);

/* Calls `on_turn` at the start of each turn, before any event of that turn is delivered. One such
 * observer per loop. */
void loop_set_observer(struct loop *loop, void (*on_turn)(void *owner), void *owner);

/* Queues the task for the end of this batch; harmless when it is queued already. */
void loop_defer(struct loop *loop, struct loop_task *task);

/* Takes a queued task back; harmless when it is not queued. */
void loop_task_clear(struct loop *loop, struct loop_task *task);

/* Blocks the signal for the process and delivers it through `on_signal` instead. One handler a
 * signal. Returns 0, or -1 with errno. */
int loop_signal_set(struct loop *loop, int signal_number,
		    void (*on_signal)(void *owner, int signal_number), void *owner);

#endif
