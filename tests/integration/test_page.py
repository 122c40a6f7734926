"""The page for people, in a real Chromium: what it shows, how it follows, and what it may not do."""

import base64
import hashlib
import http.server
import json
import pathlib
import re
import signal
import threading
import time
import unittest

from browser import Browser
from harness import BINARY, Agent, TestCase, free_port, wait_until

# What a browser sends.
ACCEPT = ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
          "*/*;q=0.8")
PAGE_MAX = 30 * 1024
IS_SANITIZED = "sanitize" in BINARY


class Answer(TestCase):
    """Without a browser: who gets the page."""

    def test_who_gets_it(self):
        with Agent("readiness: {bad: 'exec:/bin/false'}\n") as agent:
            agent.wait_for(lambda a: a.probe("bad")["runs"])
            status, headers, body = agent.get("/", {"Accept": ACCEPT})
            self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
            self.assertLess(len(body.encode()), PAGE_MAX)
            self.assertEqual(agent.get("/?format=html")[2], body)
            # whoever does not ask for it is a load balancer
            for accept in ({}, {"Accept": "*/*"}, {"Accept": "text/plain"},
                           {"Accept": "text/html;q=0.1, text/plain"}):
                self.assertEqual(agent.get("/", accept)[0], 503)
                self.assertEqual(agent.get("/", accept, method="OPTIONS")[0], 503)
            self.assertEqual(agent.get("/ready", {"Accept": ACCEPT})[0], 503)
            self.assertEqual(agent.get("/", {"Accept": "application/json"})[0], 503)

    def test_policy(self):
        """Nothing runs and nothing is applied but what is in the page."""
        with Agent() as agent:
            _, headers, body = agent.get("/", {"Accept": ACCEPT})
            policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
            for name, element in (("script-src", "script"), ("style-src", "style")):
                contents = re.findall(rf"<{element}>(.*?)</{element}>", body, re.DOTALL)
                hashes = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
                          for content in contents]
                self.assertEqual(policy[name].split(), [f"'sha256-{value}'" for value in hashes])
            self.assertEqual((policy["default-src"], policy["connect-src"]), ("'none'", "'self'"))
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertNotIn("content-security-policy", agent.get("/ready")[1])

    def test_no_answer_is_taken_for_another_kind(self):
        """Whatever may hold words of others says so; what is bare is as short as it was."""
        with Agent("readiness: {bad: 'exec:/bin/false'}\n") as agent:
            agent.wait_for(lambda a: a.probe("bad")["runs"])
            for path in ("/", "/status", "/history", "/metrics", "/ready?verbose", "/ready?exclude=bad", "/ready/bad",
                         "/ready?format=x", "/nothing", *(f"/ready?format={name}" for name in
                                                          ("json", "health", "microprofile", "spring", "nagios"))):
                accept = {"Accept": ACCEPT} if path == "/" else {}
                self.assertEqual(agent.get(path, accept)[1].get("x-content-type-options"), "nosniff", path)
            self.assertEqual(agent.get("/ready", method="POST")[1].get("x-content-type-options"), "nosniff")
            for path in ("/ready", "/healthz", "/startup", "/"):
                self.assertEqual(set(agent.get(path)[1]),
                                 {"date", "cache-control", "content-type", "content-length", "allow"}, path)


