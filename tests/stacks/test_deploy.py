"""docker/deploy on docker/blue-green: updates and rollbacks lose no request, whatever interrupts them."""

import json
import signal
import unittest

import deployment
import stack
from deployment import SECONDS
from traffic import Load


class Good(deployment.Deploy):
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

    def test_refusals(self):
        """Two at a time; a version that there is not; a rollback to nothing."""
        with self.start_deploy("1") as first:
            self.wait_event(first, "start")
            events = self.deploy("2", expect=1)
            self.assertEqual(events[-1]["reason"], "another deployment is under way")
            first.communicate(timeout=SECONDS)
        self.assertEqual(first.returncode, 0)
        events = self.deploy("3", expect=1)
        self.assertIn("there is no image shop:3", events[-1]["reason"])
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        events = self.deploy("--rollback", expect=1)
        self.assertEqual(events[-1]["reason"], "there is no version before")

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


if __name__ == "__main__":
    unittest.main()
