"""The HTTP probe against servers that misbehave, and what it sends, byte by byte."""

import os
import resource
import ssl
import subprocess
import threading

import harness
from bad_server import (BadServer, drip, flood, half_close, pause, receive, reset, send, stall,
                        wait_close)
from harness import check
from nginx_server import Certificates

REQUEST = receive(until=b"\r\n\r\n")
# AddressSanitizer keeps freed memory for a while, and so would hide what really grows
QUIET = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}

HEAD = b"HTTP/1.1 200 OK\r\n"
GOOD = send(HEAD + b"Content-Length: 2\r\n\r\nok")

# HTTP/2 frames: length, type, flags, stream
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
# HEADERS with ":status: 200" (8 of the static table), not the end of the stream
HEADERS_200 = b"\0\0\1\1\4\0\0\0\1\x88"
DATA = b"\0\0\4\0\0\0\0\0\1half"
DATA_OK = b"\0\0\2\0\1\0\0\0\1ok"
RESET_STREAM = b"\0\0\4\3\0\0\0\0\1\0\0\0\2"
REFUSE_STREAM = b"\0\0\4\3\0\0\0\0\1\0\0\0\7"


class BadCase(harness.TestCase):
    def expect(self, state, reason, *steps, words="", tls=None, scheme="http", **options):
        """The result that a server with these steps leads to."""
        with BadServer(*steps, tls=tls) as server:
            code, result = check(f"{scheme}://127.0.0.1:{server.port}/", **options)
            # a second try would hide what happened to the first
            self.assertEqual(server.accepted, 1, result)
        self.assert_result(result, state, reason)
        self.assertIn(words, result["message"])
        self.assertEqual(code, 1 if state == "fail" else 0, result)
        self.assertEqual(result["alive"], state != "fail", result)
        return result


class Wire(BadCase):
    def sent(self, path="/", **options):
        with BadServer(REQUEST, GOOD) as server:
            code, result = check(f"http://127.0.0.1:{server.port}{path}", **options)
            server.join()
            received = server.connections[0].received.decode()
        self.assertEqual(code, 0, result)
        return received.replace(f":{server.port}", ":PORT"), server

    def test_the_request_is_like_the_kubelets(self):
        version = harness.readyd("--version").stdout.split()[1]
        text, _ = self.sent("/ready?a=b#c")
        self.assertEqual(text, "GET /ready?a=b HTTP/1.1\r\n"
                               "Host: 127.0.0.1:PORT\r\n"
                               f"User-Agent: readyd/{version}\r\n"
                               "Accept: */*\r\n"
                               "Connection: close\r\n\r\n")

    def test_own_headers(self):
        text, _ = self.sent(httpHeaders="X-One: 1\nX-Two: a\nX-Two: b\nX-Empty:\nAccept: text/plain\n"
                                        "Host: app.example\nUser-Agent: Mozilla/5.0 (it's me)")
        self.assertEqual(text, "GET / HTTP/1.1\r\n"
                               "Host: app.example\r\n"
                               "User-Agent: Mozilla/5.0 (it's me)\r\n"
                               "X-One: 1\r\nX-Two: a\r\nX-Two: b\r\nX-Empty:\r\nAccept: text/plain\r\n"
                               "Connection: close\r\n\r\n")

    def test_default_headers_can_be_removed(self):
        text, _ = self.sent(httpHeaders="Accept:\nUser-Agent:\nHost:\nConnection: keep-alive\n"
                                        "Content-Length: 7")
        self.assertEqual(text, "GET / HTTP/1.1\r\n"
                               "Host: 127.0.0.1:PORT\r\n"
                               "Connection: keep-alive\r\n\r\n")

    def test_the_path_is_sent_as_written(self):
        for path, sent in (("/a/../b/./c", "/a/../b/./c"), ("/%7Euser/%zz", "/%7Euser/%zz"),
                           ("//double", "//double"), ("?query", "/?query"),
                           ("/[x]{y}|z", "/[x]{y}|z"), ("/\u00fc", "/%C3%BC")):
            with self.subTest(path):
                text, _ = self.sent(path)
                self.assertEqual(text.split("\r\n")[0], f"GET {sent} HTTP/1.1")

    def test_authentication(self):
        token = self.tmp / "token"
        token.write_text("abc.def\n")
        text, _ = self.sent(bearerTokenFile=token)
        self.assertIn("\r\nAuthorization: Bearer abc.def\r\n", text)
        text, _ = self.sent(user="me", password="you")
        self.assertIn("\r\nAuthorization: Basic bWU6eW91\r\n", text)

    def test_request_body(self):
        with BadServer(receive(until=b"{}"), GOOD) as server:
            check(f"http://127.0.0.1:{server.port}/", requestBody="{}",
                  httpHeaders="Content-Type: application/json")
            server.join()
            received = server.connections[0].received.decode()
        self.assertTrue(received.startswith("POST / HTTP/1.1\r\n"), received)
        self.assertIn("\r\nContent-Type: application/json\r\n", received)
        self.assertTrue(received.endswith("\r\nContent-Length: 2\r\n\r\n{}"), received)

    def test_proxies_are_ignored(self):
        with BadServer(stall()) as proxy:
            address = f"http://127.0.0.1:{proxy.port}"
            self.sent(env={"http_proxy": address, "HTTP_PROXY": address, "ALL_PROXY": address,
                           "all_proxy": address})
            self.assertEqual(proxy.accepted, 0)

    def test_ipv6(self):
        with BadServer(REQUEST, GOOD, host="::1") as server:
            code, result = check(f"http://[::1]:{server.port}/")
            self.assertEqual(code, 0, result)
            server.join()
            self.assertIn(f"Host: [::1]:{server.port}\r\n".encode(), server.connections[0].received)

    def test_abstract_unix_socket(self):
        path = f"@readyd-test-http-{os.getpid()}"
        with BadServer(REQUEST, GOOD, path=path) as server:
            code, result = check("http://app/", unixSocket=path)
            self.assertEqual(code, 0, result)
            server.join()
            self.assertIn(b"Host: app\r\n", server.connections[0].received)

    def test_the_other_family_is_tried(self):
        with BadServer(REQUEST, GOOD) as server:
            code, result = check(f"http://localhost:{server.port}/")
            self.assertEqual(code, 0, result)


