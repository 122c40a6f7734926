"""The redis probe against real Redis and Valkey servers, and against servers that misbehave."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import harness
import redis_server

PING = b"*1\r\n$4\r\nPING\r\n"
ENDLESS_SCRIPT = "while true do end"


class RealServer:
    """Tests that Redis and Valkey must both pass; `binary` says which it is."""

    binary = None

    def server(self, **settings):
        return redis_server.Server(self, self.binary, **settings)

    def expect(self, state, reason, url, *, alive=None, timeout=10, **options):
        """Checks one run, the exit code and the verdict on life; returns the result."""
        code, result = harness.check(url, timeout=timeout, **options)
        self.assert_result(result, state, reason)
        self.assertEqual(code, 1 if state == "fail" else 0)
        self.assertEqual(result["ready"], state != "fail")
        self.assertEqual(result["alive"], state != "fail" if alive is None else alive, result)
        return result

    # -- the way there

    def test_tcp(self):
        result = self.expect("pass", "ok", self.server().url)
        phases = result["phasesMs"]
        self.assertGreaterEqual(phases["connect"], 0)
        self.assertGreater(phases["firstByte"], 0)
        self.assertIsNone(phases.get("tls"))

    def test_unix_socket(self):
        server = self.server()
        server.command("SELECT", 0)
        with server.client() as client:
            client.command("SELECT", 1)
            client.command("SET", "key", "value")
        url = f"redis+unix://{server.socket}"
        self.expect("pass", "ok", url)
        self.expect("pass", "ok", f"{url}?db=1", keyPresent="key")
        self.expect("pass", "ok", f"{url}?timeout=3&db=0", keyAbsent="key")
        self.expect("fail", "socket_missing", f"{url}-missing", alive=False)

    def test_nobody_listens(self):
        server = self.server()
        server.kill()
        self.expect("fail", "connect_refused", server.url, alive=False)
        self.expect("fail", "connect_refused", f"redis+unix://{server.socket}", alive=False)

    def test_tls(self):
        certificates = redis_server.Certificates(self.tmp)
        port = harness.free_port()
        server = self.server(tls_port=port, tls_cert_file=certificates.server,
                             tls_key_file=certificates.server_key, requirepass="secret",
                             tls_ca_cert_file=certificates.ca, tls_auth_clients="no")
        url = f"rediss://:secret@localhost:{port}"
        result = self.expect("pass", "ok", url, caFile=certificates.ca, role="primary")
        self.assertGreater(result["phasesMs"]["tls"], 0)
        self.expect("pass", "ok", url.replace("rediss:", "redis:"), caFile=certificates.ca, tls=True)
        self.expect("pass", "ok", url.replace("localhost", "127.0.0.1"), caFile=certificates.ca)
        self.expect("pass", "ok", url, insecureSkipVerify=True)
        self.expect("fail", "tls_untrusted", url, alive=False)
        self.expect("fail", "tls_hostname", url, caFile=certificates.ca, serverName="other",
                    alive=False)
        self.expect("fail", "wrongpass", url.replace("secret", "wrong"), caFile=certificates.ca,
                    alive=False)
        self.expect("warn", "tls_expiring", url, caFile=certificates.ca, certificateWarnDays=30)
        self.expect("fail", "tls_expiring", url, caFile=certificates.ca, certificateFailDays=30,
                    alive=True)
        # Redis answers plain text at this port with an alert, or resets the connection.
        code, result = harness.check(f"redis://localhost:{port}", timeout=10)
        self.assertIn(result["reason"], ("protocol_error", "connection_closed", "connection_reset"))
        self.assertEqual((code, result["alive"]), (1, False))

    def test_tls_with_client_certificate(self):
        certificates = redis_server.Certificates(self.tmp)
        port = harness.free_port()
        self.server(tls_port=port, tls_cert_file=certificates.server,
                    tls_key_file=certificates.server_key, tls_ca_cert_file=certificates.ca,
                    tls_auth_clients="yes")
        url = f"rediss://localhost:{port}"
        self.expect("pass", "ok", url, caFile=certificates.ca, certFile=certificates.client,
                    keyFile=certificates.client_key)
        _, result = harness.check(url, caFile=certificates.ca)
        self.assertEqual(result["state"], "fail")
        self.assertIn(result["reason"], ("tls_failed", "connection_closed", "connection_reset"))

    # -- who asks

    def test_password(self):
        server = self.server(requirepass="s3cret")
        url = f"redis://:s3cret@127.0.0.1:{server.port}"
        self.expect("pass", "ok", url)
        self.expect("pass", "ok", f"redis://default:s3cret@127.0.0.1:{server.port}")
        self.expect("fail", "noauth", server.url, alive=False)
        self.expect("fail", "wrongpass", url.replace("s3cret", "wr0ng"), alive=False)
        self.expect("pass", "ok", server.url, password="s3cret")
        self.expect("pass", "ok", url.replace("s3cret", "wr0ng"), password="s3cret")

    def test_password_file(self):
        server = self.server(requirepass="s3cret")
        secret = self.tmp / "secret"
        secret.write_text("s3cret\n")
        self.expect("pass", "ok", server.url, passwordFile=secret)
        secret.write_text("wr0ng\n")
        self.expect("fail", "wrongpass", server.url, passwordFile=secret, alive=False)

    def test_password_for_a_server_without_one(self):
        server = self.server()
        result = self.expect("fail", "wrongpass", f"redis://:s3cret@127.0.0.1:{server.port}",
                             alive=False)
        self.assertIn("the server has none", result["message"])

    def test_no_output_has_the_password(self):
        # A server that does not know AUTH repeats what it was sent.
        server = self.server(rename_command=["AUTH", "OTHER"])
        for url in (f"redis://:s3cret@127.0.0.1:{server.port}",
                    f"redis://user:s3cret@127.0.0.1:{server.port}"):
            done = harness.readyd("check", "--json", url)
            self.assertEqual(done.returncode, 1)
            self.assertIn("error_reply", done.stdout)
            self.assertNotIn("s3cret", done.stdout + done.stderr)
            done = harness.readyd("check", url)
            self.assertNotIn("s3cret", done.stdout + done.stderr)

    def test_user_who_may_only_ping(self):
        server = self.server()
        server.command("ACL", "SETUSER", "probe", "on", ">s3cret", "+ping")
        url = f"redis://probe:s3cret@127.0.0.1:{server.port}"
        self.expect("pass", "ok", url)
        self.expect("fail", "wrongpass", url.replace("s3cret", "wr0ng"), alive=False)

        def sentence(database="", **options):
            return self.expect("fail", "noperm", url + database, alive=True, **options)["message"]

        self.assertEqual(sentence(role="primary"),
                         'the user "probe" may not run INFO: give it +info')
        self.assertIn("+info", sentence(requireReplicaLink=True))
        self.assertIn("+cluster|info", sentence(cluster=True))
        self.assertIn("+exists", sentence(keyPresent="key"))
        self.assertIn("+exists", sentence(keyAbsent="key"))
        self.assertIn("+select", sentence(database="/1"))
        # what the sentences advise does help
        server.command("ACL", "SETUSER", "probe", "+info", "+exists", "+select")
        self.assertIn("~key", sentence(database="/1", role="primary", keyAbsent="key"))
        server.command("ACL", "SETUSER", "probe", "~key")
        self.expect("pass", "ok", f"{url}/1", role="primary", keyAbsent="key")

    def test_user_who_may_not_ping(self):
        server = self.server()
        server.command("ACL", "SETUSER", "probe", "on", ">s3cret")
        result = self.expect("fail", "noperm", f"redis://probe:s3cret@127.0.0.1:{server.port}",
                             alive=False)
        self.assertIn("+ping", result["message"])

    def test_user_without_password(self):
        server = self.server()
        server.command("ACL", "SETUSER", "probe", "on", "nopass", "+ping")
        self.expect("pass", "ok", f"redis://probe@127.0.0.1:{server.port}")
        self.expect("pass", "ok", server.url, user="probe")

    # -- keys and databases

    def test_keys(self):
        server = self.server()
        server.command("SET", "there", "value")
        with server.client() as client:
            client.command("SELECT", 3)
            client.command("SET", "there too", "value")
        self.expect("pass", "ok", server.url, keyPresent="there", keyAbsent="maintenance")
        result = self.expect("fail", "key_missing", server.url, keyPresent="warm", alive=True)
        self.assertIn('"warm"', result["message"])
        self.expect("fail", "key_present", server.url, keyAbsent="there", alive=True)
        for options in ({"url": f"{server.url}/3"}, {"url": server.url, "database": 3},
                        {"url": f"{server.url}/5", "database": 3}, {"url": f"{server.url}?db=3"}):
            self.expect("pass", "ok", keyPresent="there too", keyAbsent="there", **options)
        result = self.expect("fail", "error_reply", f"{server.url}/99", alive=True)
        self.assertIn("SELECT", result["message"])

    # -- what the server says of itself

    def test_roles(self):
        primary = self.server()
        replica = self.server(replicaof=["127.0.0.1", primary.port])
        replica.wait_info("replication", "master_link_status", "up")
        self.expect("pass", "ok", primary.url, role="primary")
        self.expect("pass", "ok", primary.url, requireReplicaLink=True)
        self.expect("pass", "ok", replica.url, role="replica")
        self.expect("pass", "ok", replica.url, requireReplicaLink=True)
        self.expect("pass", "ok", replica.url, role="any")
        self.expect("fail", "wrong_role", primary.url, role="replica", alive=True)
        self.expect("fail", "wrong_role", replica.url, role="primary", alive=True)
        # what waits for a primary sees the promotion
        replica.command("REPLICAOF", "NO", "ONE")
        self.expect("pass", "ok", replica.url, role="primary")

    def test_replica_without_primary(self):
        primary = self.server()
        replica = self.server(replicaof=["127.0.0.1", primary.port])
        replica.wait_info("replication", "master_link_status", "up")
        primary.kill()
        replica.wait_info("replication", "master_link_status", "down")
        # PONG says nothing about replication
        self.expect("pass", "ok", replica.url)
        result = self.expect("fail", "replica_link_down", replica.url, role="replica", alive=True)
        self.assertIn(f"127.0.0.1:{primary.port}", result["message"])
        self.expect("fail", "replica_link_down", replica.url, requireReplicaLink=True, alive=True)
        replica.command("CONFIG", "SET", "replica-serve-stale-data", "no")
        self.expect("fail", "master_down", replica.url, alive=True)
        self.expect("fail", "master_down", replica.url, role="replica", alive=True)

    def test_replica_that_never_had_a_primary(self):
        replica = self.server(replicaof=["127.0.0.1", harness.free_port()])
        result = self.expect("fail", "replica_link_down", replica.url, role="replica", alive=True)
        self.assertIn("yet", result["message"])

    def test_replica_still_copying(self):
        # The primary takes a minute to write its dataset.
        primary = self.server(rdb_key_save_delay=6000)
        primary.command("DEBUG", "POPULATE", 10000)
        replica = self.server(replicaof=["127.0.0.1", primary.port])
        replica.wait_info("replication", "master_sync_in_progress", "1")
        self.expect("pass", "ok", replica.url)
        self.expect("fail", "replica_syncing", replica.url, role="replica", alive=True)
        self.expect("fail", "replica_syncing", replica.url, requireReplicaLink=True, alive=True)

    def test_loading(self):
        server = self.server()
        server.command("DEBUG", "POPULATE", 10000)
        server.command("SAVE")
        server.kill()
        # It now takes a minute to load, and answers in between.
        again = self.server(directory=server.directory, wait=False, key_load_delay=6000,
                            loading_process_events_interval_bytes=1024)
        self.expect("fail", "loading", again.url, alive=True)
        self.expect("fail", "loading", again.url, role="primary", keyPresent="x", alive=True)
        if self.binary == "redis-server":
            # the one-liner that this replaces takes it for a success
            done = subprocess.run(["redis-cli", "-p", str(again.port), "ping"], capture_output=True,
                                  text=True)
            self.assertIn("LOADING", done.stdout)
            self.assertEqual(done.returncode, 0)

    def test_busy(self):
        server = self.server(busy_reply_threshold=1)
        script = server.client()
        self.addCleanup(script.close)
        script.send("EVAL", ENDLESS_SCRIPT, 0)

        def is_busy():
            try:
                server.command("PING")
            except redis_server.Error as error:
                return str(error).startswith("BUSY ")

        harness.wait_until(is_busy, "BUSY")
        self.expect("fail", "busy", server.url, alive=False)
        server.command("SCRIPT", "KILL")
        self.assertRaises(redis_server.Error, script.receive)
        self.expect("pass", "ok", server.url)

    def test_cannot_save(self):
        server = self.server(save="3600 1")
        self.expect("pass", "ok", server.url)
        os.rmdir(server.data)
        server.command("SET", "key", "value")
        server.command("BGSAVE")
        server.wait_info("persistence", "rdb_last_bgsave_status", "err")
        self.expect("fail", "misconf", server.url, alive=False)

    def test_full(self):
        server = self.server(maxclients=1)

        def is_full():
            """Whether our connection, and no other of the test's own, is the one that fits in."""
            try:
                client.command("PING")
                return True
            except (redis_server.Error, OSError):
                return False

        while True:
            client = server.client()
            if is_full():
                break
            client.close()
        with client:
            for _ in range(20):  # the server closes without reading what it was asked
                self.expect("fail", "max_clients", server.url, alive=False)
                self.expect("fail", "max_clients", f"redis+unix://{server.socket}", alive=False)
        harness.wait_until(lambda: harness.check(server.url)[0] == 0, "room again")

    def test_protected_mode(self):
        # It refuses whoever comes from another address than the loopback's own, so a network is
        # made in which we are such a one.
        script = """
            ip link set lo up && ip address add 192.0.2.1/32 dev lo || exit 77
            "$1" --port 6379 --save '' --dir "$2" >/dev/null &
            for attempt in $(seq 500); do
                "$3" check redis://127.0.0.1 >/dev/null && break
                sleep 0.02
            done
            "$3" check --json --timeout 10 redis://192.0.2.1
            kill $!
            """
        try:
            process = subprocess.Popen(["unshare", "-r", "-n", "sh", "-c", script, "sh", self.binary,
                                        str(self.tmp), os.path.abspath(harness.BINARY)],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       start_new_session=True, env=harness.clean_environment())
        except FileNotFoundError:
            self.skipTest("unshare (util-linux) is not installed")
        self.addCleanup(self.end, process)
        output, errors = process.communicate(timeout=harness.PATIENCE_SECONDS)
        if process.returncode == 77 or "unshare" in errors:
            self.skipTest(f"no network namespace can be made here: {errors.strip()}")
        self.assert_result(json.loads(output), "fail", "denied")
        self.assertIs(json.loads(output)["alive"], False)

    def test_cluster(self):
        server = self.server(cluster_enabled="yes", cluster_port=harness.free_port())
        self.expect("pass", "ok", server.url)
        result = self.expect("fail", "cluster_down", server.url, cluster=True, alive=True)
        self.assertIn("cluster_state:fail with 0 of 16384", result["message"])
        self.expect("fail", "cluster_down", server.url, keyPresent="key", alive=True)
        for first in range(0, 16384, 1024):
            server.command("CLUSTER", "ADDSLOTS", *range(first, first + 1024))
        harness.wait_until(lambda: "cluster_state:ok" in server.command("CLUSTER", "INFO"),
                           "cluster_state:ok")
        self.expect("pass", "ok", server.url, cluster=True)
        self.expect("pass", "ok", server.url, cluster=True, keyAbsent="key")

    def test_no_cluster(self):
        result = self.expect("fail", "error_reply", self.server().url, cluster=True, alive=True)
        self.assertIn("cluster support disabled", result["message"])

    # -- no answer

    def test_paused(self):
        server = self.server()
        with server.client() as client:
            client.command("CLIENT", "PAUSE", 60000, "ALL")
        self.expect("fail", "timeout", server.url, timeout=2, alive=False)

    def test_stopped(self):
        server = self.server()
        server.process.send_signal(signal.SIGSTOP)
        self.expect("fail", "timeout", server.url, timeout=2, alive=False)
        server.process.send_signal(signal.SIGCONT)
        self.expect("pass", "ok", server.url)


