"""The TCP probe against servers that behave and servers that do not."""

import os
import pathlib
import socket
import subprocess
import time
import unittest

import bad_server
from bad_server import (BadServer, FullServer, drip, echo, flood, half_close, pause, receive, reset,
                        send, stall, wait_close)
from harness import BINARY, SOON_SECONDS, Agent, TestCase, check, clean_environment, free_port, readyd


def has_ipv6():
    return pathlib.Path("/proc/net/if_inet6").exists()


class Connect(TestCase):
    """A connection is all it takes."""

    def test_ipv4(self):
        with BadServer(wait_close()) as server:
            code, result = check(f"tcp://127.0.0.1:{server.port}")
        self.assert_result(result, "pass", "ok")
        self.assertEqual((code, result["type"], result["alive"]), (0, "tcp", True))
        self.assertEqual(result["target"], f"tcp://127.0.0.1:{server.port}")
        self.assertEqual(set(result["phasesMs"]), {"connect", "total"})

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        with BadServer(wait_close(), host="::1") as server:
            for target in (f"tcp://[::1]:{server.port}", f"tcp://[::1%25lo]:{server.port}"):
                self.assert_result(check(target)[1], "pass", "ok")

    def test_host_and_port(self):
        with BadServer(wait_close()) as server:
            agent = f"readiness: {{a: {{tcp: {{port: {server.port}}}}}}}"
            with Agent(agent) as running:
                running.wait_ready()
                self.assertEqual(running.probe("a")["target"], f"tcp://127.0.0.1:{server.port}")

    def test_no_host_in_url(self):
        with BadServer(wait_close()) as server:
            self.assert_result(check(f"tcp://:{server.port}")[1], "pass", "ok")

    def test_localhost_is_both_families(self):
        for host in ["127.0.0.1"] + (["::1"] if has_ipv6() else []):
            with BadServer(wait_close(), host=host) as server:
                self.assert_result(check(f"tcp://localhost:{server.port}")[1], "pass", "ok")
                self.assert_result(check(f"tcp://LOCALHOST.:{server.port}")[1], "pass", "ok")

    def test_unix(self):
        path = self.tmp / "a.sock"
        with BadServer(wait_close(), path=str(path)):
            for target in (f"unix:{path}", f"unix://{path}"):
                code, result = check(target)
                self.assert_result(result, "pass", "ok")
                self.assertEqual((code, result["target"]), (0, target))

    def test_abstract_unix(self):
        name = f"@readyd-bad-{os.getpid()}"
        with BadServer(wait_close(), path=name):
            self.assert_result(check(f"unix:{name}")[1], "pass", "ok")
        self.assert_result(check(f"unix:{name}")[1], "fail", "connect_refused")

    def test_a_peer_that_closes_or_resets_at_once_has_been_connected(self):
        for step in ([], [reset()]):
            with BadServer(*step) as server:
                for _ in range(20):  # whether the end or our look comes first is a matter of luck
                    self.assert_result(check(f"tcp://127.0.0.1:{server.port}")[1], "pass", "ok")

    def test_no_byte_is_sent(self):
        with BadServer(wait_close()) as server:
            check(f"tcp://127.0.0.1:{server.port}")
            server.wait_accepted(1)
            server.join()
            self.assertEqual(server.connections[0].received, b"")
            self.assertTrue(server.connections[0].closed_by_peer)

    def test_kubernetes_form(self):
        with BadServer(wait_close()) as server:
            for port in (f"{server.port}", f'"{server.port}"'):
                with Agent(f"readiness: {{a: {{tcpSocket: {{port: {port}}}}}}}") as agent:
                    agent.wait_ready()

    def test_url_from_a_file_is_read_each_time(self):
        url = self.tmp / "url"
        with BadServer(wait_close()) as server:
            url.write_text(f"tcp://127.0.0.1:{server.port}\n")
            config = (f"readiness: {{a: {{tcp: {{urlFile: {url}}}, periodSeconds: 0.05, "
                      f"failureThreshold: 1}}}}")
            with Agent(config) as agent:
                agent.wait_ready()
                url.write_text(f"tcp://127.0.0.1:{free_port()}\n")
                agent.wait_ready(503)
                # A run may have met the file when it was empty.
                agent.wait_for(lambda _: agent.probe("a")["reason"] == "connect_refused")
                url.unlink()
                agent.wait_for(lambda _: agent.probe("a").get("reason") == "secret_unavailable")