class Stranger:
    """Serves the page of an agent that is no more, and says whatever a test wants of the status."""

    def __init__(self, test, agent):
        page = agent.get("/", {"Accept": ACCEPT})[2]
        self.status = agent.get("/status")[2]
        self.delay = 0  # seconds until the status is told
        self.released = threading.Event()  # ends the delay of all
        self.asked = []  # when, by time.monotonic()
        self.told = []
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path != "/":
                    stranger.asked.append(time.monotonic())
                    stranger.released.wait(stranger.delay)
                    stranger.told.append(time.monotonic())
                body = (page if self.path == "/" else stranger.status).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if self.path == "/" else "application/json")
                self.send_header("Content-Length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # the page has given up

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        test.addCleanup(server.server_close)
        test.addCleanup(thread.join)
        test.addCleanup(server.shutdown)
        test.addCleanup(self.released.set)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


class Page(TestCase):
    @classmethod
    def setUpClass(cls):
        """One browser for all: it takes longer to start than most of the tests."""
        host = TestCase()
        host.setUp()
        cls.addClassCleanup(host.doCleanups)
        cls.browser = Browser(host)

    def setUp(self):
        super().setUp()
        self.browser.open("about:blank")
        self.browser.emulate()
        self.browser.console()
        self.browser.requests()

    def open(self, agent):
        self.browser.open(agent.url("/"))
        self.wait_text("#connection", "live")

    def wait_text(self, selector, part):
        wait_until(lambda: part in self.browser.text(selector), f"{part!r} in {selector}")

    def row(self, name):
        """The texts of a probe's cells."""
        return self.browser.run(
            "for (const row of document.querySelectorAll('tbody tr'))"
            "  if (row.cells[0].firstChild.textContent === arguments[0])"
            "    return [...row.cells].map(cell => cell.innerText);", name)

    def verdict(self):
        return self.browser.text("#verdicts li:first-child")

    def test_follows_the_agent(self):
        """A verdict that changes is seen without a reload, and the page does nothing it should not."""
        flag = self.tmp / "flag"
        flag.touch()
        config = f"""
service: shop <b>7</b>
version: "7"
details: always
liveness: {{app: exec:/bin/true}}
readiness:
  flag: {{exec: {{command: [test, -e, {flag}]}}, periodSeconds: 0.1, failureThreshold: 2}}
  plugin: {{exec: {{nagios: true, command: [sh, -c, 'echo "<i>low</i>|a=1"; exit 1']}}}}
"""
        with Agent(config) as agent:
            agent.wait_ready()
            self.open(agent)
            self.assertIn("Ready", self.verdict())
            self.assertIn("a probe passes with a warning: plugin", self.verdict())
            self.assertEqual(self.browser.text("#service"), "shop <b>7</b>")
            self.assertIn("exit code 1: <i>low</i>", self.row("plugin")[2])
            self.assertIn("test -e", self.row("flag")[0])
            self.browser.run("window.mark = 1; rowOfFlag = document.querySelector('tbody tr');")
            flag.unlink()
            self.wait_text("#verdicts li:first-child", "Not ready")
            self.assertIn("a readiness probe does not pass: flag", self.verdict())
            self.assertRegex(self.row("flag")[1], "failing")
            self.assertRegex(self.row("flag")[2], "exit_code\nexit code 1")
            self.assertRegex(self.row("flag")[3], r"failures in a row\n1 to pass, 2 to fail")
            self.assertRegex(self.row("flag")[5], r"\d+ s old\n.*every 0\.1 s")
            self.assertRegex(self.browser.text("#transitions li"), "/ready: no")
            self.assertIn("Not ready: a readiness probe does not pass",
                          self.browser.run("return document.getElementById('live').textContent"))
            bars = self.browser.run("const row = [...document.querySelectorAll('tbody tr')].find("
                                    "row => row.cells[0].firstChild.textContent === 'flag');"
                                    "return [...row.querySelectorAll('rect')].map(bar => bar.getAttribute('class'))")
            self.assertIn("fail", bars)
            self.assertLessEqual(len(bars), 16)
            title = self.browser.run("return document.title")
            self.assertEqual(title, "\u2717 shop <b>7</b> 7")
            flag.touch()
            self.wait_text("#verdicts li:first-child", "\u2713 Ready")
            agent.admin("/drain", method="POST")
            self.wait_text("#draining", "draining, by command")
            # the same document, with the same rows
            self.assertEqual(self.browser.run("return window.mark"), 1)
            self.assertTrue(self.browser.run("return rowOfFlag.isConnected"))
            self.assertEqual(self.browser.console(), [])
            seen = {url for url in self.browser.requests() if not url.startswith(("chrome", "data:"))}
            self.assertEqual(seen, {agent.url("/"), agent.url("/status?limit=100")})

    def test_policy_is_enforced(self):
        with Agent() as agent:
            self.open(agent)
            blocked = self.browser.run(
                "document.addEventListener('securitypolicyviolation',"
                "  event => (window.blocked ||= []).push(event.effectiveDirective));"
                "const script = document.createElement('script');"
                "try { script.text = 'window.ran = 1'; } catch (error) { }"
                "document.head.append(script);"
                "fetch('http://127.0.0.1:1/').catch(() => 0);"
                "return window.ran")
            self.assertIsNone(blocked)
            wait_until(lambda: "connect-src" in (self.browser.run("return window.blocked") or []),
                       "the violation")

    def test_agent_is_gone(self):
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            self.open(agent)
            agent.signal(signal.SIGSTOP)
            self.wait_text("#gone", "The agent does not answer: no answer in time. What is below is")
            self.assertIn("? Ready", self.verdict())
            self.assertRegex(self.verdict(), r"as of \d+ s ago")
            self.assertEqual(self.browser.text("#connection"), "not connected")
            agent.signal(signal.SIGCONT)
            self.wait_text("#connection", "live")
            self.wait_text("#verdicts li:first-child", "\u2713 Ready")
            self.assertEqual(self.browser.run("return document.getElementById('gone').hidden"), True)
        self.wait_text("#gone", "no connection")
        self.assertTrue(self.browser.run("return document.title").startswith("?"))

    def test_answers_come_late(self):
        """Waiting is no work: whoever answers late is asked again as soon as another."""
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            stranger = Stranger(self, agent)
        stranger.delay = 1.2
        self.open(stranger)
        wait_until(lambda: len(stranger.asked) > 2, "the third question")
        pauses = [asked - told for told, asked in zip(stranger.told, stranger.asked[1:])]
        self.assertLess(max(pauses), 5)

    def test_waiting_is_told(self):
        """The time shown is that of the last answer, and that none comes is said before it is given up."""
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            stranger = Stranger(self, agent)
        self.open(stranger)
        shown = self.browser.text("#connection")
        self.assertEqual(shown, "live, as of " + self.browser.run(
            "return new Date(arguments[0]).toLocaleTimeString()", json.loads(stranger.status)["at"]))
        self.browser.run("const node = document.getElementById('connection'); window.shown = [];"
                         "new MutationObserver(() => window.shown.push(node.textContent)).observe("
                         "  node, {childList: true, characterData: true, subtree: true});")
        stranger.delay = 60
        self.wait_text("#connection", "not connected")
        said = self.browser.run("return window.shown")
        self.assertRegex(said[0], r"^no answer for [2-9] s$")
        self.assertEqual([text for text in said if "live" in text], [])
        stranger.released.set()
        self.wait_text("#connection", shown)

    def test_another_answers_in_its_place(self):
        """Somebody may have taken the agent's port: that is no news of the agent."""
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            stranger = Stranger(self, agent)
        self.open(stranger)
        self.wait_text("#verdicts li:first-child", "\u2713 Ready")
        right = stranger.status
        for body in ("{}", "null", "[]", '{"verdicts": {}}', '{"verdicts": {"ready": {}}, "probes": 1}',
                     "<p>hello</p>", ""):
            with self.subTest(body):
                stranger.status = body
                self.wait_text("#gone", "The agent does not answer: ")
                if body.startswith(("{", "n", "[")):
                    self.assertIn("the answer is not readyd's", self.browser.text("#gone"))
                self.assertIn("? Ready", self.verdict())
                self.assertEqual(self.browser.text("#connection"), "not connected")
                self.assertTrue(self.browser.run("return document.title").startswith("?"))
                stranger.status = right
                self.wait_text("#connection", "live")
                self.wait_text("#verdicts li:first-child", "\u2713 Ready")
        self.assertEqual(self.browser.console(), [])

    def test_a_restart_in_a_container(self):
        """Where the process has the number 1 each time, and as much has happened as before."""
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            stranger = Stranger(self, agent)
        status = json.loads(stranger.status)
        status.update(pid=1, transitionCount=1, transitions=[
            {"event": "drain", "at": status["at"], "source": "file", "draining": True}])
        stranger.status = json.dumps(status)
        self.open(stranger)
        self.wait_text("#transitions", "drain by file begins")
        status.update(startedAt="2030-01-01T00:00:00.000Z", transitions=[
            {"event": "drain", "at": status["at"], "source": "command", "draining": True}])
        stranger.status = json.dumps(status)
        self.wait_text("#transitions", "drain by command begins")
        self.assertNotIn("by file", self.browser.text("#transitions"))

    def test_nothing_is_wider_than_the_window(self):
        unbroken = "x" * 56
        config = f"""
service: payment-and-shipping-gateway-service
version: "2026.11.23-build4711"
details: local
readiness:
  a-very-long-probe-name-with-many-words-for-the-payment-service: {{http: 'http://127.0.0.1:1/a/{"long" * 30}'}}
  plugin:
    exec: {{command: [sh, -c, 'sleep 0.1; echo "{"warning " * 20}"; exit 1'], nagios: true}}
    periodSeconds: 0.2
  later: {{exec: /bin/true, initialDelaySeconds: 3600, periodSeconds: 86399.125}}
liveness:
  {unbroken}: {{exec: /bin/false, failureThreshold: 1}}
"""
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("plugin")["runs"] > 3 and a.probe(unbroken)["standing"] == "failing")
            agent.admin("/drain", method="POST")
            self.open(agent)
            self.wait_text("#draining", "draining")
            self.wait_text("#verdicts", unbroken)
            for width, phone in ((320, True), (360, True), (390, True), (480, True), (600, False), (768, False),
                                 (900, False), (1280, False)):
                self.browser.emulate(width=width, height=800, phone=phone)
                wider = self.browser.run("""
                    const edge = document.documentElement.clientWidth + 0.5;
                    return [...document.querySelectorAll("body *")].filter(node =>
                        !node.closest(".hearing, thead") && node.getBoundingClientRect().right > edge).map(
                        node => node.tagName + " " + node.textContent);""")
                self.assertEqual(wider, [], width)
                self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), width)

    def test_hidden_details(self):
        with Agent(f"readiness: {{web: 'http://127.0.0.1:{free_port()}/secret-path'}}\n") as agent:
            agent.wait_for(lambda a: a.probe("web")["runs"])
            self.open(agent)
            self.assertIn("hidden from you", self.browser.text("#hidden"))
            self.wait_text("tbody", "connect_refused")
            self.assertIn("target hidden", self.row("web")[0])
            self.assertIn("message hidden", self.row("web")[2])
            self.assertNotIn("secret-path", self.browser.run("return document.documentElement.outerHTML"))

    def test_screen_reader(self):
        """The roles and names that Chromium gives to assistive technology, also on a phone."""
        config = "readiness: {good: 'exec:/bin/true', bad: 'exec:/bin/false'}\n"
        with Agent(config) as agent:
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
            self.open(agent)
            for phone in (False, True):
                self.browser.emulate(phone=phone, **({"width": 390, "height": 844} if phone else {}))
                for selector, role in (("main", "main"), ("header", "banner"), ("footer", "contentinfo"),
                                       ("h1", "heading"), ("#verdicts", "list"),
                                       ("#verdicts li", "listitem"), ("#live", "status"),
                                       ("#gone-why", "alert"), ("#transitions", "list")):
                    if selector != "#gone-why":
                        element = self.browser.elements(selector)[0]
                        self.assertEqual(self.browser.role(element), role, selector)
                if phone:
                    # wider than the window is nothing
                    self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), 390)
                for selector, role in (("#probes", "table"), ("tbody tr", "row"),
                                       ("tbody th", "rowheader"), ("tbody td", "cell"),
                                       ("thead th", "columnheader")):
                    element = self.browser.elements(selector)[0]
                    self.assertEqual(self.browser.role(element), role, (selector, phone))
            self.assertEqual(self.browser.label(self.browser.elements("#probes")[0]), "Probes 2")
            image = self.browser.elements("tbody svg")[0]
            self.assertIn(self.browser.role(image), ("img", "image"))
            self.assertRegex(self.browser.label(image), r"^last \d+ runs: \d+ failed, 0 warned; the longest took")

    def test_light_and_dark(self):
        """Both are there, and text stands out from its ground (WCAG 2, contrast 4.5)."""
        config = ("readiness: {good: 'exec:/bin/true', "
                  "bad: {exec: /bin/false, failureThreshold: 1}}\n")
        contrast = """
            const number = colour => colour.match(/[0-9.]+/g).map(Number);
            const light = colour => number(colour).slice(0, 3).map(v => v / 255).map(
                v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
                (sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const ground = node => {
                for (; node; node = node.parentElement) {
                    const colour = getComputedStyle(node).backgroundColor;
                    if (number(colour)[3] !== 0)
                        return colour;
                }
            };
            return [...document.querySelectorAll("body *")].filter(node => node.innerText &&
                [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())).map(node => {
                const [a, b] = [getComputedStyle(node).color, ground(node)].map(light);
                return [node.innerText, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
            });"""
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("bad")["standing"] == "failing")
            grounds = set()
            for dark in (False, True):
                self.browser.emulate(dark=dark)
                self.open(agent)
                self.wait_text("tbody", "exit_code")
                pairs = self.browser.run(contrast)
                self.assertGreater(len(pairs), 20)
                for text, ratio in pairs:
                    self.assertGreaterEqual(ratio, 4.5, (dark, text))
                grounds.add(self.browser.run("return getComputedStyle(document.body).backgroundColor"))
            self.assertEqual(len(grounds), 2)

    def test_ten_thousand_probes(self):
        names = "".join(f"  p{i}: {{exec: /bin/true, initialDelaySeconds: 3600}}\n" for i in range(9999))
        with Agent("readiness:\n" + names + "  bad: exec:/bin/false\nliveness: {app: 'exec:/bin/false'}\n"
                   ) as agent:
            agent.wait_for(lambda a: a.admin("/ready/bad?format=json")[2].count('"runs":0') == 0)
            self.open(agent)
            self.wait_text("#more", "9901 more are not shown")
            self.assertEqual(len(self.browser.elements("tbody tr")), 100)
            self.assertEqual(self.browser.text("#probes-count"), "10001")
            # how many more is not known from a hundred
            self.assertRegex(self.verdict(), r": (app, )?p0, p1, .*and more\n")
            size = self.browser.run("return Math.max(...performance.getEntriesByType('resource').map("
                                    "entry => entry.decodedBodySize))")
            self.assertLess(size, 500 * 1024)


if IS_SANITIZED:
    del Page  # the page is the same, and a browser is dear


class Sources(TestCase):
    def test_no_foreign_address(self):
        page = pathlib.Path(__file__).resolve().parents[2] / "agent/page"
        for name in ("page.html", "page.css", "page.js"):
            addresses = re.findall(r"(?:https?:)?//[a-z][a-z0-9.]+/\S*", (page / name).read_text())
            self.assertEqual([address for address in addresses
                              if not address.startswith("http://www.w3.org/2000/svg")], [], name)


if __name__ == "__main__":
    unittest.main()
