"""How `readyd run` ends: the order and the times, seen from outside."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

from harness import SOON_SECONDS, TestCase, free_port, readyd, wait_until
from processes import marked
from run_agent import PLACES, RunAgent, python
from watcher import Watcher

# An HTTP server that finishes in `argv[2]` seconds once it is told to end, and says what it is told.
SERVER = """
import http.server, signal, socketserver, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    request_queue_size = 128
    daemon_threads = True
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
def end():
    time.sleep(float(sys.argv[2]))
    server.shutdown()
def on_term(number, frame):
    print(signal.Signals(number).name)
    threading.Thread(target=end).start()
signal.signal(signal.SIGTERM, on_term)
server.serve_forever()
sys.exit(11)
"""

# Says which signals come and ends with none of them, or with the argv[1]-th.
STUBBORN = """
import signal, sys, time
heard = []
def hear(number, frame):
    print(signal.Signals(number).name)
    heard.append(number)
    if sys.argv[1:] == [str(len(heard))]: sys.exit(7)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1): signal.signal(number, hear)
print("here")
while True: time.sleep(1000)
"""

# What ends well when it is told to: a worker in the command's group.
WORKER = "trap 'sleep 0.3; echo worker done; exit' TERM; echo worker here; while :; do sleep 0.01; done"


def options(**settings):
    """-o NAME=VALUE for each; drain__delaySeconds is drain.delaySeconds."""
    words = []
    for name, value in settings.items():
        words += ["-o", f"{name.replace('__', '.')}={value}"]
    return words


class Order(TestCase):
    def test_seen_from_outside(self):
        for place in PLACES:
            port = free_port()
            config = (f"liveness: {{app: 'http://127.0.0.1:{port}/'}}\n"
                      f"readiness: {{app: 'http://127.0.0.1:{port}/'}}\n")
            with RunAgent(python(SERVER, port, 2), config, place=place, drain_delay=4) as agent:
                agent.wait_ready()
                with Watcher(ready=agent.url("/ready"), healthz=agent.url("/healthz"),
                             app=f"http://127.0.0.1:{port}/") as watcher:
                    for name in ("ready", "healthz", "app"):
                        watcher.wait_for(name, 200)
                    told = time.monotonic()
                    agent.signal(signal.SIGTERM)
                    status = agent.wait_end()
                    ended = time.monotonic()
                self.assertEqual(status, 11)
                # Not ready at once and for good; alive to the last moment.
                not_ready = watcher.first("ready", 503, after=told)
                self.assertLess(not_ready - told, 3)
                self.assertEqual(watcher.statuses("ready", after=not_ready) - {None}, {503})
                self.assertEqual(watcher.statuses("healthz") - {None}, {200})
                # The command works all through the delay, and goes before the agent does.
                last = {name: watcher.last(name, status)
                        for name, status in (("ready", 503), ("healthz", 200), ("app", 200))}
                self.assertNotIn(None, [answer for asked, answer in watcher.answers["app"]
                                        if asked < told + 4])
                self.assertGreater(last["app"] - told, 4)
                self.assertGreaterEqual(ended - told, 6)
                self.assertLess(ended - told, 6 + SOON_SECONDS)
                self.assertEqual(agent.lines, ["SIGTERM"])
                steps = [event["event"] for event in agent.logs
                         if event["event"] not in ("probe", "verdict", "drain")]
                self.assertEqual(steps[-5:], ["stopping", "delay_over", "stop_signal_sent",
                                              "child_exited", "stopped"])
                self.assertGreaterEqual(agent.event("delay_over")["afterMs"], 4000)
                self.assertEqual(agent.event("stop_signal_sent")["signal"], "SIGTERM")
                self.assertEqual(agent.event("stopped")["status"], 11)
                self.assertGreaterEqual(agent.event("stopped")["afterMs"], 6000)

    def test_the_agent_answers_until_the_command_is_gone(self):
        with RunAgent(python(STUBBORN), args=options(stopTimeoutSeconds=4)) as agent:
            agent.wait_line("here")
            with Watcher(healthz=agent.url("/healthz")) as watcher:
                watcher.wait_for("healthz", 200)
                agent.signal(signal.SIGTERM)
                told = time.monotonic()
                agent.wait_line("SIGTERM")
                self.assertEqual(agent.wait_end(), 137)
            self.assertGreater(watcher.last("healthz", 200) - told, 1)

    def test_drain_stop_begins_it_too(self):
        with RunAgent(["sleep", "1000"], drain_delay=0.3) as agent:
            agent.command_pid()
            self.assertEqual(readyd("drain", "--stop", "--socket", agent.socket).returncode, 0)
            self.assertEqual(agent.wait_end(), 143)
            self.assertEqual(agent.event("stopping")["by"], "command")

    def test_stop_signals(self):
        for setting, name in (("SIGQUIT", "SIGQUIT"), ("usr1", "SIGUSR1"), ("2", "SIGINT")):
            with RunAgent(python(STUBBORN, 1), args=options(
                    stopSignal=setting, gracePeriodSeconds=40, stopTimeoutSeconds=30)) as agent:
                agent.wait_line("here")
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 7)
                self.assertEqual(agent.lines, ["here", name])
                self.assertEqual(agent.event("stop_signal_sent")["signal"], name)


class SecondSignal(TestCase):
    def test_it_skips_the_delay_and_later_ones_go_to_the_command(self):
        for place in PLACES:
            for second in (signal.SIGTERM, signal.SIGINT):
                with RunAgent(python(STUBBORN, 3), place=place, drain_delay=60, args=options(
                        gracePeriodSeconds=90, stopTimeoutSeconds=25)) as agent:
                    agent.wait_line("here")
                    agent.signal(signal.SIGINT)
                    agent.event("stopping", by="SIGINT")
                    told = time.monotonic()
                    agent.signal(second)
                    agent.wait_line("SIGTERM")
                    self.assertLess(time.monotonic() - told, SOON_SECONDS)
                    self.assertTrue(agent.event("delay_over")["skipped"])
                    agent.signal(signal.SIGINT)
                    agent.wait_line("SIGINT")
                    agent.signal(signal.SIGTERM)
                    agent.wait_line("SIGTERM", 2)
                    self.assertEqual(agent.wait_end(), 7)

    def test_one_signal_after_drain_stop_skips_nothing(self):
        """As when a preStop hook begins the end and the platform's SIGTERM follows at once."""
        with RunAgent(["sleep", "1000"], drain_delay=1) as agent:
            agent.command_pid()
            started = time.monotonic()
            readyd("drain", "--stop", "--socket", agent.socket)
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 143)
            self.assertGreater(time.monotonic() - started, 0.99)


