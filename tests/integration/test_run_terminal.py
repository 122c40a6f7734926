"""`readyd run` on a terminal: who is in its foreground, Ctrl-C, Ctrl-Z, the window's size, and the
way back to the shell."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from harness import BINARY, PATIENCE_SECONDS, TestCase, clean_environment, wait_until
from processes import state
from run_agent import NAMESPACE, python

OPTIONS = ["-o", "listen=none", "-o", "socket=none", "-o", "logFormat=json", "-o",
           "drain.delaySeconds=0"]
RUN = [BINARY, "run", *OPTIONS, "--"]
PLACES = {"session leader": [], "process 1": list(NAMESPACE)}

# Says who it is and what comes over the terminal.
SPEAKER = """
import os, signal, sys, fcntl, struct, termios
def say(text): os.write(1, (text + "\\n").encode())
def on_winch(number, frame):
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    say(f"size {rows} {columns}")
signal.signal(signal.SIGWINCH, on_winch)
signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
signal.signal(signal.SIGQUIT, lambda *_: say("quit"))
signal.signal(signal.SIGCONT, lambda *_: say("now con" "tinued"))
say(f"foreground {os.tcgetpgrp(0) == os.getpgrp()} pid {os.getpid()}")
for line in sys.stdin:
    say("read " + line.strip())
    if line.strip() == "end": sys.exit(4)
