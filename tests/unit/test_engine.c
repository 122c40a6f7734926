/* The engine and the runner, with a probe type whose runs do as the test says. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/engine.h"

enum { MS = 1000, PROBES_MAX = 3000 };

/* ---- a clock whose wall side can jump ---- */

static int64_t wall_offset_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += wall_offset_s;
	return result;
}

/* ---- a probe type to order ---- */

enum behaviour { PASS_AT_ONCE, FAIL_AT_ONCE, PASS_LATER, NEVER_END, FINISH_TWICE };

struct fake_conf {
	enum behaviour behaviour;
	int64_t takes_us;
	int passes_from; /* before that many runs it fails */
	int starts, stops, running, most_running;
};

struct fake_state {
	struct loop_timer timer;
	unsigned char filler[64];
};

static void on_fake_timer(struct loop_timer *timer)
{
	probe_finish(timer->owner, PROBE_PASS, REASON_OK, "%s", "");
}

static void fake_start(struct probe_run *run)
{
	struct fake_conf *conf = (struct fake_conf *)(uintptr_t)run->conf;
	struct fake_state *state = run->state;

	for (size_t i = 0; i < sizeof(state->filler); i++)
		assert_int_equal(state->filler[i], 0);
	memset(state->filler, 0xff, sizeof(state->filler));
	conf->starts++;
	conf->running++;
	if (conf->running > conf->most_running)
		conf->most_running = conf->running;
	state->timer.on_expire = on_fake_timer;
	state->timer.owner = run;
	if (conf->starts <= conf->passes_from || conf->behaviour == FAIL_AT_ONCE) {
		probe_finish(run, PROBE_FAIL, REASON_CONNECT_REFUSED, "refused");
	} else if (conf->behaviour == PASS_AT_ONCE) {
		probe_finish(run, PROBE_PASS, REASON_OK, "%s", "");
	} else if (conf->behaviour == PASS_LATER) {
		loop_timer_set(run->env->loop, &state->timer,
			       loop_now_us(run->env->loop) + conf->takes_us);
	} else if (conf->behaviour == FINISH_TWICE) {
		run->alive = true;
		probe_finish(run, PROBE_FAIL, REASON_REJECTING, "the first");
		probe_finish(run, PROBE_PASS, REASON_OK, "the second");
	}
}

static void fake_stop(struct probe_run *run)
{
	struct fake_conf *conf = (struct fake_conf *)(uintptr_t)run->conf;
	struct fake_state *state = run->state;

	loop_timer_clear(run->env->loop, &state->timer);
	conf->stops++;
	conf->running--;
}

static const struct field no_fields[] = {{.name = NULL}};
static const char *const no_schemes[] = {NULL};

static const struct probe_type fake_type = {
	.name = "fake",
	.schemes = no_schemes,
	.fields = no_fields,
	.conf_size = sizeof(struct fake_conf),
	.state_size = sizeof(struct fake_state),
	.start = fake_start,
	.stop = fake_stop,
};

/* ---- an engine to try ---- */

static struct loop *loop;
static struct probe_env env;

static struct config *new_config(size_t count)
{
	struct config *config = calloc(1, sizeof(*config));

	config->settings.stale_after_us = 2000 * MS;
	config->settings.service = strdup("test");
	config->probes = calloc(count + 1, sizeof(*config->probes));
	return config;
}

static struct fake_conf *add_probe(struct config *config, enum role role, const char *name,
				   enum behaviour behaviour, int64_t period_us)
{
	struct probe_config *probe = calloc(1, sizeof(*probe));
	struct fake_conf *conf = calloc(1, sizeof(*conf));

	conf->behaviour = behaviour;
	*probe = (struct probe_config){
		.role = role,
		.name = strdup(name),
		.type = &fake_type,
		.conf = conf,
		.target = strdup("fake:"),
		.identity = 1,
		.period_us = period_us,
		.timeout_us = 50 * MS,
		.success_threshold = 1,
		.failure_threshold = 3,
	};
	config->probes[config->probe_count++] = probe;
	return conf;
}

static void run_for(int64_t duration_us)
{
	int64_t end_us = clock_monotonic_us() + duration_us;

	while (clock_monotonic_us() < end_us)
		loop_turn(loop, end_us - clock_monotonic_us());
}

static int set_up(void **unused)
{
	(void)unused;
	wall_offset_s = 0;
	loop = loop_create();
	env = (struct probe_env){.loop = loop};
	return loop ? 0 : -1;
}

