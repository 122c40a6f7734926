"""docker/Dockerfile.example-*: each builds, becomes healthy, and lives where little is allowed."""

import json
import unittest

import stack
from stack import DOCKER, LOCKED_DOWN, docker, inspect


class Examples(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack.build_readyd()

    def events(self, container):
        """The agent's log, by event."""
        done = stack.run("docker", "logs", container)
        lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        return [line["event"] for line in lines]

    def live(self, name):
        """Starts it, sees it healthy and served, and stops it; its container."""
        image = stack.build_example(name, f"hello-{name}")
        container = self.container(*LOCKED_DOWN, "--publish=127.0.0.1::8080", "--publish=127.0.0.1::8086",
                                   "--env=READYD_DRAIN_DELAY_SECONDS=1", image)
        stack.wait_health(container, "healthy")
        app, agent = (int(docker("port", container, port).rpartition(":")[2])
                      for port in ("8080", "8086"))
        self.assertEqual(stack.get(app, "/"), (200, "hello\n"))
        self.assertEqual(stack.get(agent, "/ready")[0], 200)
        self.assertEqual(inspect(container)["Config"]["User"].partition(":")[0], "65532")
        docker("stop", container)
        state = inspect(container)["State"]
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (0, False))
        return container

    def test_scratch(self):
        self.live("scratch")

    def test_distroless(self):
        container = self.live("distroless")
        docker("start", container)
        shell = stack.run("docker", "exec", container, "sh", check=False)
        self.assertNotEqual(shell.returncode, 0, "the base has a shell")

    def test_healthcheck(self):
        image = stack.build_example("healthcheck", "web")
        container = self.container(image)
        stack.wait_health(container, "healthy")
        docker("exec", container, "rm", "/usr/share/nginx/html/index.html")
        check = stack.run("docker", "exec", container, "/readyd", "check", "http://127.0.0.1/",
                          check=False)
        self.assertEqual(check.returncode, 1)
        self.assertIn("http_status", check.stdout)

    def test_every_example_names_its_versions(self):
        """What it needs is at its head, and the image of readyd is the present one."""
        for path in sorted(DOCKER.glob("Dockerfile*")):
            with self.subTest(path.name):
                text = path.read_text()
                if path.suffix != ".dockerignore":
                    self.assertIn("Needs Engine 25", text)
                    self.assertIn(stack.IMAGE, text)
        for path in ("compose/compose.yaml", "compose/roll", "blue-green/compose.yaml", "deploy"):
            self.assertRegex((DOCKER / path).read_text(), "Engine 25 and Compose 2.20.3 or later")


if __name__ == "__main__":
    unittest.main()
