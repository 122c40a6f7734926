"""What the command of `readyd run` says of itself: sd_notify(3) downwards."""

import array
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from harness import SOON_SECONDS, TestCase, wait_until
from run_agent import RunAgent, python
from service_manager import Manager

# Says what comes over a pipe, each line one message. It holds the writing end, too: a reader that closes
# at each writer's end would lose what the next one wrote in between.
SPEAKER = r"""
import os, socket, sys
print(os.environ.get("NOTIFY_SOCKET"), os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID"))
speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for line in os.fdopen(os.open(sys.argv[1], os.O_RDWR)):
    text = line.rstrip("\n").encode().decode("unicode_escape")
    speaker.sendto(text.encode("latin-1"), "\0" + os.environ["NOTIFY_SOCKET"][1:])
"""

READINESS = "readiness: {app: 'notify:ready'}\n"


class NotifyReceive(TestCase):
    def run_speaker(self, config, **options):
        self.pipe = self.tmp / "pipe"
        os.mkfifo(self.pipe)
        agent = RunAgent(python(SPEAKER, self.pipe), config, **options)
        self.addCleanup(agent.__exit__, None, None, None)
        return agent

    def say(self, *lines):
        """Has the command say one message of these lines."""
        with open(self.pipe, "w") as pipe:
            pipe.write("\\n".join(lines) + "\n")

    def say_ourselves(self, name, text, descriptors=()):
        """Says it from this process, which is no descendant of the agent, but of its user."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            speaker.sendmsg([text], rights if descriptors else [], 0, "\0" + name[1:])

    def name(self, agent):
        """The socket's name as the command has it."""
        wait_until(lambda: agent.lines, "the command's first line")
        return agent.lines[0].split()[0]

    def wait_status(self, agent, status, within=SOON_SECONDS):
        asked = time.monotonic()
        agent.wait_ready(status)
        self.assertLess(time.monotonic() - asked, within)

    def wait_message(self, agent, message, name="app"):
        wait_until(lambda: agent.probe(name).get("message") == message,
                   f"{message!r}, it is {agent.probe(name)}")

    # ---- readiness and startup ----

    def test_ready_reloading_stopping(self):
        agent = self.run_speaker(READINESS)
        self.assertEqual(agent.get("/ready")[0], 503)
        self.wait_message(agent, "the command has not said READY=1")
        self.assertEqual(agent.probe("app")["reason"], "not_notified")
        for _ in range(3):
            self.say("READY=1", "STATUS=serves")
            self.wait_status(agent, 200)
            self.wait_message(agent, "serves")
            self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self.wait_status(agent, 503)
            self.wait_message(agent, "the command is reloading: serves")
        self.say("READY=1")
        self.wait_status(agent, 200)
        self.say("STOPPING=1", "STATUS=")
        self.wait_status(agent, 503)
        self.wait_message(agent, "the command is stopping")
        self.say("READY=1", "STATUS=too late")
        self.wait_message(agent, "the command is stopping: too late")
        self.assertEqual(agent.get("/ready")[0], 503)
        self.assertEqual(agent.get("/healthz")[0], 200)
        agent.event("notified", state="stopping")
        states = [event.get("state") for event in agent.events("notified")]
        self.assertEqual(states, ["ready", "reloading"] * 3 + ["ready", "stopping"])

    def test_startup(self):
        agent = self.run_speaker("startup: {app: {notify: {}, periodSeconds: 60}}\n"
                                 "readiness: {other: 'exec:/bin/true'}\n")
        self.name(agent)
        self.assertEqual(agent.get("/startup")[0], 503)
        self.say("READY=1")
        self.wait_status(agent, 200)
        self.assertEqual(agent.get("/startup")[0], 200)

    def test_the_status_is_made_printable(self):
        agent = self.run_speaker(READINESS)
        self.say("READY=1", "STATUS=a\\x1b[31mb\\xffc\\rd")
        self.wait_message(agent, "a [31mb?c d")
        self.say("STATUS=" + "x" * 3000)
        wait_until(lambda: agent.probe("app")["message"].startswith("xxxx"), "the long status")
        self.assertLess(len(agent.probe("app")["message"]), 250)

    def test_ready_is_seen_at_once(self):
        """Although the probe's period is ten seconds and its tries back off."""
        agent = self.run_speaker(READINESS)
        self.name(agent)
        time.sleep(1.5)
        took = []
        for number in range(10):
            state, status = (("READY=1", 200), ("RELOADING=1", 503))[number % 2]
            with open(self.pipe, "w") as pipe:
                pipe.write(state + "\n")
            said = time.monotonic()
            while agent.get("/ready")[0] != status:
                pass
            took.append(time.monotonic() - said)
        print(f"milliseconds from said to seen: {sorted(round(t * 1e3, 1) for t in took)}")
        self.assertLess(sorted(took)[5], 1)

    # ---- liveness ----

    def test_watchdog(self):
        agent = self.run_speaker("liveness: {app: {notify: {watchdogSeconds: 4}}}\n")
        self.assertEqual(self.name(agent) and agent.lines[0].split()[1:], ["4000000", "None"])
        time.sleep(4.2)
        self.assertEqual(agent.get("/healthz")[0], 200)  # it has not begun yet
        self.say("READY=1")
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            said = time.monotonic()
            self.say("WATCHDOG=1")
            self.assertEqual(agent.get("/healthz")[0], 200)
            time.sleep(0.1)
        wait_until(lambda: agent.get("/healthz")[0] == 503, "the end of patience")
        self.assertGreater(time.monotonic() - said, 4)
        self.assertLess(time.monotonic() - said, 4 + SOON_SECONDS)
        self.assertEqual(agent.probe("app")["reason"], "watchdog_expired")
        self.wait_message(agent, "the command has not said WATCHDOG=1 for 4 s")
        self.say("WATCHDOG=1")
        wait_until(lambda: agent.get("/healthz")[0] == 200, "the return to life", SOON_SECONDS)

    def test_watchdog_trigger(self):
        agent = self.run_speaker("liveness: {app: 'notify:ready'}\n")
        self.say("READY=1")
        self.say("WATCHDOG=trigger", "STATUS=lost my way")
        wait_until(lambda: agent.get("/healthz")[0] == 503, "the trigger's effect", SOON_SECONDS)
        self.wait_message(agent, "the command has said WATCHDOG=trigger: lost my way")
        self.assertEqual(self.name(agent) and agent.lines[0].split()[1:], ["None", "None"])

    def test_not_ready_is_no_reason_for_a_restart(self):
        agent = self.run_speaker("liveness: {app: {notify: {watchdogSeconds: 60}}}\n"
                                 "onLivenessFailure: restart\n")
        for state in ("READY=1", "RELOADING=1", "READY=1", "STOPPING=1"):
            self.say(state)
        self.wait_message(agent, "the command is stopping")
        self.assertEqual(agent.get("/healthz")[0], 200)
        self.assertEqual(len(agent.events("child_started")), 1)

    def test_restart_forgets_what_was_said(self):
        agent = self.run_speaker(READINESS + "liveness: {app: {notify: {watchdogSeconds: 4}}}\n"
                                 "onLivenessFailure: restart\nrestart: {delaySeconds: 0.1}\n")
        self.say("READY=1")
        self.wait_status(agent, 200)
        wait_until(lambda: len(agent.lines) == 2, "the restart")
        self.assertNotEqual(agent.lines[0], agent.lines[1])  # another socket
        self.assertEqual(agent.get("/ready")[0], 503)
        self.assertEqual(agent.get("/healthz")[0], 200)
        self.say("READY=1")
        self.wait_status(agent, 200)

    # ---- who may speak ----

    def test_our_own_user_may(self):
        agent = self.run_speaker(READINESS)
        self.say_ourselves(self.name(agent), b"READY=1")
        self.wait_status(agent, 200)

    def as_nobody(self, name, text):
        source = ("import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
                  ".sendto(sys.argv[2].encode(), '\\0' + sys.argv[1][1:])")
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                *python(source, name, text)]

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_others_may_not(self):
        agent = self.run_speaker(READINESS)
        name = self.name(agent)
        for _ in range(2):
            subprocess.run(self.as_nobody(name, "READY=1"), check=True)
        self.assertEqual(agent.event("notify_ignored")["uid"], 65534)
        self.say("STATUS=still starting")
        self.wait_message(agent, "the command has not said READY=1: still starting")
        self.assertEqual(len(agent.events("notify_ignored")), 1)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_a_descendant_may_whoever_it_is(self):
        words = self.as_nobody("$NOTIFY_SOCKET", "READY=1")
        source = words[words.index("-uc") + 1]
        # Alive for as long as its message is judged.
        script = self.tmp / "speak.py"
        script.write_text(source + "; import time; time.sleep(60)")
        script.chmod(0o644)
        command = ["/bin/sh", "-c", f"setpriv --reuid=65534 --regid=65534 --clear-groups {sys.executable} "
                   f"{script} \"$NOTIFY_SOCKET\" READY=1 & wait"]
        with RunAgent(command, READINESS) as agent:
            self.wait_status(agent, 200, 20)

    @unittest.skipUnless(shutil.which("systemd-notify"), "there is no systemd-notify here")
    def test_systemd_notify(self):
        command = ["/bin/sh", "-c", "systemd-notify --ready --status='all is well'; sleep 0.1; "
                                    "systemd-notify RELOADING=1; echo reloading; sleep 60"]
        with RunAgent(command, READINESS) as agent:
            agent.event("notified", state="ready")
            agent.wait_line("reloading")  # it waits for our answer to its barrier
            self.wait_status(agent, 503)
            self.wait_message(agent, "the command is reloading: all is well")

    def test_as_process_1(self):
        agent = self.run_speaker(READINESS, place="process 1")
        self.say("READY=1")
        self.wait_status(agent, 200)

    @unittest.skipUnless(os.geteuid() == 0, "namespaces need root")
    def test_another_pid_namespace_may_not(self):
        agent = self.run_speaker(READINESS, place="process 1")
        self.say_ourselves(self.name(agent), b"READY=1")
        self.assertEqual(agent.event("notify_ignored")["pid"], 0)
        self.assertEqual(agent.get("/ready")[0], 503)

    # ---- what may come ----

    def test_descriptors_are_closed(self):
        agent = self.run_speaker(READINESS)
        name = self.name(agent)
        self.say_ourselves(name, b"READY=1")
        self.wait_status(agent, 200)
        before = len(os.listdir(f"/proc/{agent.pid}/fd"))
        for count in (1, 2, 253):
            reader, writer = os.pipe()
            self.say_ourselves(name, b"BARRIER=1", [writer] * count)
            os.close(writer)
            self.assertEqual(os.read(reader, 1), b"")  # ends when the last copy is closed
            os.close(reader)
        wait_until(lambda: len(os.listdir(f"/proc/{agent.pid}/fd")) <= before, "no descriptor too many")

    def test_a_barrier_comes_after_what_was_said_before_it(self):
        agent = self.run_speaker(READINESS)
        name = self.name(agent)
        reader, writer = os.pipe()
        self.say_ourselves(name, b"READY=1")
        self.say_ourselves(name, b"BARRIER=1", [writer])
        os.close(writer)
        self.assertEqual(os.read(reader, 1), b"")
        os.close(reader)
        self.assertTrue(agent.wait_log(lambda event: event["event"] == "notified"))

    def test_nonsense_and_floods(self):
        agent = self.run_speaker(READINESS)
        name = self.name(agent)
        for text in (b"", b"\0" * 100, b"\n" * 4096, b"READY", b"=", os.urandom(4000),
                     b"READY=1\n" + b"x" * 5000):
            self.say_ourselves(name, text)
        agent.event("notify_ignored", message="longer than 4096 bytes")
        self.assertEqual(agent.get("/ready")[0], 503)
        for number in range(5000):
            self.say_ourselves(name, b"WATCHDOG=1\nSTATUS=%d" % number)
        self.say_ourselves(name, b"READY=1")
        self.wait_status(agent, 200)
        self.wait_message(agent, "4999")

    # ---- when nobody asks ----

    def test_no_socket_unless_a_probe_wants_it(self):
        environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
        with RunAgent(["/usr/bin/env"], "", env=environment) as agent:
            agent.wait_end()
            self.assertIn("PATH", [line.split("=")[0] for line in agent.lines])
            self.assertNotIn("NOTIFY", "".join(agent.lines))
            self.assertNotIn("WATCHDOG", "".join(agent.lines))

    def test_a_probe_that_comes_with_a_reload_says_what_is_missing(self):
        # The signal is passed on to the command.
        with RunAgent(python("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); print('up'); "
                             "signal.pause()"), "") as agent:
            agent.wait_line("up")
            agent.config_path.write_text(READINESS + "liveness: {life: 'notify:ready'}\n")
            agent.signal(signal.SIGHUP)
            agent.event("reloaded")
            self.wait_message(agent, "the command knows no NOTIFY_SOCKET; it gets one when it is "
                                     "started")
            self.assertEqual(agent.get("/healthz")[0], 200)
            self.assertEqual(agent.get("/ready")[0], 503)

    def test_what_the_command_says_is_passed_up_as_our_own(self):
        """systemd or Podman above, the command below: ready when the command is."""
        manager = Manager(self)
        agent = self.run_speaker(READINESS, env=manager.environment)
        self.assertNotEqual(self.name(agent), manager.name)
        self.assertNotIn("READY=1", manager.rest())
        self.say("READY=1")
        manager.wait("READY=1")
        self.say("RELOADING=1")
        manager.wait("STATUS=not ready: a readiness probe does not pass")
        agent.signal(signal.SIGTERM)
        manager.wait("STOPPING=1")

    def test_the_end_passes_through(self):
        """The command says STOPPING=1 on its way out, and nothing minds."""
        source = ("import os, signal, socket, sys\n"
                  "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
                  "s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])\n"
                  "s.send(b'READY=1')\n"
                  "signal.sigwait([signal.SIGTERM])\n"
                  "s.send(b'STOPPING=1')\nsys.exit(7)\n")
        block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        with RunAgent(python(block + source), READINESS) as agent:
            self.wait_status(agent, 200, 20)
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 7)
            self.assertEqual([event["state"] for event in agent.events("notified")][0], "ready")


if __name__ == "__main__":
    unittest.main()
