"""`readyd run` and signals: which go to the command, stopping and continuing, reload."""

import os
import pathlib
import signal
import time
import unittest

from harness import SOON_SECONDS, TestCase, wait_until
from processes import state
from run_agent import PLACES, RunAgent, python

# Says each signal that comes, in two processes of one group.
LISTENER = """
import os, signal, sys
numbers = [number for number in signal.valid_signals()
           if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
name = "child" if os.fork() == 0 else "parent"
os.write(1, f"{name} here\\n".encode())
while True:
    os.write(1, f"{name} {signal.sigwait(numbers)}\\n".encode())
"""

# tini, catatonit and readyd agree: not these, because they are about the one process they are sent to
KEPT = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGILL,
        signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS}
END = {signal.SIGTERM, signal.SIGINT}


class Forwarding(TestCase):
    def test_every_signal_that_makes_sense_reaches_the_whole_group(self):
        for place in PLACES:
            with RunAgent(python(LISTENER), place=place) as agent:
                agent.wait_line("parent here")
                agent.wait_line("child here")
                for number in sorted(signal.valid_signals() - KEPT - END):
                    agent.signal(number)
                    agent.wait_line(f"parent {number}")
                    agent.wait_line(f"child {number}")
                self.assertIsNone(agent.process.poll())

    def test_a_burst_is_passed_on(self):
        """Real-time signals queue, the others do not."""
        for place in PLACES:
            with RunAgent(python(LISTENER), place=place) as agent:
                agent.wait_line("parent here")
                agent.wait_line("child here")
                for _ in range(100):
                    agent.signal(signal.SIGRTMIN + 1)
                agent.wait_line(f"parent {signal.SIGRTMIN + 1}", 100)

    def test_a_broken_pipe_is_ours_alone(self):
        with RunAgent(python(LISTENER)) as agent:
            agent.wait_line("parent here")
            agent.signal(signal.SIGPIPE)
            agent.signal(signal.SIGUSR1)
            agent.wait_line(f"parent {signal.SIGUSR1}")
            self.assertNotIn(f"parent {signal.SIGPIPE}", agent.lines)

    def test_stop_and_continue(self):
        for place in PLACES:
            for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                with RunAgent(["sleep", "1000"], place=place) as agent:
                    pid = agent.command_pid() if place == "subreaper" else child_of(agent.pid)
                    agent.signal(number)
                    wait_until(lambda: state(pid) == "T", "the command to stop")
                    agent.event("child_stopped", signal=signal.Signals(number).name)
                    # The agent works on.
                    self.assertEqual(agent.get("/healthz")[0], 200)
                    agent.signal(signal.SIGCONT)
                    wait_until(lambda: state(pid) == "S", "the command to go on")

    def test_the_command_is_stopped_by_somebody_else(self):
        for place in PLACES:
            with RunAgent(["sleep", "1000"], place=place) as agent:
                agent.command_pid()
                pid = child_of(agent.pid)
                os.kill(pid, signal.SIGSTOP)
                agent.event("child_stopped", signal="SIGSTOP")
                self.assertEqual(agent.get("/healthz")[0], 200)
                self.assertEqual(state(pid), "T")
                os.kill(pid, signal.SIGCONT)
                wait_until(lambda: state(pid) == "S", "the command to go on")

    def test_hangup_reloads_and_reaches_the_command(self):
        for place in PLACES:
            with RunAgent(python(LISTENER), "service: one\n", place=place) as agent:
                agent.wait_line("parent here")
                agent.config_path.write_text("service: two\nreadiness: {new: 'exec:/bin/true'}\n")
                agent.signal(signal.SIGHUP)
                agent.wait_line(f"parent {signal.SIGHUP}")
                agent.event("reloaded")
                self.assertEqual(agent.status()["service"], "two")
                agent.wait_ready()
                # A fault changes nothing, and the command hears of it all the same.
                agent.config_path.write_text("servce: three\n")
                agent.signal(signal.SIGHUP)
                agent.wait_line(f"parent {signal.SIGHUP}", 2)
                agent.event("reload_failed")
                self.assertEqual(agent.status()["service"], "two")

    def test_a_reload_changes_how_it_ends(self):
        with RunAgent(python(LISTENER), "gracePeriodSeconds: 60\nstopTimeoutSeconds: 40\n") as agent:
            agent.wait_line("parent here")
            agent.config_path.write_text("gracePeriodSeconds: 60\nstopTimeoutSeconds: 4\nstopSignal: USR2\n")
            agent.signal(signal.SIGHUP)
            agent.event("reloaded")
            told = time.monotonic()
            agent.signal(signal.SIGTERM)
            agent.wait_line(f"parent {signal.SIGUSR2}")
            self.assertEqual(agent.wait_end(), 137)
            self.assertLess(time.monotonic() - told, 4 + SOON_SECONDS)


def child_of(pid):
    """The only child of a process."""
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return int(wait_until(path.read_text, "a child").split()[0])


if __name__ == "__main__":
    unittest.main()