class Redis(RealServer, harness.TestCase):
    binary = "redis-server"


class Valkey(RealServer, harness.TestCase):
    binary = "valkey-server"

    @classmethod
    def setUpClass(cls):
        if not shutil.which(cls.binary):
            raise unittest.SkipTest("valkey-server is not installed (Debian has it since 13)")

    def test_schemes(self):
        server = self.server()
        self.expect("pass", "ok", server.url.replace("redis:", "valkey:"))


class Script:
    """Listens, and lets `talk(connection)` talk with whoever connects."""

    def __init__(self, test, talk):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "redis://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.talk = talk
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        test.addCleanup(self.stop)

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(harness.PATIENCE_SECONDS)
                with contextlib.suppress(OSError):
                    self.talk(connection)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def until_closed(connection):
    """Reads until the other side goes away."""
    while connection.recv(65536):
        pass


def says(answer, *, then=until_closed):
    """A server that gives this answer to whatever it is asked first."""

    def talk(connection):
        connection.recv(65536)
        connection.sendall(answer)
        then(connection)

    return talk


def close(_):
    """For `then`."""


def reset(connection):
    """Closes in a way that the peer sees as a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def flood(chunk):
    """Sends the same without end."""

    def talk(connection):
        while True:
            connection.sendall(chunk)

    return talk


def full_backlog(test):
    """The URL of somebody who lets whoever connects wait for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    test.addCleanup(listener.close)
    for _ in range(8):
        waiting = socket.socket()
        test.addCleanup(waiting.close)
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return "redis://127.0.0.1:%d" % listener.getsockname()[1]


