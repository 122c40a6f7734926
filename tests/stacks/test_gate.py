"""The `service_healthy` gate of docker/compose: it opens when the database takes sessions, and not before."""

import concurrent.futures
import time
import unittest

import harness
import stack
from compose import COMPOSE, Project

# what one finds in most Compose files
USUAL = {"test": ["CMD-SHELL", "pg_isready -U shop -d shop"], "interval": "10s", "timeout": "5s",
         "retries": 5}

ACCEPTS = "database system is ready to accept connections"


class Gate(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack.build_readyd()
        stack.build_example("postgres", "shop-db")

    def setUp(self):
        super().setUp()
        self.secret = self.tmp / "db-password"
        self.secret.write_text("secret\n")
        (self.tmp / "slow.sql").write_text("select pg_sleep(12);")

    def project(self, slow=False, healthcheck=None, image=None, environment=None):
        """The database of docker/compose, and one that depends on it."""
        database = {"extends": {"file": str(COMPOSE), "service": "db"},
                    "environment": environment or {}}
        if healthcheck:
            database["healthcheck"] = healthcheck
        if image:
            database.update(image=image)
        if slow:
            database["volumes"] = [f"{self.tmp}/slow.sql:/docker-entrypoint-initdb.d/slow.sql:ro"]
        return Project(self, {
            "services": {
                "db": database,
                "dependent": {"image": "debian:trixie-slim", "command": ["sleep", "infinity"],
                              "depends_on": {"db": {"condition": "service_healthy"}}}},
            "volumes": {"db": {}},
            "secrets": {"db-password": {"file": str(self.secret)}}})

    def measure(self, name, project):
        """When it was healthy and its dependent started, in seconds since the database took its first session over TCP;
        and the former since its container started."""
        events = stack.Events(self)
        project.up()
        accepts = project.log_time("db", ACCEPTS)
        opened = project.first_healthy("db", events)
        healthy, started = opened - accepts, project.started("dependent") - accepts
        stack.measured(f"{name}: healthy after {healthy:.3f} s, "
                       f"dependent started after {started:.3f} s")
        return healthy, started, opened - project.started("db")

    def test_opens_soon_and_not_before(self):
        """Also while the image's first server, on the unix socket alone, runs for 12 s."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ours, usual, ours_slow, usual_slow = pool.map(lambda pair: self.measure(*pair), (
                ("check --wait", self.project()),
                ("pg_isready, interval 10s", self.project(image="postgres:17", healthcheck=USUAL)),
                ("check --wait, 12 s of initialisation", self.project(slow=True)),
                ("pg_isready, 12 s of initialisation",
                 self.project(image="postgres:17", healthcheck=USUAL, slow=True))))
        for healthy, started, _ in (ours, ours_slow):
            self.assertGreater(healthy, 0)
            self.assertLess(healthy, harness.SOON_SECONDS)
            self.assertLess(started, 2 * harness.SOON_SECONDS)
        # It looks each 10 s, and is taken in by the first server if that is when it looks.
        for _, _, looked in (usual, usual_slow):
            self.assertGreaterEqual(looked, 10)

    def test_slow_but_fine(self):
        """However often the check gives up meanwhile, the gate stays closed and `up` goes on."""
        project = self.project(slow=True, healthcheck={
            "test": ["CMD", "/readyd", "check", "--wait", "--timeout", "1"], "retries": 1})
        project.up()
        log = project.inspect("db")["State"]["Health"]["Log"]
        self.assertRegex(" ".join(str(run["ExitCode"]) for run in log), "^1( 1)*( 0)+$")

    def test_never_ready(self):
        """`up` ends, and the reason is where one looks for it."""
        project = self.project(
            environment={"READYD_READINESS_DATABASE": "postgres://shop@127.0.0.1/shoop"},
            healthcheck={"test": ["CMD", "/readyd", "check", "--wait", "--timeout", "2"],
                         "start_period": "20s", "retries": 2, "interval": "1s"})
        began = time.monotonic()
        done = project.up(check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertLess(time.monotonic() - began, 60)  # the image's own health check would take 150
        self.assertIn("is unhealthy", done.stderr)
        output = project.inspect("db")["State"]["Health"]["Log"][-1]["Output"]
        self.assertIn("unknown_database", output)
        self.assertIn('"shoop"', output)
        self.assertEqual(project.inspect("dependent")["State"]["Status"], "created")


if __name__ == "__main__":
    unittest.main()
