"""/metrics: what it counts, that nothing is missing or falls, and both of its formats."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import time
import types

from bad_server import BadServer, send
from harness import PATIENCE_SECONDS, Agent, TestCase, free_port
from metrics_reader import Metrics, metrics_of
from nginx_server import Certificates, Nginx
from prometheus_server import Prometheus, promtool
from run_agent import RunAgent
from test_haproxy import Haproxy

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What Prometheus 2.42 and 3.0 send.
ACCEPT_2 = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
ACCEPT_3 = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1")

PLUGIN = ("[sh, -c, 'echo \"WARNING | time=12ms;;;; /var=55%;80;90 mem=5MB x=3 a\\\"b=-1.5c\"; "
          "exit 1']")
ALL_KINDS = f"""
service: "a \\"shop\\" \\\\ more"
version: "1.0 \\"beta\\""
details: local
liveness:
  app: {{exec: /bin/true, timeoutSeconds: 20}}
readiness:
  refused: {{tcp: "tcp://127.0.0.1:1", periodSeconds: 0.1, timeoutSeconds: 20}}
  plugin: {{exec: {{command: {PLUGIN}, nagios: true}}, periodSeconds: 0.1, timeoutSeconds: 20}}
startup:
  begun: {{exec: /bin/true, timeoutSeconds: 20}}
"""


def have_run(agent):
    return all(probe["runs"] for probe in agent.status()["probes"])


def ask(port, text):
    """Sends bytes as they are; the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(text.encode())
        return int(connection.recv(4096).split()[1])


