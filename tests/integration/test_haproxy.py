"""A real HAProxy in front of two instances that leave and come back, and not one request is lost."""

import csv
import io
import pathlib
import socket
import tempfile
import unittest

from harness import TestCase, free_port, port_open, wait_until
from instance import Instance
from load import Load


class Haproxy:
    """HAProxy with one backend of these instances.

    checks: the lines of the backend that say how they are checked; server: the words of each
    `server` line, in which {instance} is at hand.
    """

    def __init__(self, test, instances, checks, server):
        self.port = free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="haproxy-", dir=test.tmp))
        self.socket = self.directory / "admin.sock"
        servers = "\n".join(f"    server {instance.name} 127.0.0.1:{instance.port} "
                            f"{server.format(instance=instance)}" for instance in instances)
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(f"""
global
    maxconn 1000
    stats socket {self.socket} level admin
defaults
    mode http
    timeout connect 5s
    timeout check 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{self.port}
    default_backend back
backend back
    balance roundrobin
{checks}
{servers}
""")
        test.start(["haproxy", "-db", "-f", configuration],
                   ready=lambda: port_open(self.port) and self.is_commanded())

    def is_commanded(self):
        """Whether it listens to commands: the socket's file is there a moment earlier."""
        try:
            return "\nPid:" in self.command("show info")
        except OSError:
            return False

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            connection.sendall(text.encode() + b"\n")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode()

    def server(self, name):
        """A row of "show stat": status, weight, agent_status, last_agt and so on."""
        rows = csv.DictReader(io.StringIO(self.command("show stat").lstrip("# ")))
        return next(row for row in rows if row["svname"] == name)

    def wait_status(self, name, *statuses):
        wait_until(lambda: self.server(name)["status"] in statuses,
                   f"{name} to be {statuses}, it is {self.server(name)}")


AGENT_CHECK = "agent-check agent-port {instance.agent_port} agent-inter 100ms"
HTTP_CHECK = "check port {instance.health_port} inter 100ms fall 3 rise 2"
READY = "    option httpchk GET /ready"
HEALTHZ = "    option httpchk GET /healthz"


class TwoInstances(TestCase):
    def two(self, *settings, probe=""):
        """Two that are ready; `probe`: another one of the first's readiness, as a line of its configuration."""
        self.instances = [Instance(self, name, *settings) for name in ("a", "b")]
        with open(self.instances[0].config_path, "a") as config:
            config.write(probe)
        for instance in self.instances:
            instance.start()
        for instance in self.instances:
            instance.wait_ready()
        return self.instances

    def drain_and_undrain(self, haproxy, first, drained):
        """The first leaves and comes back under load; `drained` is what HAProxy calls it then."""
        haproxy.wait_status("a", "UP")
        haproxy.wait_status("b", "UP")
        with Load(haproxy.port) as load:
            for _ in range(3):
                load.wait_served("a", "b")
                self.assertEqual(first.readyd("drain").returncode, 0)
                haproxy.wait_status("a", drained)
                load.assert_quiet("a", 0.5)
                self.assertEqual(first.readyd("undrain").returncode, 0)
                haproxy.wait_status("a", "UP")
                load.wait_served("a", "b")
        load.assert_nothing_lost()
        self.assertEqual(haproxy.server("a")["weight"], "1")
        return load

    def roll(self, haproxy):
        """Each in turn is stopped and started again under load."""
        for name in ("a", "b"):
            haproxy.wait_status(name, "UP")
        with Load(haproxy.port) as load:
            for instance in self.instances:
                load.wait_served("a", "b")
                instance.stop()
                load.assert_quiet(instance.name, 0.3)
                instance.start()
                haproxy.wait_status(instance.name, "UP")
                load.wait_served("a", "b")
        load.assert_nothing_lost()
        self.assertGreater(load.total, 200)

    # ---- agent-check ----

    def test_agent_check_drain_and_undrain(self):
        first, _ = self.two()
        haproxy = Haproxy(self, self.instances, HEALTHZ, f"{HTTP_CHECK} {AGENT_CHECK}")
        self.drain_and_undrain(haproxy, first, "DRAIN (agent)")

    def test_agent_check_stop_and_start(self):
        self.two()
        self.roll(Haproxy(self, self.instances, READY, f"{HTTP_CHECK} {AGENT_CHECK}"))

    def test_agent_check_alone_stop_and_start(self):
        """Nothing but the agent says when it is back; the regular check is of the TCP port."""
        self.two()
        self.roll(Haproxy(self, self.instances, "", f"check inter 100ms {AGENT_CHECK}"))

    def test_not_ready_and_degraded(self):
        state = self.tmp / "state"
        state.write_text("0")
        self.two(probe=f"  state: {{exec: {{nagios: true, command: [/bin/sh, -c, 'exit $(cat {state})']}}, "
                       "periodSeconds: 0.1, failureThreshold: 1}\n")
        haproxy = Haproxy(self, self.instances, HEALTHZ, f"{HTTP_CHECK} {AGENT_CHECK} weight 100")
        with Load(haproxy.port, slow=0) as load:
            haproxy.wait_status("a", "UP")
            load.wait_served("a", "b")
            state.write_text("1")
            wait_until(lambda: haproxy.server("a")["weight"] == "50", "half the weight")
            load.wait_served("a", "b")
            state.write_text("2")
            haproxy.wait_status("a", "DOWN (agent)")
            self.assertIn("a readiness probe does not pass", haproxy.server("a")["last_agt"])
            load.assert_quiet("a", 0.3)
            state.write_text("0")
            haproxy.wait_status("a", "UP")
            wait_until(lambda: haproxy.server("a")["weight"] == "100", "the whole weight")
            load.wait_served("a", "b")
        load.assert_nothing_lost()

    def test_a_text_may_be_sent_along(self):
        first, _ = self.two()
        haproxy = Haproxy(self, self.instances, HEALTHZ,
                          f"{HTTP_CHECK} {AGENT_CHECK} agent-send instance\\n")
        self.drain_and_undrain(haproxy, first, "DRAIN (agent)")

    # ---- httpchk ----

    def test_httpchk_drain_and_undrain(self):
        first, _ = self.two()
        haproxy = Haproxy(self, self.instances, READY, HTTP_CHECK)
        self.drain_and_undrain(haproxy, first, "DOWN")

    def test_httpchk_stop_and_start(self):
        self.two()
        self.roll(Haproxy(self, self.instances, READY, HTTP_CHECK))

    def test_disable_on_404(self):
        first, _ = self.two("drain.statusCode=404")
        haproxy = Haproxy(self, self.instances, READY + "\n    http-check disable-on-404", HTTP_CHECK)
        self.drain_and_undrain(haproxy, first, "NOLB")
        self.roll(haproxy)


if __name__ == "__main__":
    unittest.main()
