"""`readyd run` as an init: what its command gets, what comes of it, who is reaped."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import time
import unittest

from harness import (BINARY, PATIENCE_SECONDS, SOON_SECONDS, TestCase, clean_environment, free_port, port_open,
                     readyd, wait_until)
from processes import children, marked, state
from run_agent import NAMESPACE, PLACES, RunAgent, python

NOWHERE = ("-o", "socket=none", "-o", "logFormat=json", "-o",
           "drain.delaySeconds=0")


def run(*words, place="subreaper", options=(), listen="none", **keywords):
    """`readyd run` to its end; text output."""
    return subprocess.run([*PLACES[place], BINARY, "run", "-o", f"listen={listen}", *NOWHERE,
                           *options, "--", *map(str, words)],
                          env=clean_environment(keywords.pop("env", None)), capture_output=True,
                          text=True, timeout=PATIENCE_SECONDS, start_new_session=True,
                          stdin=keywords.pop("stdin", subprocess.DEVNULL), **keywords)


class Status(TestCase):
    """What comes of the command is what comes of readyd."""

    def test_exit_statuses_are_passed_on(self):
        for place in PLACES:
            for status in (0, 1, 2, 42, 125, 128, 255):
                self.assertEqual(run("sh", "-c", f"exit {status}", place=place).returncode, status)

    def test_signals_are_128_and_their_number(self):
        for place in PLACES:
            for number in (signal.SIGHUP, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1,
                           signal.SIGRTMIN + 3):
                done = run("sh", "-c", f"kill -{int(number)} $$", place=place)
                self.assertEqual(done.returncode, 128 + number, done.stderr)

    def test_what_cannot_be_started(self):
        script = self.tmp / "script"
        script.write_text("#!/nowhere/interpreter\n")
        script.chmod(0o755)
        binary = self.tmp / "binary"
        binary.write_bytes(b"\x7fNOT A PROGRAM")
        binary.chmod(0o755)
        plain = self.tmp / "plain"
        plain.write_text("#!/bin/sh\n")
        for words, status, sentence in (
                (["no-such-program"], 127, "cannot start no-such-program: no such program in PATH"),
                (["/no/such/program"], 127, "cannot start /no/such/program: no such file"),
                ([""], 127, "the name of the program is empty"),
                ([script], 127, "its interpreter /nowhere/interpreter does not exist"),
                ([plain], 126, "it is not executable (chmod +x is missing)"),
                ([self.tmp], 126, "it is a directory"),
                ([binary], 126, "neither a program for this machine nor a script")):
            for place in PLACES:
                record = self.tmp / "record"
                done = run(*words, place=place, options=["-o", f"terminationLogFile={record}"])
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn('"event":"cannot_start"', done.stderr)
                self.assertIn(sentence, done.stderr)
                self.assertIn(sentence, record.read_text())

    def test_it_ends_before_the_first_probe(self):
        port = free_port()
        for place in PLACES:
            done = run("sh", "-c", "exit 3", place=place, options=[
                "-o", f"liveness.app=http://127.0.0.1:{port}/",
                "-o", "readiness.app.target=exec:/bin/sleep 100",
                "-o", "onLivenessFailure=restart"])
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_it_ends_at_once_when_the_command_does(self):
        started = time.monotonic()
        done = run("true", options=["-o", "drain.delaySeconds=9"])
        self.assertEqual(done.returncode, 0)
        self.assertLess(time.monotonic() - started, SOON_SECONDS)

    def test_faults_come_before_the_command(self):
        marker = self.tmp / "started"
        listener = RunAgent(["sleep", "100"])
        with listener:
            for option, sentence in (
                    ("stopSignal=SIGFOO", 'there is no signal "SIGFOO"'),
                    ("stopSignal=STOP", "STOP ends no process"),
                    ("listn=1", "did you mean listen"),
                    (None, "cannot listen on")):
                done = run("touch", marker, options=["-o", option] if option else [],
                           listen=f"127.0.0.1:{listener.port}")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(sentence, done.stderr)
                self.assertFalse(marker.exists())

    def test_usage(self):
        for words in ((), ("--",), ("-o", "listen=none", "--")):
            done = readyd("run", *words)
            self.assertEqual(done.returncode, 1)
            self.assertIn("readyd run: a command is missing; see `readyd run --help`", done.stderr)
        shown = readyd("run", "--help")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("ENTRYPOINT", shown.stdout)


class Inheritance(TestCase):
    """The command finds itself as if readyd were not there."""

    def test_a_variable_that_is_none_of_ours_is_passed_on_when_it_is_named(self):
        mine = {"READYD_MINE": "x"}
        done = run("env", env=mine)
        self.assertEqual(done.returncode, 1)
        self.assertIn("environment READYD_MINE: there is no such setting", done.stderr)
        done = run("env", env={**mine, "READYD_PASS_ENVIRONMENT": "READYD_OTHER, READYD_MINE"})
        self.assertIn("READYD_MINE=x", done.stdout.splitlines())
        file = self.tmp / "readyd.yaml"
        file.write_text("passEnvironment: [READYD_MINE]\n")
        done = run("env", env=mine, options=["-c", file])
        self.assertIn("READYD_MINE=x", done.stdout.splitlines())

    def test_a_signal_is_not_lost_before_the_start(self):
        """The kernel throws away what process 1 has not made ready for."""
        process = subprocess.Popen([*NAMESPACE, BINARY, "run", "-c", "-", "-o", "listen=none",
                                    *NOWHERE, "--", "sleep", "60"], stdin=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=clean_environment(), text=True)
        self.addCleanup(self.end, process)
        inside = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pid = int(wait_until(inside.read_text, "readyd's start").split()[0])
        blocked = 1 << (signal.SIGTERM - 1)

        def has_begun():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            # unshare, which it was before, has blocked the signal for a moment too.
            return "Name:\treadyd\n" in status and int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16) & blocked

        wait_until(has_begun, "the first statement")
        os.kill(pid, signal.SIGTERM)
        _, log = process.communicate("service: web\n", timeout=PATIENCE_SECONDS)
        self.assertIn('"event":"stopping","by":"SIGTERM"', log)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)

    def test_the_environment_is_clean(self):
        shown = run("env", options=["-o", "passEnvironment=READYD_SERVICE"],
                    env={"READYD_SERVICE": "shop", "READYD_VERSION": "1", "NOTIFY_SOCKET": "@none",
                         "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "OWN": "yes",
                         "READYD_READINESS_X": "exec:/bin/true"}).stdout.splitlines()
        self.assertIn("READYD_SERVICE=shop", shown)
        self.assertIn("OWN=yes", shown)
        for name in ("READYD_VERSION", "NOTIFY_SOCKET", "WATCHDOG_", "READYD_READINESS"):
            self.assertEqual([line for line in shown if line.startswith(name)], [])

    def test_descriptors_are_three_and_its_own(self):
        source = ("import os\nfor fd in range(64):\n try: print(fd, os.readlink(f'/proc/self/fd/{fd}'))\n"
                  " except OSError: pass")
        spare = os.open("/dev/zero", os.O_RDONLY)
        try:
            for place in PLACES:
                done = run(*python(source), place=place, pass_fds=[spare], stdin=subprocess.PIPE,
                           options=["-o", "readiness.x=exec:/bin/true"])
                found = [line.split() for line in done.stdout.splitlines()]
                self.assertEqual([fd for fd, _ in found], ["0", "1", "2"], done.stdout)
                self.assertTrue(all(where.startswith("pipe:") for _, where in found), found)
        finally:
            os.close(spare)

    def test_input_and_output_pass_through(self):
        done = subprocess.run([BINARY, "run", "-o", "listen=none", *NOWHERE, "--", "sh", "-c",
                               "cat; echo no >&2"],
                              input="hello", capture_output=True, text=True,
                              timeout=PATIENCE_SECONDS, env=clean_environment())
        self.assertEqual(done.stdout, "hello")
        self.assertIn("no\n", done.stderr)

    def test_missing_descriptors_are_not_filled_with_ours(self):
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", BINARY, "run", "-o", "listen=none", *NOWHERE,
             "--", "sh", "-c", "readlink /proc/$$/fd/0 /proc/$$/fd/2"],
            stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, env=clean_environment())
        self.assertEqual(done.stdout, "/dev/null\n/dev/null\n")

    def test_signals_are_at_their_defaults(self):
        def disturb():
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGTSTP,
                           signal.SIGRTMIN):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])

        for place in PLACES:
            done = run("sed", "-n", "/^Sig/p", "/proc/self/status", place=place, preexec_fn=disturb)
            sets = dict(line.split(":\t") for line in done.stdout.splitlines())
            for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd"):
                self.assertEqual(int(sets[name], 16), 0, (place, name, done.stdout))

    def test_limits_and_place_are_as_they_were(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4000))

        done = run("sh", "-c", "ulimit -Sn; ulimit -Hn; pwd; umask", preexec_fn=limit,
                   cwd=self.tmp, umask=0o027)
        self.assertEqual(done.stdout.splitlines(), ["200", "4000", str(self.tmp), "0027"])

    def test_a_group_of_its_own_in_our_session(self):
        done = run(*python("import os; print(os.getpid() == os.getpgrp(), os.getsid(0) == os.getppid(),"
                           " os.getsid(0) == os.getpid())"))
        self.assertEqual(done.stdout, "True True False\n")

    def test_both_are_there_at_once(self):
        """The agent answers not-ready, and the command has not been kept waiting for anything."""
        with RunAgent(["sh", "-c", "echo here; sleep 1000"],
                      "readiness: {app: {target: 'exec:/bin/sleep 900', timeoutSeconds: 900}}\n") as agent:
            agent.wait_line("here")
            self.assertEqual(agent.get("/ready")[0], 503)
            self.assertEqual(agent.get("/healthz")[0], 200)

            def when(name):
                stamp = agent.event(name)["timestamp"]
                return float(re.search(r":(\d\d\.\d+)Z", stamp)[1])

            apart = (when("child_started") - when("started")) % 60
            self.assertLess(apart, SOON_SECONDS)


# Starts a process that is nobody's child any more, in a session of its own or not, and goes on.
ORPHANS = """
import os, sys, time
count = int(sys.argv[1])
for number in range(count):
    if os.fork() == 0:
        if number % 2:
            os.setsid()
        if os.fork() == 0:
            time.sleep(0.05 * (number % 3))
            os._exit(number % 256)
        os._exit(0)
    os.wait()