class NoConnection(TestCase):
    def test_refused(self):
        port = free_port()
        code, result = check(f"tcp://127.0.0.1:{port}")
        self.assert_result(result, "fail", "connect_refused")
        self.assertEqual((code, result["alive"], result["ready"]), (1, False, False))
        self.assertEqual(result["message"], f"cannot connect to 127.0.0.1:{port}: connection refused")

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_all_addresses_refused(self):
        port = free_port()
        _, result = check(f"tcp://localhost:{port}")
        self.assert_result(result, "fail", "connect_refused")
        self.assertIn("or 1 other address", result["message"])

    def test_nobody_accepts(self):
        with FullServer() as server:
            started = time.monotonic()
            code, result = check(f"tcp://127.0.0.1:{server.port}", timeout=0.4)
            self.assertLess(time.monotonic() - started, 0.4 + SOON_SECONDS)
        self.assert_result(result, "fail", "connect_timeout")
        self.assertEqual((code, result["alive"]), (1, False))
        self.assertEqual(result["message"], 
                         f"no connection to 127.0.0.1 port {server.port} within 0.4 s")

    def test_nobody_accepts_at_a_unix_socket(self):
        path = self.tmp / "full.sock"
        with FullServer(path=str(path)) as server:
            _, result = check(f"unix:{path}", timeout=0.3)
            self.assert_result(result, "fail", "connect_timeout")
            waiting = subprocess.Popen([BINARY, "check", f"unix:{path}", "--timeout", "20"],
                                       env=clean_environment(), stdout=subprocess.DEVNULL)
            time.sleep(0.1)
            server.drain()
            self.assertEqual(waiting.wait(20), 0)

    def test_no_such_unix_socket(self):
        _, result = check(f"unix:{self.tmp}/none.sock")
        self.assert_result(result, "fail", "socket_missing")

    def test_no_permission(self):
        path = self.tmp / "private.sock"
        binary = self.tmp / "readyd"
        os.link(BINARY, binary) if os.stat(BINARY).st_dev == os.stat(self.tmp).st_dev else \
            binary.write_bytes(pathlib.Path(BINARY).read_bytes())
        binary.chmod(0o755)
        with BadServer(wait_close(), path=str(path)):
            path.chmod(0o600)
            done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534",
                                   "--clear-groups", binary, "check", f"unix:{path}"],
                                  capture_output=True, text=True, env=clean_environment())
        self.assertIn("permission_denied", done.stdout)

    def test_unreachable(self):
        # 240.0.0.0/4 is reserved: the system itself says that there is no way, nothing is sent.
        _, result = check("tcp://255.255.255.255:80", timeout=5)
        self.assertEqual(result["state"], "fail")
        self.assertIn(result["reason"], ("unreachable", "permission_denied"), result)


