"""TLS under the TCP probe: what is trusted, what is not, and why."""

import datetime
import os
import shutil
import ssl
import tempfile
import unittest

import harness
from bad_server import (BadServer, drip, flood, half_close, receive, reset, send, stall, wait_close)
from harness import Agent, TestCase, check, free_port
from nginx_server import Certificates

REQUEST = "GET / HTTP/1.0\\r\\n\\r\\n"


class TlsTestCase(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="readyd-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.certificates = Certificates(cls.directory)
        cls.good = cls.certificates.issue("good")

    def server(self, certificate, *arguments):
        """A real `openssl s_server`; returns its port."""
        port = free_port()
        self.start(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate,
                    "-key", self.certificates.key(certificate), "-www", *arguments],
                   ready=lambda: harness.port_open(port))
        return port

    def context(self, certificate=None, **options):
        """For BadServer(tls=...)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = certificate or self.good
        context.load_cert_chain(certificate, self.certificates.key(certificate))
        return context

    def check(self, port, *, host="localhost", **options):
        options.setdefault("caFile", self.certificates.ca)
        return check(f"tcp://{host}:{port}", timeout=options.pop("timeout", 20), tls=True,
                     **options)[1]

    def assert_check(self, state, reason, port, **options):
        result = self.check(port, **options)
        self.assert_result(result, state, reason)
        return result


class Verification(TlsTestCase):
    def test_trusted_by_name_and_by_address(self):
        port = self.server(self.good)
        result = self.assert_check("pass", "ok", port)
        self.assertEqual(set(result["phasesMs"]), {"connect", "tls", "total"})
        self.assert_check("pass", "ok", port, host="127.0.0.1")
        self.assert_check("pass", "ok", port, host="localhost.")

    def test_untrusted(self):
        certificate = self.certificates.issue("stranger", ca=self.certificates.other_ca)
        port = self.server(certificate)
        result = self.assert_check("fail", "tls_untrusted", port)
        self.assertEqual(result["message"], "the certificate's issuer untrusted authority is not "
                                            "among the trusted authorities (caFile)")
        self.assertTrue(result["alive"])
        self.assert_check("pass", "ok", port, caFile=self.certificates.other_ca)
        self.assert_check("pass", "ok", port, insecureSkipVerify=True)

    def test_self_signed(self):
        port = self.server(self.certificates.ca)
        own = self.certificates.authority("own")
        result = self.assert_check("fail", "tls_untrusted", port, caFile=own)
        self.assertIn("signed by itself", result["message"])
        # Who puts the server's own certificate into caFile trusts it.
        self.assert_check("pass", "ok", port, caFile=self.certificates.ca,
                          serverName="trusted authority")

    def test_other_name(self):
        certificate = self.certificates.issue("elsewhere",
                                              names="DNS:a.test,DNS:b.test,IP:10.0.0.1,DNS:c.test")
        port = self.server(certificate)
        result = self.assert_check("fail", "tls_hostname", port)
        self.assertEqual(result["message"], "the certificate is for a.test, b.test, 10.0.0.1 and "
                                            "others, not for localhost")
        result = self.assert_check("fail", "tls_hostname", port, host="127.0.0.1")
        self.assertTrue(result["message"].endswith("not for 127.0.0.1"), result)
        self.assert_check("pass", "ok", port, serverName="b.test")
        self.assert_check("pass", "ok", port, serverName="10.0.0.1")
        self.assert_check("pass", "ok", port, insecureSkipVerify=True)

    def test_wildcards(self):
        port = self.server(self.certificates.issue("wild", names="DNS:*.a.test,DNS:w*.b.test"))
        self.assert_check("pass", "ok", port, serverName="www.a.test")
        self.assert_check("fail", "tls_hostname", port, serverName="x.www.a.test")
        self.assert_check("fail", "tls_hostname", port, serverName="www.b.test")

    def test_expired(self):
        port = self.server(self.certificates.issue("past", begins_days=-20, ends_days=-3))
        ended = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3)
        result = self.assert_check("fail", "tls_expired", port)
        self.assertEqual(result["message"],
                         f"the certificate of past has expired on {ended:%Y-%m-%d}")
        self.assert_check("pass", "ok", port, insecureSkipVerify=True)

    def test_not_yet_valid(self):
        port = self.server(self.certificates.issue("future", begins_days=3, ends_days=20))
        begins = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)
        result = self.assert_check("fail", "tls_not_yet_valid", port)
        self.assertEqual(result["message"], f"the certificate of future is not valid yet, only "
                                            f"from {begins:%Y-%m-%d}")

    def test_ends_soon(self):
        port = self.server(self.good)  # ten days
        self.assert_check("pass", "ok", port, certificateWarnDays=5)
        result = self.assert_check("warn", "tls_expiring", port, certificateWarnDays=30)
        self.assertRegex(result["message"], "in (9|10) days; at least 30 are wanted")
        self.assertTrue(result["ready"])
        result = self.assert_check("fail", "tls_expiring", port, certificateWarnDays=30,
                                   certificateFailDays=15)
        self.assertIn("at least 15 are wanted", result["message"])
        self.assertTrue(result["alive"])
        self.assert_check("fail", "tls_expiring", port, certificateFailDays=15,
                          insecureSkipVerify=True)

    def test_chain_with_an_intermediate_authority(self):
        middle = self.certificates.issue("middle",
                                         names="DNS:middle\nbasicConstraints=critical,CA:true")
        leaf = self.certificates.issue("leaf", ca=middle)
        self.assert_check("fail", "tls_untrusted", self.server(leaf))
        port = self.server(leaf, "-cert_chain", middle)
        self.assert_check("pass", "ok", port)
        self.assert_check("pass", "ok", port, caFile=middle)

    def test_server_name_is_asked_for(self):
        asked = []
        context = self.context()
        context.sni_callback = lambda sock, name, _: asked.append(name)
        with BadServer(wait_close(), tls=context) as server:
            self.assert_check("pass", "ok", server.port)
            self.assert_check("pass", "ok", server.port, host="127.0.0.1")
            self.assert_check("fail", "tls_hostname", server.port, serverName="other.test")
        self.assertEqual(asked, ["localhost", None, "other.test"])

    def test_unix_socket(self):
        path = str(self.tmp / "tls.sock")
        with BadServer(wait_close(), path=path, tls=self.context()):
            options = {"tls": True, "caFile": self.certificates.ca}
            self.assert_result(check(f"unix:{path}", serverName="localhost", **options)[1], "pass",
                               "ok")
            done = harness.readyd("check", f"unix:{path}", "-o", "tls=true")
            self.assertEqual(done.returncode, 1)
            self.assertIn("needs serverName", done.stdout + done.stderr)

    def test_authorities_of_the_system(self):
        port = self.server(self.good)
        code, result = check(f"tcp://localhost:{port}", tls=True, timeout=20,
                             env={"SSL_CERT_FILE": str(self.certificates.ca)})
        self.assert_result(result, "pass", "ok")
        _, result = check(f"tcp://localhost:{port}", tls=True, timeout=20,
                          env={"SSL_CERT_FILE": "/none/such"})
        self.assert_result(result, "fail", "tls_failed")
        self.assertIn("/none/such", result["message"])


class ClientCertificate(TlsTestCase):
    def required(self, version):
        return self.server(self.good, "-Verify", "1", "-verify_return_error", "-CAfile",
                           self.certificates.ca, version)

    def test_missing(self):
        result = self.assert_check("fail", "tls_failed", self.required("-tls1_2"))
        self.assertIn("certFile", result["message"])
        # With TLS 1.3 the server's verdict comes after the handshake, with the first answer.
        result = self.assert_check("fail", "tls_failed", self.required("-tls1_3"), send=REQUEST,
                                   expect="200")
        self.assertEqual(result["message"], "the peer requires a client certificate (certFile)")

    def test_shown(self):
        client = self.certificates.issue("client")
        key = self.certificates.key(client)
        both = self.tmp / "both.pem"
        both.write_text(client.read_text() + key.read_text())
        for version in ("-tls1_2", "-tls1_3"):
            port = self.required(version)
            exchange = {"send": REQUEST, "expect": "HTTP/1.0 200 ok"}
            self.assert_check("pass", "ok", port, certFile=client, keyFile=key, **exchange)
            self.assert_check("pass", "ok", port, certFile=both, **exchange)

    def test_wrong_one(self):
        client = self.certificates.issue("intruder", ca=self.certificates.other_ca)
        result = self.assert_check("fail", "tls_failed", self.required("-tls1_2"), certFile=client,
                                   keyFile=self.certificates.key(client))
        self.assertEqual(result["message"],
                         "the peer does not accept the client certificate (certFile)")


class Files(TlsTestCase):
    """What is wrong with our own files is said, and named."""

    def assert_file_error(self, words, **options):
        with BadServer(wait_close(), tls=self.context()) as server:
            result = self.assert_check("fail", "tls_failed", server.port, **options)
        for word in words:
            self.assertIn(str(word), result["message"])

    def test_authorities(self):
        junk = self.tmp / "junk.pem"
        junk.write_text("no certificate")
        self.assert_file_error(["caFile", junk, "PEM"], caFile=junk)
        self.assert_file_error(["caFile", "/none/such", "No such file"], caFile="/none/such")
        self.assert_file_error(["caFile", "not a regular file"], caFile=self.tmp)
        pipe = self.tmp / "pipe"
        os.mkfifo(pipe)
        self.assert_file_error(["caFile", pipe, "not a regular file"], caFile=pipe)

    def test_client_certificate(self):
        good, key = self.good, self.certificates.key(self.good)
        other = self.certificates.key(self.certificates.ca)
        junk = self.tmp / "junk.pem"
        junk.write_text("nothing")
        self.assert_file_error(["keyFile", other], certFile=good, keyFile=other)
        self.assert_file_error(["keyFile", good], certFile=good)
        self.assert_file_error(["certFile", junk], certFile=junk, keyFile=key)
        locked = self.tmp / "locked.key"
        self.certificates._openssl("pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out",
                                   locked)
        self.assert_file_error(["keyFile", locked, "without a passphrase"], certFile=good,
                               keyFile=locked)

    def test_a_changed_file_is_read_again(self):
        authorities = self.tmp / "ca.pem"
        # of the same size, so that it is the time that tells
        wrong, right = (path.read_bytes().ljust(4096, b"\n")
                        for path in (self.certificates.other_ca, self.certificates.ca))
        authorities.write_bytes(wrong)
        with BadServer(wait_close(), tls=self.context()) as server:
            config = (f"readiness: {{a: {{tcp: {{url: 'tcp://localhost:{server.port}', tls: true, "
                      f"caFile: {authorities}}}, periodSeconds: 0.05, timeoutSeconds: 20, "
                      f"failureThreshold: 1}}}}")
            with Agent(config) as agent:
                agent.wait_for(lambda _: agent.probe("a").get("reason") == "tls_untrusted")
                authorities.write_bytes(right)
                agent.wait_ready()
                replacement = self.tmp / "new.pem"
                replacement.write_bytes(wrong)
                replacement.rename(authorities)
                agent.wait_ready(503)
                authorities.unlink()
                agent.wait_for(lambda _: agent.probe("a").get("reason") == "tls_failed")


class Misbehaviour(TlsTestCase):
    def test_old_version(self):
        port = self.server(self.good, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        result = self.assert_check("fail", "tls_failed", port)
        self.assertEqual(result["message"], "the peer offers no TLS 1.2 or newer")

    def test_no_tls_at_all(self):
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ready\r\n", b"\0" * 100):
            with BadServer(send(answer), stall()) as server:
                result = self.assert_check("fail", "tls_failed", server.port)
                self.assertEqual(result["message"], "the peer's answer is not TLS")

    def test_silence(self):
        with BadServer(stall()) as server:
            result = self.assert_check("fail", "timeout", server.port, timeout=2)
        self.assertEqual(result["message"], "no complete TLS handshake within 2 s")
        self.assertTrue(result["alive"])

    def test_half_a_handshake(self):
        hello = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"
        with BadServer(receive(), drip(hello, 0.01), stall()) as server:
            self.assert_check("fail", "timeout", server.port, timeout=2)

    def test_closed_and_reset(self):
        with BadServer(receive()) as server:
            result = self.check(server.port)
            # bytes of ours that it has not read turn its close into a reset
            self.assertIn(result["reason"], ("connection_closed", "connection_reset"))
        with BadServer(half_close(), stall()) as server:
            result = self.assert_check("fail", "connection_closed", server.port)
            self.assertIn("during the TLS handshake", result["message"])
        with BadServer(receive(), reset()) as server:
            self.assert_check("fail", "connection_reset", server.port)


class Exchange(TlsTestCase):
    def assert_exchange(self, state, reason, *steps, **options):
        with BadServer(*steps, tls=self.context()) as server:
            return self.assert_check(state, reason, server.port, **options)

    def test_real_server(self):
        result = self.assert_check("pass", "ok", self.server(self.good), send=REQUEST,
                                   expect="HTTP/1.0 200 ok")
        self.assertEqual(set(result["phasesMs"]), {"connect", "tls", "firstByte", "total"})

    def test_banner(self):
        self.assert_exchange("pass", "ok", send(b"220 ready\r\n"), stall(), expect="220")
        self.assert_exchange("pass", "ok", drip(b"220 ready", 0.01), stall(), expect="220 ready")

    def test_send_alone_and_a_clean_end(self):
        with BadServer(wait_close(), tls=self.context()) as server:
            self.assert_check("pass", "ok", server.port, send="hello")
            server.wait_accepted(1)
            server.join()
            self.assertEqual((server.connections[0].received,
                              server.connections[0].closed_by_peer), (b"hello", True))

    def test_end_without_match(self):
        self.assert_exchange("fail", "connection_closed", expect="220")
        result = self.assert_exchange("fail", "body_mismatch", send(b"500"), expect="220")
        self.assertEqual(result["message"], 'the answer was "500", without "220"')

    def test_silence_and_flood(self):
        result = self.assert_exchange("fail", "timeout", send(b"22"), stall(), expect="220",
                                      timeout=5)
        self.assertEqual(result["message"], 'no "220" in the answer "22" within 5 s')
        self.assert_exchange("fail", "body_too_large", flood(), expect="220")
        self.assert_exchange("pass", "ok", flood(total=61440), send(b"220"), stall(), expect="220")

    def test_reset(self):
        self.assert_exchange("fail", "connection_reset", receive(), reset(), send="x", expect="y")


class Leaks(TlsTestCase):
    def test_runs_that_end_at_every_stage(self):
        with BadServer(stall()) as silent, BadServer(wait_close(), tls=self.context()) as good, \
                BadServer(stall(), tls=self.context()) as mute, BadServer(reset()) as resetting:
            common = "periodSeconds: 0.05, timeoutSeconds: 0.05, failureThreshold: 1"
            tls = f"tls: true, serverName: localhost, caFile: {self.certificates.ca}"
            probes = {
                "silent": f"tcp: {{port: {silent.port}, {tls}}}",
                "good": f"tcp: {{port: {good.port}, {tls}}}",
                "mute": f"tcp: {{port: {mute.port}, expect: x, {tls}}}",
                "resetting": f"tcp: {{port: {resetting.port}, {tls}}}",
                "hostname": f"tcp: {{port: {good.port}, tls: true, serverName: other}}",
            }
            config = "readiness:\n" + "".join(
                f"  {name}: {{{settings}, {common}}}\n" for name, settings in probes.items())
            with Agent(config, env={"SSL_CERT_FILE": str(self.certificates.ca)}) as agent:
                def runs():
                    return min(probe["runs"] for probe in agent.status()["probes"])
                agent.wait_for(lambda _: runs() >= 5)
                before = agent.descriptors()
                agent.wait_for(lambda _: runs() >= 100, timeout=60)
                self.assertLessEqual(agent.descriptors(), before + 2 * len(probes))
                self.assertEqual(agent.probe("silent")["reason"], "timeout")


if __name__ == "__main__":
    unittest.main()