class BadServer(harness.TestCase):
    """Servers that speak something else, or Redis' protocol badly."""

    def expect(self, reason, talk, state="fail", timeout=10, **options):
        started = time.monotonic()
        _, result = harness.check(Script(self, talk).url, timeout=timeout, **options)
        self.assert_result(result, state, reason)
        self.assertEqual(result["alive"], state == "pass", result)
        self.assertLess(time.monotonic() - started, harness.PATIENCE_SECONDS)
        return result

    def test_asks_no_more_than_it_must(self):
        asked = []

        def talk(connection):
            asked.append(connection.recv(65536))
            connection.sendall(b"+PONG\r\n")
            until_closed(connection)

        self.expect("ok", talk, "pass")
        self.assertEqual(asked, [PING])

    def test_asks_everything_at_once(self):
        expected = b"".join([
            b"*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n", PING,
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n", b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n",
            b"*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n", b"*2\r\n$6\r\nEXISTS\r\n$1\r\na\r\n",
            b"*2\r\n$6\r\nEXISTS\r\n$3\r\nb c\r\n"])
        asked = []

        def talk(connection):
            text = b""
            while len(text) < len(expected):
                text += connection.recv(65536)
            asked.append(text)
            connection.sendall(b"+OK\r\n+PONG\r\n+OK\r\n$13\r\nrole:master\r\n\r\n"
                               b"$16\r\ncluster_state:ok\r\n:1\r\n:0\r\n")
            until_closed(connection)

        url = Script(self, talk).url.replace("//", "//user:secret@") + "/7"
        _, result = harness.check(url, role="primary", cluster=True, keyPresent="a", keyAbsent="b c")
        self.assert_result(result, "pass", "ok")
        self.assertEqual(asked, [expected])

    def test_slow_drip(self):
        def talk(connection):
            connection.recv(65536)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"+PONG\r\n":
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
            until_closed(connection)

        result = self.expect("ok", talk, "pass")
        self.assertGreaterEqual(result["durationMs"], 100)

    def test_slow_answer_is_a_warning(self):
        def talk(connection):
            connection.recv(65536)
            time.sleep(0.2)
            connection.sendall(b"+PONG\r\n")
            until_closed(connection)

        code, result = harness.check(Script(self, talk).url, timeout=10, warnAboveSeconds=0.1)
        self.assert_result(result, "warn", "slow")
        self.assertEqual(code, 0)
        self.assertTrue(result["ready"])

    def test_another_protocol(self):
        for answer in (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n",
                       b"\x15\x03\x03\x00\x02\x02\x0a", b"\0\0\0\0", b"garbage", b"$x\r\n", b":\r\n"):
            with self.subTest(answer=answer):
                self.expect("protocol_error", says(answer))
        self.assertIn("HTTP", self.expect("protocol_error", says(b"HTTP/1.1 400 No\r\n"))["message"])
        self.assertIn("rediss://", self.expect("protocol_error", says(b"\x15\x03\x03"))["message"])

    def test_wrong_answers(self):
        for answer in (b"+OK\r\n", b":1\r\n", b"$4\r\nPING\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n",
                       b"*1\r\n+PONG\r\n", b">2\r\n+message\r\n+x\r\n", b"_\r\n", b"#t\r\n",
                       b"%1\r\n+a\r\n+b\r\n", b"+pong\r\n", b"+PONG!\r\n", b"$0\r\n\r\n"):
            with self.subTest(answer=answer):
                self.expect("protocol_error", says(answer))

    def test_more_answers_than_questions(self):
        self.expect("ok", says(b"+PONG\r\n" * 100), "pass")
        self.expect("error_reply", says(b"-ERR one\r\n-ERR two\r\n+PONG\r\n"))
        self.expect("ok", says(b"+PONG\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"), "pass")

    def test_unknown_errors(self):
        result = self.expect("error_reply", says(b"-WEIRD \x1b[31mthings\xff happen\r\n"))
        self.assertEqual(result["message"], "PING was answered with the error WEIRD ?[31mthings? happen")
        result = self.expect("error_reply", says(b"-" + b"x" * 5000 + b"\r\n"))
        self.assertLess(len(result["message"]), 200)
        self.expect("error_reply", says(b"-BUSYGROUP is not BUSY\r\n"))
        self.expect("error_reply", says(b"-\r\n"))

    def test_answers_without_question(self):
        # the way in which a full server says so, before it has read a word
        def talk(connection):
            connection.sendall(b"-ERR max number of clients reached\r\n")

        for _ in range(10):
            self.expect("max_clients", talk)

    def test_closes(self):
        self.expect("connection_closed", says(b"", then=close))
        self.expect("connection_closed", says(b"+PON", then=close))
        self.expect("connection_reset", says(b"", then=reset))

    def test_closes_half_way(self):
        # AUTH was answered, PING was not
        url = Script(self, says(b"+OK\r\n", then=close)).url.replace("//", "//:secret@")
        code, result = harness.check(url, timeout=10)
        self.assertEqual(code, 1)
        self.assertIn(result["reason"], ("connection_closed", "connection_reset"))
        self.assertIn("PING", result["message"])

    def test_dies_after_pong(self):
        # alive, for it has answered; not ready, for it has not answered everything
        for then, reason in ((close, "connection_closed"), (until_closed, "timeout")):
            code, result = harness.check(Script(self, says(b"+PONG\r\n", then=then)).url,
                                         timeout=3, role="primary")
            self.assert_result(result, "fail", reason)
            self.assertEqual((code, result["alive"]), (1, True))

    def test_silent(self):
        self.expect("timeout", until_closed, timeout=2)
        self.expect("timeout", says(b"+PON"), timeout=2)

    def test_endless_answers(self):
        for talk in (says(b"+", then=flood(b"x" * 4096)), says(b"$1000000\r\n", then=flood(b"x" * 4096)),
                     says(b"-ERR", then=flood(b"x" * 4096))):
            self.expect("body_too_large", talk)
        # an endless stream of right answers is one right answer
        self.expect("ok", says(b"", then=flood(b"+PONG\r\n" * 100)), "pass")

    def test_announces_what_it_does_not_send(self):
        self.expect("timeout", says(b"$536870912\r\nx"), timeout=2)
        self.expect("protocol_error", says(b"*1000000000\r\n"))
        self.expect("protocol_error", says(b"*1\r\n" * 20000))

    def test_tls_that_never_answers(self):
        url = Script(self, until_closed).url.replace("redis:", "rediss:")
        _, result = harness.check(url, timeout=2, insecureSkipVerify=True)
        self.assert_result(result, "fail", "timeout")

    def test_tls_with_another_protocol(self):
        url = Script(self, says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).url.replace("redis:", "rediss:")
        _, result = harness.check(url, timeout=10, insecureSkipVerify=True)
        self.assert_result(result, "fail", "tls_failed")


