"""docker/compose: the stack comes up in its order, and a rolling replacement loses no request."""

import json
import time
import unittest

import harness
import shop
import stack
from compose import COMPOSE, Project
from load import Load

ROLL = stack.DOCKER / "compose/roll"


class Compose(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shop.build()

    def setUp(self):
        super().setUp()
        self.port = harness.free_port()
        (self.tmp / "db-password").write_text("secret\n")
        self.environment = {"SHOP_PORT": str(self.port), "SHOP_SECRETS": str(self.tmp),
                            "SHOP_START_SECONDS": "1", "SHOP_VERSION": "1", "ROLL_SECONDS": "15"}
        self.project = Project(self, [COMPOSE], self.environment)

    def roll(self, version, **options):
        return stack.run(ROLL, version, env=self.project.environment, **options)

    def test_order(self):
        """Each begins when what it depends on is there: sessions, data, tables."""
        self.project.up("--wait", "--wait-timeout", "120")
        self.assertEqual(stack.get(self.port, "/"), (200, "shop 1: 2 goods, visit 1\n"))
        accepts = self.project.log_time("db", "database system is ready to accept connections")
        loaded = self.project.log_time("cache", "Ready to accept connections")
        migrated = stack.inspect(self.project.containers("migration")[0])["State"]
        self.assertEqual(migrated["ExitCode"], 0)
        self.assertLess(accepts, self.project.started("migration"))
        for container in self.project.containers("shop"):
            started = self.project.time_of(container, "StartedAt")
            self.assertLess(self.project.time_of(self.project.containers("migration")[0], "FinishedAt"),
                            started)
            self.assertLess(loaded, started)

    def test_migration_fails(self):
        """The shop does not start, and `up` ends and says why."""
        project = Project(self, [COMPOSE, self.override({"migration": {
            "environment": {"DATABASE_URL": "postgres://shop@db/shoop"}}})], self.environment)
        done = project.up(check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('service "migration" didn\'t complete successfully: exit 1', done.stderr)
        self.assertIn('database "shoop" does not exist', project.logs("migration"))
        self.assertEqual(project.inspect("shop")["State"]["Status"], "created")

    def override(self, services):

        path = self.tmp / "override.yaml"
        path.write_text(json.dumps({"services": services}))
        return path

    def test_cache_loads(self):
        """The shop waits while Redis reads its data, although the port is open all the time."""
        slow = {"cache": {"command": ["redis-server", "--key-load-delay", "300",
                                      "--loading-process-events-interval-bytes", "1024"]}}
        self.project.up("db", "cache", "--wait")
        self.project.compose("exec", "-T", "cache", "redis-cli", "debug", "populate", "20000")
        self.project.compose("exec", "-T", "cache", "redis-cli", "save")
        project = Project(self, [COMPOSE, self.override(slow)], self.environment)
        project.name = self.project.name
        project.environment["COMPOSE_PROJECT_NAME"] = self.project.name
        project.up("shop")
        loaded = project.log_time("cache", "DB loaded from disk")
        first = min(project.time_of(each, "StartedAt") for each in project.containers("shop"))
        self.assertLess(loaded, first)
        self.assertIn('"reason":"loading"', project.logs("cache"))

    def test_rolling_replacement(self):
        self.project.up("--wait", "--wait-timeout", "120")
        with Load(self.port, per_second=50) as load:
            began = time.monotonic()
            self.roll("2")
            took = time.monotonic() - began
            failed = self.roll("never", check=False)
            self.assertEqual(failed.returncode, 1)
            self.assertIn("version never: not healthy in time; the old instances stay", failed.stderr)
        print(f"rolling replacement in {took:.1f} s, and one that failed: {load.summary()}", flush=True)
        self.assertEqual(load.lost(), [])
        self.assertEqual(len(self.project.containers("shop")), 2)
        self.assertGreater(load.versions()["2"], 50)
        self.assertIn("shop 2:", stack.get(self.port, "/")[1])


if __name__ == "__main__":
    unittest.main()
