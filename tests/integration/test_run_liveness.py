"""onLivenessFailure: what `readyd run` does when liveness fails."""

import datetime
import os
import signal
import time
import unittest

from harness import SOON_SECONDS, TestCase, readyd, wait_until
from processes import state
from run_agent import PLACES, RunAgent

def command(status, first="", last=""):
    """Ends on SIGTERM with this status; None does not end. What else it does first and last."""
    on_term = "" if status is None else f"{last}exit {status}"
    return ["sh", "-c", f"trap '{on_term}' TERM; trap 'echo hangup' HUP; {first}echo here; "
                        "while :; do sleep 0.01; done"]


class Liveness(TestCase):
    def setUp(self):
        super().setUp()
        self.alive = self.tmp / "alive"
        self.alive.touch()
        self.record = self.tmp / "termination-log"

    def config(self, action, more=""):
        """A liveness probe that passes while the file `alive` exists."""
        return (f"onLivenessFailure: {action}\nterminationLogFile: {self.record}\n"
                "liveness:\n  app:\n"
                f"    exec: {{command: [test, -e, {self.alive}]}}\n"
                "    periodSeconds: 0.1\n    timeoutSeconds: 2\n    failureThreshold: 3\n" + more)

    def reviving(self):
        """A command that makes liveness pass again when it is told to end, so that the next one is well."""
        return command(0, last=f"touch {self.alive}; ")

    def failing_again(self, agent, count):
        """Lets liveness fail for the count-th time, and the command, a reviving one, be started again."""
        self.alive.unlink()
        agent.wait_line("here", count + 1)
        agent.command_pid(count + 1)
        self.assertEqual(len(agent.events("liveness_failed")), count)

    def test_none_is_the_default(self):
        for action in ("none", None):
            config = self.config(action) if action else self.config("x").split("\n", 1)[1]
            self.alive.touch()
            with RunAgent(command(0), config) as agent:
                agent.wait_line("here")
                self.alive.unlink()
                agent.wait_for(lambda a: a.get("/healthz")[0] == 503)
                agent.wait_for(lambda a: a.probe("app")["failures"] > 6)
                self.assertEqual(agent.events("liveness_failed"), [])
                self.assertIsNone(agent.process.poll())
                self.assertFalse(self.record.exists())

    def test_restart(self):
        more = ("readiness: {app: 'exec:/bin/true'}\nstartup: {app: 'exec:/bin/true'}\n"
                "restart: {delaySeconds: 5}\n")
        for place in PLACES:
            self.alive.touch()
            with RunAgent(command(0), self.config("restart", more), place=place) as agent:
                agent.wait_line("here")
                agent.wait_ready()
                first = agent.command_pid()
                self.alive.unlink()
                agent.event("restart_delayed")
                # During the back-off: alive, because it is being seen to, and nothing else.
                self.assertEqual([agent.get(path)[0] for path in ("/healthz", "/ready", "/startup")],
                                 [200, 503, 503])
                probe = agent.probe("app")
                self.assertEqual((probe["standing"], probe["running"]), ("unknown", False))
                self.alive.touch()
                self.assertNotEqual(agent.command_pid(2), first)
                agent.wait_line("here", 2)
                agent.wait_ready()
                failed, = agent.events("liveness_failed")
                self.assertEqual((failed["level"], failed["probe"], failed["reason"],
                                  failed["failures"], failed["restarts"]),
                                 ("error", "app", "exit_code", 3, 0))
                self.assertEqual(failed["message"],
                                 "liveness probe app failed 3 times in a row: exit_code: exit code "
                                 "1; the command is restarted (1 of at most 10 times)")
                self.assertEqual(self.record.read_text(), failed["message"] + "\n")
                delayed = agent.event("restart_delayed")
                started = agent.events("child_started")[1]
                self.assertGreaterEqual(seconds(started) - seconds(delayed), 4.99)

    def test_streaks_begin_anew(self):
        """Two failures before the restart do not count against the next life."""
        with RunAgent(self.reviving(),
                      self.config("restart", "restart: {delaySeconds: 0}\n")) as agent:
            agent.wait_line("here")
            for count in (1, 2, 3):
                self.failing_again(agent, count)
                agent.wait_for(lambda a: a.probe("app")["standing"] == "passing")
            for failed in agent.events("liveness_failed"):
                self.assertEqual(failed["failures"], 3)

    def test_the_back_off_grows_up_to_a_limit(self):
        more = "restart: {delaySeconds: 0.1, maxDelaySeconds: 0.3}\n"
        with RunAgent(command(0), self.config("restart", more)) as agent:
            agent.wait_line("here")
            self.alive.unlink()
            agent.command_pid(5)
            self.assertEqual([event["delayMs"] for event in agent.events("restart_delayed")][:4],
                             [100, 200, 300, 300])

    def test_a_long_life_makes_it_new(self):
        more = "restart: {delaySeconds: 0.1, resetAfterSeconds: 5}\n"
        with RunAgent(self.reviving(), self.config("restart", more)) as agent:
            agent.wait_line("here")
            self.failing_again(agent, 1)
            self.failing_again(agent, 2)
            started = time.monotonic()
            wait_until(lambda: time.monotonic() - started > 5.1, "a long life")
            self.failing_again(agent, 3)
            self.assertEqual([event["delayMs"] for event in agent.events("restart_delayed")],
                             [100, 200, 100])

    def test_the_limit(self):
        for status, expected in ((0, 1), (9, 9)):
            self.alive.touch()
            more = "restart: {delaySeconds: 0.05, limit: 2}\n"
            # Each of its lives fails, but not before it is ready to be told to end.
            failing = command(status, first=f"rm {self.alive}; ", last=f"touch {self.alive}; ")
            with RunAgent(failing, self.config("restart", more)) as agent:
                self.assertEqual(agent.wait_end(), expected)
                self.assertEqual(len(agent.events("child_started")), 3)
                self.assertTrue(self.record.read_text().endswith(
                    "readyd ends after 2 restarts\n"), self.record.read_text())
                self.assertEqual(agent.events("stopping"), [])

    def test_exit(self):
        for place in PLACES:
            for status, expected in ((0, 1), (7, 7)):
                self.alive.touch()
                self.record.write_text("x" * 10000)
                with RunAgent(command(status), self.config("exit"), place=place,
                              drain_delay=5) as agent:
                    agent.wait_line("here")
                    self.alive.unlink()
                    self.assertEqual(agent.wait_end(10), expected)
                    self.assertEqual(self.record.read_text(),
                                     "liveness probe app failed 3 times in a row: exit_code: exit "
                                     "code 1; readyd ends\n")

    def test_who_does_not_end_is_killed(self):
        more = "stopTimeoutSeconds: 0.3\nrestart: {delaySeconds: 0}\n"
        with RunAgent(command(None), self.config("restart", more)) as agent:
            agent.wait_line("here")
            first = agent.command_pid()
            self.alive.unlink()
            agent.event("killed")
            self.assertEqual(agent.event("child_exited")["status"], 137)
            self.assertIsNone(state(first))

    def test_the_end_comes_first(self):
        """Once it has begun, liveness means nothing."""
        with RunAgent(command(3), self.config("restart"), drain_delay=1) as agent:
            agent.wait_line("here")
            agent.signal(signal.SIGTERM)
            agent.event("stopping")
            self.alive.unlink()
            self.assertEqual(agent.wait_end(), 3)
            self.assertEqual(agent.events("liveness_failed"), [])
            self.assertEqual(len(agent.events("child_started")), 1)

    def test_the_end_in_a_back_off_is_at_once(self):
        for how in ("signal", "drain --stop"):
            self.alive.touch()
            with RunAgent(command(3), self.config("restart", "restart: {delaySeconds: 60}\n"),
                          drain_delay=9) as agent:
                agent.wait_line("here")
                self.alive.unlink()
                agent.event("restart_delayed")
                told = time.monotonic()
                if how == "signal":
                    agent.signal(signal.SIGTERM)
                else:
                    readyd("drain", "--stop", "--socket", agent.socket)
                self.assertEqual(agent.wait_end(), 3)
                self.assertLess(time.monotonic() - told, SOON_SECONDS)

    def test_the_end_while_it_is_told_to_end(self):
        more = "stopTimeoutSeconds: 2\n"
        with RunAgent(command(None), self.config("restart", more), drain_delay=5) as agent:
            agent.wait_line("here")
            self.alive.unlink()
            agent.event("stop_signal_sent")
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 137)
            self.assertEqual(len(agent.events("child_started")), 1)

    def test_a_reload_can_turn_it_on(self):
        with RunAgent(command(3), self.config("none")) as agent:
            agent.wait_line("here")
            self.alive.unlink()
            agent.wait_for(lambda a: a.get("/healthz")[0] == 503)
            agent.config_path.write_text(self.config("exit"))
            agent.signal(signal.SIGHUP)
            self.assertEqual(agent.wait_end(), 3)
            self.assertEqual(len(agent.events("liveness_failed")), 1)

    def test_a_command_that_is_gone_at_the_restart(self):
        script = self.tmp / "script"
        script.write_text("#!/bin/sh\necho here\nexec sleep 1000\n")
        script.chmod(0o755)
        with RunAgent([script], self.config("restart", "restart: {delaySeconds: 0.1}\n")) as agent:
            agent.wait_line("here")
            script.unlink()
            self.alive.unlink()
            self.assertEqual(agent.wait_end(), 127)
            self.assertIn("no such file", self.record.read_text())

    def test_a_stall_of_readyd_is_not_the_commands_fault(self):
        more = "staleAfterSeconds: 0.1\n"
        with RunAgent(command(3), self.config("exit", more)) as agent:
            agent.wait_line("here")
            agent.wait_for(lambda a: a.probe("app")["standing"] == "passing")
            agent.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            wait_until(lambda: time.monotonic() - stopped > 2.5, "a stall")
            agent.signal(signal.SIGCONT)
            agent.event("stalled")
            agent.wait_for(lambda a: a.get("/healthz")[0] == 200)
            self.assertEqual(agent.events("liveness_failed"), [])

    def test_a_record_that_cannot_be_written(self):
        fifo = self.tmp / "fifo"
        os.mkfifo(fifo)
        for path, why in ((self.tmp, "Is a directory"), (self.tmp / "no" / "file", "No such file"),
                          (fifo, "No such device"), ("/dev/full", "No space")):
            self.alive.touch()
            self.record = path
            with RunAgent(command(3), self.config("exit")) as agent:
                agent.wait_line("here")
                self.alive.unlink()
                self.assertEqual(agent.wait_end(), 3)
                self.assertIn(why, agent.event("termination_log")["message"])
                self.assertIn(str(path), agent.event("termination_log")["message"])


def seconds(event):
    """When it was logged."""
    return datetime.datetime.fromisoformat(event["timestamp"]).timestamp()


if __name__ == "__main__":
    unittest.main()
