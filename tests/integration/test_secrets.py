"""No secret appears anywhere: every place that may hold one holds one that can be recognised, and every
output is searched for all of them."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest
import urllib.parse

import postgres_server
import redis_server
from harness import BINARY, Agent, TestCase, clean_environment, free_port, readyd

FORMATS = ["text", "kubernetes", "json", "health", "microprofile", "spring", "nagios"]


class Secrets:
    """Makes them, and finds them again."""

    def __init__(self):
        self.values = {}

    def __call__(self, place):
        """A new one, for this place."""
        # What an encoding would change is in it too, but nothing that a URL needs as it is.
        self.values[place] = f"hush{len(self.values):02}Zq~{os.urandom(4).hex()}"
        return self.values[place]

    def forms(self, value):
        yield value
        yield urllib.parse.quote(value, safe="")
        yield value.encode().hex()
        for prefix in ("", "u:", "user:", ":"):
            # without the end, which depends on what follows
            yield base64.b64encode((prefix + value).encode()).decode().rstrip("=")[:-2]

    def found_in(self, text):
        return [place for place, value in self.values.items()
                if any(form in text for form in self.forms(value))]


class SecretsTest(TestCase):
    def setUp(self):
        super().setUp()
        self.secret = Secrets()
        self.searched = 0

    def search(self, where, *texts):
        """Fails if any of the texts has a secret in it."""
        for text in texts:
            text = text.decode(errors="replace") if isinstance(text, bytes) else text
            self.assertEqual(self.secret.found_in(text), [], f"{where}:\n{text}")
            self.searched += len(text)

    def file(self, place):
        """A file with a secret."""
        path = self.tmp / f"file-{place}"
        path.write_text(self.secret(place) + "\n")
        return path

    def search_title(self, process):
        self.search("process title", pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes(),
                    pathlib.Path(f"/proc/{process.pid}/comm").read_bytes())

    def search_run(self, *arguments, env=None):
        done = readyd(*arguments, env=env)
        self.search(arguments[0], done.stdout, done.stderr)
        return done

    def test_finds(self):
        """The search itself."""
        value = self.secret("place")
        for text in (f"x{value}y", urllib.parse.quote(value, safe=""),
                     base64.b64encode(f"user:{value}".encode()).decode(), value.encode().hex()):
            self.assertEqual(self.secret.found_in(text), ["place"], text)
        self.assertEqual(self.secret.found_in("hush"), [])

    def configuration(self):
        """Probes of every type that fail and pass with secrets; and the environment for them."""
        secret, closed = self.secret, free_port()
        redis = redis_server.Server(self, requirepass=(redis_password := secret("redis")), wait=False)
        postgres = postgres_server.Server().start()
        self.addCleanup(postgres.destroy)
        database = f"127.0.0.1:{postgres.port}/app"
        text = f"""
service: shop
version: "7"
details: always
logLevel: debug
liveness:
  url-user: http://user:{secret('http user part')}@127.0.0.1:{closed}/
readiness:
  url-token: http://{secret('http user alone')}@127.0.0.1:{closed}/
  url-token-alive: http://{secret('http user alone, answered')}@127.0.0.1:{redis.port}/
  url-token-empty: "https://{secret('https user, empty password')}:@127.0.0.1:{closed}/"
  redis-user: redis://{secret('redis user alone')}@127.0.0.1:{redis.port}
  url-query: "http://127.0.0.1:{closed}/?token={secret('http query')}&n=1#{secret('fragment')}"
  headers: {{http: {{url: "http://127.0.0.1:{closed}/", httpHeaders: {{X-Api-Key: {secret('header')},
    Authorization: Bearer {secret('authorization')}}}}}}}
  login: {{http: {{url: "http://127.0.0.1:{closed}/", user: u, password: {secret('http password')}}}}}
  bearer: {{http: {{url: "http://127.0.0.1:{redis.port}/", bearerTokenFile: {self.file('bearer file')}}}}}
  body: {{http: {{url: "http://127.0.0.1:{closed}/", method: POST, requestBody: '{secret('body')}'}}}}
  postgres-wrong: postgres://password:{secret('postgres url')}@{database}
  postgres-file: {{postgres: {{url: "postgres://password@{database}", passwordFile: {self.file('postgres file')}}}}}
  postgres-query: "postgres://127.0.0.1:{closed}/app?user=u&password={secret('postgres query')}"
  conninfo: {{postgres: "host=127.0.0.1 port={closed} user=u password='{secret('conninfo')}'"}}
  redis-right: redis://:{redis_password}@127.0.0.1:{redis.port}
  redis-wrong: {{redis: {{url: "redis://127.0.0.1:{redis.port}", password: {secret('redis password')}}}}}
  redis-file: {{redis: {{url: "redis://127.0.0.1:{redis.port}", user: u, passwordFile: {self.file('redis file')}}}}}
  tcp-send: {{tcp: {{url: "tcp://127.0.0.1:{redis.port}", send: "AUTH {secret('tcp send')}", expect: OK}}}}
  exec-argument: {{exec: {{command: [/bin/false, --password, {secret('exec argument')}]}}}}
  exec-after-flag: {{exec: {{command: [/bin/false, --no-password, --token, {secret('exec after flag')}]}}}}
  exec-after-end: {{exec: {{command: [/bin/false, --password, --, {secret('exec after end')}]}}}}
  exec-header: {{exec: {{command: [/bin/false, -H, "X-Api-Key: {secret('exec header')}"]}}}}
  exec-login: {{exec: {{command: [/bin/false, -u, "user:{secret('exec login')}"]}}}}
  exec-login-option: exec:/bin/false --user=user:{secret('exec login option')}
  exec-community: {{exec: {{command: [/bin/false, --community, {secret('exec community')}]}}}}
  exec-option: exec:/bin/false --token={secret('exec option')}
  exec-environment: {{exec: {{command: /bin/false, environment: {{PASSWORD: {secret('exec environment')}}}}}}}
  from-variable: ${{SECRET_URL}}