static int tear_down(void **unused)
{
	(void)unused;
	runner_shutdown();
	loop_destroy(loop);
	return 0;
}

static const struct engine_probe *only_probe(const struct engine *engine)
{
	return engine_probe_at(engine, 0);
}

/* ---- the tests ---- */

static void test_first_tries_come_quickly(void **unused)
{
	struct config *config = new_config(1);
	struct fake_conf *conf =
		add_probe(config, ROLE_READINESS, "slow", PASS_AT_ONCE, 10 * 1000 * MS);
	struct engine *engine;

	(void)unused;
	conf->passes_from = 4;
	engine = engine_create(&env, config, 0);
	assert_false(engine_verdict(engine, ENDPOINT_READINESS).ok);
	for (int i = 0; i < 500 && conf->starts < 5; i++)
		loop_turn(loop, 10 * MS);
	run_for(30 * MS);
	assert_int_equal(conf->starts, 5);
	assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
	assert_true(clock_monotonic_us() - engine_started_us(engine) < 5 * 1000 * MS);
	assert_int_equal(only_probe(engine)->health.standing, STANDING_PASSING);
	engine_destroy(engine);
}

static void test_runs_never_overlap(void **unused)
{
	struct config *config = new_config(1);
	struct fake_conf *conf = add_probe(config, ROLE_READINESS, "long", PASS_LATER, 10 * MS);
	struct engine *engine;

	(void)unused;
	conf->takes_us = 35 * MS;
	engine = engine_create(&env, config, 0);
	run_for(300 * MS);
	assert_int_equal(conf->most_running, 1);
	assert_in_range(conf->starts, 2, 9);
	engine_destroy(engine);
}

static void test_the_deadline_ends_a_run(void **unused)
{
	struct config *config = new_config(1);
	struct fake_conf *conf = add_probe(config, ROLE_READINESS, "hangs", NEVER_END, 1000 * MS);
	struct engine *engine = engine_create(&env, config, 0);

	(void)unused;
	while (only_probe(engine)->runs == 0)
		loop_turn(loop, -1);
	assert_int_equal(only_probe(engine)->result.reason, REASON_TIMEOUT);
	assert_true(only_probe(engine)->result.duration_us >= 50 * MS);
	assert_false(only_probe(engine)->result.alive);
	assert_int_equal(conf->stops, 1);
	engine_destroy(engine);
}

static void test_the_first_finish_counts(void **unused)
{
	struct config *config = new_config(1);
	struct engine *engine;

	(void)unused;
	add_probe(config, ROLE_LIVENESS, "twice", FINISH_TWICE, 1000 * MS);
	engine = engine_create(&env, config, 0);
	while (only_probe(engine)->runs == 0)
		loop_turn(loop, -1);
	assert_string_equal(only_probe(engine)->result.message, "the first");
	assert_int_equal(only_probe(engine)->result.reason, REASON_REJECTING);
	/* Alive and not ready: the role of the probe picks, and this one is about liveness. */
	assert_true(only_probe(engine)->result.alive);
	assert_false(only_probe(engine)->result.ready);
	assert_int_equal(only_probe(engine)->health.standing, STANDING_PASSING);
	engine_destroy(engine);
}

static void test_every_start_is_stopped_at_the_end(void **unused)
{
	struct config *config = new_config(1);
	struct fake_conf *conf = add_probe(config, ROLE_READINESS, "hangs", NEVER_END, 1000 * MS);
	struct engine *engine = engine_create(&env, config, 0);
	struct config *empty = new_config(0);

	(void)unused;
	loop_turn(loop, 0);
	assert_int_equal(conf->starts, 1);
	assert_int_equal(runner_running_count(), 1);
	assert_int_equal(engine_reload(engine, empty), 0);
	assert_int_equal(runner_running_count(), 0);
	assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
	engine_destroy(engine);
}

static void test_a_jump_of_the_wall_clock_changes_nothing(void **unused)
{
	static const int64_t jumps_s[] = {0, 86400 * 365, -86400 * 365};
	int starts[3];

	(void)unused;
	for (int i = 0; i < 3; i++) {
		struct config *config = new_config(1);
		struct fake_conf *conf =
			add_probe(config, ROLE_READINESS, "steady", PASS_AT_ONCE, 20 * MS);
		struct engine *engine = engine_create(&env, config, 0);

		wall_offset_s = 0;
		run_for(100 * MS);
		wall_offset_s = jumps_s[i];
		run_for(200 * MS);
		starts[i] = conf->starts;
		assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
		assert_false(only_probe(engine)->stale);
		engine_destroy(engine);
	}
	/* Fifteen periods, give or take what a busy machine costs. */
	for (int i = 0; i < 3; i++)
		assert_in_range(starts[i], 5, 17);
}