class Heads(BadCase):
    """Before the head of an answer is complete."""

    def test_nobody_listens(self):
        code, result = check(f"http://127.0.0.1:{harness.free_port()}/")
        self.assert_result(result, "fail", "connect_refused")
        self.assertEqual(code, 1)

    def test_closed_or_reset(self):
        self.expect("fail", "connection_closed", REQUEST, words="before it answered")
        self.expect("fail", "connection_closed", REQUEST, half_close(), stall(),
                    words="before it answered")
        self.expect("fail", "connection_reset", REQUEST, reset(), words="before it answered")
        self.expect("fail", "connection_closed", REQUEST, send(HEAD + b"Content-Le"),
                    words="in the middle of the headers")
        self.expect("fail", "connection_closed", REQUEST, send(HEAD + b"Content-Length: 0\r\n"),
                    words="in the middle of the headers")

    def test_silence(self):
        result = self.expect("fail", "timeout", REQUEST, stall(), timeout=2, words="no answer within 2 s")
        self.assertGreater(result["durationMs"], 1900)
        self.expect("fail", "timeout", REQUEST, send(HEAD), stall(), timeout=2,
                    words="no complete headers")
        self.expect("fail", "timeout", REQUEST, drip(HEAD + b"X-Drip: 1\r\n" * 100, 0.05), timeout=2)

    def test_no_http(self):
        for text in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100,
                     b"hello, this is HTTP/0.9", b"<html>" + b"x" * 100_000, b"\r\n\r\n",
                     b"-ERR wrong number of arguments\r\n"):
            with self.subTest(text[:20]):
                self.expect("fail", "protocol_error", REQUEST, send(text))

    def test_bad_status_lines(self):
        for line in (b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
                     b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1200 OK\r\n\r\n", b"HTTP/\r\n\r\n"):
            with self.subTest(line):
                self.expect("fail", "protocol_error", REQUEST, send(line))
        self.expect("fail", "http_status", REQUEST, send(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"))

    def test_lengths_that_disagree(self):
        self.expect("fail", "protocol_error", REQUEST,
                    send(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk"))
        self.expect("fail", "protocol_error", REQUEST, send(HEAD + b"Content-Length: 2, 3\r\n\r\nokk"))
        self.expect("fail", "protocol_error", REQUEST, send(HEAD + b"Content-Length: -2\r\n\r\nok"))
        self.expect("pass", "ok", REQUEST,
                    send(HEAD + b"Content-Length: 2\r\ncontent-length:2\r\n\r\nok"))

    def test_header_floods(self):
        self.expect("fail", "protocol_error", REQUEST, send(HEAD), flood(b"X-Flood: " + b"x" * 4000 + b"\r\n"))
        self.expect("fail", "protocol_error", REQUEST, send(HEAD + b"X-Flood: "), flood())
        self.expect("fail", "protocol_error", REQUEST, send(b"HTTP/1.1 "), flood())

    def test_interim_answers(self):
        self.expect("pass", "ok", REQUEST,
                    send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
                         b"Content-Length: 5\r\n\r\n"), GOOD, body="ok")
        self.expect("fail", "header_mismatch", REQUEST,
                    send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), GOOD,
                    responseHeaders="Link:")
        self.expect("fail", "protocol_error", REQUEST, flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))
        result = self.expect("fail", "protocol_error", REQUEST,
                             send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\nxyz"))
        self.assertNotIn("xyz", result["message"])

    def test_answers_before_the_request(self):
        self.expect("pass", "ok", GOOD, REQUEST)

    def test_wrong_http2(self):
        # In one piece with the settings: libcurl leaves a bad frame that comes alone to the deadline.
        self.expect("fail", "protocol_error", REQUEST, send(SETTINGS + b"nonsense" * 10),
                    wait_close(), httpVersion=2)
        self.expect("fail", "protocol_error", REQUEST, send(SETTINGS + REFUSE_STREAM), wait_close(),
                    httpVersion=2)
        self.expect("fail", "connection_closed", REQUEST, send(SETTINGS), half_close(), wait_close(),
                    httpVersion=2)


class Bodies(BadCase):
    """After the head: unlike the kubelet, which ignores all of these."""

    def test_hanging(self):
        for head in (b"Content-Length: 9\r\n\r\n", b"Content-Length: 9\r\n\r\nhalf",
                     b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"\r\n"):
            with self.subTest(head):
                result = self.expect("fail", "body_timeout", REQUEST, send(HEAD + head), stall(),
                                     timeout=2, words="no complete body after status 200 within 2 s")
                self.assertLess(result["durationMs"], (2 + harness.SOON_SECONDS) * 1000)

    def test_dripping(self):
        self.expect("fail", "body_timeout", REQUEST, send(HEAD + b"Content-Length: 1000\r\n\r\n"),
                    drip(b"d" * 1000, 0.02), timeout=2)
        self.expect("pass", "ok", REQUEST, drip(HEAD + b"Content-Length: 2\r\n\r\nok", 0.002), body="ok")

    def test_truncated(self):
        for head in (b"Content-Length: 9\r\n\r\nhalf", b"Content-Length: 9\r\n\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
                     b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"):
            with self.subTest(head):
                self.expect("fail", "body_truncated", REQUEST, send(HEAD + head),
                            words="status 200, but the body broke off")
        self.expect("fail", "body_truncated", REQUEST, send(HEAD + b"Content-Length: 9\r\n\r\nhalf"),
                    # lets the bytes be read before the reset throws them away
                    pause(0.2), reset())

    def test_truncated_http2(self):
        self.expect("fail", "body_truncated", REQUEST, send(SETTINGS + HEADERS_200 + DATA + RESET_STREAM),
                    wait_close(), httpVersion=2)
        self.expect("fail", "body_truncated", REQUEST, send(SETTINGS + HEADERS_200 + DATA), httpVersion=2)

    def test_the_status_counts_first(self):
        head = b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nhalf"
        self.expect("fail", "http_status", REQUEST, send(head), stall(), timeout=2)
        self.expect("fail", "http_status", REQUEST, send(head))

    def test_until_close(self):
        self.expect("pass", "ok", REQUEST, send(HEAD + b"\r\nthe end"), body="end")
        self.expect("pass", "ok", REQUEST, send(b"HTTP/1.0 200 OK\r\n\r\nthe end"), body="end")

    def test_endless(self):
        for head in (b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            for options in ({}, {"body": "xxx"}, {"bodyRegex": "y"}, {"json": "a", "jsonValue": "b"}):
                with self.subTest(head=head, options=options):
                    data = b"1000\r\n" + b"x" * 4096 + b"\r\n" if b"chunked" in head else b"x" * 4096
                    result = self.expect("fail", "body_too_large", REQUEST, send(HEAD + head),
                                         flood(data), words="goes on after 64 KiB", **options)
                    self.assertLess(result["durationMs"], harness.SOON_SECONDS * 1000)

    def test_long_and_announced(self):
        head = HEAD + b"Content-Length: 100000000\r\n\r\n"
        self.expect("pass", "ok", REQUEST, send(head), flood())
        self.expect("pass", "ok", REQUEST, send(head), flood(), body="xxx")
        self.expect("fail", "body_too_large", REQUEST, send(head), flood(), body="y",
                    words='the first 64 KiB of the body do not contain "y"')
        self.expect("fail", "body_timeout", REQUEST, send(head + b"x" * 1000), stall(), timeout=2)

    def test_a_flood_behind_the_end(self):
        self.expect("pass", "ok", REQUEST, GOOD, flood())

    def test_trailers(self):
        self.expect("pass", "ok", REQUEST,
                    send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n"
                                b"HTTP/1.1 500 Oops\r\n\r\n"), body="ok")

    def test_bytes_of_all_kinds(self):
        binary = bytes(range(256))
        answer = send(HEAD + b"Content-Length: 262\r\n\r\n" + binary + b"needle")
        self.expect("pass", "ok", REQUEST, answer, body="needle")
        self.expect("pass", "ok", REQUEST, answer, bodyRegex="needle$")
        result = self.expect("fail", "json_mismatch", REQUEST, answer, json="a", jsonValue="b")
        self.assertIn("is no JSON", result["message"])
        result = self.expect("fail", "header_mismatch", REQUEST,
                             send(HEAD + b"X-Odd: \x01\xff" + b"y" * 500 + b"\r\nContent-Length: 0\r\n\r\n"),
                             responseHeaders="X-Odd: plain")
        self.assertIn('is "??yyy', result["message"])


class Tls(BadCase):
    """TLS that goes wrong in the middle."""

    def setUp(self):
        super().setUp()
        certificates = Certificates(self.tmp)
        self.ca = certificates.ca
        server = certificates.issue("server")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server, certificates.key(server))

    def expect_tls(self, state, reason, *steps, **options):
        return self.expect(state, reason, *steps, tls=self.context, scheme="https", caFile=self.ca,
                           **options)

    def test_handshakes(self):
        def wrong(*steps, reason, words="", **options):
            self.expect("fail", reason, *steps, words=words, scheme="https", caFile=self.ca, **options)

        wrong(receive(), reason="connection_closed", words="during the TLS handshake")
        wrong(receive(count=100), reset(), reason="connection_reset", words="during the TLS handshake")
        wrong(receive(), stall(), reason="timeout", words="no complete TLS handshake", timeout=2)
        wrong(receive(), send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), wait_close(), reason="tls_failed",
              words="not TLS")
        wrong(receive(), send(b"\x15\x03\x03\0\2\2\x28"), wait_close(), reason="tls_failed",
              words="refused the handshake")

    def test_bodies(self):
        self.expect_tls("pass", "ok", REQUEST, GOOD, body="ok")
        self.expect_tls("fail", "body_truncated", REQUEST, send(HEAD + b"Content-Length: 9\r\n\r\nhalf"))
        # without the closing alert of TLS nobody knows whether this is all
        self.expect_tls("fail", "body_truncated", REQUEST, send(HEAD + b"\r\nhalf"))
        self.expect_tls("fail", "body_timeout", REQUEST, send(HEAD + b"\r\nhalf"), stall(), timeout=2)
        self.expect_tls("fail", "connection_closed", REQUEST)

    def test_a_peer_that_never_closes(self):
        self.expect_tls("pass", "ok", REQUEST, GOOD, stall())
        self.expect_tls("pass", "ok", REQUEST, GOOD, flood())


class Leaks(harness.TestCase):
    """Thousands of runs that end in every way leave nothing behind."""

    def test_descriptors_and_memory(self):
        certificates = Certificates(self.tmp)
        certificate = certificates.issue("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificates.key(certificate))
        kinds = {
            "good": ([REQUEST, GOOD], None),
            "closed": ([REQUEST], None),
            "reset": ([REQUEST, reset()], None),
            "hanging": ([REQUEST, send(HEAD + b"Content-Length: 9\r\n\r\nhalf"), stall()], None),
            "silent": ([stall()], None),
            "truncated": ([REQUEST, send(HEAD + b"Content-Length: 9\r\n\r\nhalf")], None),
            "endless": ([REQUEST, send(HEAD + b"\r\n"), flood()], None),
            "long": ([REQUEST, send(HEAD + b"Content-Length: 100000000\r\n\r\n"), flood()], None),
            "redirect": ([REQUEST, send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")],
                         None),
            "nonsense": ([REQUEST, send(b"nonsense\r\n")], None),
            "tls": ([REQUEST, GOOD, wait_close()], context),
            "tls-open": ([REQUEST, GOOD, stall()], context),
            "tls-silent": ([receive(), stall()], None),
            "tls-flood": ([REQUEST, GOOD, flood()], context),
            "h2": ([REQUEST, send(SETTINGS + HEADERS_200 + DATA_OK), stall()], None),
            "h2-hanging": ([REQUEST, send(SETTINGS + HEADERS_200 + DATA), stall()], None),
            "h2-refused": ([REQUEST, send(SETTINGS + REFUSE_STREAM), stall()], None),
        }
        config = "readiness:\n"
        for name, (steps, tls) in kinds.items():
            server = BadServer(*steps, tls=tls)
            self.addCleanup(server.close)
            scheme = "https" if "tls" in name else "http"
            version = "2" if "h2" in name else "1.1"
            hangs = "hanging" in name or "silent" in name
            config += (f"  {name}:\n    http: {{ url: '{scheme}://127.0.0.1:{server.port}/', body: ok, "
                       f"caFile: {certificates.ca}, httpVersion: '{version}' }}\n"
                       "    periodSeconds: 0.02\n"
                       f"    timeoutSeconds: {0.2 if hangs else 5}\n")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with harness.Agent(config, env=QUIET) as agent:
            def runs(each, in_all):
                def enough(agent):
                    counts = [probe["runs"] for probe in agent.status()["probes"]]
                    return min(counts) >= each and sum(counts) >= in_all
                agent.wait_for(enough)

            def memory_kib():
                with open(f"/proc/{agent.process.pid}/status") as status:
                    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

            runs(10, 500)
            memory = memory_kib()
            runs(30, 2500)
            self.assertLess(memory_kib() - memory, 1024)
            expected = {"good": "ok", "tls": "ok", "tls-open": "ok", "tls-flood": "ok", "h2": "ok",
                        "closed": "connection_closed", "reset": "connection_reset",
                        "hanging": "body_timeout", "h2-hanging": "body_timeout",
                        "silent": "timeout", "tls-silent": "timeout",
                        "truncated": "body_truncated", "long": "body_too_large",
                        "endless": "body_too_large", "redirect": "too_many_redirects",
                        "nonsense": "protocol_error", "h2-refused": "protocol_error"}
            self.assertEqual(expected.keys(), kinds.keys())
            agent.wait_for(lambda agent: expected == {probe["name"]: probe["reason"]
                                                      for probe in agent.status()["probes"]})
            # epoll, signals, listeners and the admin socket: no more than the probes themselves
            self.assertLess(agent.descriptors(), 12 + 2 * len(kinds))


if __name__ == "__main__":
    harness.unittest.main()
