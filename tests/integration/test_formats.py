"""The forms of an answer, each against the rules that its readers go by."""

import json
import re
import unittest

import jsonschema

from harness import Agent, TestCase, settled

CONFIG = """
service: shop
version: "7"
details: {details}
liveness:
  app: exec:/bin/true
readiness:
  good: exec:/bin/true
  bad: {{exec: {{command: [sh, -c, 'echo "it|is broken"; exit 4']}}}}
  app: exec:/bin/true
  disk: {{exec: {{nagios: true, command: [sh, -c,
    'echo "DISK WARNING - low|/=80%;70;90;0;100 ''it''''s =odd''=5;;;0"; exit 1']}}}}
"""
GOOD = "details: {details}\nliveness: {{app: 'exec:/bin/true'}}\nreadiness: {{good: 'exec:/bin/true'}}\n"
NAMES = ["text", "kubernetes", "json", "health", "microprofile", "spring", "nagios"]

# Eclipse MicroProfile Health 4.0, appendix A: the schema of the answer.
MICROPROFILE = {
    "type": "object",
    "required": ["status", "checks"],
    "additionalProperties": False,
    "properties": {
        "status": {"type": "string", "enum": ["UP", "DOWN"]},
        "checks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "status"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "status": {"type": "string", "enum": ["UP", "DOWN"]},
                    "data": {"type": "object",
                             "additionalProperties": {"type": ["string", "boolean", "number"]}},
                },
            },
        },
    },
}

# The response structure of Spring Boot's health endpoint.
SPRING = {
    "$ref": "#/$defs/component",
    "$defs": {"component": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["UP", "DOWN", "OUT_OF_SERVICE", "UNKNOWN"]},
            "details": {"type": "object"},
            "components": {"type": "object",
                           "additionalProperties": {"$ref": "#/$defs/component"}},
        },
    }},
}
SPRING_ORDER = ["DOWN", "OUT_OF_SERVICE", "UP", "UNKNOWN"]
SPRING_TYPE = "application/vnd.spring-boot.actuator.v3+json"

# Monitoring Plugins Development Guidelines, section 2.6.
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
RANGE = rf"(?:@?(?:(?:{NUMBER}|~)?:)?(?:{NUMBER})?)"
PERFDATA = re.compile(rf"'((?:[^'=]|'')+)'=({NUMBER}|U)(s|us|ms|%|B|KB|MB|TB|c)?"
                      rf"(?:;{RANGE}(?:;{RANGE}(?:;(?:{NUMBER})?(?:;(?:{NUMBER})?)?)?)?)?(?: |$)")


def perfdata(text):
    """The labels and values; an error when anything else is left."""
    values, at = {}, 0
    while at < len(text):
        match = PERFDATA.match(text, at)
        if not match:
            raise AssertionError(f"no perfdata: {text[at:]!r}")
        values[match[1]] = (match[2], match[3] or "")
        at = match.end()
    return values


def worst(components):
    """What Spring's default aggregator makes of the components."""
    return min((component["status"] for component in components.values()),
               key=SPRING_ORDER.index)


