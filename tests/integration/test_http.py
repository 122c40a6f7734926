"""The HTTP probe against a real nginx."""

import harness
from harness import check
from nginx_server import Certificates, Nginx

STATUSES = (200, 204, 299, 300, 304, 399, 400, 404, 500, 503)


class HttpCase(harness.TestCase):
    def expect(self, state, reason, url, **options):
        code, result = check(url, **options)
        self.assert_result(result, state, reason)
        self.assertEqual(code, 1 if state == "fail" else 0, result)
        return result


class Plain(HttpCase):
    """One nginx without TLS, with a second port and a unix socket."""

    def setUp(self):
        super().setUp()
        self.port, self.second, self.http2 = (harness.free_port() for _ in range(3))
        self.socket = self.tmp / "nginx.sock"
        statuses = "".join(f"location = /status/{code} {{ return {code}; }}" for code in STATUSES)
        hops = "".join(f"location = /hop/{left} {{ return 302 /hop/{left - 1}; }}"
                       for left in range(1, 12))
        shown = "return 200 '$request_method $http_host $http_authorization $http_cookie $content_length\n';"
        self.nginx = Nginx(self, f"""
            listen 127.0.0.1:{self.port};
            listen unix:{self.socket};
            absolute_redirect off;
            {statuses} {hops}
            location = /hop/0 {{ return 200 "arrived\n"; }}
            location = /loop {{ return 307 /loop; }}
            location = /ok {{ return 200 "all is well\n"; }}
            location = /shown {{ {shown} }}
            location = /json {{
                default_type application/json;
                return 200 '{{"status":"ok","checks":{{"db":{{"up":true,"lag":1.5}}}},"items":[1,2]}}';
            }}
            location = /role {{ add_header X-Role replica; return 200; }}
            location = /second {{ return 302 http://127.0.0.1:{self.second}/shown; }}
            location = /shouting {{ return 302 http://LOCALHOST:{self.port}/ok; }}
            location = /elsewhere {{ return 302 http://elsewhere.example/ok; }}
            location = /see-other {{ return 303 /shown; }}
            location = /found {{ return 302 /shown; }}
            location = /temporary {{ return 307 /shown; }}
            location = /ftp {{ return 302 ftp://127.0.0.1/ok; }}
            location = /files/slow {{ root {self.tmp}; limit_rate 1000; }}
            location = /files/secret {{
                auth_basic "a test"; auth_basic_user_file {self.tmp}/passwords; root {self.tmp};
            }}""", f"""
            listen 127.0.0.1:{self.second};
            location = /shown {{ {shown} }}""", f"""
            listen 127.0.0.1:{self.http2} http2;
            location = /ok {{ return 200 "all is well\n"; }}""",
            ports=(self.port, self.second, self.http2))
        files = self.tmp / "files"
        files.mkdir()
        (files / "slow").write_bytes(b"s" * 40000)
        (files / "secret").write_text("told\n")
        (self.tmp / "passwords").write_text("tester:{PLAIN}open sesame\n")
        (self.nginx.root / "large").write_bytes(b"early words" + b"x" * 200_000 + b"late words")
        (self.nginx.root / "full").write_bytes(b"f" * 65536)

    def url(self, path="/ok"):
        return f"http://127.0.0.1:{self.port}{path}"

    def test_the_kubelets_verdict_on_statuses(self):
        for code in STATUSES:
            with self.subTest(code):
                state, reason = (("pass", "ok") if code < 300 else
                                 ("warn", "redirect") if code < 400 else ("fail", "http_status"))
                result = self.expect(state, reason, self.url(f"/status/{code}"))
                self.assertEqual(result["alive"], code < 400)
                if code >= 400:
                    self.assertEqual(result["message"], f"status {code}, expected 200-399")

    def test_accepted_statuses(self):
        self.expect("pass", "ok", self.url("/status/404"), status="200,400-404")
        self.expect("pass", "ok", self.url("/status/304"), status="304", followRedirects=False)
        result = self.expect("fail", "http_status", self.url("/status/204"), status="200,400-404")
        self.assertEqual(result["message"], "status 204, expected 200,400-404")

    def test_redirects_on_the_same_host_are_followed(self):
        self.expect("pass", "ok", self.url("/hop/9"), body="arrived")
        self.assertEqual(len(self.nginx.wait_requests(10)), 10)
        self.expect("pass", "ok", self.url("/second"))
        self.expect("pass", "ok", f"http://localhost:{self.port}/shouting")

    def test_the_tenth_redirect_fails(self):
        result = self.expect("fail", "too_many_redirects", self.url("/hop/10"))
        self.assertFalse(result["alive"])
        self.assertEqual(len(self.nginx.wait_requests(10)), 10)
        self.expect("fail", "too_many_redirects", self.url("/loop"))

    def test_a_redirect_to_another_host_passes_with_a_warning(self):
        result = self.expect("warn", "redirect", self.url("/elsewhere"))
        self.assertIn("elsewhere.example", result["message"])
        self.assertTrue(result["ready"])
        # 127.0.0.1 and localhost are two names
        self.expect("warn", "redirect", self.url("/shouting"))
        self.expect("fail", "http_status", self.url("/elsewhere"), status=200)
        self.expect("fail", "protocol_error", self.url("/ftp"))

    def test_redirects_can_be_left_alone(self):
        self.expect("pass", "ok", self.url("/loop"), followRedirects=False)
        self.expect("fail", "http_status", self.url("/loop"), followRedirects=False, status=200)
        self.assertEqual(len(self.nginx.wait_requests(2)), 2)

    def test_secrets_do_not_leave_the_port(self):
        options = {"user": "tester", "password": "open sesame", "httpHeaders": "Cookie: c=1"}
        basic = "Basic dGVzdGVyOm9wZW4gc2VzYW1l"
        host = f"127.0.0.1:{self.port}"
        self.expect("pass", "ok", self.url("/shown"), body=f"GET {host} {basic} c=1 ", **options)
        self.expect("pass", "ok", self.url("/found"), body=f"GET {host} {basic} c=1 ", **options)
        self.expect("pass", "ok", self.url("/second"), body=f"GET 127.0.0.1:{self.second}   \n",
                    **options)
        self.expect("pass", "ok", self.url("/second"), body=f"GET 127.0.0.1:{self.second}   \n",
                    httpHeaders="Authorization: own")

    def test_methods(self):
        host = f"127.0.0.1:{self.port}"
        for path, method, body, seen in (
                ("/shown", "DELETE", None, f"DELETE {host}   \n"),
                ("/shown", "POST", None, f"POST {host}   0\n"),
                ("/shown", None, "12345", f"POST {host}   5\n"),
                ("/shown", "PUT", "12345", f"PUT {host}   5\n"),
                ("/found", None, "12345", f"GET {host}   \n"),
                ("/see-other", "PUT", "12345", f"GET {host}   \n"),
                ("/temporary", "POST", "12345", f"POST {host}   5\n")):
            with self.subTest(path=path, method=method):
                options = {"method": method} if method else {}
                if body:
                    options["requestBody"] = body
                self.expect("pass", "ok", self.url(path), body=seen, **options)
        self.expect("pass", "ok", self.url("/files/large"), method="HEAD")
        self.nginx.wait_request("HTTP/1.1 HEAD /files/large 200")

    def test_body_rules(self):
        self.expect("pass", "ok", self.url(), body="is well")
        self.expect("pass", "ok", self.url(), bodyRegex="^all +is (well|fine)$|^all is")
        result = self.expect("fail", "body_mismatch", self.url(), body="is bad")
        self.assertEqual(result["message"], 'status 200, but the body does not contain "is bad"')
        self.expect("fail", "body_mismatch", self.url(), bodyRegex="^is")
        self.expect("fail", "body_mismatch", self.url("/status/204"), body="anything")

    def test_json_rules(self):
        for path, value in (("status", "ok"), ("checks.db.up", "true"), ("checks.db.lag", "1.50"),
                            ("items.1", "2"), ("/checks/db/up", "true")):
            self.expect("pass", "ok", self.url("/json"), json=path, jsonValue=value)
        result = self.expect("fail", "json_mismatch", self.url("/json"), json="status", jsonValue="up")
        self.assertEqual(result["message"],
                         'status 200, but "status" in the body is "ok", expected "up"')
        self.expect("fail", "json_mismatch", self.url("/json"), json="state", jsonValue="ok")
        self.expect("fail", "json_mismatch", self.url("/ok"), json="status", jsonValue="ok")

    def test_response_headers(self):
        for rule in ("X-Role: replica", "x-role:", "Content-Type: text/plain"):
            self.expect("pass", "ok", self.url("/role"), responseHeaders=rule)
        result = self.expect("fail", "header_mismatch", self.url("/role"),
                             responseHeaders="X-Role: primary")
        self.assertEqual(result["message"], 'status 200, but the header "X-Role" is "replica", '
                                            'expected "primary"')
        result = self.expect("fail", "header_mismatch", self.url("/ok"), responseHeaders="X-Role:")
        self.assertIn('no header "X-Role"', result["message"])

    def test_long_bodies(self):
        self.expect("pass", "ok", self.url("/files/large"))
        self.expect("pass", "ok", self.url("/files/large"), body="early words")
        self.expect("fail", "body_too_large", self.url("/files/large"), body="late words")
        self.expect("fail", "body_too_large", self.url("/files/large"), json="a", jsonValue="b")
        self.expect("pass", "ok", self.url("/files/full"), bodyRegex="f$")

    def test_slow_answers(self):
        result = self.expect("fail", "body_timeout", self.url("/files/slow"), timeout=2)
        self.assertIn("no complete body after status 200", result["message"])
        self.assertLess(result["durationMs"], (2 + harness.SOON_SECONDS) * 1000)
        self.assertFalse(result["alive"])
        result = self.expect("warn", "slow", self.url(), warnAboveSeconds="0.000001")
        self.assertTrue(result["ready"])
        self.expect("pass", "ok", self.url(), warnAboveSeconds=60)

    def test_unix_socket(self):
        self.expect("pass", "ok", "http://app.internal/ok", unixSocket=self.socket, body="all is well")
        self.expect("pass", "ok", "http://app.internal/shown", unixSocket=self.socket,
                    body="GET app.internal ")
        # the redirect is answered by the same socket
        self.expect("pass", "ok", "http://app.internal/hop/3", unixSocket=self.socket)
        self.expect("fail", "socket_missing", "http://app.internal/ok", unixSocket=self.tmp / "none")

    def test_basic_authentication(self):
        secret = self.tmp / "secret"
        secret.write_text("open sesame\n")
        url = self.url("/files/secret")
        self.expect("fail", "http_status", url)
        self.expect("pass", "ok", url, user="tester", passwordFile=secret, body="told")
        self.expect("pass", "ok", url.replace("//", "//tester:open%20sesame@"), body="told")
        result = self.expect("fail", "http_status", url.replace("//", "//tester:hushed@"))
        self.assertNotIn("hushed", str(result))
        self.expect("fail", "http_status", url, user="tester", password="wrong")

    def test_http2_with_prior_knowledge(self):
        url = f"http://127.0.0.1:{self.http2}/ok"
        self.expect("pass", "ok", url, httpVersion=2, body="all is well")
        self.nginx.wait_request("HTTP/2.0 GET /ok 200")
        self.expect("fail", "protocol_error", self.url(), httpVersion=2)
        # nginx before 1.25 speaks nothing but HTTP/2 on such a port, later ones both
        self.expect("pass", "ok", self.url(), httpVersion="1.0")
        self.nginx.wait_request("HTTP/1.0 GET /ok 200")

    def test_url_from_a_file(self):
        target = self.tmp / "url"
        target.write_text(self.url() + "\n")
        config = (f"readiness:\n  app:\n    http: {{ urlFile: {target} }}\n    periodSeconds: 0.1\n")
        with harness.Agent(config) as agent:
            agent.wait_ready()
            target.write_text(self.url("/status/503"))
            agent.wait_ready(503)
            target.write_text("nonsense")
            agent.wait_for(lambda agent: agent.probe("app").get("reason") == "secret_unavailable")

    def test_kubernetes_block(self):
        config = f"""
readiness:
  app:
    httpGet:
      path: shown?a=b#fragment
      port: {self.port}
      scheme: hTTp
      httpHeaders:
      - name: Host
        value: app.example
      - name: X-Empty
        value: ""
    periodSeconds: 0.2
"""
        with harness.Agent(config) as agent:
            agent.wait_ready()
        self.nginx.wait_request("HTTP/1.1 GET /shown?a=b 200")


