"""docker/compose: the stack comes up in its order, and a rolling replacement loses no request."""

import json
import time
import unittest

import harness
import shop
import stack
from compose import COMPOSE, Project
from traffic import Load

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
        status, page = stack.get(self.port, "/")
        self.assertEqual(status, 200)
        self.assertRegex(page, r"^shop 1: 2 goods, visit \d+$")
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
        self.project.up("db", "cache", "--wait")
        redis = ["exec", "-T", "cache", "redis-cli", "-e"]
        self.project.compose(*redis, "eval", "for i = 1, 10000 do redis.call('set', i, i) end", "0")
        self.project.compose(*redis, "save")
        slow = self.override({"cache": {
            "command": ["redis-server", "--key-load-delay", "500",
                        "--loading-process-events-interval-bytes", "1024"],
            "healthcheck": {"test": ["CMD", "/readyd", "check", "--wait", "--timeout", "2"]}}})
        self.project.files += ["--file", str(slow)]
        self.project.up("shop")
        loaded = self.project.log_time("cache", "DB loaded from disk")
        self.assertLess(loaded, min(self.project.time_of(each, "StartedAt")
                                    for each in self.project.containers("shop")))
        runs = self.project.inspect("cache")["State"]["Health"]["Log"]
        self.assertIn("loading", runs[-2]["Output"])
        self.assertEqual(runs[-1]["ExitCode"], 0)

    def test_rolling_replacement(self):
        """Also with as little memory and processor as that."""
        self.project.files += ["--file", str(self.override({"shop": {
            "mem_limit": "16m", "memswap_limit": "16m", "cpus": 0.1, "pids_limit": 64}}))]
        self.project.environment["COMPOSE_FILE"] = ":".join(self.project.files[1::2])
        self.project.up("--wait", "--wait-timeout", "120")
        with Load(self.port, per_second=25) as load:
            began = time.monotonic()
            self.roll("2")
            took = time.monotonic() - began
            failed = self.roll("never", check=False)
            self.assertEqual(failed.returncode, 1, failed.stdout + failed.stderr)
            self.assertIn("version never: not healthy in time; the old instances stay", failed.stderr)
        stack.measured(f"rolling replacement in {took:.1f} s, and one that failed: {load.summary()}")
        self.assertEqual(load.lost(), [])
        self.assertEqual(len(self.project.containers("shop")), 2)
        self.assertGreater(load.versions()["2"], 50)
        self.assertIn("shop 2:", stack.get(self.port, "/")[1])


if __name__ == "__main__":
    unittest.main()