class Formats(TestCase):
    def test_promtool_has_nothing_to_say(self):
        with Agent(ALL_KINDS) as agent:
            agent.wait_for(have_run)
            _, headers, body = agent.get("/metrics")
            self.assertEqual(promtool("check", "metrics", input=body), (0, ""))
            build, = Metrics(body).of("readyd_build_info")
            self.assertEqual(dict(build)["service"], 'a "shop" \\ more')
            self.assertEqual(dict(build)["version"], '1.0 "beta"')
            self.assertEqual(headers["content-type"], TEXT)

    def test_the_one_that_is_asked_for(self):
        with Agent("readiness: {a: exec:/bin/true}\n") as agent:
            for accept, wanted in ((ACCEPT_2, OPENMETRICS), (ACCEPT_3, OPENMETRICS), ("*/*", TEXT),
                                   ("text/plain", TEXT), ("text/html,*/*;q=0.8", TEXT),
                                   ("application/openmetrics-text;q=0.2,text/plain;q=0.9", TEXT),
                                   ("application/openmetrics-text;q=0", TEXT)):
                with self.subTest(accept):
                    _, headers, body = agent.get("/metrics", {"Accept": accept})
                    self.assertEqual(headers["content-type"], wanted)
                    self.assertEqual(body.endswith("\n# EOF\n"), wanted == OPENMETRICS)
                    self.assertEqual("# UNIT" in body, wanted == OPENMETRICS)
                    self.assertEqual(headers["cache-control"], "no-store")
            _, headers, body = agent.get("/metrics?format=openmetrics")
            self.assertEqual(headers["content-type"], OPENMETRICS)
            status, _, body = agent.get("/metrics?format=json")
            self.assertEqual((status, "prometheus, openmetrics" in body), (400, True), body)
            status, headers, body = agent.get("/metrics", method="HEAD")
            self.assertEqual((status, headers["content-type"], body), (200, TEXT, ""))
            self.assertEqual(agent.get("/metrics", method="POST")[0], 405)
            self.assertEqual(agent.admin("/metrics")[0], 200)

    def test_both_say_the_same(self):
        with Agent(ALL_KINDS) as agent:
            agent.wait_for(have_run)
            text, openmetrics = metrics_of(agent), metrics_of(agent, OPENMETRICS)
            self.assertEqual(text.samples.keys(), openmetrics.samples.keys())
            self.assertEqual(openmetrics.types["readyd_probe_runs"], "counter")
            self.assertEqual(text.types["readyd_probe_runs_total"], "counter")
            self.assertEqual(openmetrics.types["readyd_probe"], "info")
            self.assertEqual(text.types["readyd_probe_info"], "gauge")

    def test_histograms_add_up(self):
        with Agent(ALL_KINDS) as agent:
            agent.wait_for(lambda a: a.probe("refused")["runs"] > 3)
            metrics = metrics_of(agent)
            for name, labels in (("readyd_probe_duration_seconds", {"probe": "refused"}),
                                 ("readyd_lateness_seconds", {})):
                buckets = sorted((float(dict(key)["le"]), value)
                                 for key, value in metrics.of(name + "_bucket", **labels).items())
                values = [value for _, value in buckets]
                self.assertEqual(values, sorted(values))
                self.assertEqual(buckets[-1], (float("inf"), metrics.one(name + "_count", **labels)))
                self.assertGreater(metrics.one(name + "_sum", **labels), 0)

    def test_many_probes(self):
        """More than fit into one piece: nothing is lost or repeated at the seams."""
        probes = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 900}}\n" for i in range(3000))
        with Agent("readiness:\n" + probes) as agent:
            for accept in ("text/plain", OPENMETRICS):
                metrics = metrics_of(agent, accept)
                per_probe = len(metrics.samples) - len(metrics_without_probes(metrics))
                self.assertEqual(per_probe % 3000, 0)
                self.assertEqual(len(metrics.of("readyd_probe_info")), 3000)
                for name in {key[0] for key in metrics.samples if key[0].startswith("readyd_probe_")}:
                    self.assertEqual(len(metrics.of(name)) % 3000, 0, name)

    def test_a_reload_meanwhile_does_not_look_like_an_end(self):
        probes = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 900}}\n" for i in range(3000))
        with Agent("readiness:\n" + probes) as agent:
            for version in ("1.1", "1.0"):
                with self.subTest(version), self.begun(agent, version) as answer:
                    reloads = agent.status()["reloads"]
                    agent.signal(signal.SIGHUP)
                    agent.wait_for(lambda a, before=reloads: a.status()["reloads"] > before)
                    with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
                        answer.read()
            self.assertEqual(len(metrics_of(agent).of("readyd_probe_info")), 3000)

    def test_neither_does_the_end_of_the_agent(self):
        """Over HTTP/1.0 the end of the connection is all that tells the end of the answer."""
        probes = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 900}}\n" for i in range(3000))
        with Agent("readiness:\n" + probes) as agent:
            with self.begun(agent, "1.0") as answer:
                agent.stop()
                with self.assertRaises(ConnectionError):
                    answer.read()

    @contextlib.contextmanager
    def begun(self, agent, version):
        """The answer of /metrics, of which only the beginning is read."""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", agent.port))
            connection.sendall(f"GET /metrics HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read(1000)
            yield answer


def metrics_without_probes(metrics):
    return {key: value for key, value in metrics.samples.items()
            if not any(name == "probe" for name, _ in key[1])}


class Scraped(TestCase):
    """By a real Prometheus, which asks for OpenMetrics; through nginx, for the text format."""

    def test_both_formats(self):
        port = free_port()
        with Agent(ALL_KINDS) as agent:
            Nginx(self, f"listen 127.0.0.1:{port}; location / {{ proxy_set_header Accept text/plain; "
                        f"proxy_pass http://127.0.0.1:{agent.port}; }}", ports=(port,))
            agent.wait_for(have_run)
            ours = metrics_of(agent)
            prometheus = Prometheus(self, {"openmetrics": agent.port, "text": port})
            prometheus.wait_scraped()
            for target in prometheus.targets():
                self.assertEqual((target["health"], target["lastError"]), ("up", ""))
            stored = {}
            for job in ("openmetrics", "text"):
                rows = prometheus.query(f'{{job="{job}",__name__!~"up|scrape_.*"}}')
                stored[job] = {(row.pop("__name__"), tuple(sorted((name, text) for name, text in row.items()
                                                                  if name not in ("job", "instance"))))
                               for row, _ in rows}
            # An empty label is none to Prometheus.
            expected = {(name, tuple(pair for pair in labels if pair[1])) for name, labels in ours.samples}
            self.assertEqual(stored["text"], stored["openmetrics"])
            self.assertEqual(stored["text"], expected)
            kinds = {name: {entry["type"] for entry in entries}
                     for name, entries in prometheus.api("metadata").items()}
            self.assertEqual(kinds["readyd_probe_runs"], {"counter"})
            self.assertEqual(kinds["readyd_probe_runs_total"], {"counter"})
            self.assertEqual(kinds["readyd_probe_duration_seconds"], {"histogram"})
            self.assertEqual(kinds["readyd_probe_phase_duration_seconds"], {"summary"})
            self.assertEqual(kinds["readyd_build"], {"info"})
            rows = prometheus.query('readyd_requests_total{job="openmetrics",endpoint="metrics",'
                                    'asker="prometheus",status="200"} > 0')
            self.assertEqual(len(rows), 1)
            rows = prometheus.query("histogram_quantile(0.5, sum by (le, job) "
                                    "(readyd_probe_duration_seconds_bucket))")
            self.assertEqual(len(rows), 2)
            for _, value in rows:
                self.assertTrue(0 < value < 10, rows)


class Series(TestCase):
    def test_they_are_there_from_the_start(self):
        """Whatever happens later adds but what cannot be known before: certificates and perfdata."""
        server = BadServer(send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        self.addCleanup(server.close)
        certificates, port = Certificates(self.tmp), free_port()
        certificate = certificates.issue("good")
        Nginx(self, f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; "
                    f"ssl_certificate_key {certificates.key(certificate)}; return 200 ok;", ports=(port,))
        hold = self.tmp / "hold"
        hold.touch()
        with Agent(f"""
details: local
startup: {{begun: {{exec: {{command: [test, '!', -e, {hold}]}}}}}}
liveness: {{app: exec:/bin/true}}
readiness:
  web: {{http: 'http://127.0.0.1:{server.port}/', periodSeconds: 0.1}}
  tls: {{target: 'https://localhost:{port}/', caFile: {certificates.ca}}}
  refused: {{tcp: 'tcp://127.0.0.1:1', periodSeconds: 0.1}}
  database: {{postgres: 'postgres://u@127.0.0.1:1/d', periodSeconds: 0.1}}
  cache: {{redis: 'redis://127.0.0.1:{server.port}', periodSeconds: 0.1}}
  plugin: {{exec: {{command: [sh, -c, 'echo "OK | x=1s"; exit 1'], nagios: true}}, periodSeconds: 0.1}}
""") as agent:
            before = metrics_of(agent)
            for probe in ("app", "web", "refused"):
                self.assertEqual(set(before.of("readyd_probe_runs_total", probe=probe).values()), {0})
                self.assertEqual(before.one("readyd_probe_standing", probe=probe, standing="unknown"), 1)
                self.assertEqual(set(before.of("readyd_probe_reasons_total", probe=probe).values()), {0})
            hold.unlink()
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]) and
                           a.probe("refused")["standing"] == "failing")
            agent.get("/ready")
            agent.check()
            agent.admin("/drain", method="POST")
            reasons = {probe["name"]: probe["reason"] for probe in agent.status()["probes"]}
            after = metrics_of(agent)
        for probe, reason in reasons.items():
            self.assertGreater(after.one("readyd_probe_reasons_total", probe=probe, reason=reason), 0)
        added = {(name, dict(labels)["probe"]) for name, labels in after.samples.keys() - before.samples.keys()}
        self.assertEqual(added, {("readyd_probe_certificate_expiry_timestamp_seconds", "tls"),
                                 ("readyd_probe_perfdata_seconds", "plugin")})
        self.assertFalse(before.samples.keys() - after.samples.keys())

    def test_every_reason_of_a_type_is_foreseen(self):
        """By what the sources of the type name, and those that it shares with others."""
        root = pathlib.Path(__file__).resolve().parents[2]

        def named(*files):
            text = "".join((root / file).read_text() for file in files)
            return set(re.findall(r"\bREASON_[A-Z_]+\b", text)) - {"REASON_COUNT", "REASON_ROW"}

        symbols = dict(re.findall(r'X\((REASON_\w+), "(\w+)"', (root / "probes/probe.h").read_text()))
        targets = {"http": "http://127.0.0.1:1/", "tcp": "tcp://127.0.0.1:1", "postgres": "postgres://u@127.0.0.1:1/d",
                   "redis": "redis://127.0.0.1:1", "exec": "exec:/bin/true", "notify": "notify:ready"}
        shared = named("agent/connection.c", "agent/tls_common.c", "probes/reason.c")
        config = "startup: {never: exec:/bin/false}\nreadiness:\n" + "".join(
            f"  {name}: '{target}'\n" for name, target in targets.items())
        with RunAgent(["sleep", "900"], config) as agent:
            metrics = metrics_of(agent)
        for name in targets:
            wanted = named(*(path.relative_to(root) for path in (root / "probes").glob(f"{name}*.c")))
            wanted |= named("agent/runner.c") | (set() if name in ("exec", "notify") else shared)
            foreseen = {dict(key)["reason"]
                        for key in metrics.of("readyd_probe_reasons_total", probe=name)}
            self.assertGreater(len(wanted), 4, name)
            self.assertEqual({symbols[symbol] for symbol in wanted} - foreseen, set(), name)
            phases = {dict(key)["phase"]
                      for key in metrics.of("readyd_probe_phase_duration_seconds_count", probe=name)}
            self.assertEqual(phases, set() if name in ("exec", "notify") else
                             {"resolve", "connect", "tls", "firstByte"}, name)

    def test_many_probes_have_what_was_seen(self):
        """Thousands would have hundreds of thousands of lines of nothing."""
        config = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 900}}\n" for i in range(99))
        name = "readyd_probe_reasons_total"
        for more, complete in (("", True), ("  more: {exec: /bin/true, initialDelaySeconds: 900}\n", False)):
            with Agent("readiness:\n" + config + "  web: {http: 'http://127.0.0.1:1/', periodSeconds: 0.1}\n" + more) as agent:
                agent.wait_for(lambda a: a.probe("web")["standing"] == "failing")
                metrics = metrics_of(agent)
                self.assertGreater(metrics.one(name, probe="web", reason="connect_refused"), 0)
                self.assertEqual(len(metrics.of(name, probe="web")), 31 if complete else 2)
                self.assertEqual(len(metrics.of("readyd_probe_phase_duration_seconds_sum", probe="web")),
                                 4 if complete else 1)

    def test_runs(self):
        with Agent(ALL_KINDS) as agent:
            agent.wait_for(lambda a: have_run(a) and a.probe("refused")["standing"] == "failing")
            metrics, status = metrics_of(agent), agent.status()
        for probe in status["probes"]:
            name = probe["name"]
            runs = {dict(key)["result"]: value
                    for key, value in metrics.of("readyd_probe_runs_total", probe=name).items()}
            reasons = {dict(key)["reason"]: value
                       for key, value in metrics.of("readyd_probe_reasons_total", probe=name).items()}
            self.assertEqual(runs[probe["state"]], sum(runs.values()), name)
            self.assertGreater(reasons[probe["reason"]], 0)
            self.assertEqual(sum(reasons.values()), sum(runs.values()))
            self.assertEqual(sum(runs.values()),
                             metrics.one("readyd_probe_duration_seconds_count", probe=name))
            self.assertEqual(metrics.one("readyd_probe_standing", probe=name, standing=probe["standing"]), 1)
            self.assertEqual(sum(metrics.of("readyd_probe_standing", probe=name).values()), 1)
            self.assertEqual(metrics.one("readyd_probe_result", probe=name, result=probe["state"]), 1)
            self.assertEqual(sum(metrics.of("readyd_probe_result", probe=name).values()), 1)
            self.assertEqual(metrics.one("readyd_probe_transitions_total", probe=name,
                                         to=probe["standing"]), 1)
            self.assertEqual(metrics.one("readyd_probe_info", probe=name, type=probe["type"],
                                         role=probe["role"]), 1)
            self.assertEqual(metrics.one("readyd_probe_period_seconds", probe=name), probe["periodSeconds"])
            self.assertAlmostEqual(metrics.one("readyd_probe_last_duration_seconds", probe=name),
                                   probe["durationMs"] / 1000, delta=PATIENCE_SECONDS)
            for what in ("last_run", "last_transition"):
                age = time.time() - metrics.one(f"readyd_probe_{what}_timestamp_seconds", probe=name)
                self.assertTrue(-1 < age < PATIENCE_SECONDS, age)
        self.assertGreaterEqual(metrics.one("readyd_probe_successive_failures", probe="refused"), 3)
        self.assertGreater(metrics.one("readyd_probe_successive_passes", probe="plugin"), 0)
        self.assertEqual(metrics.one("readyd_endpoint_hindrance", endpoint="ready",
                                     hindrance="readiness"), 1)
        self.assertEqual({dict(key)["endpoint"]: value
                          for key, value in metrics.of("readyd_endpoint_ok").items()},
                         {"healthz": 1, "ready": 0, "startup": 1})

    def test_phases(self):
        port = free_port()
        nginx = Nginx(self, f"listen 127.0.0.1:{port}; return 200 ok;", ports=(port,))
        with Agent(f"readiness: {{web: 'http://localhost:{port}/'}}\n") as agent:
            agent.wait_ready()
            nginx.wait_requests(1)
            metrics = metrics_of(agent)
        sums = {dict(key)["phase"]: value for key, value
                in metrics.of("readyd_probe_phase_duration_seconds_sum").items()}
        counts = {dict(key)["phase"]: value for key, value
                  in metrics.of("readyd_probe_phase_duration_seconds_count").items()}
        self.assertEqual(counts, {"resolve": 1, "connect": 1, "tls": 0, "firstByte": 1})
        self.assertEqual(sums.keys(), counts.keys())
        self.assertGreater(sums["firstByte"], 0)
        self.assertLessEqual(sum(sums.values()), metrics.one("readyd_probe_duration_seconds_sum"))

    def test_perfdata(self):
        with Agent(ALL_KINDS) as agent:
            agent.wait_for(have_run)
            metrics = metrics_of(agent)
        self.assertEqual(metrics.one("readyd_probe_perfdata_seconds", label="time"), 0.012)
        self.assertEqual(metrics.one("readyd_probe_perfdata_ratio", label="/var"), 0.55)
        self.assertEqual(metrics.one("readyd_probe_perfdata_bytes", label="mem"), 5 * 1024 * 1024)
        self.assertEqual(metrics.one("readyd_probe_perfdata", label="x", unit=""), 3)
        self.assertEqual(metrics.one("readyd_probe_perfdata", label='a"b', unit="c"), -1.5)

    def test_perfdata_is_a_detail(self):
        """What plugins print may name what is nobody's business; our own commands see it."""
        plugin = ("[sh, -c, 'echo \"OK | /mnt/hush1=55%;80;90;0;100 hush2=12ms hush3=5MB hush4=77.25\"']")
        for details in ("never", "local"):
            with self.subTest(details), Agent(
                    f"details: {details}\nreadiness:\n  plugin: {{exec: {{command: {plugin}, nagios: true}}}}\n"
                    ) as agent:
                agent.wait_for(have_run)
                paths = ["/status", "/history", "/metrics", "/metrics?format=openmetrics", "/ready?verbose",
                         "/ready/plugin", "/ready/plugin?format=json"]
                paths += [f"{path}?format={name}" for path in ("/ready", "/ready/plugin")
                          for name in ("json", "health", "microprofile", "spring", "nagios")]
                for path in paths:
                    seen = agent.get(path)[2]
                    hidden = details == "never" or path in ("/history", "/ready?verbose", "/ready/plugin")
                    if hidden:
                        self.assertNotRegex(seen, r"hush|77\.25", path)
                    self.assertRegex(agent.admin("/metrics")[2], 'label="/mnt/hush1"} 0.55')
                for path in ("/status", "/metrics", "/ready/plugin?format=json", "/ready?format=nagios"):
                    self.assertEqual("hush1" in agent.get(path)[2], details == "local", path)
                    self.assertIn("hush1", agent.admin(path)[2])

    def test_perfdata_is_bounded_over_time(self):
        """A plugin with another label in each run has so many series and no more."""
        count = self.tmp / "count"
        count.write_text("0")
        plugin = self.tmp / "plugin"
        plugin.write_text(f'n=$(cat {count}); echo $((n + 1)) >{count}; echo "OK | always=$n run$n=1 other$n=2s"\n')
        name = "readyd_probe_perfdata"
        config = (f"readiness:\n  plugin: {{exec: {{command: [sh, {plugin}], nagios: true}}, periodSeconds: 0.02, "
                  "timeoutSeconds: 5}\n")
        with Agent("details: local\n" + config) as agent:
            self.assertEqual(metrics_of(agent).one("readyd_perfdata_dropped_total"), 0)
            seen = {}
            agent.wait_for(lambda a: seen.update(metrics_of(a).of(name)) or a.probe("plugin")["runs"] > 80)
            event = agent.wait_log(lambda event: event["event"] == "perfdata")
            self.assertEqual((event["probe"], "more than 64 labels" in event["message"]), ("plugin", True), event)
            metrics = metrics_of(agent)
            self.assertLessEqual(len(seen), 64)
            # those that are gone are gone, the one that stays is up to date
            self.assertEqual([dict(key)["label"] for key in metrics.of(name)], ["always"])
            self.assertFalse(metrics.of(name + "_seconds"))
            self.assertGreater(metrics.one(name, label="always"), 70)
            dropped = metrics.one("readyd_perfdata_dropped_total")
            self.assertGreater(dropped, 2 * (80 - 32) - 4)
            self.assertEqual(len([event for event in agent.logs if event["event"] == "perfdata"]), 1)
            # a reload takes nothing back, and gives no new places
            agent.config_path.write_text("details: local\nstaleAfterSeconds: 3\n" + config)
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            self.assertGreaterEqual(metrics_of(agent).one("readyd_perfdata_dropped_total"), dropped)
            self.assertEqual(len(metrics_of(agent).of(name)), 1)

    def test_perfdata_stays_when_a_run_has_none(self):
        gone = self.tmp / "gone"
        plugin = f"[sh, -c, 'test -e {gone} && exit 2; echo \"OK | x=3\"']"
        with Agent("details: local\nreadiness:\n"
                   f"  plugin: {{exec: {{command: {plugin}, nagios: true}}, periodSeconds: 0.05}}\n") as agent:
            agent.wait_for(have_run)
            gone.touch()
            agent.wait_for(lambda a: a.probe("plugin")["state"] == "fail")
            self.assertEqual(metrics_of(agent).one("readyd_probe_perfdata", label="x"), 3)

    def test_a_certificate_is_remembered(self):
        """Also when it has expired, which fails the run, and when nobody is there any more."""
        certificates = Certificates(self.tmp)
        expired, good = certificates.issue("expired", ends_days=-0.5), certificates.issue("good")
        ancient = certificates.issue("ancient", begins_days=-25000, ends_days=-24000)
        ports = free_port(), free_port(), free_port(), free_port()
        Nginx(self, *[f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; "
                      f"ssl_certificate_key {certificates.key(certificate)}; return 200 ok;"
                      for port, certificate in zip(ports, (expired, good, ancient))], ports=ports[:3])
        server = self.start(["openssl", "s_server", "-accept", ports[3], "-cert", good, "-key",
                             certificates.key(good), "-quiet", "-www"])
        with Agent(f"""
readiness:
  expired: {{target: 'https://localhost:{ports[0]}/', caFile: {certificates.ca}, timeoutSeconds: 20}}
  good: {{target: 'https://localhost:{ports[1]}/', caFile: {certificates.ca}, timeoutSeconds: 20}}
  ancient: {{target: 'https://localhost:{ports[2]}/', caFile: {certificates.ca}, timeoutSeconds: 20}}
  gone: {{target: 'https://localhost:{ports[3]}/', caFile: {certificates.ca}, periodSeconds: 0.1, timeoutSeconds: 20}}
  plain: exec:/bin/true
""") as agent:
            name = "readyd_probe_certificate_expiry_timestamp_seconds"
            agent.wait_for(have_run)
            agent.wait_for(lambda a: len(metrics_of(a).of(name)) == 4)
            self.assertEqual(agent.probe("expired")["reason"], "tls_expired")
            self.assertRegex(agent.probe("ancient")["certificateExpires"], r"^19[56]\d-\d\d-\d\dT")
            self.end(server)
            agent.wait_for(lambda a: a.probe("gone")["reason"] == "connect_refused")
            metrics = metrics_of(agent)
        left = {dict(key)["probe"]: value - time.time() for key, value in metrics.of(name).items()}
        self.assertEqual(set(left), {"expired", "good", "gone", "ancient"})
        self.assertTrue(-24001 * 86400 < left["ancient"] < -23999 * 86400, left)
        self.assertTrue(-86400 < left["expired"] < -3600, left)
        self.assertTrue(9 * 86400 < left["good"] <= 10 * 86400, left)
        self.assertEqual(left["gone"] > 0, True)

    def test_draining(self):
        with Agent("") as agent:
            metrics = metrics_of(agent)
            self.assertEqual(metrics.one("readyd_draining"), 0)
            self.assertEqual(metrics.one("readyd_drain_start_timestamp_seconds"), 0)
            self.assertEqual(agent.admin("/drain", method="POST")[0], 200)
            metrics = metrics_of(agent)
            self.assertEqual(metrics.one("readyd_draining"), 1)
            self.assertEqual(metrics.one("readyd_drain_source", source="command"), 1)
            self.assertEqual(metrics.one("readyd_drain_source", source="file"), 0)
            self.assertEqual(metrics.one("readyd_endpoint_hindrance", endpoint="ready",
                                         hindrance="draining"), 1)
            age = time.time() - metrics.one("readyd_drain_start_timestamp_seconds")
            self.assertTrue(-1 < age < PATIENCE_SECONDS, age)

    def test_process(self):
        with Agent("") as agent:
            metrics = metrics_of(agent)
            process = pathlib.Path(f"/proc/{agent.process.pid}")
            pages = int((process / "statm").read_text().split()[1])
            resident = metrics.one("process_resident_memory_bytes")
            self.assertLess(abs(resident - pages * os.sysconf("SC_PAGESIZE")), 2 * 1024 * 1024)
            # Besides, there is the connection over which it is asked.
            agent.wait_for(lambda a: metrics_of(a).one("process_open_fds") == a.descriptors() + 1)
            limit = re.search(r"Max open files +(\d+)", (process / "limits").read_text())[1]
            self.assertEqual(metrics.one("process_max_fds"), int(limit))
            self.assertGreater(metrics.one("process_cpu_seconds_total"), 0)
            age = time.time() - metrics.one("process_start_time_seconds")
            self.assertTrue(-1 < age < PATIENCE_SECONDS, age)


