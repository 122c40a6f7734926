"""The engine pauses, kills and restarts containers: its health status follows, and the agent is right."""

import time
import unittest

import harness
import stack
from stack import docker, inspect


class HealthStatus(stack.TestCase):
    """A cache, and an agent that probes it, in one network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = stack.build_readyd()

    def setUp(self):
        super().setUp()
        self.told = stack.Events(self)
        network = docker("network", "create", f"readyd-test-{time.monotonic_ns()}")
        self.addCleanup(docker, "network", "rm", network)
        self.cache = self.container("--network", network, "--network-alias=cache", "redis:8")
        self.agent = self.container(
            *stack.LOCKED_DOWN, "--network", network, "--publish=127.0.0.1::8086",
            "--restart=on-failure", "--health-interval=500ms", "--health-retries=2",
            "--health-start-period=60s", "--health-start-interval=100ms", self.image, "serve",
            "-o", "readiness.cache=redis://cache", "-o", "readiness.cache.periodSeconds=0.2",
            "-o", "readiness.cache.failureThreshold=1", "-o", "drain.delaySeconds=0")
        self.port = int(docker("port", self.agent, "8086").rpartition(":")[2])
        stack.wait_health(self.agent, "healthy")
        self.before = len(self.told.of(self.agent))

    def ready(self, timeout=harness.PATIENCE_SECONDS):
        """The status of /ready; None while nobody answers."""
        try:
            return stack.get(self.port, "/ready", timeout=timeout)[0]
        except OSError:
            return None

    def events(self, *others):
        """What has become of the agent's health since it was first healthy, and which of these there were."""
        return [action for action, _ in self.told.of(self.agent)[self.before:]
                if action.startswith("health_status") or action in others]

    def test_pause(self):
        """A pause is unhealthy without an event, and remains so until the next good run."""
        docker("pause", self.agent)
        self.assertEqual(stack.health(self.agent), "unhealthy")
        self.assertEqual(self.events(), [])
        self.assertIsNone(self.ready(timeout=1))
        docker("unpause", self.agent)
        stack.wait_health(self.agent, "healthy")
        self.assertEqual(self.ready(), 200)
        # There is an event only where the status changes: it was unhealthy until then.
        self.assertEqual(self.events("pause", "unpause"), ["pause", "unpause", "health_status: healthy"])

    def test_dependency_gone_during_the_pause(self):
        """What the agent knew before it was frozen is not its answer when it wakes."""
        docker("pause", self.agent)
        docker("kill", self.cache)
        time.sleep(6)  # longer than a result is good for: that is the point
        docker("unpause", self.agent)
        seen = {self.ready() for _ in range(20)}
        self.assertEqual(seen, {503})
        docker("start", self.cache)
        stack.wait_health(self.agent, "healthy")
        self.assertEqual(self.ready(), 200)

    def test_dependency_paused(self):
        """A frozen cache accepts connections and does not answer."""
        docker("pause", self.cache)
        stack.wait_health(self.agent, "unhealthy")
        self.assertEqual(self.ready(), 503)
        self.assertIn("timeout", inspect(self.agent)["State"]["Health"]["Log"][-1]["Output"])
        docker("unpause", self.cache)
        stack.wait_health(self.agent, "healthy")
        self.assertEqual(self.ready(), 200)
        self.assertEqual(self.events(), ["health_status: unhealthy", "health_status: healthy"])

    def test_restart(self):
        """A new start is `starting` again, never `unhealthy`."""
        started = inspect(self.agent)["State"]["StartedAt"]
        docker("restart", self.agent)
        self.assertNotEqual(inspect(self.agent)["State"]["StartedAt"], started)
        self.assertIn(stack.health(self.agent), ("starting", "healthy"))
        stack.wait_health(self.agent, "healthy")
        self.assertEqual(self.events(), ["health_status: healthy"])

    def test_killed(self):
        """The restart policy starts it again; between the two lives it is `unhealthy`."""
        process = inspect(self.agent)["State"]["Pid"]
        docker("run", "--rm", "--pid=host", "debian:trixie-slim", "sh", "-c",
               f"kill -KILL {process}")
        harness.wait_until(lambda: inspect(self.agent)["RestartCount"] == 1, "a restart")
        stack.wait_health(self.agent, "healthy")
        self.port = int(docker("port", self.agent, "8086").rpartition(":")[2])
        self.assertEqual(self.ready(), 200)
        self.assertEqual(self.events(), ["health_status: healthy"])


if __name__ == "__main__":
    unittest.main()