class Exchange(TestCase):
    """send and expect."""

    def result(self, *steps, **options):
        with BadServer(*steps) as server:
            return check(f"tcp://127.0.0.1:{server.port}", **options)[1]

    def assert_exchange(self, state, reason, *steps, **options):
        result = self.result(*steps, **options)
        self.assert_result(result, state, reason)
        return result

    def test_banner(self):
        result = self.assert_exchange("pass", "ok", send(b"220 ready\r\n"), stall(), expect="220 ")
        self.assertEqual(set(result["phasesMs"]), {"connect", "firstByte", "total"})

    def test_send_and_expect(self):
        self.assert_exchange("pass", "ok", receive(b"PING\r\n"), send(b"+PONG\r\n"), wait_close(),
                             send="PING\\r\\n", expect="+PONG\\r\\n")

    def test_send_alone(self):
        with BadServer(wait_close()) as server:
            _, result = check(f"tcp://127.0.0.1:{server.port}", send="a\\x00\\\\b\\t\\n")
            self.assert_result(result, "pass", "ok")
            server.wait_accepted(1)
            server.join()
            self.assertEqual(server.connections[0].received, b"a\0\\b\t\n")

    def test_bytes(self):
        self.assert_exchange("pass", "ok", echo(), sendHex="00 01 ff:FE", expectHex="01fffe")
        self.assert_exchange("fail", "timeout", echo(), timeout=2, sendHex="0001",
                             expectHex="0002")

    def test_regular_expression(self):
        self.assert_exchange("pass", "ok", send(b"\0\0version 7.4\r\n"), stall(),
                             expectRegex="version [0-9]+\\.[0-9]")
        self.assert_exchange("fail", "body_mismatch", send(b"version x\r\n"),
                             expectRegex="version [0-9]+")

    def test_regular_expression_in_a_long_answer_of_small_pieces(self):
        junk, match = b"x" * 5000, b"version 7.4\r\n"
        pattern = "version [0-9]+\\.[0-9]"
        # what came last is looked at although nothing follows it
        started = time.monotonic()
        self.assert_exchange("pass", "ok", send(junk), pause(0.05), send(match), stall(),
                             expectRegex=pattern, timeout=20)
        self.assertLess(time.monotonic() - started, SOON_SECONDS)
        # nor does a peer put that off by sending on
        self.assert_exchange("pass", "ok", send(junk), pause(0.05), send(match),
                             drip(b"y" * 1000, 0.02), expectRegex=pattern, timeout=10)
        # right before the end
        self.assert_exchange("pass", "ok", send(junk), pause(0.05), send(match),
                             expectRegex=pattern, timeout=20)
        # before the deadline, which may come too early on a busy machine
        self.assertIn("pass", (self.result(send(junk), pause(0.02), send(match), stall(),
                                           expectRegex=pattern, timeout=0.09)["state"]
                               for _ in range(50)))
        # all of it byte by byte
        self.assert_exchange("pass", "ok", drip(junk + match, 0), stall(), expectRegex=pattern,
                             timeout=20)
        self.assert_exchange("fail", "body_mismatch", drip(junk, 0), expectRegex=pattern,
                             timeout=20)

    def test_slow_drip(self):
        self.assert_exchange("pass", "ok", drip(b"junk +PONG\r\n", 0.01), stall(),
                             expect="+PONG\\r\\n", timeout=20)

    def test_match_in_what_came_before_the_end(self):
        self.assert_exchange("pass", "ok", send(b"+PONG"), expect="+PONG")
        self.assert_exchange("pass", "ok", send(b"+PONG"), half_close(), stall(), expect="+PONG")

    def test_closed_without_an_answer(self):
        result = self.assert_exchange("fail", "connection_closed", expect="+PONG")
        self.assertIn('"+PONG" was expected', result["message"])
        self.assertTrue(result["alive"])
        self.assert_exchange("fail", "connection_closed", half_close(), stall(), expect="+PONG")

    def test_reset(self):
        self.assert_exchange("fail", "connection_reset", receive(), reset(), send="x",
                             expect="+PONG")

    def test_half_an_answer_and_the_end(self):
        result = self.assert_exchange("fail", "body_mismatch", send(b"+PO\x1b\n"), expect="+PONG")
        self.assertEqual(result["message"], 'the answer was "+PO..", without "+PONG"')

    def test_half_an_answer_and_silence(self):
        result = self.assert_exchange("fail", "timeout", send(b"+PO"), stall(), expect="+PONG",
                                      timeout=3)
        self.assertEqual(result["message"], 'no "+PONG" in the answer "+PO" within 3 s')
        self.assertTrue(result["alive"])

    def test_silence(self):
        result = self.assert_exchange("fail", "timeout", stall(), expect="+PONG", timeout=2)
        self.assertEqual(result["message"], 'no answer with "+PONG" within 2 s')

    def test_a_drip_does_not_prolong_the_deadline(self):
        started = time.monotonic()
        self.assert_exchange("fail", "timeout", drip(b"x" * 1000, 0.02), expect="+PONG",
                             timeout=2)
        self.assertLess(time.monotonic() - started, 10)

    def test_flood(self):
        result = self.assert_exchange("fail", "body_too_large", flood(), expect="+PONG",
                                      timeout=20)
        self.assertIn("65536", result["message"])
        self.assert_exchange("fail", "body_too_large", flood(), expectRegex="PONG$", timeout=20)

    def test_late_in_the_answer(self):
        self.assert_exchange("pass", "ok", flood(total=61440), send(b"+PONG"), stall(),
                             expect="+PONG", timeout=20)
        # the last byte that is looked at, and one too far
        self.assert_exchange("pass", "ok", send(b"x" * (65536 - 5) + b"+PONG"), stall(),
                             expect="+PONG", timeout=20)
        self.assert_exchange("fail", "body_too_large", send(b"x" * (65536 - 4) + b"+PONG"), stall(),
                             expect="+PONG", timeout=20)

    def test_slow_answer_warns(self):
        code, result = 0, self.result(pause(0.2), send(b"ok"), stall(), expect="ok",
                                      warnAboveSeconds="0.1", timeout=20)
        self.assert_result(result, "warn", "slow")
        self.assertTrue(result["ready"])
        self.assert_exchange("pass", "ok", send(b"ok"), stall(), expect="ok",
                             warnAboveSeconds="20", timeout=20)

    def test_over_a_unix_socket(self):
        path = str(self.tmp / "a.sock")
        with BadServer(echo(), path=path):
            _, result = check(f"unix:{path}", send="ping", expect="ping")
            self.assert_result(result, "pass", "ok")