class Askers(TestCase):
    def test_each_is_counted_as_itself(self):
        plain = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {}\r\n\r\n"
        with Agent("liveness: {app: exec:/bin/true}\nreadiness: {no: exec:/bin/false}\n") as agent:
            agent.wait_for(have_run)
            ask(agent.port, plain.format("/healthz", "kube-probe/1.34"))
            ask(agent.port, plain.format("/livez", "kube-probe/1.34"))
            ask(agent.port, plain.format("/ready", "Envoy/HC"))
            ask(agent.port, plain.format("/ready/no", "Envoy/HC"))
            ask(agent.port, plain.format("/metrics", "Prometheus/2.42.0"))
            # Traefik's and Caddy's, and Traefik's with a User-Agent among its healthCheck.headers
            ask(agent.port, plain.format("/ready?verbose", "Go-http-client/1.1\r\nAccept-Encoding: gzip"))
            ask(agent.port, plain.format("/ready", "traefik\r\nAccept-Encoding: gzip"))
            ask(agent.port, plain.format("/nothing", "curl/8"))
            ask(agent.port, "OPTIONS / HTTP/1.0\r\n\r\n")
            ask(agent.port, "GET /ready HTTP/1.0\r\n\r\n")
            agent.check()
            agent.check("liveness")
            agent.check("no")
            metrics = metrics_of(agent)
        seen = {tuple(dict(key)[name] for name in ("endpoint", "asker", "status")): value
                for key, value in metrics.of("readyd_requests_total").items() if value}
        expected = {("healthz", "kubelet", "200"): 2, ("ready", "envoy", "503"): 1,
                    ("probe", "envoy", "503"): 1, ("metrics", "prometheus", "200"): 1,
                    ("ready", "go", "503"): 1, ("ready", "traefik", "503"): 1, ("other", "other", "404"): 1,
                    ("ready", "haproxy", "503"): 2, ("ready", "check", "503"): 1,
                    ("healthz", "check", "200"): 1, ("probe", "check", "503"): 1}
        seen.pop(("other", "other", "200"))  # our own looking
        self.assertEqual(seen, expected)
        last = {tuple(dict(key)[name] for name in ("endpoint", "asker")): value for key, value
                in metrics.of("readyd_last_request_timestamp_seconds").items() if value}
        self.assertEqual(set(last) - {("other", "other")}, {key[:2] for key in expected} - {("other", "other")})
        for value in last.values():
            self.assertTrue(-1 < time.time() - value < PATIENCE_SECONDS)

    def test_agent_check(self):
        """HAProxy's, which is no HTTP; it counts as asking whether the instance is ready."""
        name = "readyd_requests_total"

        def told(agent):
            return {dict(key)["status"]: value for key, value
                    in metrics_of(agent).of(name, endpoint="agent-check", asker="haproxy").items()}

        with Agent("") as agent:
            self.assertEqual(told(agent), {"up": 0, "drain": 0, "down": 0})
        port = free_port()
        with Agent(f"haproxyAgent: 127.0.0.1:{port}\n") as agent:
            agent.wait_ready()
            last = {"endpoint": "agent-check", "asker": "haproxy"}
            self.assertEqual(metrics_of(agent).one("readyd_last_request_timestamp_seconds", **last), 0)
            Haproxy(self, [types.SimpleNamespace(name="a", port=agent.port)], "",
                    f"check agent-check agent-port {port} agent-inter 100ms")
            agent.wait_for(lambda a: told(a)["up"] > 1)
            agent.admin("/drain", method="POST")
            agent.wait_for(lambda a: told(a)["drain"] > 0)
            self.assertEqual(told(agent)["down"], 0)
            age = time.time() - metrics_of(agent).one("readyd_last_request_timestamp_seconds", **last)
            self.assertTrue(-1 < age < PATIENCE_SECONDS, age)

    def test_every_answer_was_expected(self):
        """Each asker's count of each answer is there before it was ever given."""
        with Agent("readiness: {no: exec:/bin/false}\ndrain: {statusCode: 404}\n") as agent:
            before = metrics_of(agent)
            agent.wait_for(have_run)
            for asker in ("kube-probe/1.34", "curl/8"):
                for path in ("/ready", "/healthz", "/startup", "/ready/no", "/ready/none", "/metrics", "/", "/status",
                             "/nothing", "/ready?format=x", "/status?limit=x", "/metrics?format=x"):
                    for method in ("GET", "POST"):
                        agent.get(path, {"User-Agent": asker}, method=method)
            agent.check("--verbose")
            agent.check("no", "liveness", "none")
            for path in ("/drain", "/undrain", "/nothing"):
                agent.admin(path, method="POST")
                agent.admin(path)
            agent.admin("/drain", method="POST")
            agent.get("/ready", {"User-Agent": "kube-probe/1.34"})
            after = metrics_of(agent)
        self.assertEqual(set(after.of("readyd_requests_total")), set(before.of("readyd_requests_total")))
        self.assertEqual(after.one("readyd_requests_total", endpoint="ready", asker="kubelet", status="404"), 1)

    def test_a_real_haproxy(self):
        for check in ("option httpchk", "option httpchk GET /ready",
                      "option httpchk\n    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host x"):
            with self.subTest(check), Agent("") as agent:
                Haproxy(self, [types.SimpleNamespace(name="a", port=agent.port)], "    " + check,
                        "check inter 100ms")
                agent.wait_for(lambda a: metrics_of(a).one("readyd_requests_total", endpoint="ready",
                                                           asker="haproxy", status="200") > 1)

    def test_the_kept_answer_is_counted_as_what_it_says(self):
        with Agent("") as agent:
            agent.wait_ready()
            for _ in range(3):
                agent.get("/ready", {"User-Agent": "curl/8"})
            agent.admin("/drain", method="POST")
            agent.get("/ready", {"User-Agent": "curl/8"})
            metrics = metrics_of(agent)
            self.assertGreaterEqual(metrics.one("readyd_requests_total", endpoint="ready",
                                                asker="other", status="200"), 3)
            self.assertEqual(metrics.one("readyd_requests_total", endpoint="ready", asker="other",
                                         status="503"), 1)


