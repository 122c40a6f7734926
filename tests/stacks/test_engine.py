"""The engine of these tests is what a user has, and is shut off from the machine's network."""

import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

import engine_images
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


class Endings(stack.TestCase):
    """However a run ends, nothing of it is left. Shown on engines of their own inside this one's namespaces."""

    # a container, an image, a network, a file and a process that nobody waits for
    COMMAND = """
        tar -C "$(dirname "$BINARY")" -c "$(basename "$BINARY")" | docker import -c 'ENTRYPOINT ["/readyd"]' - left
        docker network create left
        docker run --detach --network=left left serve
        mktemp -d
        setsid sleep 1000 </dev/null >/dev/null 2>&1 &
        echo up
        [ "$THEN" = fail ] || { sleep 1000 & wait; }
        exit 7
    """

    def cache(self, name):
        """With the root file system of ours, and no base images, which this has no need of."""
        cache = self.tmp / name / "engine"
        (cache / "data").mkdir(parents=True)
        root, = pathlib.Path(os.environ["READYD_ENGINE_STATE"]).parent.glob("root-*[0-9a-f]")
        subprocess.run(["cp", "--archive", "--link", root, cache], check=True)
        for image in engine_images.IMAGES:
            image.stamp(cache / "data").touch()
        return cache

    def left(self, cache):
        """What there still is of a run that has or had its cache there."""
        found = [str(path) for path in (cache / "state", cache / "scratch") if path.exists()]
        for kind in ("containers", "image/overlay2/imagedb/content/sha256", "volumes"):
            found += [str(path) for path in (cache / "data" / kind).glob("*") if path.name not in (
                "metadata.db", "backingFsBlockDev")]
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(cache).encode() in (process / "environ").read_bytes() + (process / "cmdline").read_bytes():
                    found.append((process / "cmdline").read_text())
            except OSError:
                pass
        return found

    def end(self, name, how):
        """Runs the command, ends it, and waits until nothing is left."""
        cache = self.cache(name)
        environment = dict(os.environ, DEPS_CACHE=str(cache.parent), BINARY=os.path.abspath(harness.BINARY),
                           THEN=name)
        with subprocess.Popen([sys.executable, ENGINE, "sh", "-euc", self.COMMAND], env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                container = list(itertools.takewhile(lambda line: line != "up\n", process.stdout))[-2].strip()
                self.assertNotEqual(self.left(cache), [])
                how(process.pid)
            finally:
                log = process.communicate(timeout=180)[1]
        harness.wait_until(lambda: not self.left(cache) or time.sleep(0.2), f"{name} leaves nothing:\n{log}")
        # Not by glob(), which fails when a group goes while it looks.
        groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith(f"/readyd-engine/{container}")]
        self.assertEqual((name, groups), (name, []))
        return process.returncode

    def test_nothing_is_left(self):
        def worker(pid):
            return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

        endings = {"fail": (lambda pid: None, 7),
                   "interrupted": (lambda pid: os.kill(pid, signal.SIGINT), 128 + signal.SIGINT),
                   "killed": (lambda pid: os.kill(pid, signal.SIGKILL), -signal.SIGKILL),
                   "worker": (lambda pid: os.kill(worker(pid), signal.SIGKILL), 128 + signal.SIGKILL)}
        with concurrent.futures.ThreadPoolExecutor(len(endings)) as pool:
            found = dict(zip(endings, pool.map(self.end, endings, (how for how, _ in endings.values()))))
        self.assertEqual(found, {name: status for name, (_, status) in endings.items()})


class NoEngine(harness.TestCase):
    def test_reason(self):
        """Where no engine can be had, the command runs all the same and is told why."""
        (self.tmp / "sh").symlink_to("/bin/sh")
        done = subprocess.run([sys.executable, ENGINE, "sh", "-c", 'echo "$READYD_NO_ENGINE"; exit 3'],
                              capture_output=True, text=True, env={"PATH": str(self.tmp)})
        why = "mmdebstrap is not installed" if os.geteuid() == 0 else "only root can start one"
        self.assertEqual((done.returncode, done.stdout), (3, why + "\n"), done.stderr)

    def run_without(self, **environment):
        """The tests of one file, told that there is no engine; exit status and output."""
        kept = {name: value for name, value in os.environ.items()
                if name not in ("READYD_ENGINE_STATE", "CI")}
        runner = stack.ROOT / "tests/integration/run.py"
        done = subprocess.run([sys.executable, runner, "--binary", harness.BINARY, "--directory",
                               pathlib.Path(__file__).parent, "test_image.py"], capture_output=True, text=True,
                              env=dict(kept, READYD_NO_ENGINE="not today", **environment))
        return done.returncode, done.stdout

    def test_skipped(self):
        """With one line that says why, and counted."""
        status, output = self.run_without()
        self.assertEqual(status, 0)
        self.assertRegex(output, r"\nskipped (\d+) tests: no engine: not today\n0 passed, 0 failed, \1 skipped\n$")

    def test_not_skipped_in_ci(self):
        status, output = self.run_without(CI="true")
        self.assertEqual(status, 1)
        self.assertIn("AssertionError: no engine: not today; in CI no test may be skipped for that", output)
        self.assertRegex(output, r"\n0 passed, [1-9]\d* failed, 0 skipped\n$")


if __name__ == "__main__":
    unittest.main()
