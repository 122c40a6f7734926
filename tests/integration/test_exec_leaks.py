"""The exec probe leaves no process, no zombie and no descriptor, whatever its command leaves behind."""

import signal
import subprocess
import sys
import time
import unittest

from harness import BINARY, PATIENCE_SECONDS, SOON_SECONDS, Agent, TestCase, clean_environment, wait_until
from processes import SANITIZED, children, marked, wait_gone

RUNS = 2000 if SANITIZED else 10000


class NothingStays(TestCase):
    def setUp(self):
        super().setUp()
        self.marker = f"MARKER={self.tmp}"
        name, _, value = self.marker.partition("=")
        self.environment = {name: value}

    def test_many_runs_that_leave_a_background_child(self):
        """Each leaves a child that holds its stdout, and counts itself in a file."""
        runs = self.tmp / "runs"
        runs.touch()
        config = "readiness:\n" + "".join(f"""
  probe{i}:
    exec: {{command: [sh, -c, "sleep 1000 & echo >> {runs}"]}}
    periodSeconds: 0.05
    timeoutSeconds: 20
""" for i in range(16))
        with Agent(config, env=self.environment) as agent:
            pid = agent.process.pid
            agent.wait_ready()
            before = agent.descriptors()

            def enough(_):
                self.assertIsNone(agent.process.poll(), "\n".join(agent.raw_logs))
                return runs.stat().st_size >= RUNS

            agent.wait_for(enough, timeout=240)
            self.assertEqual({probe["reason"] for probe in agent.status()["probes"]}, {"ok"})
            # what is there at one moment is of the runs under way: a few processes and a pipe each
            self.assertLessEqual(agent.descriptors(), before + 16 * 2)
            self.assertLessEqual(len(marked(self.marker)), 1 + 16 * 3)
            self.assertLessEqual(len(children(pid)), 16 * 3)
            agent.config_path.write_text("readiness: {last: {exec: {command: ['true']}, "
                                         "periodSeconds: 1000}}")
            agent.signal(signal.SIGHUP)
            agent.wait_for(lambda _: len(agent.status()["probes"]) == 1)
            agent.wait_ready()
            # and when none is under way, nothing
            agent.wait_for(lambda _: marked(self.marker) == [pid])
            agent.wait_for(lambda _: children(pid) == [])
            agent.wait_for(lambda _: agent.descriptors() <= before)
        wait_gone(self.marker)

    def test_check_leaves_no_zombie_to_others(self):
        """Whoever started `readyd check` may not reap what comes to it: a PID 1 that is the app."""
        done = subprocess.run(
            [sys.executable, "-c", f"""
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to us, as to a PID 1
for i in range(20):
    subprocess.run([{BINARY!r}, "check", "exec:sh -c 'sleep 1000 & sleep 1000 & exit 0'"], check=True,
                   stdout=subprocess.DEVNULL)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    sys.exit(0)
sys.exit(1)
"""], env=clean_environment(self.environment), timeout=PATIENCE_SECONDS * 2)
        self.assertEqual(done.returncode, 0)
        wait_gone(self.marker)

    def test_orphans_of_other_groups_are_reaped(self):
        """A command may start a daemon on purpose; it lives on, and we reap it when it ends."""
        flag = self.tmp / "flag"
        begun = self.tmp / "begun"
        script = (f"setsid sh -c 'touch {begun}; while test ! -e {flag}; do sleep 0.05; done' & "
                  f"while test ! -e {begun}; do sleep 0.01; done")
        config = (f"readiness: {{a: {{exec: {{command: [sh, -c, \"{script}\"]}}, periodSeconds: 1000, "
                  f"timeoutSeconds: 20}}}}")
        with Agent(config, env=self.environment) as agent:
            agent.wait_ready()
            agent.wait_for(lambda _: len(children(agent.process.pid)) == 1)
            flag.touch()
            agent.wait_for(lambda _: children(agent.process.pid) == [])

    def test_end_of_the_agent(self):
        """SIGTERM in the middle of a run: the command's group goes first, then the agent, quickly."""
        config = ("readiness: {a: {exec: {command: [sh, -c, \"trap '' TERM; sleep 1000 & sleep 1000\"]}, "
                  "timeoutSeconds: 100}}")
        with Agent(config, env=self.environment) as agent:
            agent.wait_for(lambda _: len(marked(self.marker)) >= 4)
            started = time.monotonic()
            self.assertEqual(agent.stop(), 0)
            self.assertLess(time.monotonic() - started, SOON_SECONDS)
            wait_gone(self.marker)

    def test_agent_is_killed(self):
        """Even then its commands do not go on."""
        config = "readiness: {a: {exec: {command: [sleep, '1000']}, timeoutSeconds: 100}}"
        with Agent(config, env=self.environment) as agent:
            agent.wait_for(lambda _: len(marked(self.marker)) == 2)
            agent.process.kill()
            agent.process.wait()
            wait_until(lambda: marked(self.marker) == [], "the command's end")
            agent.process.returncode = 0  # no fault of the agent

    def test_reload_in_the_middle_of_a_run(self):
        config = "readiness: {a: {exec: {command: [sh, -c, 'sleep 1000 & sleep 1000']}, timeoutSeconds: 100}}"
        with Agent(config, env=self.environment) as agent:
            agent.wait_for(lambda _: len(marked(self.marker)) == 4)
            agent.config_path.write_text("readiness: {b: exec:true}")
            agent.signal(signal.SIGHUP)
            agent.wait_ready()
            agent.wait_for(lambda _: marked(self.marker) == [agent.process.pid])

    def test_runs_do_not_overlap(self):
        """A command slower than the period is not started a second time beside itself."""
        lock = self.tmp / "lock"
        script = f"mkdir {lock} || exit 9; sleep 0.3; rmdir {lock}"
        config = f"""
readiness: {{a: {{exec: {{command: [sh, -c, "{script}"]}}, periodSeconds: 0.05, timeoutSeconds: 20}}}}
"""
        with Agent(config) as agent:
            agent.wait_for(lambda _: agent.probe("a")["runs"] >= 5)
            self.assertEqual(agent.probe("a")["reason"], "ok")


if __name__ == "__main__":
    unittest.main()
