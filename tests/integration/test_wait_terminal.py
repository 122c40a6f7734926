"""`readyd wait` on a terminal: live lines, which are redrawn in place and leave no trace."""

import os
import signal
import termios
import unittest

import terminal as terminals
from bad_server import BadServer, wait_close
from harness import PATIENCE_SECONDS, TestCase, free_port, wait_until


def Terminal(test, *arguments, **options):
    """`readyd wait` on a terminal."""
    return terminals.Terminal(test, "wait", *arguments, stream="stderr", **options)


def shows(last):
    """Whether the last line that was drawn is this one."""
    return lambda lines: len(lines) > 1 and lines[-2] == last


class Live(TestCase):
    def files(self, count):
        """Targets that pass once their files are there: their paths, and the targets."""
        paths = [self.tmp / f"f{number}" for number in range(count)]
        return paths, [f"exec:/usr/bin/test -e {path}" for path in paths]

    def test_lines(self):
        (path,), (target,) = self.files(1)
        port = free_port()
        terminal = Terminal(self, "exec:/bin/true", target, f"tcp://127.0.0.1:{port}", columns=160)
        terminal.wait_drawings(3)
        lines = terminal.wait_screen(lambda now: len(now) == 4 and now[0].startswith("done") and
                                     "exit_code" in now[1] and "refused" in now[2])
        self.assertRegex(lines[0], r"^done exec:/bin/true +\d\.\d s$")
        self.assertRegex(lines[1], rf"^wait {target} +\d\.\d s  exit_code: exit code 1")
        self.assertRegex(lines[2], rf"^wait tcp://127.0.0.1:{port} +\d\.\d s  connect_refused: cannot connect")
        self.assertEqual(lines[3:], [""])
        first = float(lines[1].split(" s  ")[0].split()[-1])
        terminal.wait_screen(lambda now: float(now[1].split(" s  ")[0].split()[-1]) > first + 0.25)
        path.touch()
        lines = terminal.wait_screen(lambda now: now[1].startswith("done"))
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.end(), (-signal.SIGTERM, []))

    def test_success(self):
        (path,), (target,) = self.files(1)
        terminal = Terminal(self, target, "--", "echo", "started")
        terminal.wait_drawings(2)
        path.touch()
        status, lines = terminal.end()
        self.assertEqual((status, terminal.stdout), (0, "started\n"))
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], rf"^done {target} after \d+\.\d s$")

    def test_at_once(self):
        """What need not be waited for is not drawn."""
        with BadServer(wait_close()) as server:
            terminal = Terminal(self, f"tcp://127.0.0.1:{server.port}")
            status, lines = terminal.end()
        self.assertEqual((status, len(lines)), (0, 1))
        self.assertRegex(lines[0], rf"^done tcp://127.0.0.1:{server.port} after \d\.\d s$")
        self.assertNotIn("\x1b", terminal.raw)

    def test_timeout(self):
        terminal = Terminal(self, "exec:/bin/true", "exec:/bin/false", "--timeout", "3")
        status, lines = terminal.end()
        self.assertEqual(status, 124)
        self.assertEqual(lines[0], "readyd wait: not done within 3 s")
        self.assertEqual(sorted(line.split()[0] for line in lines[1:]), ["done", "fail"])
        self.assertIn("fail exec:/bin/false exit_code: exit code 1", lines)

    def test_quiet(self):
        terminal = Terminal(self, "--quiet", "exec:/bin/false", "--timeout", "3")
        self.assertEqual(terminal.end(), (124, ["readyd wait: not done within 3 s",
                                                "fail exec:/bin/false exit_code: exit code 1"]))
        self.assertNotIn("\x1b", terminal.raw)

    def test_narrow(self):
        """No line is wider than the terminal."""
        paths, targets = self.files(3)
        for columns in (1, 5, 12, 30, 41):
            terminal = Terminal(self, *targets, columns=columns)
            lines = terminal.wait_drawings(4)
            self.assertEqual(len(lines), 4, lines)
            self.assertEqual([line[:4] for line in lines[:3]], ["wait"[:columns]] * 3)
            self.assertEqual(terminal.screen.cut, 0)
            if columns >= 41:
                terminal.wait_screen(lambda now: " s  exit_code" in now[0])
            terminal.process.send_signal(signal.SIGINT)
            self.assertEqual(terminal.end(), (-signal.SIGINT, []))

    def test_resize(self):
        paths, targets = self.files(3)
        terminal = Terminal(self, *targets, rows=10, columns=100)
        terminal.wait_drawings(2)
        terminal.resize(10, 30)
        terminal.wait_drawings(3)
        cut = terminal.screen.cut
        lines = terminal.wait_drawings(2)
        self.assertEqual((len(lines), terminal.screen.cut), (4, cut))
        terminal.resize(3, 100)
        terminal.wait_screen(shows("and 2 more, 0 of 3 done"))
        lines = terminal.wait_drawings(3)
        # only what has scrolled away is left of the larger ones
        self.assertEqual([line.split()[0] for line in lines[:-1]], ["wait", "wait", "and"])
        terminal.process.send_signal(signal.SIGTERM)
        status, lines = terminal.end()
        self.assertEqual((status, len(lines)), (-signal.SIGTERM, 1))

    def test_more_targets_than_lines(self):
        """Those that are waited for come first."""
        paths, targets = self.files(9)
        terminal = Terminal(self, "exec:/bin/true", *targets, rows=6, columns=100)
        lines = terminal.wait_screen(shows("and 6 more, 1 of 10 done"))
        self.assertEqual([line.split()[0] for line in lines[:5]], ["wait"] * 4 + ["and"])
        for path in paths[:6]:
            path.touch()
        lines = terminal.wait_screen(shows("and 6 more, 7 of 10 done"))
        self.assertEqual([line.split()[0] for line in lines[:5]], ["wait"] * 3 + ["done", "and"])
        self.assertEqual(len(lines), 6)
        for path in paths[6:]:
            path.touch()
        status, lines = terminal.end()
        self.assertEqual((status, len(lines)), (0, 10))

    def test_a_single_line(self):
        """Nothing scrolls, and nothing is left behind."""
        _, targets = self.files(2)
        for count in (1, 2):
            terminal = Terminal(self, *targets[:count], rows=1, columns=60)
            terminal.wait_drawings(4)
            lines = terminal.wait_screen(lambda now: now[0])
            self.assertTrue(lines[0].startswith("wait exec:" if count == 1 else "and 2 more"), lines)
            self.assertEqual((len(lines), terminal.screen.top), (1, 0))
            terminal.process.send_signal(signal.SIGTERM)
            self.assertEqual(terminal.end(), (-signal.SIGTERM, []))

    def test_continued(self):
        """What others have written in the meantime is left alone."""
        paths, targets = self.files(2)
        terminal = Terminal(self, *targets)
        terminal.wait_drawings(2)
        terminal.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: " T " in open(f"/proc/{terminal.process.pid}/stat").read(), "it to stop")
        os.write(terminal.slave, b"[1]+ Stopped\n$ fg\n")
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_drawings(2)
        for path in paths:
            path.touch()
        status, lines = terminal.end()
        self.assertEqual(status, 0)
        self.assertEqual(lines[2:4], ["[1]+ Stopped", "$ fg"])
        self.assertEqual([line.split()[0] for line in lines[4:]], ["done", "done"])

    def test_strange_name(self):
        """Wide characters and such that steer a terminal."""
        name = "exec:/usr/bin/test -e " + "漢" * 60
        terminal = Terminal(self, name, "exec:/bin/sh -c 'printf \"\\033[2J\"; exit 3'", columns=60)
        lines = terminal.wait_drawings(3)
        self.assertEqual(len(lines), 3)
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.end(), (-signal.SIGTERM, []))

    def test_stopped_output(self):
        """Ctrl-S holds up the drawing, not the waiting."""
        (path,), (target,) = self.files(1)
        terminal = Terminal(self, target)
        terminal.wait_drawings(1)
        termios.tcflow(terminal.slave, termios.TCOOFF)
        path.touch()
        self.assertEqual(terminal.process.wait(PATIENCE_SECONDS), 0)
        termios.tcflow(terminal.slave, termios.TCOON)

    def test_dumb_terminal(self):
        terminal = Terminal(self, "exec:/bin/true", term="dumb")
        status, lines = terminal.end()
        self.assertEqual(status, 0)
        self.assertRegex(lines[0], r"^\S+ info +done target=exec:/bin/true")


if __name__ == "__main__":
    unittest.main()
