"""The engine of these tests is what a user has, and is shut off from the machine's network."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import harness
import stack

ENGINE = pathlib.Path(__file__).parent / "engine"


class Engine(stack.TestCase):
    def test_versions(self):
        version = json.loads(stack.docker("version", "--format", "json"))["Server"]["Version"]
        self.assertGreaterEqual(int(version.split(".")[0]), 25)  # since then there is start_interval
        compose = stack.docker("compose", "version", "--short")
        self.assertGreaterEqual([int(part) for part in re.findall(r"\d+", compose)[:3]], [2, 20, 3])

    def test_no_way_out(self):
        """What a test does wrong can reach nobody."""
        done = stack.run("docker", "run", "--rm", "debian:trixie-slim", "bash", "-c",
                         "echo >/dev/tcp/192.0.2.1/80", check=False)
        self.assertIn("unreachable", done.stderr)


class NoEngine(harness.TestCase):
    def test_reason(self):
        """Where no engine can be had, the command runs all the same and is told why."""
        (self.tmp / "sh").symlink_to("/bin/sh")
        done = subprocess.run([sys.executable, ENGINE, "sh", "-c", 'echo "$READYD_NO_ENGINE"; exit 3'],
                              capture_output=True, text=True, env={"PATH": str(self.tmp)})
        why = "mmdebstrap is not installed" if os.geteuid() == 0 else "only root can start one"
        self.assertEqual((done.returncode, done.stdout), (3, why + "\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