print("forked")
time.sleep(1000)
"""


class Reaping(TestCase):
    def test_orphans_are_reaped(self):
        for place in PLACES:
            with RunAgent(python(ORPHANS, 60), place=place) as agent:
                agent.wait_line("forked")
                wait_until(lambda: len(children(agent.pid)) == 1, "only the command to be left")
                self.assertNotIn("Z", children(agent.pid))

    def test_orphans_that_end_all_at_once(self):
        source = ("import os, signal, time\n"
                  "r, w = os.pipe()\n"
                  "for _ in range(200):\n"
                  "    if os.fork() == 0:\n"
                  "        if os.fork() == 0:\n"
                  "            os.close(w)\n"
                  "            os.read(r, 1)\n"
                  "        os._exit(0)\n"
                  "    os.wait()\n"
                  "print('forked')\n"
                  "os.close(w)\n"
                  "time.sleep(1000)\n")
        for place in PLACES:
            with RunAgent(python(source), place=place) as agent:
                agent.wait_line("forked")
                wait_until(lambda: len(children(agent.pid)) == 1, "only the command to be left")

    def test_a_command_that_leaves_a_daemon_behind(self):
        """The command is what was started; what it leaves in its group goes with it."""
        source = ("import os, time\n"
                  "if os.fork() == 0:\n"
                  "    time.sleep(1000)\n"
                  "os._exit(5)\n")
        mark = f"READY_TEST_{os.getpid()}_{time.monotonic_ns()}"
        for place in PLACES:
            done = run(*python(source), place=place, env={mark: "1"})
            self.assertEqual(done.returncode, 5)
            wait_until(lambda: not marked(mark), "the daemon's end")

    def test_exec_probes_and_the_command_do_not_mix(self):
        config = ("readiness: {app: {target: 'exec:/bin/true', periodSeconds: 0.01}}\n"
                  "liveness: {app: {target: 'exec:/bin/true', periodSeconds: 0.01}}\n")
        for place in PLACES:
            with RunAgent(python(ORPHANS, 30), config, place=place) as agent:
                agent.wait_line("forked")
                agent.wait_for(lambda a: a.probe("app")["runs"] > 20)
                self.assertIsNone(agent.process.poll())
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 128 + signal.SIGTERM)

    def test_a_killed_subreaper_takes_its_command_along(self):
        with RunAgent(["sleep", "1000"]) as agent:
            pid = agent.command_pid()
            os.kill(agent.pid, signal.SIGKILL)
            wait_until(lambda: state(pid) in (None, "Z"), "the command's end")


if __name__ == "__main__":
    unittest.main()
