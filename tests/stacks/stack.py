"""What every test of docker/ needs: the engine's clients, images with this binary, and cleaning up.

The tests run in the engine's network namespace (tests/stacks/engine sees to that), so the ports that
containers publish on 127.0.0.1 are at hand.
"""

import json
import os
import pathlib
import subprocess
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"

IMAGE = "readyd:0.1.0"


def run(*arguments, check=True, timeout=120, env=None, cwd=None, input=None):
    """A command to its end; fails with its output unless check is False."""
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True,
                          errors="replace", timeout=timeout, cwd=cwd, input=input,
                          stdin=subprocess.DEVNULL if input is None else None,
                          env=dict(os.environ, **(env or {})))
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def docker(*arguments, **options):
    """What the client prints."""
    return run("docker", *arguments, **options).stdout.strip()


def inspect(name, kind="container"):
    return json.loads(docker(kind, "inspect", name))[0]


def health(container):
    """starting, healthy or unhealthy."""
    return inspect(container)["State"]["Health"]["Status"]


def wait_health(container, status, timeout=60):
    def reached():
        state = inspect(container)["State"]
        if state["Health"]["Status"] == status:
            return True
        if not state["Running"] and status != "unhealthy":
            raise AssertionError(f"{container} ended with {state['ExitCode']}:\n" +
                                 docker("logs", container))
        return False
    harness.wait_until(reached, f"{container} is {status}", timeout)


@unittest.skipIf("READYD_NO_ENGINE" in os.environ, os.environ.get("READYD_NO_ENGINE"))
class TestCase(harness.TestCase):
    """A test with the engine, or skipped with the reason why there is none."""

    @classmethod
    def setUpClass(cls):
        if "READYD_ENGINE_STATE" not in os.environ:
            raise unittest.SkipTest("not started by tests/stacks/engine")

    def container(self, *arguments, **options):
        """`docker run --detach …`; removed at the end of the test. Its id."""
        name = docker("run", "--detach", *arguments, **options)
        self.addCleanup(docker, "rm", "--force", "--volumes", name)
        return name
