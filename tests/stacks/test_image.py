"""docker/Dockerfile: the image is the binary alone, and runs where little is allowed."""

import os
import tarfile
import unittest

import harness
import stack
from stack import LOCKED_DOWN, docker, inspect


class Image(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = stack.build_readyd()

    def test_content(self):
        container = docker("create", self.image)
        self.addCleanup(docker, "rm", container)
        docker("export", "--output", self.tmp / "content.tar", container)
        with tarfile.open(self.tmp / "content.tar") as content:
            files = {member.name for member in content if member.isreg() and member.size}
        self.assertEqual(files, {"readyd"})
        self.assertEqual(inspect(self.image, "image")["Size"], os.path.getsize(harness.BINARY))

    def test_settings(self):
        settings = inspect(self.image, "image")["Config"]
        self.assertEqual(settings["User"], "65532:65532")
        self.assertIn("Test", settings["Healthcheck"])
        labels = {name.rpartition(".")[2]: value for name, value in settings["Labels"].items()}
        self.assertEqual(labels["version"], stack.VERSION)
        self.assertLessEqual({"title", "description", "licenses", "revision"}, set(labels))
        self.assertIn(f"readyd {stack.VERSION}", docker("run", "--rm", self.image, "--version"))

    def test_locked_down(self):
        container = self.container(*LOCKED_DOWN, "--publish=127.0.0.1::8086", self.image, "serve",
                                   "-o", "readiness.self=tcp://127.0.0.1:8086")
        stack.wait_health(container, "healthy")
        port = int(docker("port", container, "8086").rpartition(":")[2])
        self.assertEqual(stack.get(port, "/ready")[0], 200)
        state = inspect(container)["State"]
        self.assertFalse(state["OOMKilled"])
        self.assertEqual(docker("exec", container, "/readyd", "check"), "pass readiness")
        docker("stop", container)
        self.assertEqual(inspect(container)["State"]["ExitCode"], 0)

    def test_not_ready(self):
        """It says no with the reason, and turns unhealthy when that counts."""
        container = self.container(*LOCKED_DOWN, "--health-start-period=1ms", "--health-interval=100ms",
                                   self.image, "serve", "-o", "readiness.cache=tcp://127.0.0.1:1")
        stack.wait_health(container, "unhealthy")
        # The first runs may have come before the agent could say so.
        said = harness.wait_until(lambda: [run for run in inspect(container)["State"]["Health"]["Log"]
                                           if "connect_refused" in run["Output"]], "the reason")
        self.assertEqual(said[-1]["ExitCode"], 1)
        self.assertIn("cache", said[-1]["Output"])


if __name__ == "__main__":
    unittest.main()
