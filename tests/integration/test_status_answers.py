"""/status and /history: what they say, in the form that conf/readyd-status.schema.json documents."""

import json
import os
import pathlib
import signal
import unittest

import jsonschema

import postgres_server
import redis_server
from harness import BINARY, Agent, TestCase, free_port, readyd

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] /
                     "conf/readyd-status.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator
IS_SANITIZED = "sanitize" in BINARY

# The lists that the schema leaves open, so that a new kind of probe or a new reason breaks nobody.
REASONS = [line.split()[0] for line in readyd("--help", "reasons").stdout.splitlines()[1:]]
TYPES = [one["name"] for one in json.loads(readyd("config", "fields", "--json").stdout)["types"]]
SCHEMA["$defs"]["reason"]["enum"] = REASONS
SCHEMA["$defs"]["type"]["enum"] = TYPES

STATUS = VALIDATOR(SCHEMA)
HISTORY = VALIDATOR({"$ref": "#/$defs/history", "$defs": SCHEMA["$defs"]})


def answer(agent, path, validator, side="admin"):
    """The JSON at a path; an error when it is not as documented."""
    status, headers, body = getattr(agent, side)(path)
    parsed = json.loads(body)
    if (status, headers["content-type"]) != (200, "application/json"):
        raise AssertionError(body)
    validator.validate(parsed)
    return parsed


def events(parsed, kind):
    return [transition for transition in parsed["transitions"] if transition["event"] == kind]


class Status(TestCase):
    def test_schema(self):
        VALIDATOR.check_schema(SCHEMA)

    def test_every_type_and_state(self):
        redis = redis_server.Server(self)
        postgres = postgres_server.Server().start()
        self.addCleanup(postgres.destroy)
        gate = self.tmp / "gate"
        config = f"""
service: shop
version: "7"
startup:
  gate: {{exec: {{command: [test, -e, {gate}]}}, periodSeconds: 0.1}}
liveness:
  tcp: {{target: 'tcp://127.0.0.1:{redis.port}', periodSeconds: 0.1}}
readiness:
  http: http://127.0.0.1:${{OWN_PORT}}/healthz
  refused: http://127.0.0.1:{free_port()}/
  postgres: postgres://trusted@127.0.0.1:{postgres.port}/app
  redis: {redis.url}
  later: {{exec: {{command: /bin/true}}, initialDelaySeconds: 60}}
  slow: {{exec: {{command: [sleep, '60']}}, timeoutSeconds: 60}}
  plugin: {{exec: {{nagios: true, command: [sh, -c, "echo 'DISK WARNING|/=80%;70;90;0;100 a=U'; exit 1"]}}}}
"""
        with Agent(config, env={"OWN_PORT": str(free_port())}) as agent:
            parsed = answer(agent, "/status", STATUS)
            agent.wait_for(lambda a: a.probe("gate")["runs"])
            self.assertEqual(answer(agent, "/status", STATUS)["verdicts"]["ready"]["ok"], False)
            self.assertEqual(agent.probe("redis")["standing"], "unknown")
            gate.touch()
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]
                                         if probe["name"] not in ("later", "slow")))
            agent.wait_for(lambda a: a.probe("slow")["running"])
            parsed = answer(agent, "/status", STATUS)
            probes = {probe["name"]: probe for probe in parsed["probes"]}
            self.assertLessEqual({"http", "exec", "tcp", "postgres", "redis"},
                                 {probe["type"] for probe in probes.values()})
            self.assertEqual({probe.get("state") for probe in probes.values()},
                             {"pass", "warn", "fail", None})
            self.assertEqual({probe["standing"] for probe in probes.values()} -
                             {"failing"}, {"unknown", "passing"})
            self.assertEqual([item["label"] for item in probes["plugin"]["perfdata"]], ["/", "a"])
            self.assertTrue(0 < probes["later"]["nextRunInMs"] <= 60000)
            self.assertNotIn("nextRunInMs", probes["slow"])
            self.assertTrue(0 <= probes["redis"]["ageMs"] < 30000)
            self.assertIn("target", probes["redis"])
            redis.kill()
            agent.wait_for(lambda a: a.probe("tcp")["standing"] == "failing")
            parsed = answer(agent, "/status", STATUS)
            self.assertEqual((parsed["verdicts"]["healthz"]["ok"], parsed["verdicts"]["healthz"]["why"]),
                             (False, "a liveness probe fails"))
            # without details
            parsed = answer(agent, "/status", STATUS, "get")
            self.assertFalse(parsed["details"])
            for probe in parsed["probes"]:
                self.assertEqual({"target", "message", "output"} & set(probe), set())
            answer(agent, "/history", HISTORY)

    def test_limit(self):
        names = "".join(f"  p{i}: exec:/bin/true\n" for i in range(150))
        config = f"readiness:\n{names}  bad: exec:/bin/false\n  late: {{exec: /bin/false, initialDelaySeconds: 60}}\n"
        with Agent(config) as agent:
            agent.wait_for(lambda a: sum(probe["ok"] for probe in a.status()["probes"]) == 150)
            for path, validator in (("/status", STATUS), ("/history", HISTORY)):
                parsed = answer(agent, path, validator)
                self.assertEqual((parsed["probeCount"], parsed["probesLeftOut"], len(parsed["probes"])),
                                 (152, 0, 152))
                self.assertEqual(parsed["probes"][0]["name"], "p0")
                parsed = answer(agent, path + "?limit=3", validator)
                self.assertEqual((parsed["probeCount"], parsed["probesLeftOut"]), (152, 149))
                self.assertEqual([probe["name"] for probe in parsed["probes"]],
                                 ["bad", "late", "p0"])
                self.assertEqual(answer(agent, path + "?limit=0", validator)["probes"], [])
                for wrong in ("", "-1", "x", "3x", "1.5"):
                    self.assertEqual(agent.get(f"{path}?limit={wrong}")[::2],
                                     (400, "limit is how many probes to tell of, a number\n"))


