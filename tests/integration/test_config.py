"""The configuration: `readyd config`, the annotated example, the JSON Schema, hostile input."""

import http.server
import json
import os
import pathlib
import re
import resource
import subprocess
import threading
import unittest

import config_schema
from harness import BINARY, PATIENCE_SECONDS, Agent, TestCase, clean_environment, readyd

HERE = pathlib.Path(__file__).resolve().parent
CONF = HERE.parent.parent / "conf"
MIB = 1024 * 1024

# Debian's, which sees Debian's python3-jsonschema and python3-yaml.
SYSTEM_PYTHON = "/usr/bin/python3"


def documents(name):
    """The documents of a corpus, without the comment at its head."""
    text = (HERE / "config" / name).read_text()
    return re.split(r"^---\n", text, flags=re.MULTILINE)[1:]


def by_schema(texts):
    """What the schema has against each document; None for the valid ones."""
    done = subprocess.run([SYSTEM_PYTHON, str(HERE / "config_judge.py"),
                           str(CONF / "readyd.schema.json")], input=json.dumps(texts),
                          capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def by_parser(text):
    """What `config check` has against a document; None if it is valid."""
    done = readyd("config", "check", "-", input=text)
    return None if done.returncode == 0 else done.stderr


class SchemaTest(unittest.TestCase):
    def test_the_file_is_what_the_tables_say(self):
        self.assertEqual((CONF / "readyd.schema.json").read_text(), config_schema.text_of(BINARY),
                         "run: python3 tests/integration/config_schema.py build/readyd "
                         "> conf/readyd.schema.json")

    def test_both_accept_the_valid_documents(self):
        texts = documents("valid.yaml")
        for text, fault in zip(texts, by_schema(texts)):
            with self.subTest(text):
                self.assertIsNone(fault)
                self.assertIsNone(by_parser(text))

    def test_both_refuse_the_invalid_documents(self):
        texts = documents("invalid.yaml")
        for text, fault in zip(texts, by_schema(texts)):
            with self.subTest(text):
                self.assertIsNotNone(fault)
                self.assertIsNotNone(by_parser(text))

    def test_every_setting_is_in_the_schema(self):
        """Each by itself with good and bad values, so that the schema cannot be too wide."""
        probes, wanted = [], []
        for type_ in config_schema.tables_of(BINARY)["types"]:
            for field in type_["fields"]:
                for good, value in self.values(field):
                    probes.append({type_["name"]: {field["name"]: value}})
                    wanted.append(good)
        verdicts = by_schema([json.dumps({"readiness": {"p": probe}}) for probe in probes])
        for probe, good, fault in zip(probes, wanted, verdicts):
            with self.subTest(probe):
                self.assertEqual(fault is None, good, fault)
        # The parser has more against some that are good, such as a missing URL.
        text = "readiness:\n" + "".join(f"  p{i}: {json.dumps(probe)}\n"
                                        for i, probe in enumerate(probes))
        faulty = {int(line) for line in re.findall(r"(?m)^standard input:(\d+):", by_parser(text))}
        for i, (probe, good) in enumerate(zip(probes, wanted)):
            with self.subTest(probe):
                self.assertTrue(good or i + 2 in faulty)

    @staticmethod
    def values(field):
        """(whether it is good, value) pairs."""
        good = {"text": ["x", 5], "secret": ["x"], "boolean": [True, "off"], "integer": [],
                "number": [0.5], "seconds": [0.5, "20ms"], "choice": field.get("choices"),
                "texts": [["a", "b"], "a"], "command": [["a", "b"], "a b"],
                "pairs": [{"A": "b"}, ["A: b"], [{"name": "A", "value": "b"}]],
                "statuses": [200, "200-299", [200, 204]]}[field["kind"]]
        bad = {"text": [["x"]], "secret": [["x"], {"a": "b"}], "boolean": ["perhaps", 2],
               "integer": ["x", 0.5], "number": ["x"], "seconds": ["x", -1, "1d"], "choice": ["?"],
               "texts": [{"a": "b"}], "command": [[], {"a": "b"}], "pairs": [["A"]],
               "statuses": [600, "x"]}[field["kind"]]
        for limit, beyond in (("minimum", -1), ("maximum", 1)):
            if limit in field:
                good = [*good, field[limit]]
                bad = [*bad, field[limit] + beyond]
        return [(True, value) for value in good] + [(False, value) for value in bad]


class ExampleTest(TestCase):
    variables = {"DATABASE_URL": "postgres://app:s3cret@db/users"}

    def test_it_is_valid(self):
        done = readyd("config", "check", CONF / "readyd.yaml", env=self.variables)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, f"{CONF / 'readyd.yaml'}: ok, 7 probes\n")
        self.assertEqual(by_schema([(CONF / "readyd.yaml").read_text()]), [None])

    def test_it_says_what_is_missing(self):
        done = readyd("config", "check", CONF / "readyd.yaml")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^[^\n]*/readyd\.yaml:\d+:12: variable DATABASE_URL is not "
                                      r"set: set it to postgres://USER@HOST/DATABASE\n$")

    def test_it_shows_every_setting_of_the_top_level_and_every_type(self):
        text = (CONF / "readyd.yaml").read_text()
        tables = config_schema.tables_of(BINARY)
        for field in tables["settings"]:
            section, _, name = field["name"].rpartition(".")
            above = rf"{section}:\n(?:  .*\n)*?  " if section else ""
            self.assertRegex(text, rf"(?m)^{above}{name}:")
        for type_ in tables["types"]:
            schemes = "|".join(type_["schemes"])
            self.assertRegex(text, rf"(?m)^\s*({type_['name']}:|\w+: ({schemes}):|target: "
                                   rf"({schemes}):)")
        for word in ("target:", "httpGet:", "readinessProbe:", *(
                field["name"] + ":" for field in tables["probe"]
                if field["name"] != "terminationGracePeriodSeconds")):
            self.assertIn(word, text)

    def test_the_commented_blocks_are_valid(self):
        text = (CONF / "readyd.yaml").read_text()
        block = text[text.index("# readinessProbe:"):]
        block = re.sub(r"(?m)^# ?", "", block)
        self.assertIsNone(by_parser(block))

    def test_serve_takes_it(self):
        with Agent((CONF / "readyd.yaml").read_text(), env=self.variables) as agent:
            status = agent.status()
            self.assertEqual(status["service"], "user-service")
            self.assertEqual(status["version"], "dev")
            self.assertEqual({probe["name"] for probe in status["probes"]},
                             {"app", "heartbeat", "database", "cache", "queue", "payments",
                              "migrated"})
            self.assertNotIn("s3cret", json.dumps(status))


