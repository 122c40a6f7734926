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
        self.assertFalse(self.state.exists())
        self.assertEqual(self.project.containers("shop-blue"), [])
        self.deploy("1")
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
        with Load(self.port) as load:
            self.deploy("2")
            self.assertEqual((self.version(), self.running()), ("2", ["shop-green"]))
            self.assertEqual(self.deploy("2")[-1]["note"], "it was in service already")
            self.deploy("--rollback")
            self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))
            # What was no good is not gone back to.
            events = self.deploy("--rollback", expect=1)
            self.assertEqual(events[-1]["reason"], "there is no version before")
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

    def test_settings(self):
        """A wrong one is refused before anything is done."""
        for name, value in (("DEPLOY_ERROR_PERCENT", "0.5"), ("DEPLOY_WATCH_SECONDS", "3s"),
                            ("DEPLOY_MIGRATE_SECONDS", "-1")):
            self.environment[name] = value
            events = self.deploy("1", expect=2)
            self.assertIn(f'"{value}" in DEPLOY_*', events[-1]["reason"])
            self.environment.pop(name)
        self.assertFalse(self.state.exists())

    def test_lost_state(self):
        """Who does not know which colour has the traffic does not touch it."""
        self.deploy("1")
        (self.state / "colour.conf").unlink()
        events = self.deploy("2", expect=1)
        self.assertIn("does not say which colour has the traffic", events[-1]["reason"])
        self.assertEqual(self.running(), ["shop-blue"])

    def test_state_that_cannot_be_written(self):
        """The colour that has the traffic is left alone, and the next run puts things right."""
        self.deploy("1")
        self.environment["DEPLOY_WATCH_SECONDS"] = "60"
        with self.start_deploy("ill") as process:
            self.wait_event(process, "watch")
            (self.state / "colour.conf.new").mkdir()
            rest = process.communicate(timeout=SECONDS)[1]
        self.assertEqual(process.returncode, 1)
        self.assertIn("could not be put back", json.loads(rest.splitlines()[-1])["reason"], rest)
        self.assertIn("shop-green", self.running())
        (self.state / "colour.conf.new").rmdir()
        events = self.deploy("--rollback")
        self.assertEqual(events[-1]["note"], "the deployment that was killed is put back")
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))

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
