"""`readyd run` as the entrypoint of a container, under an engine's own rules."""

import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import tempfile
import unittest

import harness
import stack
from stack import docker, inspect

DOCKERFILE = """
FROM debian:trixie-slim
COPY readyd /readyd
ENTRYPOINT ["/readyd", "run", "-o", "logFormat=json", "--"]
HEALTHCHECK --interval=100ms CMD ["/readyd", "check"]
"""

# Says what it is told, and ends with 3 when it is told to end.
TALKER = ("trap 'echo told; exit 3' TERM; trap 'echo hangup' HUP; echo here; "
          "while :; do sleep 0.05; done")


class Run(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = "readyd-run-test"
        context = pathlib.Path(tempfile.mkdtemp(prefix="readyd-run-"))
        try:
            (context / "Dockerfile").write_text(DOCKERFILE)
            shutil.copy(harness.BINARY, context / "readyd")
            docker("build", "--tag", cls.image, context)
        finally:
            shutil.rmtree(context)

    def output(self, container):
        """What the command has written, and the log's events."""
        done = stack.run("docker", "logs", container)
        events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        return done.stdout.split("\n"), events

    def wait_output(self, container, line, count=1):
        harness.wait_until(lambda: self.output(container)[0].count(line) >= count, f"{line!r}")

    def test_stop_with_nothing_set(self):
        """The defaults fit the ten seconds that the engine waits before it kills."""
        container = self.container(self.image, "sh", "-c", TALKER)
        self.wait_output(container, "here")
        stack.wait_health(container, "healthy")
        self.assertIn("readyd", docker("exec", container, "cat", "/proc/1/comm"))
        docker("stop", container)
        self.assertEqual(inspect(container)["State"]["ExitCode"], 3)
        lines, events = self.output(container)
        self.assertIn("told", lines)
        # By its own clock: what the client and the engine take is not in it.
        self.assertGreaterEqual(events[-1]["afterMs"], 5000)
        self.assertLess(events[-1]["afterMs"], 9000)
        self.assertEqual([event["event"] for event in events if event["event"] in (
            "stopping", "delay_over", "stop_signal_sent", "child_exited", "stopped")],
            ["stopping", "delay_over", "stop_signal_sent", "child_exited", "stopped"])

    def test_stop_of_whoever_does_not_mind(self):
        """It is readyd who kills the command, not the engine who kills both."""
        container = self.container(self.image, "sh", "-c",
                                   "trap '' TERM; echo here; while :; do sleep 0.05; done")
        self.wait_output(container, "here")
        docker("stop", "--time=30", container)  # at 10 s, as is usual, the engine would be but a second behind
        self.assertEqual(inspect(container)["State"]["ExitCode"], 137)
        events = self.output(container)[1]
        self.assertIn("killed", [event["event"] for event in events])
        self.assertEqual(events[-1]["event"], "stopped")
        self.assertLess(events[-1]["afterMs"], 10000)

    def test_signals_and_status(self):
        container = self.container(self.image, "sh", "-c", TALKER)
        self.wait_output(container, "here")
        docker("kill", "--signal=HUP", container)
        self.wait_output(container, "hangup")
        docker("kill", "--signal=USR1", container)
        harness.wait_until(lambda: inspect(container)["State"]["Status"] == "exited", "the end")
        self.assertEqual(inspect(container)["State"]["ExitCode"], 128 + 10)
        for command, status in ((["sh", "-c", "exit 7"], 7), (["/no/such"], 127), (["/etc"], 126)):
            done = stack.run("docker", "run", "--rm", self.image, *command, check=False)
            self.assertEqual(done.returncode, status, done.stderr)

    def test_exit_is_what_a_restart_policy_needs(self):
        """Plain Docker restarts nothing that is merely unhealthy."""
        container = self.container(
            "--restart=on-failure:1", "--env=READYD_ON_LIVENESS_FAILURE=exit",
            "--env=READYD_LIVENESS_APP=exec:/usr/bin/test ! -e /dev/shm/here",  # which is a new one at each start
            "--env=READYD_LIVENESS_APP__PERIOD_SECONDS=0.1", self.image, "sh", "-c",
            "echo here; touch /dev/shm/here; exec sleep 1000")
        harness.wait_until(lambda: inspect(container)["RestartCount"] == 1 and
                           inspect(container)["State"]["Status"] == "exited", "one restart")
        self.assertEqual(self.output(container)[0].count("here"), 2)
        self.assertEqual(inspect(container)["State"]["ExitCode"], 143)

    def test_restart_inside(self):
        container = self.container(
            "--env=READYD_ON_LIVENESS_FAILURE=restart", "--env=READYD_RESTART_DELAY_SECONDS=0.1",
            "--env=READYD_LIVENESS_APP=exec:/usr/bin/test ! -e /tmp/broken",
            "--env=READYD_LIVENESS_APP__PERIOD_SECONDS=0.1", self.image, "sh", "-c",
            "rm -f /tmp/broken; echo here; exec sleep 1000")
        self.wait_output(container, "here")
        docker("exec", container, "touch", "/tmp/broken")
        self.wait_output(container, "here", 2)
        self.assertEqual(inspect(container)["RestartCount"], 0)
        docker("kill", container)

    def test_orphans(self):
        """They are taken away when they have ended, which is "end" here; a zombie keeps its name."""
        container = self.container("--no-healthcheck", self.image, "sh", "-c",
                                   "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.1 & sleep 0) & done; wait; sleep 0.5; "
                                   "while grep -qs '^sleep' /proc/[0-9]*/comm; do sleep 0.05; done; echo end; "
                                   "sleep 1000")
        self.wait_output(container, "end")
        self.assertEqual([line for line in self.output(container)[0] if line], ["end"])
        docker("kill", container)

    def test_terminal(self):
        master, slave = pty.openpty()
        # It says that it is in front, also when it is there again.
        job = "--env=JOB=trap 'echo $((9*9))' CONT; echo $((8*8)); while sleep 0.1; do :; done"
        process = subprocess.Popen(
            ["docker", "run", "--rm", "-it", job, self.image, "bash", "--norc", "--noprofile", "-i"],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=dict(os.environ, TERM="dumb"))
        os.close(slave)
        self.addCleanup(os.close, master)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        seen = ""

        def expect(text):
            nonlocal seen
            while text not in seen:
                self.assertTrue(select.select([master], [], [], 30)[0], seen)
                seen += os.read(master, 4096).decode(errors="replace")
            seen = seen.partition(text)[2]

        expect("# ")
        for word, answer in (('sh -c "$JOB"\n', "64\r\n"), ("\x1a", "Stopped"), ("fg\n", "81\r\n"), ("\x03", "# "),
                             ("echo $((6*7))\n", "42\r\n"), ("exit 5\n", "exit")):
            os.write(master, word.encode())
            expect(answer)
        self.assertEqual(process.wait(30), 5)


if __name__ == "__main__":
    unittest.main()
