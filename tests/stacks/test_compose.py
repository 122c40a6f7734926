"""docker/compose: the stack comes up in its order."""

import json
import unittest

import shop
import stack
from compose import COMPOSE, Project
from metrics_reader import Metrics


class Compose(shop.TestCase):
    def setUp(self):
        super().setUp()
        self.environment = dict(self.settings, SHOP_VERSION="1")
        self.project = Project(self, [COMPOSE], self.environment)

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
            self.assertEqual(self.identity(container), ("shop", "1"))

    def identity(self, container):
        """Service and version as Prometheus finds them, who asks the instance itself."""
        network, = stack.inspect(container)["NetworkSettings"]["Networks"].values()
        status, text = stack.get(8086, "/metrics", host=network["IPAddress"])
        self.assertEqual(status, 200)
        build, = Metrics(text).of("readyd_build_info")
        return dict(build)["service"], dict(build)["version"]

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
        failed = [run for run in runs if run["ExitCode"] != 0]
        self.assertIn("loading", failed[-1]["Output"])
        self.assertEqual(runs[-1]["ExitCode"], 0)


if __name__ == "__main__":
    unittest.main()