class Times(TestCase):
    def test_whoever_does_not_end_is_killed_in_time(self):
        for place in PLACES:
            with RunAgent(python(STUBBORN), place=place,
                          args=options(stopTimeoutSeconds=0.5)) as agent:
                agent.wait_line("here")
                told = time.monotonic()
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 137)
                taken = time.monotonic() - told
                self.assertGreaterEqual(taken, 0.5)
                self.assertLess(taken, 0.5 + SOON_SECONDS)
                self.assertEqual(agent.event("killed")["signal"], "SIGKILL")
                self.assertEqual(agent.event("child_exited")["signal"], "SIGKILL")

    def test_the_delay_is_cut_and_the_command_keeps_its_share(self):
        with RunAgent(python(STUBBORN), drain_delay=30, args=options(
                gracePeriodSeconds=2, stopTimeoutSeconds=1)) as agent:
            agent.wait_line("here")
            told = time.monotonic()
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 137)
            self.assertLess(time.monotonic() - told, 2 + SOON_SECONDS)
            cut = agent.event("delay_cut")
            self.assertEqual((cut["delayMs"], cut["lackingMs"]), (500, 29500))
            self.assertIn("drain.delaySeconds 30 and stopTimeoutSeconds do not fit "
                          "gracePeriodSeconds 2", cut["message"])
            self.assertGreaterEqual(agent.event("killed")["afterMs"], 1000)

    def test_who_has_drained_before_is_not_delayed_again(self):
        with RunAgent(["sleep", "1000"], drain_delay=7) as agent:
            agent.command_pid()
            self.assertEqual(readyd("drain", "--socket", agent.socket).returncode, 0)
            drained = time.monotonic()
            wait_until(lambda: time.monotonic() - drained > 6, "most of the delay")
            told = time.monotonic()
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 143)
            self.assertLess(time.monotonic() - told, SOON_SECONDS)

    def test_a_command_that_ends_during_the_delay(self):
        for place in PLACES:
            with RunAgent(["sh", "-c", "trap 'exit 6' USR1; echo here; while :; do sleep 0.01; done"],
                          place=place, drain_delay=9) as agent:
                agent.wait_line("here")
                agent.signal(signal.SIGTERM)
                agent.event("stopping")
                told = time.monotonic()
                agent.signal(signal.SIGUSR1)
                self.assertEqual(agent.wait_end(), 6)
                self.assertLess(time.monotonic() - told, SOON_SECONDS)
                self.assertEqual(agent.events("stop_signal_sent"), [])

    def test_whoever_is_stopped_is_woken_to_end(self):
        for place in PLACES:
            with RunAgent(["sleep", "1000"], place=place) as agent:
                pid = agent.command_pid()
                agent.signal(signal.SIGTSTP)
                agent.event("child_stopped", signal="SIGTSTP")
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(10), 143)
                self.assertFalse(pathlib.Path(f"/proc/{pid}/stat").exists() and
                                 place == "subreaper")


