"""A terminal with a program on it, whose screen tests can look at."""

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading

from harness import BINARY, PATIENCE_SECONDS, clean_environment


class Screen:
    """As much of a terminal as is needed: lines that scroll away at the top, a cursor, and the control
    sequences that readyd uses; any other is an error."""

    SEQUENCE = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])")

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines, self.top = [""], 0
        self.row = self.column = 0
        self.wraps = True
        self.drawings = self.cut = 0

    def resize(self, rows, columns):
        """The upper lines scroll away; what is wider than the terminal is cut off, as xterm does."""
        self.rows, self.columns = rows, columns
        self.top = max(self.top, self.row - rows + 1)
        self.lines[self.top:] = [line[:columns] for line in self.lines[self.top:]]

    def put(self, character):
        if self.column == self.columns:
            if not self.wraps:
                self.column -= 1
                self.cut += 1
            else:
                self.column = 0
                self.down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[:self.column] + character + line[self.column + 1:]
        self.column += 1

    def down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        self.top = max(self.top, self.row - self.rows + 1)

    def erase(self):
        """To the end of the line; behind its last character the cursor still stands on that."""
        self.lines[self.row] = self.lines[self.row][:min(self.column, self.columns - 1)]

    def control(self, private, number, letter):
        if letter == "A":
            self.row = max(self.top, self.row - int(number or 1))
        elif letter == "K" and not number:
            self.erase()
        elif letter == "J" and not number:
            self.erase()
            del self.lines[self.row + 1:]
            self.drawings += 1
        elif (private, number) == ("?", "7") and letter in "hl":
            self.wraps = letter == "h"
        elif letter != "m":
            raise AssertionError(f"unknown sequence {private}{number}{letter}")

    def feed(self, text):
        """Returns what is left of an unfinished sequence."""
        at = 0
        while at < len(text):
            match = self.SEQUENCE.match(text, at)
            if match:
                self.control(*match.groups())
                at = match.end()
                continue
            if text[at] == "\x1b":
                if len(text) - at < 10:
                    return text[at:]
                raise AssertionError(f"unknown sequence {text[at:at + 10]!r}")
            if text[at] == "\r":
                self.column = 0
            elif text[at] == "\n":
                self.down()
            else:
                self.put(text[at])
            at += 1
        return ""

    def text(self):
        return [line.rstrip() for line in self.lines]


class Terminal:
    """A verb of readyd on a terminal of that size, whose screen is kept up to date.

    stream: which output of the program is the terminal, "stdout" or "stderr"; the other is a pipe.
    """

    def __init__(self, test, verb, *arguments, stream, rows=24, columns=80, term="xterm", env=None,
                 **options):
        self.master, self.slave = os.openpty()
        self.screen = Screen(rows, columns)
        self.changed = threading.Condition()
        self.error = None
        self.resize(rows, columns)
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: self.slave}
        self.process = subprocess.Popen([BINARY, verb, *map(str, arguments)], **outputs, text=True,
                                        stdin=subprocess.DEVNULL,
                                        env=clean_environment({"TERM": term, **(env or {})}),
                                        **options)
        self.raw = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self.close)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        with self.changed:
            self.screen.resize(rows, columns)

    def _read(self):
        rest, pending = "", b""
        while True:
            try:
                pending += os.read(self.master, 65536)
            except OSError:
                break
            text = pending.decode(errors="ignore")
            pending = b""
            with self.changed:
                self.raw += text
                try:
                    rest = self.screen.feed(rest + text)
                except AssertionError as error:
                    self.error = error
                self.changed.notify_all()

    def wait_screen(self, predicate):
        """Waits until the lines are as they should be; returns them."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.error or predicate(self.screen.text()),
                                         PATIENCE_SECONDS):
                raise AssertionError(f"the screen: {self.screen.text()[-20:]}")
            if self.error:
                raise self.error
            return self.screen.text()

    def wait_drawings(self, count):
        """So many more."""
        with self.changed:
            wanted = self.screen.drawings + count
        return self.wait_screen(lambda _: self.screen.drawings >= wanted)

    def end(self):
        """The exit status, and what is on the screen then."""
        self.stdout, self.stderr = self.process.communicate(timeout=PATIENCE_SECONDS)
        os.close(self.slave)
        self.slave = -1
        self.reader.join(PATIENCE_SECONDS)
        if self.error:
            raise self.error
        return self.process.returncode, [line for line in self.screen.text() if line]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        for fd in (self.slave, self.master):
            if fd >= 0:
                os.close(fd)
