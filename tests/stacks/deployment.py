"""A test of docker/deploy: a blue and green stack, and the script to run on it."""

import json
import os
import signal
import subprocess

import shop
import stack
from compose import Project

DEPLOY = stack.DOCKER / "deploy"
SECONDS = 300


class Deploy(shop.TestCase):
    def setUp(self):
        super().setUp()
        self.state = self.tmp / "state"
        self.project = Project(self, [stack.DOCKER / "blue-green/compose.yaml"],
                               dict(self.settings, SHOP_STATE=str(self.state)))
        # Also with as little memory and processor as that. How late an agent may be is no matter here, where it may get
        # no processor for seconds: a version that is late once in its watch time would be taken back.
        small = dict(stack.SMALL, environment={"READYD_STALE_AFTER_SECONDS": "10"})
        (self.tmp / "small.yaml").write_text(json.dumps(
            {"services": {"shop-blue": small, "shop-green": small,
                          "migration": {"build": stack.BUILD_VIA_PROXY}}}))
        self.files = [stack.DOCKER / "blue-green/compose.yaml", self.tmp / "small.yaml"]
        self.environment = dict(os.environ, **self.project.environment, DEPLOY_STATE=str(self.state),
                                COMPOSE_FILE=":".join(map(str, self.files)),
                                DEPLOY_READY_SECONDS="60", DEPLOY_WATCH_SECONDS="3")

    def start_deploy(self, *arguments):
        return subprocess.Popen([DEPLOY, *arguments], env=self.environment, text=True, start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    def interrupt(self, process, number):
        """Signals it as a terminal does, the whole of the foreground process group; SIGKILL goes to everything that
        it has started."""
        if number == signal.SIGKILL:
            while stack.run("pkill", "-KILL", "--runstates", "DRST", "-s", process.pid, check=False).returncode == 0:
                pass  # what began in the meantime
        else:
            os.killpg(process.pid, number)

    def deploy(self, *arguments, expect=0):
        """Runs it to its end; returns the events of its log."""
        with self.start_deploy(*arguments) as process:
            log = process.communicate(timeout=SECONDS)[1]
        self.assertEqual(process.returncode, expect, log)
        return [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def version(self):
        """What is in service."""
        return stack.get(self.port, "/")[1].split()[1].rstrip(":")

    def running(self):
        # Who has ended is among those that run, as `docker ps` has them, for a moment longer than a stop takes.
        return [name for name in ("shop-blue", "shop-green")
                if any(stack.inspect(each)["State"]["Status"] == "running" for each in self.project.containers(name))]

    def wait_event(self, process, event):
        """Reads its log up to an event."""
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["event"] == "deploy." + event:
                return json.loads(line)
        raise AssertionError(f"no event {event}")

    def assert_lossless(self, load, name):
        stack.measured(f"{name}: {load.summary()}")
        self.assertEqual(load.lost(), [])
        self.assertGreater(len(load.answers), 100)
