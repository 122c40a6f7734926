"""The endpoints under strain: many connections, few descriptors, long answers, sockets in use."""

import http.client
import json
import os
import pathlib
import resource
import select
import socket
import subprocess
import threading
import time
import unittest

from harness import (Agent, BINARY, PATIENCE_SECONDS, SOON_SECONDS, TestCase, UnixConnection,
                     clean_environment, readyd, wait_until)

PASSING = "liveness: {app: 'exec:/bin/true'}\nreadiness: {cache: 'exec:/bin/true'}\n"
REQUEST = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"


def processor_seconds(pid):
    """What the process has used of a processor so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_connection(port):
    """A connection that has had one answer and is kept alive."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(REQUEST)
    connection.recv(4096)
    return connection


def close_all(connections):
    for connection in connections:
        connection.close()


class LongStatus(TestCase):
    def test_status_of_ten_thousand_probes(self):
        probes = "".join(f"  p{i}: {{target: 'tcp://127.0.0.1:1', periodSeconds: 5}}\n"
                         for i in range(10000))
        with Agent("requestTimeoutSeconds: 1\nreadiness:\n" + probes) as agent:
            time.sleep(1)  # in the middle of the first runs
            slowest = [0.0]
            done = threading.Event()

            def ask():
                while not done.is_set():
                    started = time.monotonic()
                    agent.get("/healthz")
                    slowest[0] = max(slowest[0], time.monotonic() - started)

            asker = threading.Thread(target=ask)
            asker.start()
            try:
                status, _, body = agent.get("/status")
            finally:
                done.set()
                asker.join()
            self.assertEqual(status, 200)
            self.assertEqual(len(json.loads(body)["probes"]), 10000)
            self.assertLess(slowest[0], 5)

    def test_only_readers_that_read_may_take_long(self):
        probes = "".join(f"  p{i}: {{target: 'tcp://127.0.0.1:1', periodSeconds: 60}}\n"
                         for i in range(3000))  # more than the kernel holds for one connection
        with Agent("requestTimeoutSeconds: 1.5\nreadiness:\n" + probes) as agent:
            request = b"GET /status HTTP/1.0\r\n\r\n"
            slow, dead = socket.socket(), socket.socket()
            for reader in (slow, dead):
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.settimeout(20)
                reader.connect(("127.0.0.1", agent.port))
                reader.sendall(request)
            # Nine seconds are three times what a reader that takes nothing may have.
            answer, started = b"", time.monotonic()
            while time.monotonic() - started < 9:
                answer += slow.recv(4096)
                time.sleep(0.015)
            while piece := slow.recv(1 << 20):
                answer += piece
            body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
            self.assertEqual(len(body["probes"]), 3000)
            taken = 0
            try:
                while piece := dead.recv(1 << 20):
                    taken += len(piece)
            except ConnectionError:
                pass
            self.assertLess(taken, len(answer) - 100000)
            close_all([slow, dead])


class FewDescriptors(TestCase):
    def test_idle_connections_leave_descriptors_for_probes(self):
        with Agent(PASSING, prefix=["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"]) as agent:
            agent.wait_ready()
            crowd = [idle_connection(agent.port) for _ in range(70)]
            used = processor_seconds(agent.process.pid)
            started = time.monotonic()
            for _ in range(5):
                self.assertEqual(agent.get("/ready")[0], 200)
            self.assertLess(time.monotonic() - started, SOON_SECONDS)
            runs = agent.probe("cache")["runs"]
            agent.signal(1)
            agent.wait_for(lambda a: a.status()["reloads"] == 1)
            self.assertEqual(agent.get("/ready")[0], 200)
            self.assertGreaterEqual(agent.probe("cache")["runs"], runs)
            self.assertLess(agent.descriptors(), 40)
            time.sleep(1)
            self.assertLess(processor_seconds(agent.process.pid) - used, 0.8)
            close_all(crowd)

    def test_without_descriptors_nothing_spins(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            limits = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE,
                             (agent.descriptors(), limits[1]))
            waiting = [socket.create_connection(("127.0.0.1", agent.port), 20) for _ in range(5)]
            for connection in waiting:
                connection.sendall(REQUEST)
            used = processor_seconds(agent.process.pid)
            time.sleep(1)
            self.assertLess(processor_seconds(agent.process.pid) - used, 0.5)
            resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, limits)
            for connection in waiting:
                self.assertIn(b" 200 ", connection.recv(4096))
            close_all(waiting)