class Monotonic(TestCase):
    def assert_not_fallen(self, before, after, gone=()):
        for key, value in before.counters().items():
            if dict(key[1]).get("probe") not in gone:
                self.assertGreaterEqual(after.samples.get(key, -1), value, key)

    def test_over_restarts_of_the_command(self):
        alive = self.tmp / "alive"
        alive.touch()
        config = (f"onLivenessFailure: restart\nrestart: {{delaySeconds: 0}}\n"
                  f"liveness: {{app: {{exec: {{command: [test, -e, {alive}]}}, periodSeconds: 0.05}}}}\n")
        # It makes liveness pass again when it is told to end, so that it is restarted once.
        command = f"trap 'touch {alive}; exit' TERM; echo here; while :; do sleep 0.01; done"
        with RunAgent(["sh", "-c", command], config) as agent:
            agent.wait_line("here")
            agent.wait_for(have_run)
            before = metrics_of(agent)
            self.assertEqual(before.one("readyd_command_restarts_total"), 0)
            alive.unlink()
            agent.wait_log(lambda event: event["event"] == "liveness_failed")
            agent.wait_for(lambda a: metrics_of(a).one("readyd_command_restarts_total") == 1)
            after = metrics_of(agent)
            self.assert_not_fallen(before, after)
            self.assertGreater(after.one("readyd_probe_runs_total", probe="app", result="fail"), 0)

    def test_over_reloads(self):
        def config(port, more=""):
            return (f"readiness:\n  same: {{exec: /bin/true, periodSeconds: 0.1}}\n"
                    f"  changed: {{tcp: 'tcp://127.0.0.1:{port}', periodSeconds: 0.1}}\n{more}")

        with Agent(config(1, "  gone: exec:/bin/true\n")) as agent:
            agent.wait_for(lambda a: a.probe("changed")["standing"] == "failing")
            before = metrics_of(agent)
            agent.config_path.write_text(config(2, "  new: exec:/bin/true\n"))
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            after = metrics_of(agent)
            self.assert_not_fallen(before, after, gone={"gone"})
            self.assertEqual(after.one("readyd_configuration_reloads_total"), 1)
            self.assertFalse(after.of("readyd_probe_info", probe="gone"))
            agent.wait_for(have_run)
            agent.wait_for(lambda a: metrics_of(a).one("readyd_probe_runs_total", probe="changed", result="fail") >
                           before.one("readyd_probe_runs_total", probe="changed", result="fail"))
            self.assertEqual(metrics_of(agent).one("readyd_probe_runs_total", probe="new",
                                                   result="pass"), 1)
