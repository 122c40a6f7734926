"""The listener for HAProxy's agent-check, on the wire."""

import signal
import socket
import threading
import time
import unittest

from harness import (Agent, PATIENCE_SECONDS, SOON_SECONDS, TestCase, UnixConnection, free_port, readyd,
                     wait_until)

READY, DEGRADED = b"up ready 100%\n", b"up ready 50%\n"


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.settimeout(20)
    return connection


def read_all(connection):
    """What comes until the end of the connection, which must not be a reset."""
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    return answer


def ask(port, text=b""):
    with connect(port) as connection:
        connection.sendall(text)
        return read_all(connection)


class HaproxyAgent(TestCase):
    def agent(self, config, *args, **options):
        self.port = free_port()
        agent = Agent(config, args=["-o", f"haproxyAgent=127.0.0.1:{self.port}", *args], **options)
        self.addCleanup(agent.__exit__, None, None, None)
        return agent

    def wait_line(self, line):
        wait_until(lambda: ask(self.port) == line, f"the line {line}")

    def probe(self, name):
        """A plugin that ends with the number in a file of the test, 0 at first."""
        path = self.tmp / name
        path.write_text("0")
        return ("{exec: {nagios: true, command: [/bin/sh, -c, 'exit $(cat %s)']}, "
                "periodSeconds: 0.05, timeoutSeconds: 10, failureThreshold: 1}" % path, path)

    def test_each_state_has_its_line(self):
        started = self.tmp / "started"
        readiness, state = self.probe("state")
        liveness, life = self.probe("life")
        self.agent(f"startup: {{migrated: 'exec:/usr/bin/test -e {started}'}}\n"
                   f"readiness: {{app: {readiness}}}\nliveness: {{life: {liveness}}}\n")
        self.assertEqual(ask(self.port), b"down #startup probes have not passed yet\n")
        started.touch()
        self.wait_line(READY)
        state.write_text("1")
        self.wait_line(DEGRADED)
        state.write_text("2")
        self.wait_line(b"down #a readiness probe does not pass\n")
        state.write_text("0")
        self.wait_line(READY)
        life.write_text("2")
        self.wait_line(b"down #a liveness probe fails\n")
        life.write_text("0")
        self.wait_line(READY)

    def test_the_end_begins_with_drain(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n", drain_delay=60)
        self.wait_line(READY)
        agent.signal(signal.SIGTERM)
        self.wait_line(b"drain\n")
        agent.signal(signal.SIGTERM)
        agent.process.wait(PATIENCE_SECONDS)

    def test_weight_can_be_set_and_reloaded(self):
        readiness, state = self.probe("state")
        config = f"readiness: {{app: {readiness}}}\n"
        agent = self.agent(config + "haproxyDegradedWeight: 10\n")
        state.write_text("1")
        self.wait_line(b"up ready 10%\n")
        agent.config_path.write_text(config + "haproxyDegradedWeight: 77\n")
        agent.signal(1)
        self.wait_line(b"up ready 77%\n")

    def test_nobody_has_to_speak_first(self):
        self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        started = time.monotonic()
        for _ in range(20):
            self.assertEqual(ask(self.port), READY)
        self.assertLess(time.monotonic() - started, SOON_SECONDS)  # the kernel would hold each back for seconds

    def test_what_is_sent_along_is_no_reason_for_a_reset(self):
        self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        for text in (b"instance-1\n", b"x" * 60000):
            for _ in range(20):
                self.assertEqual(ask(self.port, text), READY)

    def test_what_comes_late_is_no_reason_for_a_reset(self):
        self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        with connect(self.port) as connection:
            self.assertEqual(read_all(connection), READY)
            for _ in range(3):
                connection.sendall(b"late\n")  # after a reset it would be a broken pipe

    def test_whoever_does_not_hang_up_is_hung_up_on(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        before = agent.descriptors()
        silent = [connect(self.port) for _ in range(50)]
        for connection in silent:
            self.assertEqual(read_all(connection), READY)
        wait_until(lambda: agent.descriptors() <= before, "the end of the connections")
        for connection in silent:
            connection.close()

    def test_endless_text_is_cut_off(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        before = agent.descriptors()
        with connect(self.port) as connection:
            with self.assertRaises(OSError):
                while True:
                    connection.sendall(b"x" * 65536)
        wait_until(lambda: agent.descriptors() <= before, "the end of the connection")

    def test_more_connections_than_are_kept(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        before = agent.descriptors()
        many = [connect(self.port) for _ in range(500)]
        for connection in many:
            self.assertEqual(connection.recv(100), READY)
        self.assertLess(agent.descriptors(), before + 100)
        for connection in many:
            connection.close()
        self.assertEqual(ask(self.port), READY)

    def test_flood(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n")
        self.wait_line(READY)
        over = threading.Event()
        wrong = []

        def flood():
            while not over.is_set():
                try:
                    connection = connect(self.port)
                except OSError:
                    continue
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()  # with a reset

        floods = [threading.Thread(target=flood) for _ in range(4)]
        for thread in floods:
            thread.start()
        try:
            for _ in range(100):
                if ask(self.port) != READY:
                    wrong.append("line")
                if agent.get("/ready")[0] != 200:
                    wrong.append("ready")
        finally:
            over.set()
            for thread in floods:
                thread.join()
        self.assertEqual(wrong, [])

    def test_few_descriptors(self):
        agent = self.agent("readiness: {app: 'exec:/bin/true'}\n", prefix=["prlimit", "--nofile=40:40"])
        self.wait_line(READY)
        many = [connect(self.port) for _ in range(200)]
        try:
            self.assertEqual(agent.get("/healthz")[0], 200)
            for connection in many:
                self.assertEqual(connection.recv(100), READY)
            self.assertEqual(ask(self.port), READY)
        finally:
            for connection in many:
                connection.close()

    def test_several_addresses(self):
        path = self.tmp / "agent.sock"
        port = free_port("::1")
        with Agent("readiness: {app: 'exec:/bin/true'}\n"
                   f"haproxyAgent: ['unix:{path}', '[::1]:{port}']\n") as agent:
            agent.wait_ready()
            sides = [event["address"] for event in agent.logs
                     if event["event"] == "listen" and event["side"] == "haproxy"]
            self.assertEqual(sides, [f"unix:{path}", f"[::1]:{port}"])
            connection = UnixConnection(str(path))
            connection.connect()
            self.assertEqual(read_all(connection.sock), READY)
            connection.close()
            with socket.create_connection(("::1", port), 20) as other:
                self.assertEqual(read_all(other), READY)
        self.assertFalse(path.exists())

    def test_an_address_in_use_is_an_error(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = f"127.0.0.1:{other.getsockname()[1]}"
            done = readyd("serve", "-o", "listen=none", "-o", "socket=none", "-o",
                          f"haproxyAgent={address}")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on {address}", done.stderr)

    def test_faults_in_the_setting(self):
        for text, complaint in (("8087", "cannot listen on"), ("[none, ':1']", "none stands alone"),
                                ("[]", "haproxyAgent is empty")):
            config = self.tmp / "config.yaml"
            config.write_text(f"haproxyAgent: {text}\n")
            done = readyd("config", "check", config)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(complaint, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
