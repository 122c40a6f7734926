"""`readyd run` under test: as process 1 of a PID namespace, or as a subreaper among others."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from harness import Agent, PATIENCE_SECONDS, wait_until

PYTHON = sys.executable

# What a container is to processes: readyd is process 1, and /proc shows nothing else.
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")

PLACES = {"subreaper": (), "process 1": NAMESPACE}


def python(source, *arguments):
    """A command that runs this program; it may write lines to its stdout, which is line-buffered."""
    return [PYTHON, "-uc", source, *map(str, arguments)]


class RunAgent(Agent):
    """`readyd run -- COMMAND`. Its end is part of what is tested, so any exit status will do.

    lines: what the command has written to stdout, without line ends.
    """

    def __init__(self, command, config="", *, place="subreaper", **options):
        self.lines = []
        options.setdefault("stdout", subprocess.PIPE)
        super().__init__(config, verb="run", operands=["--", *map(str, command)],
                         prefix=PLACES[place], start_new_session=True, **options)
        self.pid = self.process.pid
        self._namespaced = place != "subreaper"
        self._new_line = threading.Condition()
        self._line_reader = threading.Thread(target=self._read_lines, daemon=True)
        if self.process.stdout:
            self._line_reader.start()
        if self._namespaced:
            self.pid = self.started_pid()

    def started_pid(self):
        """readyd's process, as seen from outside its namespace."""
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_until(path.read_text, "readyd's start").split()[0])

    def _read_lines(self):
        for line in self.process.stdout:
            with self._new_line:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._new_line.notify_all()

    def wait_line(self, text, count=1):
        """Waits until the command has written this line so often."""
        end = time.monotonic() + PATIENCE_SECONDS
        with self._new_line:
            while self.lines.count(text) < count:
                if not self._new_line.wait(end - time.monotonic()):
                    raise AssertionError(f"no line {text!r} in {self.lines}; the log is:\n" +
                                         "\n".join(self.raw_logs))

    def signal(self, number):
        os.kill(self.pid, number)

    def command_pid(self, count=1):
        """The count-th command's process as readyd knows it."""
        def started():
            pids = [event["pid"] for event in list(self.logs) if event["event"] == "child_started"]
            return pids[count - 1] if len(pids) >= count else None
        return wait_until(started, "the command's start")

    def wait_end(self, timeout=PATIENCE_SECONDS):
        """The exit status, with everything that was written read."""
        status = self.process.wait(timeout)
        self._reader.join(PATIENCE_SECONDS)
        if self.process.stdout:
            self._line_reader.join(PATIENCE_SECONDS)
        return status

    def event(self, name, **fields):
        """The first log event of this name and with these fields, waited for."""
        return self.wait_log(lambda event: event["event"] == name and
                             all(event.get(key) == value for key, value in fields.items()))

    def events(self, name):
        return [event for event in list(self.logs) if event["event"] == name]

    def __exit__(self, kind, value, traceback):
        try:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if not self._namespaced:
                self._kill_command()
            self._reader.join(PATIENCE_SECONDS)
            if any("Sanitizer" in line or "runtime error:" in line for line in self.raw_logs):
                raise AssertionError("\n".join(self.raw_logs))
        finally:
            if self.process.stdout:
                self._line_reader.join(PATIENCE_SECONDS)
                self.process.stdout.close()
            self.process.stderr.close()
            self.clean()

    def _kill_command(self):
        for event in self.events("child_started"):
            try:
                os.killpg(event["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