class InAgent(harness.TestCase):
    """What only shows over many runs."""

    def wait_result(self, agent, name, reason):
        harness.wait_until(lambda: agent.probe(name).get("reason") == reason,
                           f"{name}: {reason}")

    def test_settings_instead_of_a_url(self):
        server = redis_server.Server(self)
        server.command("ACL", "SETUSER", "probe", "on", ">s3cret", "+ping", "+select", "+exists", "~*")
        with server.client() as client:
            client.command("SELECT", 2)
            client.command("SET", "key", "value")
        config = f"""
            readiness:
              unix: {{redis: {{unixSocket: "{server.socket}", database: 2, keyPresent: key}}}}
              port: {{redis: {{port: {server.port}, user: probe, password: s3cret, database: 2,
                               keyPresent: key}}}}
              host: {{redis: {{host: localhost, port: {server.port}, keyAbsent: key}}}}
              short: {server.url}/2
            """
        with harness.Agent(config) as agent:
            agent.wait_ready()
            self.assertEqual(agent.probe("unix")["target"], f"redis+unix://{server.socket}?db=2")
            self.assertEqual(agent.probe("port")["target"],
                             f"redis://probe@127.0.0.1:{server.port}/2")

    def test_secrets_are_read_anew(self):
        server = redis_server.Server(self, requirepass="first")
        password, url = self.tmp / "password", self.tmp / "url"
        password.write_text("first\n")
        url.write_text(f"redis://:first@127.0.0.1:{server.port}\n")
        config = f"""
            readiness:
              password: {{redis: {{port: {server.port}, passwordFile: "{password}"}},
                          periodSeconds: 0.05}}
              url: {{redis: {{urlFile: "{url}"}}, periodSeconds: 0.05}}
            """
        with harness.Agent(config) as agent:
            agent.wait_ready()
            with server.client() as client:
                client.command("AUTH", "first")
                client.command("CONFIG", "SET", "requirepass", "second")
            self.wait_result(agent, "password", "wrongpass")
            self.wait_result(agent, "url", "wrongpass")
            password.write_text("second\n")
            url.write_text(f"redis://:second@127.0.0.1:{server.port}")
            self.wait_result(agent, "password", "ok")
            self.wait_result(agent, "url", "ok")
            password.unlink()
            url.write_text("redis://:second@127.0.0.1/nonsense")
            self.wait_result(agent, "password", "secret_unavailable")
            self.wait_result(agent, "url", "secret_unavailable")
            everything = agent.admin("/status")[2] + "\n".join(agent.raw_logs)
            self.assertNotIn("second", everything)

    def test_authority_is_read_anew(self):
        (self.tmp / "old").mkdir()
        (self.tmp / "new").mkdir()
        old = redis_server.Certificates(self.tmp / "old")
        new = redis_server.Certificates(self.tmp / "new")
        port = harness.free_port()
        redis_server.Server(self, tls_port=port, tls_cert_file=new.server,
                            tls_key_file=new.server_key, tls_ca_cert_file=new.ca,
                            tls_auth_clients="no")
        authority = self.tmp / "ca.crt"
        shutil.copy(old.ca, authority)
        config = f"""
            readiness:
              tls: {{redis: {{url: "rediss://localhost:{port}", caFile: "{authority}"}},
                     periodSeconds: 0.05}}
            """
        with harness.Agent(config) as agent:
            self.wait_result(agent, "tls", "tls_untrusted")
            shutil.copy(new.ca, self.tmp / "ca.new")
            os.replace(self.tmp / "ca.new", authority)
            self.wait_result(agent, "tls", "ok")

    def endings(self):
        """Every way in which a run can end: the reason, and the settings that bring it about."""
        certificates = redis_server.Certificates(self.tmp)
        tls_port = harness.free_port()
        server = redis_server.Server(self, tls_port=tls_port, tls_cert_file=certificates.server,
                                     tls_key_file=certificates.server_key,
                                     tls_ca_cert_file=certificates.ca, tls_auth_clients="no")

        def script(talk):
            return {"url": Script(self, talk).url}

        return [
            ("ok", {"url": f"{server.url}/3", "role": "primary", "keyAbsent": "key"}),
            ("ok", {"url": f"rediss://localhost:{tls_port}", "caFile": certificates.ca}),
            ("ok", {"unixSocket": server.socket}),
            ("tls_untrusted", {"url": f"rediss://localhost:{tls_port}"}),
            ("wrongpass", {"url": server.url.replace("//", "//:secret@")}),
            ("wrong_role", {"url": server.url, "role": "replica", "keyPresent": "key"}),
            ("error_reply", {"url": f"{server.url}/99", "cluster": "true"}),
            ("connect_refused", {"port": harness.free_port()}),
            ("socket_missing", {"unixSocket": self.tmp / "missing"}),
            ("max_clients", script(lambda connection: connection.sendall(
                b"-ERR max number of clients reached\r\n"))),
            ("connection_closed", script(says(b"+PON", then=close))),
            ("protocol_error", script(says(b"*1\r\n$1\r\nx\r\n"))),
            ("body_too_large", script(says(b"+", then=flood(b"x" * 16384)))),
            ("timeout", {"url": full_backlog(self)}),
            ("timeout", script(says(b"$100\r\nx"))),
            ("timeout", {"url": Script(self, until_closed).url.replace("redis:", "rediss:"),
                         "insecureSkipVerify": "true"}),
        ]

    def test_no_ending_leaves_anything_behind(self):
        endings = self.endings()
        probes = ""
        for number, (reason, settings) in enumerate(endings):
            words = ", ".join(f'{name}: "{value}"' for name, value in settings.items())
            timeout = 0.02 if reason == "timeout" else 10
            probes += (f"  probe{number}: {{redis: {{{words}}}, periodSeconds: 0.02, "
                       f"timeoutSeconds: {timeout}}}\n")

        def runs(agent):
            return min(probe["runs"] for probe in agent.status()["probes"])

        def memory(agent):
            status = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0])

        with harness.Agent("readiness: {}\n") as agent:
            before = agent.descriptors()
            agent.config_path.write_text("readiness:\n" + probes)
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            harness.wait_until(lambda: runs(agent) >= 50, "50 runs of each")
            early = memory(agent)
            harness.wait_until(lambda: runs(agent) >= 300, "300 runs of each")
            late = memory(agent)
            for number, (reason, _) in enumerate(endings):
                self.assertEqual(agent.probe(f"probe{number}")["reason"], reason)
            agent.config_path.write_text("readiness: {}\n")
            agent.signal(signal.SIGHUP)
            harness.wait_until(lambda: not agent.status()["probes"], "no probes")
            harness.wait_until(lambda: agent.descriptors() == before, "as few descriptors as before")
            # (the sanitizers keep freed memory on purpose, and look for leaks themselves at the end)
            if "libasan" not in pathlib.Path(f"/proc/{agent.process.pid}/maps").read_text():
                self.assertLess(late - early, 256, "KiB")

    def test_ends_with_runs_at_every_stage(self):
        listening = threading.Semaphore(0)

        def talking(answer):
            def talk(connection):
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                listening.release()
                until_closed(connection)

            return Script(self, talk).url

        config = f"""
            readiness:
              connecting: {full_backlog(self)}
              handshake: {talking(None).replace("redis:", "rediss:")}
              silent: {talking(None)}
              half: {talking(b"+PO")}
              role: {{redis: {{url: "{talking(b'+PONG')}", role: primary}}}}
            """
        with harness.Agent(config) as agent:
            for _ in range(4):
                self.assertTrue(listening.acquire(timeout=harness.PATIENCE_SECONDS))
            agent.wait_for(lambda _: agent.status()["probesRunning"] >= 4)
            self.assertEqual(agent.stop(), 0)


class Settings(harness.TestCase):
    """What is refused before anything runs."""

    def test_refused(self):
        for url, options, words in (
                ("redis://cache/x", [], "must be a number"),
                ("redis://cache?db=", [], "must be a number"),
                ("redis+unix://run/redis.sock", [], "three slashes"),
                ("redis+unix:///run/redis.sock", ["tls=true"], "no TLS over a unix socket"),
                ("redis://cache", ["host=other"], "leave out host"),
                ("redis://cache", ["role=leader"], "primary"),
                ("redis://cache", ["roll=primary"], "role"),
                ("redis://cache", ["keyFile=/dev/null"], "certFile")):
            arguments = [word for option in options for word in ("-o", option)]
            done = harness.readyd("check", url, *arguments)
            self.assertEqual(done.returncode, 1, (url, options))
            self.assertIn(words, done.stdout + done.stderr)

    def test_password_is_masked(self):
        for url in ("redis://app:s3cret@127.0.0.1:1", "redis://:s3cret@127.0.0.1:1/x",
                    "redis+unix://app:s3cret@/run/missing"):
            for arguments in (["--json"], []):
                done = harness.readyd("check", *arguments, url)
                self.assertEqual(done.returncode, 1)
                self.assertNotIn("s3cret", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