class Tls(HttpCase):
    """One nginx with a port for each kind of certificate."""

    def setUp(self):
        super().setUp()
        self.certificates = certificates = Certificates(self.tmp)
        kinds = {
            "good": certificates.issue("good"),
            "expired": certificates.issue("expired", begins_days=-10, ends_days=-2),
            "future": certificates.issue("future", begins_days=2),
            "named": certificates.issue("named", names="DNS:other.example"),
            "untrusted": certificates.issue("untrusted-server", ca=certificates.other_ca),
            "mutual": certificates.issue("mutual"),
        }
        self.ports = {kind: harness.free_port() for kind in kinds}
        self.plain = harness.free_port()
        servers = [f"listen 127.0.0.1:{self.plain}; "
                   f"return 301 https://localhost:{self.ports['good']}/ok;"]
        for kind, certificate in kinds.items():
            mutual = ""
            if kind == "mutual":
                mutual = f"ssl_verify_client on; ssl_client_certificate {certificates.ca};"
            servers.append(f"""
                listen 127.0.0.1:{self.ports[kind]} ssl {'http2' if kind == 'good' else ''};
                ssl_certificate {certificate}; ssl_certificate_key {certificates.key(certificate)};
                {mutual}
                location = /ok {{ return 200 "$ssl_server_name $server_protocol $host $ssl_session_reused\n"; }}
                location = /plain {{ return 302 http://localhost:{self.plain}/; }}""")
        self.nginx = Nginx(self, *servers, ports=(self.plain, *self.ports.values()))

    def url(self, kind="good", path="/ok", host="localhost"):
        return f"https://{host}:{self.ports[kind]}{path}"

    def test_verified_by_default(self):
        ca = self.certificates.ca
        result = self.expect("pass", "ok", self.url(), caFile=ca, body="localhost HTTP/1.1 localhost")
        self.assertIn("tls", result["phasesMs"])
        self.expect("pass", "ok", self.url(host="127.0.0.1"), caFile=ca)
        for kind, reason, words in (("expired", "tls_expired", "has expired on 20"),
                                    ("future", "tls_not_yet_valid", "not valid yet"),
                                    ("named", "tls_hostname", "for other.example, not for localhost"),
                                    ("untrusted", "tls_untrusted", "untrusted authority")):
            with self.subTest(kind):
                result = self.expect("fail", reason, self.url(kind), caFile=ca)
                self.assertIn(words, result["message"])
                self.expect("pass", "ok", self.url(kind), insecureSkipVerify=True)
        bundle = {"SSL_CERT_FILE": str(self.certificates.other_ca)}
        self.expect("fail", "tls_untrusted", self.url(), env=bundle)
        self.expect("pass", "ok", self.url("untrusted"), env=bundle)

    def test_server_name(self):
        ca = self.certificates.ca
        self.expect("pass", "ok", self.url("named"), caFile=ca, serverName="other.example",
                    body="other.example HTTP/1.1 localhost .")
        self.expect("fail", "tls_hostname", self.url(), caFile=ca, serverName="other.example")

    def test_client_certificate(self):
        ca, client = self.certificates.ca, self.certificates.issue("client", names="DNS:client")
        self.expect("fail", "http_status", self.url("mutual"), caFile=ca)
        self.expect("pass", "ok", self.url("mutual"), caFile=ca, certFile=client,
                    keyFile=self.certificates.key(client))
        both = self.tmp / "both.pem"
        both.write_text(client.read_text() + self.certificates.key(client).read_text())
        self.expect("pass", "ok", self.url("mutual"), caFile=ca, certFile=both)
        result = self.expect("fail", "tls_failed", self.url("mutual"), caFile=ca, certFile=client)
        self.assertIn("keyFile", result["message"])

    def test_files_that_cannot_be_used(self):
        nonsense = self.tmp / "nonsense"
        nonsense.write_text("nonsense")
        for path in (nonsense, self.tmp / "missing"):
            result = self.expect("fail", "tls_failed", self.url(), caFile=path)
            self.assertIn(f"caFile {path}", result["message"])

    def test_days_to_expiry(self):
        ca = self.certificates.ca
        result = self.expect("pass", "ok", self.url(), caFile=ca, certificateWarnDays=5,
                             certificateFailDays=2)
        self.assertIn("certificateExpires", str(result))
        result = self.expect("warn", "tls_expiring", self.url(), caFile=ca, certificateWarnDays=30,
                             certificateFailDays=2)
        self.assertTrue(result["ready"])
        result = self.expect("fail", "tls_expiring", self.url(), caFile=ca, certificateWarnDays=30,
                             certificateFailDays=20)
        self.assertTrue(result["alive"])
        # told even when the handshake fails over it
        result = self.expect("fail", "tls_expired", self.url("expired"), caFile=ca)
        self.assertIn("certificateExpires", str(result))

    def test_redirects_between_schemes(self):
        ca = self.certificates.ca
        self.expect("pass", "ok", f"http://localhost:{self.plain}/", caFile=ca, body="HTTP/1.1")
        self.expect("pass", "ok", self.url(path="/plain"), caFile=ca, body="HTTP/1.1")
        self.expect("warn", "redirect", f"http://127.0.0.1:{self.plain}/", caFile=ca)

    def test_http2(self):
        ca = self.certificates.ca
        self.expect("pass", "ok", self.url(), caFile=ca, httpVersion=2, body="localhost HTTP/2.0")
        result = self.expect("fail", "protocol_error", self.url("mutual"), insecureSkipVerify=True,
                             httpVersion=2)
        self.assertIn("expected HTTP/2", result["message"])

    def test_wrong_protocol(self):
        self.expect("fail", "tls_failed", f"https://localhost:{self.plain}/",
                    insecureSkipVerify=True)
        self.expect("fail", "http_status", self.url().replace("https:", "http:"))

    def test_kubernetes_does_not_verify(self):
        for extra, ready in (("", 200), (f"caFile: {self.certificates.ca}", 503)):
            config = f"""
readiness:
  app:
    httpGet: {{ scheme: HTTPS, port: {self.ports['expired']}, path: /ok, {extra} }}
    periodSeconds: 0.2
"""
            with harness.Agent(config) as agent:
                agent.wait_for(lambda agent: agent.probe("app").get("reason"))
                agent.wait_ready(ready)

    def test_sessions_are_not_resumed(self):
        # a resumed one shows no certificate, so one that has expired would not be noticed
        config = (f"readiness:\n  app:\n    http: {{ url: '{self.url()}', body: 'localhost .', "
                  f"caFile: {self.certificates.ca} }}\n    periodSeconds: 0.1\n")
        with harness.Agent(config) as agent:
            agent.wait_for(lambda agent: agent.probe("app")["runs"] >= 5)
            self.assertEqual({run["reason"] for run in agent.probe("app")["history"]}, {"ok"})

    def test_a_new_authority_counts_at_once(self):
        ca = self.tmp / "ca.crt"
        ca.write_text(self.certificates.other_ca.read_text())
        config = (f"readiness:\n  app:\n    http: {{ url: '{self.url()}', caFile: {ca} }}\n"
                  "    periodSeconds: 0.1\n")
        with harness.Agent(config) as agent:
            agent.wait_for(lambda agent: agent.probe("app").get("reason") == "tls_untrusted")
            ca.write_text(self.certificates.ca.read_text())
            agent.wait_ready()


