"""A real Chromium without a window, driven through WebDriver (which is plain HTTP with JSON)."""

import base64
import http.client
import json
import os
import pathlib
import tempfile

from harness import free_port, port_open

# The key of an element's identifier (WebDriver, section 12.1).
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-extensions", "--metrics-recording-only", "--no-default-browser-check",
             # Nothing but this machine can be reached, whatever the page may want.
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
             "--window-size=1280,900"]


class Browser:
    """Ends with the test."""

    def __init__(self, test):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="browser-", dir=test.tmp)
        arguments = [*ARGUMENTS, f"--user-data-dir={self.directory}/profile"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        test.start(["chromedriver", f"--port={self.port}", "--allowed-ips=127.0.0.1"],
                   ready=lambda: port_open(self.port),
                   env=dict(os.environ, HOME=self.directory, TMPDIR=self.directory))
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments},
                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = ""
        session = self.command("POST", "/session",
                               {"capabilities": {"alwaysMatch": capabilities}})
        self.session = "/session/" + session["sessionId"]
        test.addCleanup(self.close)

    def command(self, method, path, body=None):
        """One command; its value."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, self.session + path,
                               None if body is None else json.dumps(body))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(f"{method} {path}: {value}")
        return value

    def close(self):
        self.command("DELETE", "")

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """Runs the body of a function in the page; what it returns."""
        return self.command("POST", "/execute/sync", {"script": script, "args": arguments})

    def devtools(self, command, **parameters):
        """A command of Chromium's DevTools protocol."""
        return self.command("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def elements(self, selector):
        """The identifiers of the elements that a CSS selector picks."""
        found = self.command("POST", "/elements", {"using": "css selector", "value": selector})
        return [element[ELEMENT] for element in found]

    def text(self, selector):
        """What is to be seen of the first such element."""
        return self.command("GET", f"/element/{self.elements(selector)[0]}/text")

    def role(self, element):
        """What it is to a screen reader."""
        return self.command("GET", f"/element/{element}/computedrole")

    def label(self, element):
        """What a screen reader calls it."""
        return self.command("GET", f"/element/{element}/computedlabel")

    def console(self):
        """What the console says, new since the last call."""
        return self.command("POST", "/se/log", {"type": "browser"})

    def requests(self):
        """The URLs asked for, new since the last call."""
        entries = self.command("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]

    def emulate(self, *, dark=False, width=1280, height=900, phone=False):
        """The size of the window, and light or dark."""
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=2 if phone else 1, mobile=phone)

    def screenshot(self, path):
        """The whole page as a PNG file."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))
