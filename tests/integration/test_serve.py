"""What the endpoints answer, on the wire and under strain."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import unittest

from bad_server import BadServer, stall
from harness import (Agent, BINARY, SOON_SECONDS, TestCase, UnixConnection, clean_environment, free_port, port_open,
                     readyd, settled, wait_until)

PASSING = "liveness: {app: 'exec:/bin/true'}\nreadiness: {cache: 'exec:/bin/true'}\n"


def switchable(path, role="readiness", name="switch", period=0.05, **settings):
    """YAML of a probe that passes while a file exists."""
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    return (f"{role}:\n  {name}: {{target: 'exec:/usr/bin/test -e {path}', "
            f"periodSeconds: {period}, timeoutSeconds: 20{more}}}\n")


def exchange(port, request, family=socket.AF_INET, host="127.0.0.1"):
    """Sends bytes, returns all that comes back until the peer closes."""
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect((host, port))
        connection.sendall(request)
        answer = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return answer
            answer += piece


class Endpoints(TestCase):
    def test_bare_answers_and_aliases(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            for path in ("/healthz", "/livez", "/ready", "/readyz", "/startup", "/startupz", "/"):
                status, headers, body = agent.get(path)
                self.assertEqual((status, body), (200, "ok\n"), path)
                self.assertEqual(headers["cache-control"], "no-store")
                self.assertEqual(headers["content-length"], "3")
                self.assertTrue(headers["content-type"].startswith("text/plain"))

    def test_methods(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            self.assertEqual(agent.get("/ready", method="HEAD")[0::2], (200, ""))
            status, headers, body = agent.get("/ready", method="OPTIONS")
            self.assertEqual((status, body), (200, "ok\n"))
            self.assertIn("OPTIONS", headers["allow"])
            for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
                status, headers, _ = agent.get("/ready", method=method)
                self.assertEqual(status, 405, method)
                self.assertEqual(headers["allow"], "GET, HEAD, OPTIONS")

    def test_head_and_options_are_503_too(self):
        with Agent(switchable(self.tmp / "no")) as agent:
            for method in ("GET", "HEAD", "OPTIONS"):
                self.assertEqual(agent.get("/ready", method=method)[0], 503, method)

    def test_unknown_paths_and_probes(self):
        with Agent(PASSING) as agent:
            for path in ("/nothing", "/readyx", "/ready/nothing", "/ready/cache/x", "/check/cache",
                         "/table"):
                self.assertEqual(agent.get(path)[0], 404, path)

    def test_sub_paths(self):
        config = ("liveness: {app: 'exec:/bin/true'}\nreadiness:\n  good: 'exec:/bin/true'\n"
                  "  bad: 'exec:/bin/false'\n")
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.get("/ready/good")[0] == 200)
            self.assertEqual(agent.get("/readyz/good")[2], "pass good\n")
            self.assertEqual(agent.get("/ready/bad")[0], 503)
            self.assertEqual(agent.get("/healthz/app")[0], 200)
            self.assertEqual(agent.get("/healthz/good")[0], 404)

    def test_verbose_and_exclude(self):
        config = ("readiness:\n  good: 'exec:/bin/true'\n  bad: 'exec:/bin/false'\n"
                  "liveness: {app: 'exec:/bin/true'}\n")
        with Agent(config) as agent:
            agent.wait_for(settled)
            status, _, body = agent.get("/ready?verbose")
            self.assertEqual(status, 503)
            self.assertEqual(sorted(body.splitlines()[:-1]),
                             ["[+]app ok", "[+]good ok",
                              "[-]bad failed: exit_code (details withheld)"])
            self.assertTrue(body.endswith("ready check failed: a readiness probe does not pass\n"))
            self.assertEqual(agent.get("/ready?exclude=bad"), agent.get("/ready?exclude=bad"))
            self.assertEqual(agent.get("/ready?exclude=bad")[0::2], (200, "ok\n"))
            self.assertEqual(agent.get("/ready?exclude=good")[0], 503)
            self.assertEqual(agent.get("/ready?exclude=bad&exclude=bad")[0], 200)
            status, _, body = agent.get("/ready?verbose&exclude=bad&exclude=nothing")
            self.assertEqual(status, 200)
            self.assertIn("[+]bad excluded: ok\n", body)
            self.assertEqual(agent.get("/healthz?verbose")[2], "[+]app ok\nhealthz check passed\n")
            many = "&".join(f"exclude=n{i}" for i in range(100))
            self.assertEqual(agent.get("/ready?" + many)[0], 400)

    def test_json_by_accept(self):
        config = ("service: shop\nversion: '1.2'\nreadiness:\n  bad: 'exec:/bin/false'\n"
                  "  good: 'exec:/bin/true'\n")
        with Agent(config) as agent:
            agent.wait_for(settled)
            status, headers, body = agent.get("/ready", {"Accept": "application/json"})
            answer = json.loads(body)
            self.assertEqual((status, headers["content-type"]), (503, "application/json"))
            self.assertEqual((answer["status"], answer["service"], answer["version"]),
                             ("fail", "shop", "1.2"))
            bad = next(probe for probe in answer["probes"] if probe["name"] == "bad")
            self.assertEqual((bad["state"], bad["reason"], bad["ready"]),
                             ("fail", "exit_code", False))
            self.assertNotIn("target", bad)
            self.assertNotIn("message", bad)
            for accept, wanted in (("application/json;q=0.5, text/plain", "text/plain"),
                                   ("text/html, application/json", "application/json"),
                                   ("*/*", "text/plain"),
                                   ("application/json;q=0", "text/plain"),
                                   ("application/health+json, application/json",
                                    "application/health+json"),
                                   ("application/jsonx", "text/plain"), ("", "text/plain")):
                got = agent.get("/ready", {"Accept": accept})[1]["content-type"]
                self.assertEqual(got.split(";")[0], wanted, accept)

    def test_health_json_as_the_draft_wants_it(self):
        config = ("service: shop\nversion: '1.2'\nreadiness:\n  bad: 'exec:/bin/false'\n"
                  "  good: 'exec:/bin/true'\n")
        with Agent(config) as agent:
            agent.wait_for(settled)
            accept = {"Accept": "application/health+json"}
            status, headers, body = agent.get("/ready", accept)
            answer = json.loads(body)
            self.assertEqual((status, headers["content-type"]), (503, "application/health+json"))
            self.assertEqual((answer["status"], answer["serviceId"], answer["releaseId"]),
                             ("fail", "shop", "1.2"))
            self.assertIn("output", answer)
            good = answer["checks"]["good:responseTime"]
            self.assertIsInstance(good, list)
            self.assertEqual((good[0]["status"], good[0]["observedUnit"]), ("pass", "ms"))
            self.assertNotIn("output", good[0])
            bad = answer["checks"]["bad:responseTime"][0]
            self.assertEqual((bad["status"], bad["output"]), ("fail", "exit_code"))
            status, _, body = agent.get("/ready?exclude=bad", accept)
            answer = json.loads(body)
            self.assertEqual((status, answer["status"]), (200, "pass"))
            self.assertNotIn("output", answer)

    def test_a_warning_is_200_and_warn(self):
        config = "readiness: {disk: {exec: {command: ['sh', '-c', 'exit 1'], nagios: true}}}\n"
        with Agent(config) as agent:
            agent.wait_ready()
            _, _, body = agent.get("/ready", {"Accept": "application/health+json"})
            answer = json.loads(body)
            self.assertEqual(answer["status"], "warn")
            self.assertEqual(answer["checks"]["disk:responseTime"][0]["status"], "warn")

    def test_details_only_where_allowed(self):
        config = "readiness: {cache: 'exec:/bin/sh -c \"echo told-in-confidence; exit 3\"'}\n"
        for details, seen in (("never", False), ("local", True), ("always", True)):
            with Agent(config + f"details: {details}\n") as agent:
                agent.wait_for(lambda a: a.probe("cache")["runs"])
                for path, accept in (("/ready?verbose", "*/*"), ("/ready", "application/json"),
                                     ("/ready", "application/health+json"), ("/status", "*/*"),
                                     ("/ready/cache", "*/*"),
                                     ("/ready/cache", "application/json")):
                    body = agent.get(path, {"Accept": accept})[2]
                    self.assertEqual("told-in-confidence" in body, seen, (details, path, body))
                self.assertIn("told-in-confidence", agent.admin("/status")[2])

    def test_startup_gates_and_order(self):
        path = self.tmp / "go"
        config = PASSING + switchable(path, "startup", "migrated")
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("migrated")["runs"] > 2)
            self.assertEqual(agent.get("/startup")[0], 503)
            self.assertEqual(agent.get("/ready")[0], 503)
            self.assertEqual(agent.get("/ready")[2], "startup probes have not passed yet\n")
            self.assertEqual(agent.get("/healthz")[0], 200)
            self.assertEqual((agent.probe("app")["runs"], agent.probe("cache")["runs"]), (0, 0))
            path.touch()
            agent.wait_ready()
            self.assertEqual(agent.get("/startup")[0], 200)
            runs = agent.probe("migrated")["runs"]
            agent.wait_for(lambda a: a.probe("cache")["runs"] > 0)
            path.unlink()
            self.assertEqual(agent.probe("migrated")["runs"], runs)
            self.assertEqual(agent.get("/startup")[0], 200)

    def test_liveness_takes_ready_along(self):
        path = self.tmp / "alive"
        path.touch()
        with Agent(switchable(path, "liveness", failureThreshold=2)) as agent:
            agent.wait_for(lambda a: a.probe("switch")["runs"])
            self.assertEqual((agent.get("/healthz")[0], agent.get("/ready")[0]), (200, 200))
            path.unlink()
            agent.wait_for(lambda a: a.get("/healthz")[0] == 503)
            self.assertEqual(agent.get("/ready")[0], 503)
            self.assertEqual(agent.get("/healthz")[2], "a liveness probe fails\n")
            path.touch()
            agent.wait_for(lambda a: a.get("/healthz")[0] == 200)

    def test_without_probes_all_is_well(self):
        with Agent("") as agent:
            for path in ("/healthz", "/ready", "/startup"):
                self.assertEqual(agent.get(path)[0], 200)


class Wire(TestCase):
    def test_one_write_with_content_length(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            trace = self.tmp / "trace"
            # It has us as its prey a moment before it sees what that does, which is when it says so.
            tracer = self.start(["strace", "-e", "trace=sendto,sendmsg,write,writev", "-o", trace,
                                 "-p", agent.process.pid],
                                ready=lambda: any("attached" in log.read_text() for log in self.tmp.glob("server-*")))
            self.assertEqual(agent.get("/healthz?first")[0], 200)
            agent.get("/healthz")
            agent.get("/ready?verbose")
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        calls = [line for line in trace.read_text().splitlines() if "HTTP/1.1 200" in line]
        others = [line for line in trace.read_text().splitlines()
                  if "HTTP/1.1 200" not in line and line.startswith(("send", "write"))]
        self.assertEqual((len(calls), others), (3, []))

    def test_kubelet_and_load_balancer_requests(self):
        requests = {
            "kubelet": b"GET /ready HTTP/1.1\r\nHost: 10.0.0.1:8086\r\n"
                       b"User-Agent: kube-probe/1.34\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            "kubelet without pod IP": b"GET /ready HTTP/1.1\r\nHost: :8086\r\n"
                                      b"Connection: close\r\n\r\n",
            "empty Host": b"GET /ready HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
            "odd Host": b"GET /ready HTTP/1.1\r\nHost: a b;c\r\nConnection: close\r\n\r\n",
            "HTTP/1.0": b"GET /ready HTTP/1.0\r\n\r\n",
            "HAProxy": b"OPTIONS / HTTP/1.0\r\n\r\n",
            "trace context": b"GET /ready HTTP/1.1\r\nHost: x\r\ntraceparent: nonsense\r\n"
                             b"Connection: close\r\n\r\n",
        }
        with Agent(PASSING) as agent:
            agent.wait_ready()
            for name, request in requests.items():
                answer = exchange(agent.port, request)
                self.assertEqual(answer.split()[1], b"200", (name, answer))
                self.assertTrue(answer.endswith(b"\r\n\r\nok\n"), (name, answer))

    def test_malformed_requests_cost_only_the_connection(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            before = agent.descriptors()
            no_host = exchange(agent.port, b"GET /ready HTTP/1.1\r\n\r\n")
            self.assertEqual(no_host.split()[1], b"400")
            for garbage in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
                            b"GET\r\n\r\n", b"\r\n\r\n\r\n\r\nfoo bar baz qux\r\n\r\n",
                            b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", agent.port), 20) as connection:
                    try:
                        connection.sendall(garbage)
                        connection.shutdown(socket.SHUT_WR)
                        answer = connection.recv(65536)
                    except OSError:
                        continue
                    if answer:
                        self.assertIn(answer.split()[1], (b"400", b"413", b"414", b"431", b"501",
                                                          b"505"), (garbage[:40], answer))
                self.assertEqual(agent.get("/ready")[0], 200)
            agent.wait_for(lambda a: a.descriptors() <= before)

    def test_keep_alive_and_close(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
            sockets = set()
            for _ in range(5):
                connection.request("GET", "/ready")
                answer = connection.getresponse()
                answer.read()
                self.assertFalse(answer.will_close)
                sockets.add(connection.sock.getsockname())
            self.assertEqual(len(sockets), 1)
            connection.request("GET", "/ready", headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            self.assertTrue(answer.will_close)
            connection.close()

    def test_pipelined_requests(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            one = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"
            last = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = exchange(agent.port, one * 10 + last)
            self.assertEqual(answer.count(b"HTTP/1.1 200"), 11)

    def test_listeners(self):
        path = self.tmp / "listen.sock"
        port = free_port()
        config = f"listen: ['127.0.0.1:{port}', '[::1]:{port}', 'unix:{path}']\n"
        with Agent(config + PASSING, listen=f"127.0.0.1:{port},[::1]:{port},unix:{path}") as agent:
            agent.port = port
            agent.wait_ready()
            request = b"GET /ready HTTP/1.0\r\n\r\n"
            self.assertIn(b"200 OK", exchange(port, request))
            self.assertIn(b"200 OK", exchange(port, request, socket.AF_INET6, "::1"))
            connection = UnixConnection(str(path))
            connection.request("GET", "/ready")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        self.assertFalse(path.exists())

    def test_socket_file_left_over_and_in_use(self):
        path = self.tmp / "admin.sock"
        left_over = socket.socket(socket.AF_UNIX)
        left_over.bind(str(path))
        left_over.close()
        with Agent(PASSING, args=["-o", f"socket={path}"]):
            self.assertEqual(readyd("check", "liveness", "--socket", path).returncode, 0)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            second = readyd("serve", "-o", f"socket={path}", "-o", "listen=none")
            self.assertEqual(second.returncode, 1)
            self.assertIn("another process listens there", second.stderr)
        self.assertFalse(path.exists())
        (self.tmp / "file").write_text("precious")
        refused = readyd("serve", "-o", f"socket={self.tmp}/file", "-o", "listen=none")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("is no socket", refused.stderr)
        self.assertEqual((self.tmp / "file").read_text(), "precious")

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = readyd("serve", "-o", f"listen=127.0.0.1:{port}", "-o", "socket=none")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"cannot listen on 127.0.0.1:{port}", done.stderr)

    def test_more_addresses_than_there_may_be(self):
        addresses = ", ".join(f"'unix:{self.tmp}/{number}.sock'" for number in range(17))
        for settings, complaint in (
                (f"listen: [{addresses}]\n", "more than 16 addresses to listen on"),
                (f"listen: none\nhaproxyAgent: [{addresses}]\n",
                 "more than 16 addresses in haproxyAgent")):
            config = self.tmp / "config.yaml"
            config.write_text(settings + "socket: none\n")
            done = readyd("serve", "-c", config)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(complaint, done.stderr)
            self.assertEqual(list(self.tmp.glob("*.sock")), [])


class Strain(TestCase):
    def test_slow_and_silent_clients_keep_nobody_out(self):
        with Agent(PASSING + "connectionLimit: 20\nrequestTimeoutSeconds: 1\n") as agent:
            agent.wait_ready()
            before = agent.descriptors()
            crowd = []
            for i in range(60):
                slow = socket.create_connection(("127.0.0.1", agent.port))
                if i % 2:
                    slow.sendall(b"GET /ready HTTP/1.1\r\nHo")
                crowd.append(slow)
            for _ in range(20):
                self.assertEqual(agent.get("/ready")[0], 200)
                self.assertEqual(agent.check().returncode, 0)
            # Dripping one byte at a time does not prolong the time that a request may take.
            drip = socket.create_connection(("127.0.0.1", agent.port))
            started = time.monotonic()
            with self.assertRaises(OSError):
                for byte in b"GET /ready HTTP/1.1\r\n" * 100:
                    drip.send(bytes([byte]))
                    drip.settimeout(0.05)
                    try:
                        if drip.recv(1) == b"":
                            raise OSError("closed")
                    except TimeoutError:
                        pass
            self.assertLess(time.monotonic() - started, 15)
            agent.wait_for(lambda a: a.descriptors() <= before)
            for connection in crowd + [drip]:
                connection.close()

    def test_idle_connections_end(self):
        with Agent(PASSING + "idleTimeoutSeconds: 0.5\n") as agent:
            agent.wait_ready()
            connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
            connection.request("GET", "/ready")
            connection.getresponse().read()
            self.assertEqual(connection.sock.recv(1), b"")
            connection.close()

    def test_answers_while_a_thousand_ask(self):
        with Agent(PASSING + "connectionLimit: 100\n") as agent:
            agent.wait_ready()
            statuses = []

            def ask():
                for _ in range(50):
                    try:
                        statuses.append(agent.get("/ready")[0])
                    except (ConnectionError, http.client.HTTPException):
                        statuses.append("closed")

            threads = [threading.Thread(target=ask) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(statuses, [200] * 1000)

    def test_body_and_big_status(self):
        probes = "".join(f"  p{i}: 'exec:/bin/true'\n" for i in range(150))
        with Agent("readiness:\n" + probes) as agent:
            agent.wait_ready()
            status = agent.status()
            self.assertEqual(len(status["probes"]), 150)
            self.assertEqual(status["probeCount"], 150)
            for path in ("/ready?verbose", "/ready"):
                _, _, body = agent.get(path, {"Accept": "application/json"}
                                       if path == "/ready" else None)
                self.assertLess(len(body), 10240)
            _, _, body = agent.get("/ready", {"Accept": "application/health+json"})
            self.assertLess(len(body), 10240)
            json.loads(body)
            answer = exchange(agent.port, b"GET /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                                          b"Connection: close\r\n\r\nhello")
            self.assertIn(b"200 OK", answer)

    def test_stalled_agent_is_not_answered_from_memory(self):
        config = ("staleAfterSeconds: 0.2\nreadiness: {app: {target: 'exec:/bin/sh -c "
                  "\"sleep 0.3\"', periodSeconds: 0.1, timeoutSeconds: 0.6}}\n")
        with Agent(config) as agent:
            agent.wait_ready()
            agent.signal(signal.SIGSTOP)
            started = time.monotonic()
            check = agent.check("--timeout", "1.5")
            self.assertEqual(check.returncode, 1)
            self.assertIn("the agent does not answer", check.stdout)
            self.assertGreater(time.monotonic() - started, 1.4)
            connection = socket.create_connection(("127.0.0.1", agent.port))
            connection.settimeout(20)
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            agent.signal(signal.SIGCONT)
            answer = connection.recv(4096)
            self.assertIn(b"503", answer)
            self.assertIn(b"stale", connection.recv(4096) if b"stale" not in answer else answer)
            connection.close()
            agent.wait_ready()
            agent.wait_log(lambda event: event["event"] == "stalled")

    def test_answer_from_before_a_stall_is_no_news(self):
        """It has waited in the agent's socket, and who sent it is gone."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        config = (f"staleAfterSeconds: 0.2\nreadiness: {{app: {{target: 'http://127.0.0.1:"
                  f"{server.getsockname()[1]}/', periodSeconds: 0.1, timeoutSeconds: 0.5}}}}\n")
        with Agent(config) as agent:
            for hold in (False, True):
                probe = server.accept()[0]
                probe.recv(4096)
                if hold:
                    agent.signal(signal.SIGSTOP)
                    server.close()
                probe.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                probe.close()
            time.sleep(1.5)  # the stall itself
            connection = socket.create_connection(("127.0.0.1", agent.port))
            connection.settimeout(20)
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            agent.signal(signal.SIGCONT)
            self.assertIn(b"503", connection.recv(4096))
            connection.close()