class Settings(HttpCase):
    """What is refused before anything starts."""

    def refused(self, *words, url="http://127.0.0.1:1/", **options):
        arguments = [f"{name}={value}" for name, value in options.items()]
        done = harness.readyd("check", url, *[word for argument in arguments for word in ("-o", argument)])
        self.assertEqual(done.returncode, 1)
        for word in words:
            self.assertIn(word, done.stdout + done.stderr)

    def test_wrong_settings(self):
        self.refused("status", status="20x")
        self.refused("method", method="GE T")
        self.refused("requestBody", requestBody="x", method="GET")
        self.refused("bodyRegex", bodyRegex="(")
        self.refused("jsonValue", json="a")
        self.refused("json", jsonValue="a")
        self.refused("httpHeaders", httpHeaders="A B: c")
        self.refused("user", password="x")
        self.refused("bearerToken", user="x", bearerToken="y")
        self.refused("HEAD", method="HEAD", body="x")
        self.refused("keyFile", keyFile="/dev/null")
        self.refused("httpVersion", httpVersion="3")
        self.refused("path and url", path="/x")
        self.refused("http", url="http:///path")
        self.refused("port", url="http://host:99999/")

    def test_named_ports(self):
        done = harness.readyd("config", "check", "-", input="liveness: {app: {httpGet: {port: web}}}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("port is the name of", done.stdout + done.stderr)


if __name__ == "__main__":
    harness.unittest.main()