class CheckTest(TestCase):
    def check(self, text, *arguments, env=None):
        path = self.tmp / "readyd.yaml"
        path.write_text(text)
        done = readyd("config", "check", *arguments, path, env=env)
        return done.returncode, done.stdout, done.stderr.replace(str(path), "FILE")

    def test_faults_of_all_sources_in_one_run(self):
        self.assertEqual(
            self.check("servce: x\nreadiness:\n  db:\n    redis: {url: redis://h, rol: primary}\n",
                       "-o", "listn=:1", env={"READYD_LOGLEVEL": "info"}),
            (1, "",
             'FILE:1:1: unknown setting "servce", did you mean service?\n'
             'FILE:4:29: unknown setting "rol" of redis, did you mean role?\n'
             "environment READYD_LOGLEVEL: there is no such setting, did you mean "
             "READYD_LOG_LEVEL?\n"
             "command line -o listn: there is no such setting, did you mean listen?\n"))

    def test_warnings_do_not_fail(self):
        self.assertEqual(
            self.check("liveness: {cache: 'redis://cache'}\nservice: ${NAME}\n"),
            (0, "FILE: ok, 1 probe\n".replace("FILE", str(self.tmp / "readyd.yaml")),
             "warning: FILE:1:19: cache is a liveness probe of another host; restarting this "
             "container will not help that one, put it under readiness\n"
             "warning: FILE:2:10: variable NAME is not set, it is taken as empty\n"))

    def test_precedence(self):
        """Command line before environment before file before default, as the agent sees it."""
        text = ("service: file\nversion: file\nreadiness:\n"
                "  a: {exec: /bin/true, periodSeconds: 11, timeoutSeconds: 2}\n")
        with Agent(text, env={"READYD_SERVICE": "environment", "READYD_VERSION": "environment",
                              "READYD_READINESS_A__PERIOD_SECONDS": "12",
                              "READYD_READINESS_A__FAILURE_THRESHOLD": "7",
                              "READYD_READINESS_FROM_ENV": "exec:/bin/true"},
                   args=["-o", "service=line", "-o", "readiness.a.periodSeconds=13"]) as agent:
            status = agent.status()
            self.assertEqual((status["service"], status["version"]), ("line", "environment"))
            self.assertEqual({probe["name"] for probe in status["probes"]}, {"a", "from-env"})

    def test_no_file_is_needed(self):
        with Agent(None, env={"READYD_READINESS_APP": "exec:/bin/true"}) as agent:
            agent.wait_ready()

    def test_serve_refuses_alike(self):
        path = self.tmp / "readyd.yaml"
        path.write_text("readiness: {a: {redis: {url: redis://h, rol: x}}}\nlogLevel: loud\n")
        checked = readyd("config", "check", path)
        served = readyd("serve", "-c", path)
        self.assertEqual((checked.returncode, served.returncode), (1, 1))
        self.assertEqual(served.stderr.replace("readyd serve: ", ""), checked.stderr)

    def test_files_that_are_none(self):
        os.mkfifo(self.tmp / "pipe")
        for name, sentence in (("missing", "cannot be opened: No such file or directory"),
                               ("pipe", 'is not a regular file ("-" reads standard input)'),
                               (".", 'is not a regular file ("-" reads standard input)')):
            done = readyd("config", "check", self.tmp / name)
            self.assertEqual((done.returncode, done.stderr),
                             (1, f"{self.tmp / name}: {sentence}\n"))
        done = readyd("config", "check", "/dev/null")
        self.assertEqual((done.returncode, done.stdout), (0, "/dev/null: ok, 0 probes\n"))

    def test_secret_files(self):
        secret = self.tmp / "secret"
        text = f"readiness: {{a: {{redis: {{url: redis://h, passwordFile: {secret}}}}}}}\n"
        self.assertIn("No such file", self.check(text)[2])
        secret.write_text("hunter2\n")
        self.assertEqual(self.check(text)[0], 0)
        secret.unlink()
        os.mkfifo(secret)
        self.assertIn("is not a regular file", self.check(text)[2])

    def test_usage(self):
        for arguments, sentence in (
                ([], "check or fields is missing"), (["emitt"], "expected check or fields"),
                (["check"], "the file to check is missing"),
                (["check", "a", "b"], "unexpected argument: b"),
                (["check", "-o", "x", "a"], "-o takes NAME=VALUE"),
                (["check", "-o"], "a value is missing"), (["--nope"], "unknown option"),
                (["fields", "x"], "unexpected argument")):
            done = readyd("config", *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(sentence, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        done = readyd("config", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("readyd config check /etc/readyd.yaml", done.stdout)

    def test_fields(self):
        done = readyd("config", "fields")
        self.assertEqual(done.returncode, 0)
        for type_ in config_schema.tables_of(BINARY)["types"]:
            for field in type_["fields"]:
                self.assertRegex(done.stdout, rf"(?m)^  {field['name']} ")



HOSTILE = {
    "deep lists": b"[" * 4 * MIB,
    "deep maps": b"{" * 4 * MIB,
    "deep maps with keys": b"{a: " * MIB,
    "lists in lists": b"- " * 2 * MIB,
    "keys of keys": b"? " * 2 * MIB,
    "lists of maps": b"[{" * 2 * MIB,
    "aliases": b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (i, i)
                                          for i in range(50000)),
    "one key again and again": b"k: 1\n" * 390000,
    "many keys": b"".join(b"k%d: 1\n" % i for i in range(350000)),
    "many bad probes": b"readiness:\n" + b"".join(b"  p%d: {a: 1}\n" % i for i in range(90000)),
    "10 MiB of a": b"a" * 10 * MIB,
    "10 MiB of lists": b"[" * 10 * MIB,
    "4 MiB of a": b"a" * (4 * MIB - 1),
    "tags": b"- !!str a\n" * 300000,
    "tag directives": b"".join(b"%%TAG !a%d! x\n" % i for i in range(200000)),
    "documents": b"---\n" * MIB,
    "an open quote": b'a: "' + b"\\" * (4 * MIB - 10),
    "not UTF-8": b"\xff" * (4 * MIB - 1),
    "UTF-16": "readiness: {}\n".encode("utf-16") * 1000,
    "a NUL": b"a: 1\n\0" + b"x" * MIB,
    "variables in variables": b'a: "' + b"${A:-" * 700000 + b'"',
    "unset variables": b"".join(b"k%d: ${A}\n" % i for i in range(250000)),
    "dashes": b"-" * (4 * MIB - 10),
    "colons": b":" * (4 * MIB - 10),
    "a number for a map": b"drain: 5\nreadiness: 5\nliveness: [5]\n",
    "a map for a number": b"connectionLimit: {a: 1}\nservice: [1]\n",
}


class HostileTest(TestCase):
    """An error, quickly and in bounded memory."""

    # What one of these may take alone is well under a second and 100 MiB; the sanitizers take
    # several times that, and reserve terabytes of addresses.
    sanitized = b"__asan_" in pathlib.Path(BINARY).read_bytes()

    def limit(self):
        if not self.sanitized:
            resource.setrlimit(resource.RLIMIT_AS, (160 * MIB, 160 * MIB))
        seconds = 20 if self.sanitized else 2
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    def test_hostile_files(self):
        for name, content in HOSTILE.items():
            with self.subTest(name):
                path = self.tmp / "hostile.yaml"
                path.write_bytes(content)
                done = subprocess.run([BINARY, "config", "check", str(path)],
                                      env=clean_environment(), capture_output=True,
                                      preexec_fn=self.limit, timeout=PATIENCE_SECONDS * 2)
                lines = done.stderr.decode().splitlines()
                self.assertEqual(done.returncode, 1, lines[:3])
                self.assertTrue(lines[0].removeprefix("warning: ").startswith(str(path)), lines[:3])
                self.assertLessEqual(len(lines), 1001)

    def test_hostile_regular_expressions(self):
        """Refused before the C library would take gigabytes for them."""
        for setting, pattern, sentence in (
                ("target: 'http://h/', bodyRegex", "((a{1,60}){1,60}){1,60}", "repeats so much"),
                ("target: 'tcp://h:1', expectRegex", "(((){255}){255}){255}", "repeats so much"),
                ("target: 'tcp://h:1', expectRegex", "(" * MIB, "has 1048576 bytes")):
            with self.subTest(pattern[:30]):
                done = subprocess.run([BINARY, "config", "check", "-"], env=clean_environment(),
                                      input=f"readiness: {{p: {{{setting}: '{pattern}'}}}}\n",
                                      capture_output=True, preexec_fn=self.limit, text=True,
                                      timeout=PATIENCE_SECONDS)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"p: {setting.split()[-1]} {sentence}", done.stderr)

    def test_regular_expressions_are_quick(self):
        """The worst that are accepted, on the longest body: nothing else runs meanwhile."""
        class Server(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "65536")
                self.end_headers()
                self.wfile.write(b"a" * 65536)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        for pattern in ("(a{1,60}){1,10}b", "((a{1,8}){1,8}){1,8}b", "(a?){60}b",
                        ".{0,255}.{0,255}b", "(" + "|".join("a" * 44) + ")*b"):
            with self.subTest(pattern):
                done = subprocess.run(
                    [BINARY, "check", "--json", f"http://127.0.0.1:{server.server_port}/",
                     "-o", f"bodyRegex={pattern}", "-o", "timeoutSeconds=60"],
                    env=clean_environment(), capture_output=True, preexec_fn=self.limit,
                    text=True, timeout=PATIENCE_SECONDS * 2)
                self.assertEqual(json.loads(done.stdout)["reason"], "body_mismatch", done)

    def test_ten_thousand_probes(self):
        path = self.tmp / "many.yaml"
        path.write_text("readiness:\n" + "".join(
            f"  probe-{i}:\n    tcp: {{ url: 'tcp://127.0.0.1:{1 + i}' }}\n    periodSeconds: 1\n"
            for i in range(10000)))
        done = subprocess.run([BINARY, "config", "check", str(path)], env=clean_environment(),
                              capture_output=True, preexec_fn=self.limit, text=True,
                              timeout=PATIENCE_SECONDS)
        self.assertEqual((done.returncode, done.stdout), (0, f"{path}: ok, 10000 probes\n"))


if __name__ == "__main__":
    unittest.main()
