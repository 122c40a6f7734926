"""What every test of docker/ needs: the engine's clients, images with this binary, and cleaning up.

The tests run in the engine's network namespace (tests/stacks/engine sees to that), so the ports that
containers publish on 127.0.0.1 are at hand.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"

VERSION = re.search(r"^VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
IMAGE = f"readyd:{VERSION}"

# `docker build` with a way to Debian's mirror, for images that install a package.
VIA_PROXY = ["--network=host",
             f"--build-arg=http_proxy={os.environ.get('READYD_ENGINE_PROXY', '')}"]

# The same for the `build` of a service.
BUILD_VIA_PROXY = {"network": "host", "args": {"http_proxy": os.environ.get("READYD_ENGINE_PROXY", "")}}

# How a container that needs nothing is to be run.
LOCKED_DOWN = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=16m",
               "--memory-swap=16m", "--cpus=0.1", "--pids-limit=32"]


# The same for a service of a Compose file that has the other lines already.
SMALL = {"mem_limit": "16m", "memswap_limit": "16m", "cpus": 0.1, "pids_limit": 64}


def run(*arguments, check=True, timeout=300, env=None, cwd=None, input=None):
    """A command to its end; fails with its output unless check is False."""
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True,
                          errors="replace", timeout=timeout, cwd=cwd, input=input,
                          stdin=subprocess.DEVNULL if input is None else None,
                          env=dict(os.environ, **(env or {})))
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def measured(text):
    """Has run.py show it in any case."""
    print(f"\nmeasured: {text}", flush=True)


def docker(*arguments, **options):
    """What the client prints."""
    return run("docker", *arguments, **options).stdout.strip()


def build_readyd(tag=IMAGE):
    """The image of docker/Dockerfile. Its last stage is built by the engine; in the place of the
    stage that compiles, which takes minutes and the network, stands what `make` has built here."""
    with tempfile.TemporaryDirectory() as stage:
        binary = pathlib.Path(stage) / "src/build/readyd"
        binary.parent.mkdir(parents=True)
        shutil.copy(harness.BINARY, binary)
        docker("build", "--file", DOCKER / "Dockerfile", "--build-context", f"build={stage}",
               "--tag", tag, ROOT)
    return tag


def build_example(name, tag, context=DOCKER):
    """The image of docker/Dockerfile.example-NAME; Debian's packages come through the proxy."""
    docker("build", "--file", DOCKER / f"Dockerfile.example-{name}", "--tag", tag, *VIA_PROXY, context,
           timeout=300)
    return tag


def publish(name, content):
    """An image by that name, which is not here but in the registry."""
    there = f"{os.environ['READYD_ENGINE_REGISTRY']}/library/{name}"
    docker("build", "--tag", there, "-", input=content)
    docker("push", "--quiet", there)
    docker("rmi", "--force", there)


def inspect(name, kind="container"):
    return json.loads(docker(kind, "inspect", name))[0]


def get(port, path, timeout=harness.PATIENCE_SECONDS, host="127.0.0.1"):
    """(status, body) of a request from outside."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def health(container):
    """starting, healthy or unhealthy."""
    return inspect(container)["State"]["Health"]["Status"]


def wait_health(container, status, timeout=60):
    def reached():
        state = inspect(container)["State"]
        if state["Health"]["Status"] == status:
            return True
        if state["Status"] == "exited" and status != "unhealthy":
            raise AssertionError(f"{container} ended with {state['ExitCode']}:\n" +
                                 docker("logs", container))
        return False
    harness.wait_until(reached, f"{container} is {status}", timeout)


class Events:
    """What the engine tells from now on, to the end of the test. It keeps 256 events itself, whoever's they are, which
    the health checks of all files' containers fill in seconds; so it is listened to while things happen."""

    def __init__(self, test):
        self.path = test.tmp / f"events-{time.monotonic_ns()}"
        with open(self.path, "wb") as output:
            process = subprocess.Popen(["docker", "events", "--since", f"{time.time():.6f}", "--format", "{{json .}}"],
                                       stdin=subprocess.DEVNULL, stdout=output)
        test.addCleanup(process.wait)
        test.addCleanup(process.kill)
        self._mark()
        harness.wait_until(lambda: self.path.stat().st_size, "any event of the engine's")

    def _mark(self):
        """Makes an event, which comes after all that there were."""
        mark = docker("volume", "create")
        docker("volume", "rm", mark)
        return mark

    def of(self, container):
        """All of a container so far: its action, and when it was in seconds since 1970."""
        mark = self._mark()
        harness.wait_until(lambda: mark in self.path.read_text(), "the engine's event")
        lines = self.path.read_text().split("\n")[:-1]  # the last one is empty, or not whole yet
        return [(event["Action"], event["timeNano"] / 1e9) for event in map(json.loads, lines)
                if event["Actor"]["ID"] == container]


@unittest.skipUnless("READYD_ENGINE_STATE" in os.environ, "no engine: " + os.environ.get(
    "READYD_NO_ENGINE", "not started by tests/stacks/engine"))
class TestCase(harness.TestCase):
    """A test with the engine, or skipped with the reason why there is none; in CI, run.py takes that
    for a failure."""

    def container(self, *arguments, **options):
        """`docker run --detach …`; removed at the end of the test. Its id."""
        name = docker("run", "--detach", *arguments, **options)
        self.addCleanup(docker, "rm", "--force", "--volumes", name)
        return name