class Settings(TestCase):
    """What is refused before anything is tried."""

    def refused(self, word, target, *options):
        arguments = [item for option in options for item in ("-o", option)]
        done = readyd("check", target, *arguments)
        self.assertEqual(done.returncode, 1)
        self.assertIn(word, done.stdout + done.stderr)

    def test_urls(self):
        self.refused("port is missing", "tcp://db")
        self.refused("1 to 65535", "tcp://db:0")
        self.refused("1 to 65535", "tcp://db:65536")
        self.refused("1 to 65535", "tcp://db:http")
        self.refused("nothing else", "tcp://db:1/path")
        self.refused("nothing else", "tcp://db:1?x=y")
        self.refused("nothing else", "tcp://u:secret@db:1")
        self.refused("unix:/PATH", "unix:relative")
        self.refused("unix:/PATH", "unix://host/path")
        self.refused("unix:/PATH", "unix:/")
        self.refused("at most 107", "unix:/" + "x" * 107)

    def test_exchange(self):
        target = "tcp://127.0.0.1:1"
        self.refused("backslash", target, "send=\\q")
        self.refused("backslash", target, "expect=\\x4")
        self.refused("backslash", target, "expect=abc\\")
        self.refused("hexadecimal", target, "sendHex=0")
        self.refused("hexadecimal", target, "expectHex=0g")
        self.refused("must not be empty", target, "expectHex=")
        self.refused("regular expression", target, "expectRegex=a(b")
        self.refused("exclude each other", target, "expect=a", "expectRegex=a")
        self.refused("exclude each other", target, "send=a", "sendHex=00")
        self.refused("leave out host", target, "port=1")
        self.refused("tls: true", target, "insecureSkipVerify=true")

    def test_named_port(self):
        path = self.tmp / "readyd.yaml"
        path.write_text("liveness:\n  a:\n    tcpSocket: {port: http}\n")
        done = readyd("config", "check", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("port", done.stdout + done.stderr)
        self.assertIn("number", done.stdout + done.stderr)

    def test_a_password_is_never_shown(self):
        for target in ("tcp://u:s3cret@h:1", "tcp://u:s3cret@h", "tcp://u:s3/cret@h:1",
                       "tcp://u:s3cret@h:1/x?password=s3cret"):
            done = readyd("check", target)
            self.assertEqual(done.returncode, 1)
            self.assertNotIn("cret", done.stdout + done.stderr)


class Leaks(TestCase):
    """Nothing stays behind, whenever a run ends."""

    def test_runs_that_end_at_every_stage(self):
        with BadServer(stall()) as silent, BadServer() as closing, BadServer(reset()) as resetting, \
                BadServer(echo()) as good, BadServer(flood()) as flooding, FullServer() as full:
            common = "periodSeconds: 0.02, timeoutSeconds: 0.02, failureThreshold: 1"
            probes = {
                "silent": f"tcp: {{port: {silent.port}, expect: x}}",
                "closing": f"tcp: {{port: {closing.port}, expect: x}}",
                "resetting": f"tcp: {{port: {resetting.port}, send: y, expect: x}}",
                "good": f"tcp: {{port: {good.port}, send: x, expect: x}}",
                "flooding": f"tcp: {{port: {flooding.port}, expect: y}}",
                "full": f"tcp: {{port: {full.port}}}",
                "refused": f"tcp: {{port: {free_port()}}}",
                "missing": f"tcp: {{url: 'unix:{self.tmp}/none'}}",
            }
            config = "readiness:\n" + "".join(
                f"  {name}: {{{settings}, {common}}}\n" for name, settings in probes.items())
            with Agent(config) as agent:
                def runs():
                    return min(probe["runs"] for probe in agent.status()["probes"])
                agent.wait_for(lambda _: runs() >= 5)
                before = agent.descriptors()
                agent.wait_for(lambda _: runs() >= 250, timeout=60)
                # what is open at one moment varies by the runs under way
                self.assertLessEqual(agent.descriptors(), before + 2 * len(probes))
                reasons = {probe["name"]: probe["reason"] for probe in agent.status()["probes"]}
        self.assertEqual(reasons["refused"], "connect_refused")
        self.assertEqual(reasons["missing"], "socket_missing")
        self.assertEqual(reasons["full"], "connect_timeout")
        self.assertEqual(reasons["silent"], "timeout")


if __name__ == "__main__":
    unittest.main()