"""
        return text, {"SECRET_URL": f"redis://:{secret('variable')}@127.0.0.1:{closed}",
                      "READYD_READINESS_ENVIRONMENT": f"postgres://u:{secret('environment')}@127.0.0.1:{closed}/d",
                      "READYD_READINESS_ENVIRONMENT__PASSWORD": secret("environment password")}

    def answers(self, agent):
        """Everything that the agent says over HTTP."""
        names = [probe["name"] for probe in agent.status()["probes"]]
        paths = ["/status", "/history", "/metrics", "/?format=html"]
        paths += [f"{path}?format={name}" for name in FORMATS for path in
                  ["/ready", "/healthz", "/startup", *(f"/ready/{name}" for name in names)]]
        for path in paths:
            for ask in (agent.get, agent.admin):
                status, headers, body = ask(path)
                self.assertIn(status, (200, 404, 503), path)
                yield path, repr(headers) + body
        for path in ("/table", "/table?colour&unicode", "/check/readiness?verbose", "/check/liveness"):
            yield path, agent.admin(path)[2]

    def test_agent(self):
        config, environment = self.configuration()
        line = self.secret("command line")
        arguments = ["-o", f"readiness.line=redis://:{line}@127.0.0.1:{free_port()}",
                     "-o", f"readiness.line.password={line}"]
        for logs in ("json", "text"):
            with Agent(config, env=environment, args=[*arguments, "-o", f"logFormat={logs}"],
                       wait=logs == "json") as agent:
                agent.wait_for(lambda a: "started" in "".join(a.raw_logs))
                agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
                if logs == "json":
                    for path, text in self.answers(agent):
                        self.search(path, text)
                    options = ["--socket", agent.socket]
                    for verb in (["status"], ["status", "--json"], ["check"], ["check", "--json"],
                                 ["check", "--verbose"], ["check", "--verbose", "--json"], ["check", "liveness"],
                                 ["check", "postgres-wrong", "exec-argument", "--json"]):
                        self.search_run(*verb, *options)
                self.search_title(agent.process)
                # a reload with a fault in each line that has a secret
                agent.config_path.write_text(config.replace("127.0.0.1:", "127.0.0.1:x"))
                agent.signal(signal.SIGHUP)
                agent.wait_for(lambda a: "reload_failed" in "".join(a.raw_logs))
                agent.admin("/drain", method="POST")
            self.search("log", "\n".join(agent.raw_logs))
        self.assertGreater(self.searched, 100000)

    def test_commands(self):
        """What is said of targets and settings on the command line, right or wrong, and of answers."""
        closed = free_port()
        redis = redis_server.Server(self, requirepass=self.secret("redis"), wait=False)
        for scheme in ("http", "https", "postgres", "redis", "rediss", "tcp"):
            for address in (f"127.0.0.1:{closed}", "127.0.0.1:x", "", "no-such-host.invalid:1"):
                users = [f"u:{self.secret(scheme + ' ' + address)}"]
                if scheme != "postgres":  # where it is a name that is shown
                    users.append(self.secret(scheme + " user alone " + address))
                for user in users:
                    target = f"{scheme}://{user}@{address}/x?token={self.secret(user + address)}"
                    for verb in (["check"], ["check", "--json"], ["check", "--verbose"],
                                 ["wait", "--timeout", "0.2"], ["wait", "--json", "--timeout", "0.2"]):
                        self.search_run(*verb, target)
        done = self.search_run("check", f"postgres://app@127.0.0.1:{closed}/shop")
        self.assertIn("app@127.0.0.1", done.stdout + done.stderr)
        url = f"redis://127.0.0.1:{redis.port}"
        for option in (f"password={self.secret('option')}", f"passwordFile={self.file('option file')}",
                       f"pasword={self.secret('misspelt')}",
                       f"password={self.secret('twice')} {self.secret('blank')}"):
            for verb in (["check", "--json"], ["check"], ["wait", "--timeout", "0.2"]):
                self.search_run(*verb, url, "-o", option)

    def test_run(self):
        """What `run` says, and what it leaves behind of a liveness failure."""
        record = self.tmp / "record"
        target = f"redis://:{self.secret('liveness')}@127.0.0.1:{free_port()}"
        done = self.search_run(
            "run", "-o", "listen=none", "-o", "socket=none", "-o", f"liveness.app={target}", "-o",
            "liveness.app.periodSeconds=0.1", "-o", "drain.delaySeconds=0", "-o", "onLivenessFailure=exit", "-o",
            f"terminationLogFile={record}", "--", "sh", "-c", "exec sleep 30", "--password",
            self.secret("command"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("connect_refused", record.read_text())
        self.search("record", record.read_text())

    def test_process_titles(self):
        closed = free_port()
        for verb, url in ((["wait", "--timeout", "30"], "redis://:{}@127.0.0.1:{}"),
                          (["wait", "--timeout", "30"], "http://{}@127.0.0.1:{}"), (["wait", "--quiet"], "redis://:{}@127.0.0.1:{}")):
            process = subprocess.Popen(
                [BINARY, *verb, url.format(self.secret("title"), closed), "-o",
                 f"password={self.secret('title option')}"], env=clean_environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
            self.addCleanup(process.stderr.close)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            if "--quiet" not in verb:
                self.search("wait", process.stderr.readline())
                self.search_title(process)

    def test_faults_of_configurations(self):
        """`config check` shows where a fault is, and not what else stands there."""
        config, environment = self.configuration()
        path = self.tmp / "readyd.yaml"
        done = None
        lines = config.splitlines()
        broken = [config.replace("127.0.0.1:", "127.0.0.1:x"), config.replace("127.0.0.1:", "["),
                  config.replace("password:", "pasword:").replace("://", ":/"),
                  config.replace("{", "[").replace("}", "]"), config.replace("'", ""),
                  config.replace("readiness:", "readyness:"), config.replace("postgres://", "mysql://"),
                  config.replace("@", ":@@")]
        broken += ["\n".join(lines[:number] + [re.sub(r": (?=\S)", ": {x: ", line, count=1)] + lines[number + 1:])
                   for number, line in enumerate(lines) if "hush" in line]
        for text in broken:
            path.write_text(text)
            for form in ([], ["--json"]) if done is None else ([],):
                done = self.search_run("config", "check", path, *form, env=environment)
        self.assertNotEqual(done.returncode, 0)


class Events(TestCase):
    def test_an_update_can_be_followed(self):
        """Every event has the service and the version at its beginning, from the first to the last."""
        config = ("service: shop\nversion: '{version}'\nreadiness: {{good: exec:/bin/true, "
                  "bad: exec:/bin/false}}\nlogLevel: debug\n")
        for version in ("7", "8"):
            with Agent(config.format(version=version)) as agent:
                agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
                agent.admin("/drain", method="POST")
                if version == "8":
                    agent.config_path.write_text(config.format(version="9"))
                    agent.signal(signal.SIGHUP)
                    agent.wait_log(lambda event: event["event"] == "reloaded")
                    agent.admin("/undrain", method="POST")
            seen = [(event["service"], event["version"]) for event in agent.logs]
            self.assertEqual(len(seen), len(agent.raw_logs))
            self.assertEqual(set(seen), {("shop", version)} | ({("shop", "9")} if version == "8" else set()))
            self.assertEqual(seen[-1], ("shop", "9" if version == "8" else "7"))
            kinds = {event["event"] for event in agent.logs}
            self.assertLessEqual({"started", "probe", "waiting", "verdict", "drain", "stopping"}, kinds)
            names = list(json.loads(agent.raw_logs[0]))
            self.assertLess(names.index("version"), names.index("event") + 4)


if __name__ == "__main__":
    unittest.main()