class Groups(TestCase):
    def setUp(self):
        super().setUp()
        self.mark = f"RUN_TEST_{os.getpid()}_{time.monotonic_ns()}"

    def test_a_killed_group_with_grandchildren(self):
        source = ("trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000 & wait' & echo here; "
                  "while :; do sleep 0.01; done")
        for place in PLACES:
            with RunAgent(["sh", "-c", source], place=place, env={self.mark: "1"},
                          args=options(stopTimeoutSeconds=0.5)) as agent:
                agent.wait_line("here")
                wait_until(lambda: len(marked(self.mark)) >= 4, "the grandchildren")
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 137)
                wait_until(lambda: not marked(self.mark), "the end of all")

    def test_workers_of_a_shell_may_finish(self):
        """A shell goes at once on SIGTERM; readyd waits for what it has started."""
        for place in PLACES:
            with RunAgent(["sh", "-c", f'sh -c "{WORKER}" & wait'], place=place,
                          env={self.mark: "1"}) as agent:
                agent.wait_line("worker here")
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 143)
                self.assertEqual(agent.lines, ["worker here", "worker done"])
                wait_until(lambda: not marked(self.mark), "the end of all")
                self.assertEqual(agent.events("killed"), [])

    def test_workers_of_a_shell_that_do_not_finish_are_killed(self):
        for place in PLACES:
            with RunAgent(["sh", "-c", "sh -c 'trap \"\" TERM; echo here; while :; do sleep 0.01; done' "
                           "& wait"], place=place, env={self.mark: "1"},
                          args=options(stopTimeoutSeconds=0.5)) as agent:
                agent.wait_line("here")
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait_end(), 143)
                agent.event("killed")
                wait_until(lambda: not marked(self.mark), "the end of all")

    def test_a_shell_waiting_for_its_program_gets_it_ended(self):
        """dash runs a trap only when the program in its foreground has ended."""
        with RunAgent(["sh", "-c", "trap 'echo trapped; exit 9' TERM; echo here; sleep 1000"]) as agent:
            agent.wait_line("here")
            # By its name: a child of the shell that is not sleep yet would lose the signal.
            wait_until(lambda: subprocess.run(["pgrep", "-g", str(agent.command_pid()), "-x", "sleep"],
                                              capture_output=True).stdout, "sleep")
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.wait_end(), 9)
            self.assertEqual(agent.lines, ["here", "trapped"])


if __name__ == "__main__":
    unittest.main()
