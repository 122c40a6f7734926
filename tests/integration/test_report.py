"""What is told stays whole and in its lines, whatever a probe, a name or a terminal does."""

import json
import os
import select
import signal
import subprocess
import time
import unittest

from bad_server import BadServer, receive, send, wait_close
from harness import (BINARY, SOON_SECONDS, Agent, TestCase, clean_environment, free_port, port_open, readyd,
                     wait_until)


def fill(terminal, limit=1 << 30):
    """Writes until the terminal takes no more, or up to the limit; how many bytes that were."""
    os.set_blocking(terminal, False)
    written = 0
    while written < limit:
        try:
            written += os.write(terminal, b"x" * min(50, limit - written))
        except BlockingIOError:
            # The kernel moves what is written on in its own time, which makes room again.
            if not select.select([], [terminal], [], 0.5)[1]:
                break
    os.set_blocking(terminal, True)
    return written


class Whole(TestCase):
    def test_long_output_does_not_break_the_answers(self):
        config = ("details: always\nreadiness: {noisy: {exec: {command: [sh, -c, \"head -c 4096 "
                  "/dev/zero | tr '\\\\0' '\\\\1'; exit 2\"]}, periodSeconds: 60}}\n")
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("noisy").get("output"))
            for accept in ("application/json", "application/health+json"):
                body = agent.get("/ready", {"Accept": accept})[2]
                self.assertLess(len(body), 10240)
                json.loads(body)
            self.assertEqual(len(agent.probe("noisy")["output"]), 4096)

    def test_many_long_names_do_not_either(self):
        probes = "".join(f"  {'n' * 50}{i}: 'exec:/bin/false {'x' * 100}'\n" for i in range(60))
        with Agent("details: always\nreadiness:\n" + probes) as agent:
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
            for path, accept in (("/ready", "application/json"), ("/ready?verbose", "*/*"),
                                 ("/ready", "application/health+json")):
                body = agent.get(path, {"Accept": accept})[2]
                self.assertLess(len(body), 10240)
                self.assertGreater(len(body), 4096)
                if accept != "*/*":
                    json.loads(body)

    def test_one_name_in_two_roles(self):
        config = "liveness: {app: 'exec:/bin/true'}\nreadiness: {app: 'exec:/bin/false'}\n"
        with Agent(config) as agent:
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
            body = agent.get("/ready", {"Accept": "application/health+json"})[2]
            pairs = json.loads(body, object_pairs_hook=list)
            checks = dict(pairs)["checks"]
            self.assertEqual([key for key, _ in checks], ["app:responseTime"])
            self.assertEqual(len(checks[0][1]), 2)
            body = agent.get("/ready?verbose")[2]
            self.assertIn("[+]liveness/app ok\n", body)
            self.assertIn("[-]readiness/app failed: exit_code", body)

    def test_a_warning_is_told_as_one(self):
        config = "readiness: {disk: {exec: {command: ['sh', '-c', 'exit 1'], nagios: true}}}\n"
        with Agent(config) as agent:
            agent.wait_ready()
            done = agent.check("disk")
            self.assertEqual((done.returncode, done.stdout.split()[:3]),
                             (0, ["warn", "disk", "exit_warning:"]))


class Forgery(TestCase):
    def test_a_server_cannot_write_lines_or_steer_terminals(self):
        body = b'{"status":"\\u001b[31m\\n[+]all ok\\u2028\\u202e"}'
        answer = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % len(body) + body)
        with BadServer(receive(until=b"\r\n\r\n"), send(answer), wait_close()) as server:
            config = (f"details: always\nreadiness: {{web: {{target: 'http://127.0.0.1:{server.port}"
                      "/', json: status, jsonValue: ok, periodSeconds: 60}}\n")
            with Agent(config) as agent:
                agent.wait_for(lambda a: a.probe("web").get("reason") == "json_mismatch")
                texts = [agent.get("/ready?verbose")[2], agent.check().stdout,
                         agent.check("web").stdout,
                         readyd("status", "--socket", agent.socket).stdout]
                for text in texts:
                    self.assertIn("[+]all ok", text)
                    for line in text.splitlines():
                        self.assertFalse(line.startswith("[+]all"), text)
                    for character in "\033\u2028\u202e":
                        self.assertNotIn(character, text)


class Log(TestCase):
    def test_a_terminal_that_nobody_reads(self):
        master, terminal = os.openpty()
        capacity = fill(terminal)
        os.close(master)
        os.close(terminal)
        # Room, but less than a line takes: poll() says that one may write, and write() would wait.
        master, terminal = os.openpty()
        self.assertEqual(fill(terminal, capacity - 100), capacity - 100)
        port = free_port()
        process = subprocess.Popen([BINARY, "serve", "-o", f"listen=127.0.0.1:{port}", "-o",
                                    "socket=none", "-o", "drain.delaySeconds=0"],
                                   stderr=terminal, stdin=subprocess.DEVNULL,
                                   env=clean_environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(terminal)
        wait_until(lambda: port_open(port), "the listener")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)
        self.assertLess(time.monotonic() - started, SOON_SECONDS)
        os.close(master)

    def test_every_line_is_json(self):
        long_arguments = "y" * 4000
        config = f"readiness: {{long: 'exec:/bin/false {long_arguments}'}}\nversion: {'v' * 120}\n"
        with Agent(config) as agent:
            event = agent.wait_log(lambda event: event["event"] == "waiting")
            self.assertEqual(event["probe"], "long")
        for line in agent.raw_logs:
            json.loads(line)


if __name__ == "__main__":
    unittest.main()
