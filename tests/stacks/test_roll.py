"""docker/compose/roll: a rolling replacement loses no request, whatever comes between."""

import json
import os
import shutil
import signal
import subprocess
import unittest

import harness
import shop
import stack
from compose import Project
from traffic import Load


class Roll(shop.TestCase):
    def setUp(self):
        """In a copy, because it keeps the version in .env; also with as little memory and processor as that."""
        super().setUp()
        for name in ("compose", "shop"):
            shutil.copytree(stack.DOCKER / name, self.tmp / name)
        shutil.copy(stack.DOCKER / "Dockerfile.example-entrypoint", self.tmp)
        override = self.tmp / "override.yaml"
        override.write_text(json.dumps({"services": {"shop": dict(stack.SMALL, build=stack.BUILD_VIA_PROXY)}}))
        files = [self.tmp / "compose/compose.yaml", override]
        self.project = Project(self, files, dict(self.settings, ROLL_SECONDS="60",
                                                 COMPOSE_FILE=":".join(map(str, files))))
        self.project.up("--wait", "--wait-timeout", "120")

    def start_roll(self, *arguments):
        return subprocess.Popen([self.tmp / "compose/roll", *arguments], text=True, start_new_session=True,
                                env=dict(os.environ, **self.project.environment), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def roll(self, *arguments, expect=0):
        """What it says on stderr, to its end."""
        with self.start_roll(*arguments) as process:
            words = process.communicate(timeout=300)[1]
        self.assertEqual(process.returncode, expect, words)
        return words

    def versions(self):
        """Of the instances that there are."""
        labels = [stack.inspect(each)["Config"]["Labels"] for each in self.project.containers("shop")]
        return sorted(each.get("test.version", "1") for each in labels
                      if each["com.docker.compose.oneoff"] == "False")

    def await_instances(self, count):
        harness.wait_until(lambda: len(self.project.containers("shop")) == count, f"{count} instances", 60)

    def test_replacement(self):
        """There, a bad one and back; what is in service stays so with a later `up`."""
        with Load(self.port, per_second=25) as load:
            self.roll("2")
            self.project.environment["ROLL_SECONDS"] = "20"
            words = self.roll("never", expect=1)
            self.assertRegex(words, "version never: not healthy in time: fail readiness: .*app http_status")
            self.assertIn("the old instances stay", words)
        stack.measured(f"rolling replacement, and one that failed: {load.summary()}")
        self.assertEqual(load.lost(), [])
        self.assertEqual(self.versions(), ["2", "2"])
        self.assertGreater(load.versions()["2"], 50)
        instances = self.project.compose("ps", "--quiet", "shop", "nginx", "db").stdout
        self.roll("2")
        self.project.compose("up", "--detach", cwd=self.tmp / "compose")
        self.assertEqual(self.project.compose("ps", "--quiet", "shop", "nginx", "db").stdout, instances)

    def test_build_and_pull(self):
        self.addCleanup(stack.docker, "rmi", "--force", "shop:built-by-roll", "shop:pulled-by-roll")
        self.roll("--build", "built-by-roll")
        self.assertIn("shop built-by-roll:", stack.get(self.port, "/")[1])
        stack.publish("shop:pulled-by-roll", "FROM shop:1\nLABEL test.version=pulled\n")
        self.roll("pulled-by-roll")
        self.assertEqual(self.versions(), ["pulled", "pulled"])

    def test_interrupted(self):
        """By a terminal's Ctrl-C the old instances stay; after a SIGKILL the next run goes on, or back."""
        with Load(self.port, per_second=25) as load:
            for number in (signal.SIGINT, signal.SIGKILL):
                # One that is never ready: it cannot be over before the signal comes.
                with self.start_roll("never") as process:
                    self.await_instances(4)
                    self.assertIn("another replacement is under way", self.roll("2", expect=1))
                    if number == signal.SIGKILL:
                        stack.run("pkill", "-KILL", "-s", process.pid)
                    else:
                        os.killpg(process.pid, number)
                    words = process.communicate(timeout=300)[1]
                if number == signal.SIGINT:
                    self.assertEqual(process.returncode, 1, words)
                    self.assertIn("version never: interrupted; the old instances stay", words)
                    self.assertEqual(self.versions(), ["1", "1"])
            self.assertEqual(len(self.versions()), 4)
            self.project.compose("run", "--detach", "--no-deps", "--entrypoint", "sleep 600", "shop")
            self.roll("deaf")
            self.assertEqual(self.versions(), ["deaf", "deaf"])
            with self.start_roll("2") as process:
                self.await_instances(4)
                harness.wait_until(lambda: len(self.project.containers("shop")) < 4, "an old instance is gone", 60)
                stack.run("pkill", "-KILL", "-s", process.pid)
                process.communicate()
            self.roll("2")
        stack.measured(f"rolling replacements interrupted and killed: {load.summary()}")
        self.assertEqual(load.lost(), [])
        self.assertEqual(self.versions(), ["2", "2"])

    def test_refusals(self):
        for words in ([], [""], ["1", "2"], ["a b"], ["--help"]):
            self.assertIn("usage:", self.roll(*words, expect=2))
        self.project.environment["ROLL_SECONDS"] = "08"
        self.assertIn('"08" in ROLL_*', self.roll("2", expect=2))
        self.project.environment["ROLL_SECONDS"] = "20"
        self.assertIn("there is no image shop:3", self.roll("3", expect=1))
        self.project.environment["SHOP_SECRETS"] = str(self.tmp / "nowhere")
        self.assertIn("2: its migration failed", self.roll("2", expect=1))
        self.assertEqual(self.versions(), ["1", "1"])


if __name__ == "__main__":
    unittest.main()