class Life(TestCase):
    def test_ends_at_once(self):
        config = ("readiness: {hang: {target: 'exec:/bin/sleep 1000', timeoutSeconds: 600}, "
                  "dead: 'redis://127.0.0.1:1'}\n")
        for number in (signal.SIGTERM, signal.SIGINT):
            with Agent(config) as agent:
                agent.wait_for(lambda a: a.probe("hang")["running"])
                open_connection = socket.create_connection(("127.0.0.1", agent.port))
                started = time.monotonic()
                agent.signal(number)
                self.assertEqual(agent.process.wait(20), 0)
                self.assertLess(time.monotonic() - started, SOON_SECONDS)
                open_connection.close()
                agent.stop()
                events = [event["event"] for event in agent.logs]
            self.assertEqual(events[-4:], ["stopping", "drain", "delay_over", "stopped"])

    def test_reload(self):
        first = "service: one\nreadiness:\n  kept: 'exec:/bin/true'\n  gone: 'exec:/bin/false'\n"
        second = "service: two\nreadiness:\n  kept: 'exec:/bin/true'\n  new: 'exec:/bin/true'\n"
        with Agent(first) as agent:
            agent.wait_for(lambda a: a.get("/ready/kept")[0] == 200)
            since = agent.probe("kept")["since"]
            agent.config_path.write_text(second)
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            agent.wait_ready()
            status = agent.status()
            self.assertEqual(sorted(probe["name"] for probe in status["probes"]), ["kept", "new"])
            self.assertEqual(agent.probe("kept")["since"], since)
            self.assertEqual((status["service"], status["reloads"]), ("two", 1))
            self.assertEqual(agent.get("/ready/gone")[0], 404)
            # A faulty file changes nothing and says what is wrong.
            agent.config_path.write_text("service: three\nreadines: {}\nlisten: 5\n")
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reload_failed")
            faults = [event["message"] for event in agent.logs
                      if event["event"] == "configuration" and event["level"] == "error"]
            self.assertTrue(any(":2:1: " in fault and "readiness" in fault for fault in faults),
                            faults)
            self.assertEqual(agent.status()["service"], "two")
            self.assertEqual(agent.get("/ready")[0], 200)

    def test_reloads_in_the_middle_of_runs_leak_nothing(self):
        with BadServer(stall()) as silent:
            targets = {"http": f"http://127.0.0.1:{silent.port}/",
                       "tcp": f"tcp://127.0.0.1:{silent.port}",
                       "redis": f"redis://127.0.0.1:{silent.port}",
                       "postgres": f"postgres://u@127.0.0.1:{silent.port}/d",
                       "exec": "exec:/bin/sleep 86400"}
            probes = "".join(f"  {name}: {{target: '{target}', timeoutSeconds: 600"
                             f"{', expect: never' if name == 'tcp' else ''}}}\n"
                             for name, target in targets.items())
            with Agent("") as agent:
                before = agent.descriptors()
                for count in range(1, 41):
                    agent.config_path.write_text("readiness:\n" + probes if count % 2 else "")
                    agent.signal(signal.SIGHUP)
                    agent.wait_for(lambda a: a.status()["reloads"] == count)
                    if count % 2:
                        agent.wait_for(lambda a: a.status()["probesRunning"] == len(targets))
                agent.wait_for(lambda a: a.descriptors() <= before)
                children = pathlib.Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
                wait_until(lambda: children.read_text() == "", "all children to be reaped")

    def test_text_log_on_a_terminal(self):
        master, terminal = os.openpty()
        port = free_port()
        process = subprocess.Popen([BINARY, "serve", "-o", f"listen=127.0.0.1:{port}", "-o",
                                    "socket=none", "-o", "drain.delaySeconds=0"],
                                   stderr=terminal, stdin=subprocess.DEVNULL,
                                   env=clean_environment())
        os.close(terminal)
        wait_until(lambda: port_open(port), "the listener")
        self.assertRegex(os.read(master, 4096).decode(), r"^\d\d:\d\d:\d\d\.\d{3} info +\w+ ")
        process.terminate()
        self.assertEqual(process.wait(20), 0)
        os.close(master)

    def test_reload_never_blinks(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            statuses = []
            done = threading.Event()

            def watch():
                connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
                while not done.is_set():
                    connection.request("GET", "/ready")
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                connection.close()

            watcher = threading.Thread(target=watch)
            watcher.start()
            for count in range(1, 11):
                agent.config_path.write_text(PASSING + f"version: v{count}\n")
                agent.signal(signal.SIGHUP)
                agent.wait_for(lambda a: a.status()["reloads"] == count)
            done.set()
            watcher.join()
            self.assertEqual(set(statuses), {200})

    def test_log_to_a_reader_that_does_not_read(self):
        path = self.tmp / "flip"
        # The pipe is filled before the agent starts, so that every log write would block.
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        try:
            while True:
                os.write(write_end, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(write_end, True)
        port = free_port()
        process = subprocess.Popen(
            [BINARY, "serve", "-o", f"listen=127.0.0.1:{port}", "-o", "socket=none", "-o",
             "readiness.flip=exec:/usr/bin/test -e " + str(path), "-o",
             "readiness.flip.periodSeconds=0.01", "-o", "readiness.flip.failureThreshold=1",
             "-o", "drain.delaySeconds=0"],
            stderr=write_end, stdin=subprocess.DEVNULL, env=clean_environment())
        os.close(write_end)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def status():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", "/ready")
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        for _ in range(5):
            path.touch()
            wait_until(lambda: status() == 200, "ready")
            path.unlink()
            wait_until(lambda: status() == 503, "not ready")
        os.set_blocking(read_end, False)
        seen = b""

        def drain():
            nonlocal seen
            try:
                seen += os.read(read_end, 1 << 20)
            except BlockingIOError:
                pass
            return seen.count(b'"event":"verdict"') >= 10

        wait_until(drain, "the queued events")
        os.close(read_end)
        process.terminate()
        self.assertEqual(process.wait(20), 0)

    def test_transitions_are_logged_and_tries_are_not(self):
        path = self.tmp / "flip"
        with Agent(switchable(path, period=0.02, failureThreshold=2)) as agent:
            agent.wait_for(lambda a: a.probe("switch")["standing"] == "failing")
            path.touch()
            agent.wait_ready()
            path.unlink()
            agent.wait_ready(503)
            agent.wait_for(lambda a: a.probe("switch")["runs"] > 20)
            agent.wait_log(lambda event: event["event"] == "probe" and event["from"] == "passing")
            events = [(event["from"], event["to"]) for event in agent.logs
                      if event["event"] == "probe"]
            self.assertEqual(events, [("unknown", "failing"), ("failing", "passing"),
                                      ("passing", "failing")])
            first = agent.logs[0]
            for key in ("timestamp", "level", "service", "version", "event"):
                self.assertIn(key, first)
            self.assertLess(len(agent.raw_logs), 20)

    def test_plain_text_log_when_asked(self):
        with Agent(PASSING, args=["-o", "logFormat=text"], wait=False) as agent:
            wait_until(lambda: port_open(agent.port), "the listener")
            agent.wait_ready()
        self.assertTrue(any(" started " in line for line in agent.raw_logs), agent.raw_logs)
        self.assertFalse(any("service=" in line for line in agent.raw_logs), agent.raw_logs)
        self.assertEqual(agent.logs, [])

    def test_plain_text_log_tells_versions_apart(self):
        options = ["-o", "logFormat=text", "-o", "service=the shop", "-o", "version=v2"]
        with Agent(PASSING, args=options, wait=False) as agent:
            wait_until(lambda: port_open(agent.port), "the listener")
            agent.wait_ready()
        events = [line.split()[2] for line in agent.raw_logs]
        self.assertIn("started", events)
        for line, event in zip(agent.raw_logs, events):
            self.assertIn(f' {event} service="the shop" version=v2', line)


if __name__ == "__main__":
    unittest.main()