static void test_reload_keeps_what_is_unchanged(void **unused)
{
	struct config *before = new_config(2), *after = new_config(2);
	struct fake_conf *kept = add_probe(before, ROLE_READINESS, "kept", NEVER_END, 1000 * MS);
	const struct engine_probe *probe;
	struct engine *engine;

	(void)unused;
	add_probe(before, ROLE_READINESS, "changed", PASS_AT_ONCE, 1000 * MS);
	add_probe(after, ROLE_READINESS, "changed", PASS_AT_ONCE, 1000 * MS);
	after->probes[0]->identity = 2;
	add_probe(after, ROLE_READINESS, "kept", NEVER_END, 1000 * MS);
	engine = engine_create(&env, before, 0);
	loop_turn(loop, 0);
	probe = engine_find(engine, ROLE_READINESS, "kept");
	assert_int_equal(kept->running, 1);
	assert_int_equal(engine_find(engine, ROLE_READINESS, "changed")->runs, 1);
	assert_int_equal(engine_reload(engine, after), 0);
	assert_ptr_equal(engine_find(engine, ROLE_READINESS, "kept"), probe);
	assert_int_equal(kept->running, 1);
	assert_int_equal(engine_find(engine, ROLE_READINESS, "changed")->runs, 0);
	assert_int_equal(engine_probe_count(engine), 2);
	engine_destroy(engine);
}

static void test_startup_opens_the_gate_once(void **unused)
{
	struct config *config = new_config(3);
	struct fake_conf *startup =
		add_probe(config, ROLE_STARTUP, "migrated", PASS_AT_ONCE, 1000 * MS);
	struct fake_conf *readiness =
		add_probe(config, ROLE_READINESS, "cache", PASS_AT_ONCE, 10 * MS);
	struct fake_conf *liveness = add_probe(config, ROLE_LIVENESS, "app", PASS_AT_ONCE, 10 * MS);
	struct engine *engine;

	(void)unused;
	startup->passes_from = 3;
	engine = engine_create(&env, config, 0);
	while (startup->starts < 3)
		loop_turn(loop, -1);
	assert_int_equal(readiness->starts + liveness->starts, 0);
	assert_false(engine_verdict(engine, ENDPOINT_STARTUP).ok);
	assert_int_equal(engine_verdict(engine, ENDPOINT_READINESS).hindrance, HINDRANCE_STARTUP);
	assert_true(engine_verdict(engine, ENDPOINT_LIVENESS).ok);
	while (readiness->starts < 3)
		loop_turn(loop, -1);
	assert_int_equal(startup->starts, 4);
	assert_true(engine_verdict(engine, ENDPOINT_STARTUP).ok);
	assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
	engine_destroy(engine);
}

static void test_a_pause_and_a_new_life(void **unused)
{
	struct config *config = new_config(2), *other = new_config(1);
	struct fake_conf *readiness =
		add_probe(config, ROLE_READINESS, "cache", PASS_AT_ONCE, 10 * MS);
	struct fake_conf *liveness = add_probe(config, ROLE_LIVENESS, "app", FAIL_AT_ONCE, 10 * MS);
	struct engine *engine;
	int starts;

	(void)unused;
	add_probe(other, ROLE_READINESS, "new", PASS_AT_ONCE, 10 * MS);
	engine = engine_create(&env, config, 0);
	while (engine_verdict(engine, ENDPOINT_LIVENESS).ok || readiness->starts == 0)
		loop_turn(loop, -1);
	engine_pause(engine);
	starts = readiness->starts + liveness->starts;
	assert_true(engine_verdict(engine, ENDPOINT_LIVENESS).ok);
	assert_false(engine_verdict(engine, ENDPOINT_STARTUP).ok);
	assert_int_equal(engine_verdict(engine, ENDPOINT_READINESS).hindrance, HINDRANCE_COMMAND);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 10 * MS);
	assert_int_equal(readiness->starts + liveness->starts, starts);
	/* Streaks begin anew: one failure more would be the last one otherwise. */
	engine_begin_again(engine);
	assert_true(engine_verdict(engine, ENDPOINT_STARTUP).ok);
	assert_int_equal(engine_find(engine, ROLE_LIVENESS, "app")->health.failures, 0);
	assert_false(engine_verdict(engine, ENDPOINT_READINESS).ok);
	while (engine_verdict(engine, ENDPOINT_LIVENESS).ok)
		loop_turn(loop, -1);
	assert_true(readiness->starts + liveness->starts > starts);
	/* A reload does not end a pause. */
	engine_pause(engine);
	assert_int_equal(engine_reload(engine, other), 0);
	loop_turn(loop, 10 * MS);
	assert_false(engine_verdict(engine, ENDPOINT_STARTUP).ok);
	assert_int_equal(engine_find(engine, ROLE_READINESS, "new")->runs, 0);
	engine_begin_again(engine);
	while (!engine_verdict(engine, ENDPOINT_READINESS).ok)
		loop_turn(loop, -1);
	engine_destroy(engine);
}

