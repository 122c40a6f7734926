"""docker/deploy on docker/blue-green: updates and rollbacks lose no request."""

import json
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
            self.wait_event(first, "dependencies")
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
        for name, value in (("DEPLOY_ERROR_PERCENT", "0.5"), ("DEPLOY_WATCH_SECONDS", "3s"), ("DEPLOY_READY_SECONDS", "08"),
                            ("DEPLOY_MIGRATE_SECONDS", "-1")):
            self.environment[name] = value
            events = self.deploy("1", expect=2)
            self.assertIn(f'"{value}" in DEPLOY_*', events[-1]["reason"])
            self.environment.pop(name)
        self.assertFalse(self.state.exists())

    def test_lost_state(self):
        """Who does not know which colour has the traffic does not touch it."""
        self.deploy("1")
        (self.state / "traffic-blue").unlink()
        events = self.deploy("2", expect=1)
        self.assertIn("does not say which colour has the traffic", events[-1]["reason"])
        self.assertEqual(self.running(), ["shop-blue"])

    def test_traffic_that_cannot_be_moved(self):
        """The colour that has the traffic is left alone, and the next run puts things right."""
        self.deploy("1")
        self.environment["DEPLOY_WATCH_SECONDS"] = "60"
        with self.start_deploy("2") as process:
            self.wait_event(process, "watch")
            self.project.compose("pause", "nginx")
            self.project.compose("exec", "-T", "shop-green", "/readyd", "drain")  # not ready any more, and it runs
            rest = process.communicate(timeout=SECONDS)[1]
        self.assertEqual(process.returncode, 1)
        self.assertIn("could not be put back", json.loads(rest.splitlines()[-1])["reason"], rest)
        self.assertIn("shop-green", self.running())
        self.project.compose("unpause", "nginx")
        events = self.deploy("--rollback")
        self.assertEqual(events[-1]["note"], "the deployment that was killed is put back")
        self.assertEqual((self.version(), self.running()), ("1", ["shop-blue"]))

    def test_tag_that_moves(self):
        """First it comes from the registry. A tag's new image is a new version; going back goes to the image
        that was in service."""
        def content(words):
            return f"FROM shop:1\nLABEL test={words}\n"

        def label():
            container, = self.project.containers(self.running()[0])
            return stack.inspect(container)["Config"]["Labels"]["test"]

        self.addCleanup(stack.docker, "rmi", "--force", "shop:moves")
        stack.publish("shop:moves", content("first"))
        events = self.deploy("moves")
        self.assertIn("deploy.pull", [event["event"] for event in events])
        stack.docker("build", "--tag", "shop:moves", "-", input=content("second"))
        events = self.deploy("moves")
        self.assertNotIn("deploy.pull", [event["event"] for event in events])
        self.assertEqual(label(), "second")
        self.deploy("--rollback")
        self.assertEqual(label(), "first")

    def test_build(self):
        self.addCleanup(stack.docker, "rmi", "--force", "shop:built")
        events = self.deploy("--build", "built")
        self.assertIn("deploy.build", [event["event"] for event in events])
        self.assertEqual(self.version(), "built")
        self.project.compose("stop", "nginx")
        events = self.deploy("--build", "built")
        self.assertEqual(events[-1]["note"], "it was in service already")
        self.assertEqual((self.version(), self.running()), ("built", ["shop-blue"]))

    def test_rollback_leaves_the_database_alone(self):
        """No migration of the old version runs on the tables of the new, and nothing is made anew."""
        self.deploy("1")
        database, = self.project.containers("db")
        self.deploy("2")
        self.environment["SHOP_SECRETS"] = str(self.tmp / "other")
        (self.tmp / "other").mkdir()
        (self.tmp / "other" / "db-password").write_text("secret\n")
        events = self.deploy("--rollback")
        self.assertNotIn("deploy.migrate", [event["event"] for event in events])
        self.assertEqual(self.project.containers("db"), [database])


if __name__ == "__main__":
    unittest.main()
