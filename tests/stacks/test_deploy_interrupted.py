"""docker/deploy may be interrupted and killed at any step, and no request is lost."""

import json
import signal
import unittest

import deployment
import stack
from deployment import SECONDS
from traffic import Load


class Interrupted(deployment.Deploy):
    def interrupted(self, event, number, version="2"):
        """Starts deploying a version and ends that at an event; its last words."""
        # So long that it cannot be over before the signal comes.
        self.environment["DEPLOY_WATCH_SECONDS"] = "3" if event == "settle" else "60"
        with self.start_deploy(version) as process:
            self.wait_event(process, event)
            self.interrupt(process, number)
            rest = process.communicate(timeout=SECONDS)[1]
        self.environment["DEPLOY_WATCH_SECONDS"] = "3"
        if number == signal.SIGKILL:
            return None
        self.assertEqual(process.returncode, 1, rest)
        return json.loads(rest.splitlines()[-1])["reason"]

    def test_interrupted(self):
        """At any step: what was there is there."""
        self.deploy("1")
        with Load(self.port) as load:
            for event, number in (("dependencies", signal.SIGINT), ("migrate", signal.SIGHUP),
                                  ("start", signal.SIGTERM), ("await", signal.SIGQUIT),
                                  ("switch", signal.SIGINT), ("watch", signal.SIGINT)):
                with self.subTest(event):
                    self.assertEqual(self.interrupted(event, number), "interrupted")
                    self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        self.assert_lossless(load, "six interruptions")
        self.assertGreater(load.versions()["2"], 0)

    def test_killed(self):
        """The next run puts things right; after the watch time the new version stays."""
        self.deploy("1")
        with Load(self.port) as load:
            for event in ("start", "switch", "watch"):
                with self.subTest(event):
                    self.interrupted(event, signal.SIGKILL)
                    events = self.deploy("1")
                    self.assertIn("deploy.recover", [event["event"] for event in events])
                    self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
            self.interrupted("settle", signal.SIGKILL)
            self.deploy("2")
            self.assertEqual((self.version(), self.running()), ("2", ["shop-green"]))
        self.assert_lossless(load, "four times killed")

    def test_interrupted_too_late(self):
        """After the watch time the deployment is completed."""
        with self.start_deploy("1") as process:
            self.wait_event(process, "good")
            self.interrupt(process, signal.SIGINT)
            process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 0)
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))

    def test_first_fails(self):
        """Nothing was there, and nothing is: nobody answers."""
        self.assertIn("interrupted", self.interrupted("watch", signal.SIGINT, "1"))
        self.assertEqual(self.running(), [])
        with self.assertRaises(OSError):
            stack.get(self.port, "/")
        self.deploy("1")
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))


if __name__ == "__main__":
    unittest.main()
