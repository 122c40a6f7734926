"""docker/deploy takes bad versions back, and no request is lost but what a version spoilt itself."""

import json
import unittest

import deployment
import harness
import stack
from traffic import Load


class Bad(deployment.Deploy):
    """Each is put back, and the reason is told."""

    def put_back(self, version, reason, **load):
        with Load(self.port, **load) as load:
            events = self.deploy(version, expect=1)
            self.assertRegex(events[-1]["reason"], reason)
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        return load

    def test_bad_versions(self):
        self.deploy("1")
        self.environment["DEPLOY_WATCH_SECONDS"] = "60"
        for version, reason in (("never", "was not ready within 8 s: .*app"),
                                ("ill", "is not ready any more: .*app"),
                                ("crash", "crashed; the engine has started it|answers of version crash were errors")):
            with self.subTest(version):
                self.environment["DEPLOY_READY_SECONDS"] = "8" if version == "never" else "60"
                load = self.put_back(version, reason)
                stack.measured(f"version {version}: {load.summary()}")
                # What was under way when it crashed: GET is repeated, and nobody may repeat POST.
                spoilt = [(answer.kind.method, answer.status) for answer in load.lost()]
                self.assertEqual(set(spoilt) - ({("POST", 502)} if version == "crash" else set()), set())
                self.assertTrue(load.lost_few(), spoilt)
        load = self.put_back("errors", r"\d+ of \d+ answers of version errors were errors")
        spoilt = load.lost()
        stack.measured(f"version errors: {len(spoilt)} of {len(load.answers)} requests spoilt in "
                       f"{spoilt[-1].at - spoilt[0].at:.1f} s")
        self.assertEqual({answer.status for answer in spoilt}, {500})
        self.assertLess(spoilt[-1].at - spoilt[0].at, 30)  # not when the watch time is over

    def test_hangs(self):
        """It says ready and never answers; the old version answers GET in its place, late."""
        self.environment["DEPLOY_WATCH_SECONDS"] = "20"
        self.deploy("1")
        # Seldom: each request takes it a thread for good, and it may have 64 of them.
        load = self.put_back("hang", r"\d+ of \d+ answers of version hang were errors", per_second=1, workers=32)
        stack.measured(f"version hang: {load.summary()}")
        self.assertLessEqual({(answer.kind.method, answer.status) for answer in load.lost()}, {("POST", 502)})
        self.assertEqual(load.versions()["hang"], 0)

    def test_few_answers(self):
        """In the end all of them count, be they ever so few."""
        self.environment["DEPLOY_WATCH_SECONDS"] = "6"
        self.deploy("1")
        self.put_back("errors", r"(\d+) of \1 answers of version errors were errors", per_second=2)

    def test_migration_that_hangs(self):
        """It ends with the deployment that began it."""
        self.deploy("1")
        psql = ["db", "psql", "--username=shop", "--tuples-only", "shop", "--command"]
        self.project.compose("exec", "--detach", *psql, "begin; lock table goods; select pg_sleep(600)")
        locks = "select mode from pg_locks where relation = 'goods'::regclass"
        harness.wait_until(lambda: "AccessExclusive" in self.project.compose("exec", "-T", *psql, locks).stdout,
                           "the table is locked")
        self.environment["DEPLOY_MIGRATE_SECONDS"] = "10"
        events = self.deploy("2", expect=1)
        self.assertIn("took more than 10 s", events[-1]["reason"])
        self.assertEqual(self.project.containers("migration"), [])

    def test_no_log(self):
        """Where errors would go unnoticed nothing is put into service."""
        override = self.tmp / "override.yaml"
        override.write_text(json.dumps({"services": {"nginx": {"logging": {"driver": "none"}}}}))
        self.environment["COMPOSE_FILE"] += f":{override}"
        events = self.deploy("1", expect=1)
        self.assertIn("nginx's log cannot be read", events[-1]["reason"])


if __name__ == "__main__":
    unittest.main()