class History(TestCase):
    def test_transitions(self):
        flag = self.tmp / "flag"
        config = (f"readiness: {{flag: {{exec: {{command: [test, -e, {flag}]}}, periodSeconds: 0.1, "
                  "timeoutSeconds: 20, failureThreshold: 1}}\n")
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("flag")["standing"] == "failing")
            flag.touch()
            agent.wait_ready()
            flag.unlink()
            agent.wait_ready(503)
            agent.admin("/drain", method="POST")
            agent.admin("/undrain", method="POST")
            agent.signal(signal.SIGHUP)
            agent.wait_for(lambda a: a.status()["reloads"] == 1)
            parsed = answer(agent, "/history", HISTORY)
            self.assertEqual([(one["from"], one["to"], one["reason"]) for one in events(parsed, "probe")],
                             [("unknown", "failing", "exit_code"), ("failing", "passing", "ok"),
                              ("passing", "failing", "exit_code")])
            self.assertIn("exit code 1", events(parsed, "probe")[0]["message"])
            self.assertEqual([(one["endpoint"], one["ok"]) for one in events(parsed, "verdict")],
                             [("startup", True), ("ready", True), ("ready", False)])
            self.assertEqual([(one["source"], one["draining"]) for one in events(parsed, "drain")],
                             [("command", True), ("command", False)])
            self.assertEqual([one["probeCount"] for one in events(parsed, "reload")], [1])
            self.assertEqual([one["number"] for one in parsed["transitions"]],
                             list(range(parsed["transitionCount"])))
            since = answer(agent, "/status", STATUS)["verdicts"]["ready"]["since"]
            self.assertEqual(since, events(parsed, "verdict")[-1]["at"])
            runs = parsed["probes"][0]["history"]
            self.assertLessEqual(len(runs), 16)
            self.assertEqual(runs[-1]["state"], "fail")

    def test_bounds(self):
        """More transitions than are kept: the last ones stay, and memory does not grow."""
        with Agent("readiness: {good: 'exec:/bin/true'}\n") as agent:
            agent.wait_ready()
            for _ in range(150):
                agent.admin("/drain", method="POST")
                agent.admin("/undrain", method="POST")
            parsed = answer(agent, "/history", HISTORY)
            self.assertEqual(len(parsed["transitions"]), 256)
            self.assertGreaterEqual(parsed["transitionCount"], 600)
            self.assertEqual(parsed["transitions"][-1]["number"], parsed["transitionCount"] - 1)
            parsed = answer(agent, "/status", STATUS)
            self.assertEqual(len(parsed["transitions"]), 16)


if not IS_SANITIZED:
    # The sanitizers need the memory themselves.
    class Memory(TestCase):
        def test_memory_of_ten_thousand_probes(self):
            names = "".join(f"  p{i}: {{tcp: 'tcp://127.0.0.1:1', periodSeconds: 1}}\n" for i in range(10000))
            with Agent("readiness:\n" + names) as agent:
                agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]), 120)
                for path in ("/status", "/history?limit=100"):
                    agent.admin(path)
                pages = int(pathlib.Path(f"/proc/{agent.process.pid}/statm").read_text().split()[1])
                self.assertLess(pages * os.sysconf("SC_PAGE_SIZE"), 20 * 1024 * 1024)


if __name__ == "__main__":
    unittest.main()