class Formats(TestCase):
    def agent(self, details="never", config=CONFIG):
        agent = Agent(config.format(details=details))
        self.addCleanup(agent.__exit__, None, None, None)
        agent.wait_for(settled)
        return agent

    def test_names(self):
        agent = self.agent()
        for path in ("/ready", "/healthz", "/startup", "/", "/ready/bad"):
            for name in NAMES:
                status = agent.get(f"{path}?format={name}", {"Accept": "text/html"})[0]
                self.assertEqual(status, 200 if path in ("/healthz", "/startup") else 503)
            for name in ("yaml", "", "JSON", "text,json"):
                status, headers, body = agent.get(f"{path}?format={name}")
                self.assertEqual((status, headers["content-type"]),
                                 (400, "text/plain; charset=utf-8"))
                self.assertIn(", ".join(NAMES), body)
        self.assertEqual(agent.get("/status?format=json")[0], 200)
        self.assertEqual(agent.get("/status?format=nagios")[::2],
                         (400, "this is not answered in that format; try ?format= with json\n"))
        self.assertEqual(agent.get("/ready?format=kubernetes")[2], agent.get("/ready?verbose")[2])
        self.assertEqual(agent.get("/ready?format=text")[2], agent.get("/ready")[2])

    def test_health_json(self):
        agent = self.agent()
        by_name = agent.get("/ready?format=health")
        by_type = agent.get("/ready", {"Accept": "application/health+json"})
        self.assertEqual(by_name[1]["content-type"], "application/health+json")
        self.assertEqual(json.loads(by_name[2])["checks"].keys(),
                         json.loads(by_type[2])["checks"].keys())
        one = json.loads(agent.get("/ready/bad?format=health")[2])
        self.assertEqual((one["status"], list(one["checks"])), ("fail", ["bad:responseTime"]))

    def microprofile(self, agent, path):
        status, headers, body = agent.get(path + "?format=microprofile")
        answer = json.loads(body)
        jsonschema.validate(answer, MICROPROFILE)
        self.assertEqual(headers["content-type"], "application/json")
        # The verdict is the conjunction of the checks, and the status goes by it.
        up = all(check["status"] == "UP" for check in answer["checks"])
        self.assertEqual((answer["status"], status), ("UP", 200) if up else ("DOWN", 503))
        return {check["name"]: check for check in answer["checks"]}

    def test_microprofile(self):
        agent = self.agent()
        checks = self.microprofile(agent, "/ready")
        self.assertEqual(set(checks), {"liveness/app", "readiness/app", "good", "bad", "disk"})
        self.assertEqual(checks["bad"]["data"]["reason"], "exit_code")
        self.assertNotIn("message", checks["bad"]["data"])
        self.assertEqual(checks["disk"]["data"]["state"], "warn")
        self.assertEqual(set(self.microprofile(agent, "/healthz")), {"app"})
        self.assertEqual(set(self.microprofile(agent, "/ready/bad")), {"bad"})
        self.assertEqual(self.microprofile(agent, "/startup"), {})
        agent = self.agent("always", GOOD)
        self.assertEqual(self.microprofile(agent, "/ready")["good"]["data"]["target"],
                         "exec:/bin/true")
        agent.admin("/drain", method="POST")
        checks = self.microprofile(agent, "/ready")
        self.assertEqual(checks["readyd"]["data"], {"why": "draining"})

    def spring(self, agent, path, **headers):
        status, headers, body = agent.get(path, headers)
        answer = json.loads(body)
        jsonschema.validate(answer, SPRING)
        self.assertEqual(headers["content-type"], SPRING_TYPE)
        self.assertEqual(answer["status"], worst(answer["components"]))
        self.assertEqual(status, 200 if answer["status"] == "UP" else 503)
        for component in answer["components"].values():
            if "components" in component:
                self.assertEqual(component["status"], worst(component["components"]))
        return answer

    def test_spring(self):
        agent = self.agent()
        answer = self.spring(agent, "/ready?format=spring")
        self.assertEqual(set(answer["components"]),
                         {"app", "good", "bad", "disk", "readinessState"})
        self.assertEqual(set(answer["components"]["app"]["components"]), {"liveness", "readiness"})
        self.assertEqual(answer["components"]["bad"]["details"]["reason"], "exit_code")
        self.assertEqual(self.spring(agent, "/healthz", Accept=SPRING_TYPE)["status"], "UP")
        # what Spring Boot Admin sends
        accept = f"{SPRING_TYPE},application/vnd.spring-boot.actuator.v2+json,application/json"
        self.assertEqual(self.spring(agent, "/ready", Accept=accept)["status"], "DOWN")
        self.assertEqual(set(self.spring(agent, "/ready/bad?format=spring")["components"]), {"bad"})
        agent = self.agent(config=GOOD)
        self.assertEqual(self.spring(agent, "/ready?format=spring")["status"], "UP")
        agent.admin("/drain", method="POST")
        answer = self.spring(agent, "/ready?format=spring")
        self.assertEqual((answer["status"], answer["components"]["readinessState"]["status"]),
                         ("OUT_OF_SERVICE", "OUT_OF_SERVICE"))

    def test_spring_before_the_start(self):
        config = "startup: {done: 'exec:/bin/false'}\nreadiness: {readinessState: 'exec:/bin/true'}\n"
        with Agent(config) as agent:
            agent.wait_for(lambda a: a.probe("done")["runs"])
            self.assertEqual(self.spring(agent, "/ready?format=spring")["status"], "DOWN")
            self.assertEqual(self.spring(agent, "/startup?format=spring")["status"], "DOWN")

    def nagios(self, agent, path):
        status, _, body = agent.get(path + ("&" if "?" in path else "?") + "format=nagios")
        self.assertEqual(body.count("\n"), 1)
        self.assertLess(len(body), 8192)
        text, _, values = body.rstrip("\n").partition(" | ")
        self.assertNotIn("|", text + values)
        return status, text, perfdata(values)

    def test_nagios(self):
        agent = self.agent("always")
        status, text, values = self.nagios(agent, "/ready")
        self.assertEqual(status, 503)
        self.assertRegex(text, r"^READY CRITICAL - a readiness probe does not pass: bad exit_code: "
                               r"exit code 4: it/is broken.*; disk exit_warning: ")
        self.assertEqual(set(values), {"liveness/app", "readiness/app", "good", "bad", "disk",
                                       "disk /", "disk it''s _odd"})
        self.assertEqual(values["disk /"], ("80", "%"))
        self.assertEqual(values["good"][1], "s")
        self.assertLess(float(values["good"][0]), 5)
        status, text, _ = self.nagios(agent, "/ready?exclude=bad")
        self.assertEqual((status, text.split(" - ")[0]), (200, "READY WARNING"))
        self.assertEqual(self.nagios(agent, "/healthz")[:2], (200, "HEALTHZ OK - as it should be"))
        self.assertEqual(set(self.nagios(agent, "/ready/good")[2]), {"good"})
        self.assertNotIn("broken", self.nagios(self.agent(), "/ready")[1])

    def test_nagios_of_many(self):
        names = [f"dependency-with-a-long-name-{i}" for i in range(400)]
        probes = "".join(f"  {name}: {{exec: '/bin/sh -c \"echo {'ä|' * 50}; exit 1\"', "
                         "periodSeconds: 60}\n" for name in names)
        with Agent("details: always\nreadiness:\n  good: exec:/bin/true\n" + probes) as agent:
            agent.wait_for(settled)
            _, text, values = self.nagios(agent, "/ready")
            told = text.count("exit_code")
            self.assertGreater(told, 3)
            self.assertTrue(text.endswith(f"; and {400 - told} more"), text[-40:])
            self.assertGreater(len(values), 50)
            body = agent.admin("/check/readiness")[2]
            told = body.count("exit_code")
            self.assertTrue(body.endswith(f"; and {400 - told} more\n"), body[-40:])

    def test_many_in_json(self):
        probes = "".join(f"  dependency-with-a-long-name-{i}: {{exec: /bin/false, "
                         "periodSeconds: 60}\n" for i in range(200))
        with Agent("readiness:\n" + probes) as agent:
            agent.wait_for(settled)
            for name in ("json", "health", "microprofile", "spring"):
                body = agent.get("/ready?format=" + name)[2]
                self.assertLess(len(body), 10240)
                self.assertGreater(len(body), 5000)
            checks = self.microprofile(agent, "/ready")
            self.assertEqual(checks["readyd"]["data"]["checksLeftOut"], 201 - len(checks))
            answer = self.spring(agent, "/ready?format=spring")
            self.assertEqual(answer["componentsLeftOut"], 201 - len(answer["components"]))


if __name__ == "__main__":
    unittest.main()
