"""docker/deploy on docker/blue-green, under constant load: no request is lost, and bad versions go back."""

import json
import os
import re
import signal
import subprocess
import time
import unittest

import harness
import shop
import stack
from compose import Project
from traffic import Load

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
        return subprocess.Popen([DEPLOY, *arguments], env=self.environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
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
        print(f"{name}: {load.summary()}", flush=True)
        self.assertEqual(load.lost(), [])
        self.assertGreater(len(load.answers), 100)


class Good(Deploy):
    def test_update_and_rollback(self):
        plan = self.deploy("--dry-run", "1")
        self.assertIn("deploy.start", [event["event"] for event in plan])
        self.assertEqual(self.project.containers("shop-blue"), [])
        self.deploy("1")
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        with Load(self.port) as load:
            self.deploy("2")
            self.assertEqual((self.version(), self.running()), ("2", ["shop-green"]))
            self.assertEqual(self.deploy("2")[-1]["note"], "it was in service already")
            self.deploy("--rollback")
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        self.assert_lossless(load, "update and rollback")
        self.assertGreater(load.versions()["2"], 100)
        self.agent_tells_its_version("1")

    def agent_tells_its_version(self, version):
        """By which an update can be watched."""
        container, = self.project.containers("shop-blue")
        status = json.loads(stack.docker("exec", container, "/readyd", "status", "--json"))
        self.assertEqual((status["service"], status["version"]), ("shop", version))
        log = [json.loads(line) for line in self.project.logs("shop-blue").splitlines()
               if line.startswith("{")]
        self.assertLessEqual({("shop", version)},
                             {(line.get("service"), line.get("version")) for line in log})

    def test_beside_itself(self):
        with self.start_deploy("1") as first:
            self.wait_event(first, "start")
            events = self.deploy("2", expect=1)
            self.assertEqual(events[-1]["reason"], "another deployment is under way")
            first.communicate(timeout=SECONDS)
        self.assertEqual(first.returncode, 0)

    def interrupt(self, event, number):
        """Starts deploying version 2 and ends that at an event; what was there is there."""
        with self.start_deploy("2") as process:
            self.wait_event(process, event)
            process.send_signal(number)
            rest = process.communicate(timeout=SECONDS)[1]
        if number != signal.SIGKILL:
            self.assertEqual(process.returncode, 1)
            self.assertEqual(json.loads(rest.splitlines()[-1])["reason"], "interrupted")
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))

    def test_interrupted(self):
        self.deploy("1")
        with Load(self.port) as load:
            self.interrupt("start", signal.SIGTERM)
            self.interrupt("watch", signal.SIGINT)
            self.interrupt("watch", signal.SIGKILL)
            events = self.deploy("1")
            self.assertIn("deploy.recover", [event["event"] for event in events])
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        self.assert_lossless(load, "three interruptions")
        self.assertGreater(load.versions()["2"], 0)

    def test_no_such_version(self):
        self.deploy("1")
        events = self.deploy("3", expect=1)
        self.assertIn("there is no image shop:3", events[-1]["reason"])
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        events = self.deploy("--rollback", expect=1)
        self.assertEqual(events[-1]["reason"], "there is no version before")


class Bad(Deploy):
    """Each is put back, and the reason is told."""

    def put_back(self, version, reason):
        with Load(self.port) as load:
            events = self.deploy(version, expect=1)
            self.assertRegex(events[-1]["reason"], reason)
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        return load

    def test_bad_versions(self):
        self.environment["DEPLOY_WATCH_SECONDS"] = "20"
        self.environment["DEPLOY_READY_SECONDS"] = "8"
        self.deploy("1")
        for version, reason in (("never", "was not ready within 8 s: .*app"),
                                ("ill", "is not ready any more: .*app"),
                                ("crash", "crashed with exit code")):
            with self.subTest(version):
                self.assert_lossless(self.put_back(version, reason), f"version {version}")
        load = self.put_back("errors", r"\d+ of \d+ answers of version errors were errors")
        spoilt = load.lost()
        print(f"version errors: {len(spoilt)} of {len(load.answers)} requests spoilt in "
              f"{spoilt[-1].at - spoilt[0].at:.1f} s", flush=True)
        self.assertEqual({answer.status for answer in spoilt}, {500})
        self.assertLess(spoilt[-1].at - spoilt[0].at, 10)


if __name__ == "__main__":
    unittest.main()