class SilentConnections(TestCase):
    def test_a_flood_of_silence_delays_nobody(self):
        with Agent(PASSING + "connectionLimit: 50\n") as agent:
            agent.wait_ready()
            before = agent.descriptors()
            crowded, done = threading.Event(), threading.Event()

            def flood():
                """Ten in five milliseconds at most: this is about the agent's order, not about how many
                connections a busy machine can take before the kernel drops some of everybody's. Those that
                came first never hang up."""
                held = []
                while len(held) % 10 or not done.wait(0.005):
                    connection = socket.socket()
                    connection.setblocking(False)
                    connection.connect_ex(("127.0.0.1", agent.port))
                    held.append(connection)
                    if len(held) == 510:
                        crowded.set()
                        close_all(held[400:410])
                        del held[400:410]
                close_all(held)

            flooder = threading.Thread(target=flood)
            flooder.start()
            slowest = 0.0
            try:
                crowded.wait(PATIENCE_SECONDS)
                for _ in range(50):
                    started = time.monotonic()
                    self.assertEqual(agent.get("/ready")[0], 200)
                    slowest = max(slowest, time.monotonic() - started)
            finally:
                done.set()
                flooder.join()
            self.assertLess(slowest, SOON_SECONDS)
            agent.wait_for(lambda a: a.descriptors() <= before)

    def test_silence_takes_no_descriptor(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            before = agent.descriptors()
            crowd = [socket.create_connection(("127.0.0.1", agent.port), 20) for _ in range(50)]
            self.assertEqual(agent.get("/ready")[0], 200)
            self.assertLess(agent.descriptors(), before + 10)
            # A first word that comes late is heard all the same.
            crowd[0].sendall(REQUEST)
            self.assertIn(b" 200 ", crowd[0].recv(4096))
            close_all(crowd)

    def test_connecting_is_enough_for_a_tcp_check(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            before = agent.descriptors()
            for _ in range(100):
                socket.create_connection(("127.0.0.1", agent.port), 20).close()
            self.assertEqual(readyd("check", f"tcp://127.0.0.1:{agent.port}").returncode, 0)
            agent.wait_for(lambda a: a.descriptors() <= before)

    def test_a_later_request_has_no_more_time_than_the_first(self):
        with Agent(PASSING + "requestTimeoutSeconds: 0.5\nidleTimeoutSeconds: 60\n") as agent:
            agent.wait_ready()
            connection = idle_connection(agent.port)
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nX-Par")
            started = time.monotonic()
            self.assertEqual(connection.recv(4096), b"")
            self.assertLess(time.monotonic() - started, 10)
            connection.close()


class Targets(TestCase):
    def test_absolute_form_and_asterisk(self):
        with Agent(PASSING) as agent:
            agent.wait_ready()
            for target, method, wanted in (
                    ("http://x/healthz", "GET", 200), ("HTTP://x:80/ready/cache", "GET", 200),
                    ("http://x", "GET", 200), ("https://[::1]:1/ready?verbose", "GET", 200),
                    ("http://x/nothing", "GET", 404), ("ftp://x/ready", "GET", 404),
                    ("*", "OPTIONS", 200)):
                with socket.create_connection(("127.0.0.1", agent.port), 20) as connection:
                    connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n"
                                       "Connection: close\r\n\r\n".encode())
                    answer = connection.recv(4096)
                self.assertEqual(answer.split()[1], str(wanted).encode(), (target, answer))


class SocketFiles(TestCase):
    def serve(self, path, **options):
        return readyd("serve", "-o", f"socket={path}", "-o", "listen=none", **options)

    @unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
    def test_a_socket_of_another_user_is_left_alone(self):
        path = self.tmp / "admin.sock"
        self.tmp.chmod(0o777)
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(path))
            live.listen()
            path.chmod(0o600)
            done = subprocess.run([BINARY, "serve", "-o", f"socket={path}", "-o", "listen=none"],
                                  env=clean_environment(), stdin=subprocess.DEVNULL, timeout=30,
                                  capture_output=True, text=True, user=65534, group=65534,
                                  extra_groups=[])
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("cannot tell whether another process listens there", done.stderr)
            self.assertTrue(path.exists())

    def test_a_file_that_took_the_place_stays(self):
        path = self.tmp / "admin.sock"
        with Agent(PASSING, args=["-o", f"socket={path}"]):
            path.unlink()
            later = socket.socket(socket.AF_UNIX)
            self.addCleanup(later.close)
            later.bind(str(path))
            later.listen()
        self.assertTrue(path.exists())


if __name__ == "__main__":
    unittest.main()
