"""The table of the README: where the usual one-liners say yes, or never answer, and what readyd says.

Each row runs the usual command and readyd against the same server.
"""

import subprocess
import unittest

import postgres_server
import redis_server
from bad_server import BadServer, receive, send, stall, wait_close
from harness import Agent, TestCase, check, clean_environment, free_port, wait_until

GIVE_UP_SECONDS = 4  # of a command that never returns by itself; readyd's own limit is 3


def usual(*command):
    """The exit status of the usual command; None if it had to be killed."""
    try:
        return subprocess.run([str(word) for word in command], env=clean_environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=GIVE_UP_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def port_check(port):
    """The usual port check."""
    return usual("bash", "-c", f": </dev/tcp/127.0.0.1/{port}")


class Http(TestCase):
    def expect(self, server, reason, **options):
        code, result = check(f"http://127.0.0.1:{server.port}/", **options)
        self.assertEqual((code, result["state"], result["reason"]), (1, "fail", reason), result)

    def test_headers_then_silence(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
        with BadServer(receive(until=b"\r\n\r\n"), send(head), stall()) as server:
            url = f"http://127.0.0.1:{server.port}/"
            self.assertIsNone(usual("curl", "-sf", url))
            self.assertIsNone(usual("busybox", "wget", "-q", "-O", "/dev/null", url))
            self.assertEqual(port_check(server.port), 0)
            self.expect(server, "body_timeout", timeoutSeconds=2)

    def test_accepts_and_never_answers(self):
        with BadServer(stall()) as server:
            self.assertIsNone(usual("curl", "-sf", f"http://127.0.0.1:{server.port}/"))
            self.assertIsNone(usual("redis-cli", "-p", server.port, "ping"))
            self.assertEqual(port_check(server.port), 0)
            self.expect(server, "timeout", timeoutSeconds=2)
            code, result = check(f"redis://127.0.0.1:{server.port}", timeoutSeconds=2)
            self.assertEqual((code, result["reason"]), (1, "timeout"))

    def test_redirect_to_a_dead_port(self):
        dead = free_port()
        answer = (f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{dead}/login\r\n"
                  "Content-Length: 0\r\n\r\n").encode()
        with BadServer(receive(until=b"\r\n\r\n"), send(answer), wait_close()) as server:
            self.assertEqual(usual("curl", "-sf", f"http://127.0.0.1:{server.port}/"), 0)
            self.expect(server, "connect_refused")

    def test_an_error_page(self):
        answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"
        with BadServer(receive(until=b"\r\n\r\n"), send(answer), wait_close()) as server:
            self.assertEqual(usual("curl", "-s", f"http://127.0.0.1:{server.port}/"), 0)
            self.assertEqual(port_check(server.port), 0)
            self.expect(server, "http_status")


class Redis(TestCase):
    def expect(self, server, reason, alive, **options):
        code, result = check(server.url, **options)
        self.assertEqual((code, result["reason"], result["alive"]), (1, reason, alive), result)
        self.assertEqual(usual("redis-cli", "-p", server.port, "ping"), 0)
        self.assertEqual(port_check(server.port), 0)

    def test_loading(self):
        server = redis_server.Server(self)
        server.command("DEBUG", "POPULATE", 10000)
        server.command("SAVE")
        server.kill()
        again = redis_server.Server(self, directory=server.directory, wait=False,
                                    key_load_delay=6000, loading_process_events_interval_bytes=1024)
        self.expect(again, "loading", True)

    def test_password_wanted(self):
        self.expect(redis_server.Server(self, requirepass="secret", wait=False), "noauth", False)

    def test_replica_that_lost_its_master(self):
        server = redis_server.Server(self, replicaof=["127.0.0.1", free_port()])
        self.expect(server, "replica_link_down", True, role="replica")


class Postgres(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pg_isready = postgres_server.bin_directory() / "pg_isready"
        cls.primary = postgres_server.Server({"max_connections": 6}).start()

    @classmethod
    def tearDownClass(cls):
        cls.primary.destroy()

    def expect(self, reason, url, **options):
        code, result = check(url, **options)
        self.assertEqual((code, result["reason"], result["alive"]), (1, reason, True), result)

    def usual_says_yes(self, server):
        self.assertEqual(usual(self.pg_isready, "-h", "127.0.0.1", "-p", server.port), 0)
        self.assertEqual(port_check(server.port), 0)

    def test_full(self):
        sessions = []
        self.primary.fill(sessions)
        self.usual_says_yes(self.primary)
        self.expect("too_many_connections", self.primary.url())
        for session in sessions:
            session.close()

    def test_wrong_password(self):
        wait_until(lambda: check(self.primary.url())[0] == 0, "sessions to be free")
        self.usual_says_yes(self.primary)
        self.expect("auth_failed", self.primary.url(password="wrong"))

    def test_no_such_database(self):
        wait_until(lambda: check(self.primary.url())[0] == 0, "sessions to be free")
        self.usual_says_yes(self.primary)
        self.expect("unknown_database", self.primary.url(database="nothing"))

    def test_standby_where_a_primary_is_wanted(self):
        standby = self.primary.standby().start()
        self.addCleanup(standby.destroy)
        self.usual_says_yes(standby)
        self.expect("wrong_role", standby.url(), role="primary")


class Commands(TestCase):
    def test_a_check_that_hangs_leaves_nothing_running(self):
        mark = f"86400.{free_port()}"
        script = f"sleep {mark} & wait"

        def left():
            return subprocess.run(["pgrep", "-f", f"^sleep {mark}"],
                                  capture_output=True).stdout.split()

        self.assertEqual(usual("timeout", "--foreground", "2", "sh", "-c", script), 124)
        left_behind = left()
        self.assertEqual(len(left_behind), 1)
        subprocess.run(["kill", "-9", *left_behind], check=True)
        code, result = check(f"exec:/bin/sh -c '{script}'", timeoutSeconds=2)
        self.assertEqual((code, result["reason"]), (1, "timeout"))
        wait_until(lambda: not left(), "the grandchild to be gone")

    def test_nothing_has_been_checked_yet(self):
        with BadServer(stall()) as server:
            config = (f"readiness: {{slow: {{target: 'http://127.0.0.1:{server.port}/', "
                      "timeoutSeconds: 60}}\n")
            with Agent(config) as agent:
                self.assertEqual(agent.get("/ready")[0], 503)
                self.assertEqual(agent.check().returncode, 1)
                self.assertIn("no result yet", agent.check().stdout)
                self.assertEqual(agent.get("/healthz")[0], 200)


if __name__ == "__main__":
    unittest.main()
