"""`readyd status` and `readyd check --verbose`: for people, on a terminal and elsewhere."""

import json
import os
import re
import signal
import subprocess
import termios
import unittest

from harness import BINARY, PATIENCE_SECONDS, Agent, TestCase, clean_environment, readyd, settled, wait_until
from terminal import Terminal

CONFIG = """
service: shop
version: "7"
liveness: {{app: exec:/bin/true}}
readiness:
  flag: {{exec: {{command: [test, -e, {flag}]}}, periodSeconds: 0.1, timeoutSeconds: 20, failureThreshold: 1}}
  plugin: {{exec: {{nagios: true, command: [sh, -c, 'echo low; exit 1']}}}}
"""
COLOURS = {"\033[31m", "\033[32m", "\033[33m", "\033[0m"}


class StatusCase(TestCase):
    def agent(self, config=CONFIG):
        self.flag = self.tmp / "flag"
        self.flag.touch()
        agent = Agent(config.format(flag=self.flag))
        self.addCleanup(agent.__exit__, None, None, None)
        agent.wait_for(settled)
        return agent

    def status(self, agent, *arguments, **options):
        """`readyd status` on a terminal."""
        return Terminal(self, "status", "--socket", agent.socket, *arguments,
                        stream="stdout", **options)


class Table(StatusCase):
    def row(self, text, name):
        return next(line for line in text.splitlines() if line.startswith(name + " "))

    def test_piped(self):
        """Plain: ASCII alone, nothing but lines."""
        agent = self.agent()
        self.flag.unlink()
        agent.wait_for(lambda a: a.probe("flag")["standing"] == "failing")
        done = readyd("status", "--socket", agent.socket, env={"TERM": "xterm", "LANG": "C.UTF-8"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.isascii())
        self.assertNotIn("\033", done.stdout)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "shop 7  healthz yes  ready no (a readiness probe does not pass)"
                                   "  startup yes")
        self.assertEqual(lines[2].split(), ["PROBE", "ROLE", "STANDING", "TOOK", "AGE", "LAST", "RUNS",
                                            "RESULT"])
        self.assertEqual(lines[-1], "3 probes in all")
        row = self.row(done.stdout, "flag")
        self.assertRegex(row, r"^flag +readiness +failing +[0-9.]+ ms +[0-9.]+ s  [ _.=#x-]{15}x  exit_code: "
                              r"exit code 1  exec:test -e ")
        # the columns stand below their titles
        for title, text in (("ROLE", "readiness"), ("STANDING", "failing"), ("RESULT", "exit_code")):
            self.assertEqual(lines[2].index(title), row.index(text))
        self.assertIn("passing", self.row(done.stdout, "plugin"))

    def test_colours_and_blocks(self):
        agent = self.agent()
        self.flag.unlink()
        agent.wait_for(lambda a: a.probe("flag")["standing"] == "failing")
        for env, unicode, colour in (({}, True, True), ({"LANG": "de_DE.UTF-8"}, True, True),
                                     ({"LANG": "C.UTF-8", "LC_ALL": "C"}, False, True),
                                     ({"NO_COLOR": "1"}, True, False)):
            env = {"LANG": "", "LC_ALL": "", "LC_CTYPE": "", "NO_COLOR": "", **env}
            terminal = self.status(agent, columns=200, env=env)
            status, lines = terminal.end()
            self.assertEqual(status, 0)
            self.assertEqual(lines[-1], "3 probes in all")
            row = next(line for line in lines if line.startswith("flag"))
            self.assertEqual("×" in row, unicode)
            self.assertEqual(bool(re.search("[▁▂▃▄▅▆▇█]", row)), unicode)
            self.assertEqual(set(re.findall(r"\033\[\d+m", terminal.raw)), COLOURS if colour else set())
        for term in ("dumb", ""):
            terminal = self.status(agent, term=term, columns=200)
            self.assertEqual(terminal.end()[0], 0)
            self.assertNotIn("\033", terminal.raw)
            self.assertTrue(terminal.raw.isascii())

    def test_json(self):
        agent = self.agent()
        terminal = self.status(agent, "--json", columns=10000)
        status, lines = terminal.end()
        self.assertEqual((status, json.loads(lines[0])["service"]), (0, "shop"))
        self.assertNotIn("\033", terminal.raw)

    def test_usage(self):
        done = readyd("status", "--json", "--watch")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--json and --watch do not go together", done.stderr)
        self.assertIn("--watch", readyd("status", "--help").stdout)

    def test_numbers_of_the_question(self):
        agent = self.agent()
        for path in ("/table?columns=x", "/table?limit=-1", "/table?columns="):
            self.assertEqual(agent.admin(path)[0], 400, path)
        text = agent.admin("/table?columns=20&limit=1")[2]
        self.assertLessEqual(max(map(len, text.splitlines()[:-1])), 20)
        self.assertTrue(text.endswith("\n2 probes are not shown, 3 in all\n"))
        self.assertEqual(agent.admin("/table?columns=0")[0], 200)
        self.assertEqual(agent.get("/table")[0], 404)

    def test_many(self):
        """Sent in parts, each of them whole: what was cut off is not printed."""
        names = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 3600}}\n" for i in range(10000))
        with Agent("readiness:\n" + names) as agent:
            done = readyd("status", "--socket", agent.socket)
            self.assertEqual(done.returncode, 0)
            self.assertEqual(len(done.stdout.splitlines()), 10005)
            self.assertTrue(done.stdout.endswith("\n10000 probes in all\n"))
            terminal = self.status(agent, "--watch", rows=12)
            terminal.wait_screen(lambda lines: "9995 probes are not shown, 10000 in all" in lines)
            terminal.process.send_signal(signal.SIGINT)
            self.assertEqual(terminal.end()[0], -signal.SIGINT)


