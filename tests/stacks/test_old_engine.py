"""docker/compose on the machine's own engine, if that is one from before 25: images that were made elsewhere
run there as they are, and docker-compose 1.29 opens their gates."""

import json
import os
import pathlib
import shutil
import subprocess
import time
import unittest

import harness
import shop
import stack
from compose import COMPOSE, seconds

SOCKET = pathlib.Path("/var/run/docker.sock")
HOST = {"DOCKER_HOST": f"unix://{SOCKET}"}
# all that is made there has this name; tests/stacks/engine takes it away, however this ends
NAME = os.environ.get("READYD_ENGINE_GUEST", "")
IMAGES = ["shop-db", "shop-cache", "shop:1", "shop-nginx"]


def missing():
    """Why there is nothing to be tested."""
    if not SOCKET.is_socket():
        return f"the machine has no engine of its own at {SOCKET}"
    done = stack.run("docker", "version", "--format", "{{.Server.Version}}", env=HOST, check=False)
    if done.returncode != 0:
        return f"the machine's own engine does not answer: {done.stderr.strip()}"
    if int(done.stdout.split(".")[0]) >= 25:
        return f"the machine's own engine, {done.stdout.strip()}, is no older one"
    if not shutil.which("docker-compose"):
        return "docker-compose 1.29 is not here"
    return None


class OldEngine(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        why = missing()
        if why:
            raise unittest.SkipTest(why)
        shop.build()
        for image in IMAGES:
            stack.docker("tag", image, f"{NAME}/{image}")
            cls.addClassCleanup(stack.run, "docker", "rmi", "--force", f"{NAME}/{image}", env=HOST)
        with subprocess.Popen(["docker", "save", *(f"{NAME}/{image}" for image in IMAGES)],
                              stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "load", "--quiet"], stdin=save.stdout, stdout=subprocess.DEVNULL,
                           env=dict(os.environ, **HOST), check=True)

    def setUp(self):
        super().setUp()
        (self.tmp / "db-password").write_text("secret\n")
        # What one has to do there: without the line with the name, which docker-compose 1.29 does not know.
        lines = [line for line in COMPOSE.read_text().splitlines(True) if not line.startswith("name:")]
        self.file = self.tmp / "compose.yaml"
        self.file.write_text("".join(lines))
        services = {name: {"image": f"{NAME}/{image}"} for name, image in zip(("db", "cache", "shop", "nginx"), IMAGES)}
        services["shop"].update(stack.SMALL)
        services["migration"] = {"image": f"{NAME}/shop:1"}
        self.override = self.tmp / "override.yaml"
        self.override.write_text(json.dumps({"services": services}))
        self.addCleanup(self.compose, "down", "--volumes", "--timeout", "0")

    def compose(self, *arguments, **options):
        return stack.run("docker-compose", "--project-directory", COMPOSE.parent, "--file", self.file, "--file",
                         self.override, *arguments, **options, env=dict(
                             HOST, COMPOSE_PROJECT_NAME=NAME, SHOP_PORT="0", SHOP_SECRETS=str(self.tmp),
                             SHOP_VERSION="1"))

    def inspect(self, service):
        containers = self.compose("ps", "--quiet", service).stdout.split()
        return json.loads(stack.docker("container", "inspect", *containers, env=HOST))

    def state(self, service):
        return [container["State"] for container in self.inspect(service)]

    def first_healthy(self, service, since):
        """When it first was, in seconds since 1970, as the engine's event says."""
        times = stack.docker("events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--filter",
                             f"container={self.inspect(service)[0]['Id']}", "--filter",
                             "event=health_status: healthy", "--format", "{{.TimeNano}}", env=HOST).split()
        return int(times[0]) / 1e9

    def test_order(self):
        """All conditions of depends_on, and instances with little."""
        since = time.time()
        self.compose("up", "--no-build", "--detach", timeout=180)
        stack.measured(f"docker-compose 1.29, older engine: up within {time.time() - since:.0f} s")
        migration, = self.state("migration")
        opened = [self.first_healthy(service, since) for service in ("db", "cache")]
        self.assertEqual(migration["ExitCode"], 0)
        self.assertLess(opened[0], seconds(migration["StartedAt"]))
        for instance in self.inspect("shop"):
            self.assertEqual((instance["HostConfig"]["Memory"], instance["HostConfig"]["NanoCpus"]),
                             (16 << 20, 100_000_000))
            started = seconds(instance["State"]["StartedAt"])
            self.assertLess(max(opened), started)
            self.assertLess(seconds(migration["FinishedAt"]), started)
        for service in ("shop", "nginx"):
            harness.wait_until(lambda: {state["Health"]["Status"] for state in self.state(service)} == {"healthy"},
                               f"{service} is healthy", 60)
        self.compose("exec", "-T", "nginx", "/readyd", "check", "http://127.0.0.1/",
                     "-o", "bodyRegex=^shop 1: 2 goods")


if __name__ == "__main__":
    unittest.main()
