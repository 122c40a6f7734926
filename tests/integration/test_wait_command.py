"""The command that `readyd wait` becomes: it finds everything as `readyd wait` found it."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from bad_server import BadServer, drip, receive, send
from harness import BINARY, TestCase, clean_environment, readyd
from processes import children
from waiter import Waiter

# Tells what a process begins with.
TELL = """
import ctypes, json, os, resource
subreaper = ctypes.c_int()
ctypes.CDLL(None).prctl(37, ctypes.byref(subreaper), 0, 0, 0)
print(json.dumps({"pid": os.getpid(), "subreaper": subreaper.value,
                  "limit": resource.getrlimit(resource.RLIMIT_NOFILE),
                  "arguments": __import__("sys").argv[1:],
                  "environment": dict(os.environ)}))
"""


class Command(TestCase):
    def everything(self):
        """Targets that make readyd use all it has: commands, names, connections, TLS's library."""
        server = BadServer(receive(), send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"))
        self.addCleanup(server.close)
        return ["exec:/bin/true", f"tcp://localhost:{server.port}", f"http://127.0.0.1:{server.port}/",
                "--any", "exec:/bin/sleep 60"]

    def become(self, *command, targets=None, **options):
        done = subprocess.run([BINARY, "wait", "--quiet", *(targets or self.everything()), "--", *command],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                              **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_same_process(self):
        waiter = Waiter(self, "exec:/bin/true", "--", sys.executable, "-c", TELL, "a b", "", "-q")
        self.assertEqual(waiter.end(), 0)
        told = json.loads(waiter.stdout)
        self.assertEqual(told["pid"], waiter.process.pid)
        self.assertEqual(told["arguments"], ["a b", "", "-q"])
        self.assertEqual(told["subreaper"], 0)

    def test_environment(self):
        environment = clean_environment({"READYD_SOCKET": "@x", "ODD": "a\nb=c"})
        before = subprocess.run(["env", "-0"], capture_output=True, env=environment, check=True).stdout
        after = self.become("env", "-0", env=environment)
        self.assertEqual(after, before.decode())

    def test_limits(self):
        limit = (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        told = json.loads(self.become(
            sys.executable, "-c", TELL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)))
        self.assertEqual(tuple(told["limit"]), limit)

    def status(self, **options):
        lines = self.become("cat", "/proc/self/status", **options).splitlines()
        return dict(line.split(":\t", 1) for line in lines)

    def test_signals(self):
        # The C library keeps the signals 32 to 34 to itself: whoever starts us with posix_spawn(), as
        # make does, may leave them ignored, and nobody can set them.
        of_programs = ~(7 << 31)
        status = self.status()
        for name in ("SigIgn", "SigBlk", "SigCgt", "SigPnd"):
            self.assertEqual(int(status[name], 16) & of_programs, 0, name)

    def test_inherited_signals(self):
        def prepare():
            for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD, signal.SIGRTMIN + 3):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])

        before = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True,
                                preexec_fn=prepare).stdout
        before = dict(line.split(":\t", 1) for line in before.splitlines())
        after = self.status(preexec_fn=prepare)
        for name in ("SigIgn", "SigBlk"):
            self.assertNotEqual(int(before[name], 16), 0)
            self.assertEqual(after[name], before[name], name)

    def test_descriptors(self):
        """Its own three, what was handed to readyd on purpose, and the one that lists them."""
        with tempfile.TemporaryFile() as given:
            listed = self.become("ls", "/proc/self/fd", pass_fds=[given.fileno()]).split()
            self.assertIn(str(given.fileno()), listed)
        self.assertEqual(len(listed), 5, listed)

    def test_no_child_is_left_to_it(self):
        process = subprocess.Popen([BINARY, "wait", "--quiet", *self.everything(), "--", "cat"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdin.write(b"x")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(1), b"x")
        self.assertEqual(children(process.pid), [])
        process.stdin.close()
        self.assertEqual(process.wait(20), 0)
        process.stdout.close()

    def test_its_output_is_its_own(self):
        done = readyd("wait", "--json", "exec:/bin/true", "--", "echo", "done")
        first, second = done.stdout.splitlines()
        self.assertEqual((json.loads(first)["state"], second), ("pass", "done"))

    def test_its_status_and_signals_are_its_own(self):
        self.assertEqual(readyd("wait", "exec:/bin/true", "--", "sh", "-c", "exit 42").returncode, 42)
        waiter = Waiter(self, "exec:/bin/true", "--", "sh", "-c", "trap 'exit 7' TERM; echo; "
                                                              "while :; do sleep 0.1; done")
        waiter.process.stdout.readline()
        waiter.signal(signal.SIGTERM)
        self.assertEqual(waiter.end(), 7)

    def test_not_before_the_time(self):
        done = readyd("wait", "--timeout", "0.2", "exec:/bin/false", "--", "echo", "started")
        self.assertEqual((done.returncode, done.stdout), (124, ""))

    def test_cannot_be_started(self):
        plain = self.tmp / "plain"
        plain.write_text("echo\n")
        no_line = self.tmp / "no-line"
        no_line.write_text("echo\n")
        no_line.chmod(0o755)
        broken = self.tmp / "broken"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        for command, status, sentence in (
                ("no-such-program", 127, "cannot start no-such-program: no such program in PATH"),
                ("/no/such/program", 127, "cannot start /no/such/program: no such file"),
                (plain / "below", 127, f"cannot start {plain}/below: a part of its path is not a"),
                (broken, 127, "its interpreter /no/such/interpreter does not exist"),
                (plain, 126, f"cannot start {plain}: it is not executable (chmod +x is missing)"),
                (no_line, 126, f"cannot start {no_line}: it is neither a program for this machine"),
                (self.tmp, 126, f"cannot start {self.tmp}: it is a directory")):
            done = readyd("wait", "--quiet", "exec:/bin/true", "--", command)
            self.assertEqual((done.returncode, done.stdout), (status, ""))
            self.assertIn(sentence, done.stderr)

    def test_found_in_the_path(self):
        (self.tmp / "mine").write_text("#!/bin/sh\necho mine\n")
        (self.tmp / "mine").chmod(0o755)
        done = readyd("wait", "exec:/bin/true", "--", "mine", env={"PATH": f"/bin:{self.tmp}"})
        self.assertEqual((done.returncode, done.stdout), (0, "mine\n"))


if __name__ == "__main__":
    unittest.main()