class Watch(StatusCase):
    def test_redraws_in_place(self):
        agent = self.agent()
        terminal = self.status(agent, "--watch", columns=150)
        lines = terminal.wait_drawings(2)
        self.assertIn("ready yes", lines[0])
        self.flag.unlink()
        lines = terminal.wait_screen(lambda lines: "ready no" in lines[0])
        self.assertEqual(len(lines), 9)
        lines = terminal.wait_drawings(2)
        self.assertEqual(len(lines), 9)
        self.assertEqual(sum(line.startswith("flag") for line in lines), 1)
        terminal.process.send_signal(signal.SIGINT)
        status, lines = terminal.end()
        # the last drawing stays, with the cursor below it and wrapping as it was
        self.assertEqual((status, lines[-1]), (-signal.SIGINT, "3 probes in all"))
        self.assertTrue(terminal.screen.wraps)
        self.assertEqual(terminal.screen.column, 0)

    def test_size(self):
        """Never wider or higher than the terminal, those in trouble first; at once when it changes."""
        agent = self.agent()
        self.flag.unlink()
        agent.wait_for(lambda a: a.probe("flag")["standing"] == "failing")
        terminal = self.status(agent, "--watch", rows=8, columns=40)
        lines = terminal.wait_screen(lambda lines: "2 probes are not shown, 3 in all" in lines)
        self.assertEqual(lines[3].split()[0], "flag")
        self.assertEqual(terminal.screen.cut, 0)
        terminal.resize(24, 120)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.wait_screen(lambda lines: "3 probes in all" in lines and "exec:/bin/true" in "".join(lines))
        for rows, columns in ((1, 1), (2, 80), (3, 10), (30, 3)):
            terminal.resize(rows, columns)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            terminal.wait_drawings(2)
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.end()[0], -signal.SIGTERM)

    def test_small_terminals(self):
        """What matters most is there, nothing is cut in the middle, and nothing scrolls."""
        agent = self.agent()
        self.flag.unlink()
        agent.wait_for(lambda a: a.probe("flag")["standing"] == "failing")
        full = "shop 7  healthz yes  ready no (a readiness probe does not pass)  startup yes"
        titles, flag, end = r"PROBE .*", r"flag +readiness .*", "2 probes are not shown, 3 in all"
        for rows, columns, wanted in (
                (24, 80, [full, "", titles, r"app .*", flag, r"plugin .*", "", "3 probes in all"]),
                (7, 80, [full, "", titles, flag, "", end]), (5, 80, [full, titles, flag, end]),
                (4, 80, [full, flag, end]), (3, 80, [full, flag]), (2, 80, [full]), (1, 80, [full]),
                (1, 76, [full]), (1, 75, [full.replace(" 7", "")]), (1, 73, [full.removeprefix("shop 7  ")]),
                (1, 60, ["healthz yes  ready no (a readiness probe does not pass)"]),
                (1, 50, ["shop 7  ready no (a readiness probe does not pass)"]),
                (2, 40, ["shop  healthz yes  ready no  startup yes"]), (1, 21, ["healthz yes  ready no"]),
                (1, 20, ["shop 7  ready no"]), (1, 8, ["ready no"]), (1, 7, ["no"]), (3, 2, ["no", "fl"]),
                (24, 1, ["n", "", "P", "a", "f", "p", "", "3"]), (1, 1, ["n"])):
            with self.subTest(rows=rows, columns=columns):
                terminal = self.status(agent, "--watch", rows=rows, columns=columns)
                for _ in range(3):
                    terminal.wait_drawings(1)
                    terminal.process.send_signal(signal.SIGWINCH)
                lines = terminal.wait_screen(lambda lines: lines[0])
                while not lines[-1]:
                    lines.pop()
                self.assertEqual(len(lines), len(wanted), lines)
                for line, pattern in zip(lines, wanted):
                    self.assertTrue(line == pattern or re.fullmatch(pattern, line), (line, pattern))
                    self.assertLessEqual(len(line), columns)
                self.assertEqual((terminal.screen.top, terminal.screen.cut), (0, 0))
                terminal.process.send_signal(signal.SIGINT)
                self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_small_terminals_without_an_agent(self):
        for rows, columns in ((4, 80), (1, 80), (1, 1)):
            terminal = Terminal(self, "status", "--watch", "--socket", "@readyd-test-nobody", stream="stdout",
                                rows=rows, columns=columns)
            for _ in range(3):
                terminal.wait_drawings(1)
                terminal.process.send_signal(signal.SIGWINCH)
            terminal.wait_screen(lambda lines, part="no readyd"[:columns]: lines[0].startswith(part))
            self.assertEqual((terminal.screen.top, terminal.screen.cut), (0, 0))
            terminal.process.send_signal(signal.SIGINT)
            self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_a_terminal_that_shrinks_and_grows(self):
        """What stands above the drawing is left alone."""
        agent = self.agent()
        terminal = self.status(agent, "--watch", rows=1, columns=60)
        terminal.wait_screen(lambda lines: "ready yes" in lines[0])
        for rows in (1, 24, 4, 24, 2, 1, 24):
            terminal.resize(rows, 60)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            lines = terminal.wait_drawings(2)
            self.assertIn("ready yes", lines[terminal.screen.top])
            self.assertEqual(sum("ready yes" in line for line in lines[terminal.screen.top:]), 1, lines)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_agent_comes_and_goes(self):
        name = f"@readyd-test-late-{os.getpid()}"
        terminal = Terminal(self, "status", "--watch", "--socket", name, stream="stdout", columns=100)
        terminal.wait_screen(lambda lines: lines[0].startswith(f"no readyd listens on {name}"))
        agent = Agent(CONFIG.format(flag=self.tmp), args=["-o", f"socket={name}"])
        with agent:
            agent.wait_ready()
            terminal.wait_screen(lambda lines: lines[0].startswith("shop 7  healthz yes"))
        lines = terminal.wait_screen(lambda lines: re.match(r"\d+ s old: no readyd listens on ", lines[0]))
        self.assertTrue(lines[1].startswith("shop 7"))
        self.assertIn("3 probes in all", lines)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_stopped_terminal(self):
        """Ctrl-S holds it up; it ends all the same."""
        agent = self.agent()
        terminal = self.status(agent, "--watch")
        terminal.wait_drawings(1)
        termios.tcflow(terminal.slave, termios.TCOOFF)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.process.wait(PATIENCE_SECONDS), -signal.SIGINT)
        termios.tcflow(terminal.slave, termios.TCOON)

    def test_continued(self):
        """What the shell has written in the meantime is left alone."""
        agent = self.agent()
        terminal = self.status(agent, "--watch", columns=150)
        terminal.wait_drawings(1)
        terminal.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: " T " in open(f"/proc/{terminal.process.pid}/stat").read(), "it to stop")
        os.write(terminal.slave, b"[1]+ Stopped\n$ fg\n")
        terminal.process.send_signal(signal.SIGCONT)
        lines = terminal.wait_drawings(2)
        self.assertIn("[1]+ Stopped", lines)
        self.assertEqual(sum(line == "3 probes in all" for line in lines), 2)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_piped(self):
        """One table after the other, until the reader is gone."""
        agent = self.agent()
        process = subprocess.Popen([BINARY, "status", "--watch", "--socket", agent.socket], text=True,
                                   stdout=subprocess.PIPE, env=clean_environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        text = "".join(process.stdout.readline() for _ in range(15))
        self.assertEqual(text.count("shop 7  healthz yes"), 2)
        self.assertNotIn("\033", text)
        process.stdout.close()
        self.assertEqual(process.wait(PATIENCE_SECONDS), -signal.SIGPIPE)


class CheckVerbose(StatusCase):
    def test_lines(self):
        agent = self.agent()
        self.assertEqual(agent.check("--verbose").stdout,
                         "pass readiness\npass app\npass flag\nwarn plugin exit_warning: exit code 1: low\n")
        self.flag.unlink()
        agent.wait_ready(503)
        done = agent.check("--verbose")
        self.assertEqual((done.returncode, done.stdout),
                         (1, "fail readiness: flag exit_code\nfail flag exit_code: exit code 1\npass app\n"
                             "warn plugin exit_warning: exit code 1: low\n"))
        self.assertEqual(agent.check().stdout, "fail readiness: flag exit_code: exit code 1\n")
        self.assertEqual(agent.check("--verbose", "liveness").stdout, "pass liveness\npass app\n")
        self.assertEqual(agent.check("--verbose", "app").stdout, "pass app\n")
        done = agent.check("--verbose", "--wait", "--timeout", "1")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stdout.startswith("fail readiness: flag exit_code\n"), done.stdout)
        self.assertEqual(json.loads(agent.check("--verbose", "--json").stdout)["ok"], False)
        agent.admin("/drain", method="POST")
        self.assertTrue(agent.check("--verbose").stdout.startswith(
            "fail readiness draining: flag exit_code\nfail flag"))

    def test_limits(self):
        """Docker keeps 4,096 bytes, Podman 500 characters: names and reasons are in these."""
        probes = "".join(f"  p{i}: \"exec:/bin/sh -c 'echo {'ä' * 150}; exit 1'\"\n" for i in range(20))
        with Agent("readiness:\n  good: exec:/bin/true\n" + probes) as agent:
            agent.wait_for(settled)
            done = agent.check("--verbose")
            self.assertEqual(done.returncode, 1)
            output = done.stdout.encode()
            self.assertLessEqual(len(output), 4096)
            self.assertGreater(len(output), 3500)
            first = done.stdout[:500].splitlines()[0]
            for i in range(20):
                self.assertIn(f"p{i} exit_code", first)
            told = len(done.stdout.splitlines()) - 2
            self.assertRegex(done.stdout, rf"\nand {21 - told} more\n$")
            self.assertLessEqual(len(agent.check().stdout.encode()), 500)
            # several questions share the space
            done = agent.check("--verbose", "readiness", "startup", *(f"p{i}" for i in range(20)))
            self.assertLessEqual(len(done.stdout.encode()), 4096)


if __name__ == "__main__":
    unittest.main()