"""


class Terminal:
    """A program on a pseudo-terminal of its own, whose session it leads; ends with the block."""

    def __init__(self, argv, **environment):
        self.master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)

        def lead():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(list(map(str, argv)), stdin=slave, stdout=slave,
                                        stderr=slave, preexec_fn=lead,
                                        env=clean_environment({"PS1": "$ ", **environment}))
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern):
        """Waits until what has been seen since the last match matches; returns the match."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (match := re.search(pattern, self.seen)):
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            try:
                self.seen += os.read(self.master, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended; no {pattern!r} in {self.seen!r}") from None
        self.seen = self.seen[match.end():]
        return match

    def foreground(self):
        return os.tcgetpgrp(self.master)

    def wait_end(self):
        """The exit status."""
        def ended():
            if select.select([self.master], [], [], 0)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode(errors="replace")
                except OSError:
                    pass
            return self.process.poll() is not None
        wait_until(ended, "the end")
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            for pid in {self.foreground(), self.process.pid}:
                try:
                    os.kill(-pid, signal.SIGKILL)
                except OSError:
                    pass
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Direct(TestCase):
    """As `docker run -it` starts it: readyd leads the session."""

    def test_the_command_has_the_terminal(self):
        for prefix in PLACES.values():
            with Terminal([*prefix, *RUN, *python(SPEAKER)]) as terminal:
                terminal.expect("foreground True")
                terminal.type("hello\n")
                terminal.expect("read hello")
                terminal.type("\x03")
                terminal.expect("interrupted")
                terminal.type("\x1c")
                terminal.expect("quit")
                fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
                terminal.expect("size 33 77")
                terminal.type("end\n")
                self.assertEqual(terminal.wait_end(), 4)

    def test_ctrl_c_ends_what_does_not_mind_it(self):
        for prefix in PLACES.values():
            with Terminal([*prefix, *RUN, "sh", "-c", "echo here; exec sleep 1000"]) as terminal:
                terminal.expect("here")
                terminal.type("\x03")
                self.assertEqual(terminal.wait_end(), 130)

    def test_ctrl_z_without_a_shell_means_nothing(self):
        """Nobody could continue it, so the kernel would not stop it either."""
        for prefix in PLACES.values():
            with Terminal([*prefix, *RUN, *python(SPEAKER)]) as terminal:
                terminal.expect("foreground True")
                terminal.type("\x1a")
                terminal.expect("continued")
                terminal.type("hello\n")
                terminal.expect("read hello")

    def test_a_shell_as_the_command_has_its_jobs(self):
        for prefix in PLACES.values():
            with Terminal([*prefix, *RUN, "bash", "--norc", "--noprofile", "-i"]) as terminal:
                terminal.type("sleep 1000\n")
                wait_until(lambda: self.name(terminal.foreground()) == "sleep", "sleep in front")
                terminal.type("\x1a")
                terminal.expect("Stopped")
                terminal.type("fg\n")
                wait_until(lambda: self.name(terminal.foreground()) == "sleep", "sleep in front")
                terminal.type("\x03")
                terminal.expect("\\$ ")
                terminal.type("echo $((6*7))\n")
                terminal.expect("\\b42\\b")
                terminal.type("exit 3\n")
                self.assertEqual(terminal.wait_end(), 3)

    def name(self, pid):
        try:
            return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return None

    def test_the_terminal_comes_back(self):
        """A script that goes on after readyd has ended reads from the terminal again."""
        for command in ("sh -c 'exit 5'", "/no/such/program"):
            script = f'{" ".join(RUN)} {command}; echo "status $?"; read line; echo "got $line"'
            with Terminal(["sh", "-c", script]) as terminal:
                terminal.expect("status (5|127)\r\n")
                terminal.type("back\n")
                terminal.expect("got back")
                self.assertEqual(terminal.wait_end(), 0)

    def test_the_terminal_is_ours_between_two_lives_of_the_command(self):
        options = ["-o", "onLivenessFailure=restart", "-o", "restart.delaySeconds=60", "-o",
                   "liveness.app=exec:/bin/false", "-o", "liveness.app.periodSeconds=0.05"]
        with Terminal([*RUN[:-1], *options, "--", "sleep", "1000"]) as terminal:
            terminal.expect("restart_delayed")
            self.assertEqual(terminal.foreground(), terminal.process.pid)
            terminal.type("\x03")
            self.assertEqual(terminal.wait_end(), 143)

    def test_sigterm_ends_it_in_order(self):
        for prefix in PLACES.values():
            with Terminal([*prefix, *RUN, *python(SPEAKER)]) as terminal:
                terminal.expect("foreground True")
                pid = terminal.process.pid
                if prefix:
                    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
                    pid = int(path.read_text().split()[0])
                os.kill(pid, signal.SIGTERM)
                self.assertEqual(terminal.wait_end(), 143)

    def test_hangup(self):
        with Terminal([*RUN, "sleep", "1000"]) as terminal:
            terminal.expect("child_started")
            duplicate = os.dup(terminal.master)
            os.close(terminal.master)
            os.close(duplicate)
            self.assertEqual(terminal.process.wait(PATIENCE_SECONDS), 128 + signal.SIGHUP)
            terminal.master = os.open("/dev/null", os.O_RDONLY)
            terminal.foreground = lambda: terminal.process.pid


class Shell(TestCase):
    """Under a shell with jobs."""

    def shell(self):
        terminal = Terminal(["bash", "--norc", "--noprofile", "-i"])
        terminal.expect("\\$ ")
        return terminal

    def test_ctrl_z_and_back(self):
        with self.shell() as terminal:
            terminal.type(" ".join(f"'{word}'" for word in [*RUN, *python(SPEAKER)]) + "\n")
            pid = int(terminal.expect("foreground True pid (\\d+)")[1])
            agent = parent(pid)
            for _ in range(3):
                terminal.type("\x1a")
                seen = terminal.expect("Stopped").string
                self.assertEqual((state(pid), state(agent)), ("T", "T"))
                self.assertEqual(terminal.foreground(), terminal.process.pid)
                terminal.type("fg\n")
                terminal.expect("now continued")
                wait_until(lambda: terminal.foreground() == pid, "the command in front")
                terminal.type("hello\n")
                seen += terminal.expect("read hello").string
                # Continued a second time, it might not notice the next Ctrl-Z.
                self.assertNotIn("now continued", seen)
            terminal.type("end\n")
            terminal.expect("\\$ ")
            terminal.type("echo status $?\n")
            terminal.expect("status 4")

    def test_in_the_background(self):
        with self.shell() as terminal:
            terminal.type(" ".join(f"'{word}'" for word in [*RUN, *python(SPEAKER)]) + "\n")
            pid = int(terminal.expect("foreground True pid (\\d+)")[1])
            terminal.type("\x1a")
            terminal.expect("Stopped")
            terminal.type("bg; echo shell is $((6*7))\n")
            terminal.expect("shell is 42")
            # It reads from a terminal that is not its own just now, so the whole job stops again.
            wait_until(lambda: state(pid) == state(parent(pid)) == "T", "both to stop")
            self.assertEqual(terminal.foreground(), terminal.process.pid)
            terminal.type("fg\n")
            wait_until(lambda: terminal.foreground() == pid, "the command in front")
            terminal.type("hello\n")
            terminal.expect("read hello")
            terminal.type("end\n")
            terminal.expect("\\$ ")

    def test_started_in_the_background(self):
        go = self.tmp / "go"
        source = (f'echo he""re; while [ ! -e {go} ]; do sleep 0.01; done; '
                  'read line; echo "got $line"; exec sleep 1000')
        with self.shell() as terminal:
            terminal.type(" ".join(RUN) + f" sh -c '{source}' &\n")
            terminal.expect("here")
            self.assertEqual(terminal.foreground(), terminal.process.pid)
            terminal.type("echo shell is $((6*7))\n")
            terminal.expect("shell is 42")
            # The shell does not tell a job that runs that it is in front now.
            terminal.type("fg\n")
            wait_until(lambda: terminal.foreground() != terminal.process.pid, "fg")
            go.touch()
            terminal.type("hello\n")
            terminal.expect("got hello")
            terminal.type("\x03")
            terminal.expect("\\$ ")
            terminal.type("echo status $?\n")
            terminal.expect("status 130")


if __name__ == "__main__":
    unittest.main()
