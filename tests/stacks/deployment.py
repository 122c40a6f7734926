"""A test of docker/deploy: a blue and green stack, and the script to run on it."""

import json
import os
import signal
import subprocess

import harness
import shop
import stack
from compose import Project

DEPLOY = stack.DOCKER / "deploy"
SECONDS = 120


class Deploy(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shop.build()

    def setUp(self):
        super().setUp()
        self.port = harness.free_port()
        self.state = self.tmp / "state"
        (self.tmp / "db-password").write_text("secret\n")
        self.project = Project(self, [stack.DOCKER / "blue-green/compose.yaml"], {
            "SHOP_PORT": str(self.port), "SHOP_STATE": str(self.state), "SHOP_SECRETS": str(self.tmp),
            "SHOP_START_SECONDS": "1"})
        self.environment = dict(os.environ, **self.project.environment, DEPLOY_STATE=str(self.state),
                                DEPLOY_READY_SECONDS="20", DEPLOY_WATCH_SECONDS="5")

    def start_deploy(self, *arguments):
        def hear_interrupts():  # which a shell's background job does not
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        return subprocess.Popen([DEPLOY, *arguments], env=self.environment, text=True,
                                preexec_fn=hear_interrupts, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

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
        lines = self.project.compose("ps", "--services", "--status=running").stdout.split()
        return sorted(name for name in lines if name.startswith("shop-"))

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