static void test_draining_concerns_readiness_alone(void **unused)
{
	struct config *config = new_config(1);
	struct engine *engine;

	(void)unused;
	add_probe(config, ROLE_LIVENESS, "app", PASS_AT_ONCE, 10 * MS);
	engine = engine_create(&env, config, 0);
	loop_turn(loop, 0);
	engine_drain(engine, DRAIN_COMMAND);
	engine_drain(engine, DRAIN_FILE);
	assert_int_equal(engine_verdict(engine, ENDPOINT_READINESS).hindrance, HINDRANCE_DRAINING);
	assert_true(engine_verdict(engine, ENDPOINT_LIVENESS).ok);
	engine_undrain(engine, DRAIN_COMMAND);
	assert_false(engine_verdict(engine, ENDPOINT_READINESS).ok);
	engine_undrain(engine, DRAIN_FILE);
	assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
	engine_destroy(engine);
}

static void test_thousands_are_treated_alike(void **unused)
{
	static struct fake_conf *confs[PROBES_MAX];
	struct config *config = new_config(PROBES_MAX);
	int least = INT32_MAX, most = 0;
	struct engine *engine;
	char name[32];

	(void)unused;
	for (int i = 0; i < PROBES_MAX; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		confs[i] = add_probe(config, ROLE_READINESS, name, PASS_AT_ONCE, 200 * MS);
	}
	engine = engine_create(&env, config, 0);
	run_for(1100 * MS);
	for (int i = 0; i < PROBES_MAX; i++) {
		least = confs[i]->starts < least ? confs[i]->starts : least;
		most = confs[i]->starts > most ? confs[i]->starts : most;
	}
	assert_true(engine_verdict(engine, ENDPOINT_READINESS).ok);
	assert_in_range(most, 2, 7);
	assert_true(most - least <= 2);
	engine_destroy(engine);
}

static void test_more_runs_than_descriptors_wait_their_turn(void **unused)
{
	static struct fake_conf *confs[PROBES_MAX];
	struct config *config = new_config(PROBES_MAX);
	struct engine *engine;
	char name[32];
	int waited = 0;

	(void)unused;
	for (int i = 0; i < PROBES_MAX; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		confs[i] = add_probe(config, ROLE_READINESS, name, PASS_LATER, 60 * 1000 * MS);
		confs[i]->takes_us = 20 * MS;
	}
	engine = engine_create(&env, config, 0);
	for (int turn = 0; turn < 20000 && !engine_verdict(engine, ENDPOINT_READINESS).ok; turn++) {
		loop_turn(loop, 10 * MS);
		assert_true(runner_running_count() <= 1024);
		for (int i = 0; i < PROBES_MAX && waited == 0; i++)
			waited = engine_probe_at(engine, (size_t)i)->queued;
	}
	assert_true(waited);
	for (int i = 0; i < PROBES_MAX; i++)
		assert_in_range(confs[i]->stops, 1, 2);
	engine_destroy(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_tries_come_quickly, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_runs_never_overlap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_deadline_ends_a_run, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_first_finish_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_start_is_stopped_at_the_end, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_jump_of_the_wall_clock_changes_nothing,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload_keeps_what_is_unchanged, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_startup_opens_the_gate_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_pause_and_a_new_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_draining_concerns_readiness_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_thousands_are_treated_alike, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_more_runs_than_descriptors_wait_their_turn,
						set_up, tear_down),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
