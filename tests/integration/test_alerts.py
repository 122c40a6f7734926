"""conf/prometheus: the rules are valid, fire when they are to, and are about what there is."""

import pathlib
import re

import yaml

from harness import Agent, TestCase, wait_until
from prometheus_server import Prometheus, promtool

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parent.parent / "conf" / "prometheus" / "readyd-alerts.yml"
RULES_TEST = HERE / "readyd-alerts.test.yml"


class Alerts(TestCase):
    def rules(self):
        return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

    def test_promtool(self):
        status, output = promtool("check", "rules", RULES)
        self.assertEqual(status, 0, output)
        status, output = promtool("test", "rules", RULES_TEST)
        self.assertEqual(status, 0, output)

    def test_each_is_tested_and_explained(self):
        fired = {case["alertname"] for test in yaml.safe_load(RULES_TEST.read_text())["tests"]
                 for case in test["alert_rule_test"] if case.get("exp_alerts")}
        self.assertEqual(fired, {rule["alert"] for rule in self.rules()})
        for rule in self.rules():
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_they_are_about_what_there_is(self):
        """A name that is misspelt in the rules and their test alike would never fire."""
        with Agent("liveness: {app: exec:/bin/false}\n") as agent:
            text = agent.get("/metrics")[2]
        known = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)) | {"up"}
        known |= {f"{name}_bucket" for name in known}
        for rule in self.rules():
            words = set(re.findall(r"\b(?:readyd|process)_\w+", rule["expr"]))
            self.assertTrue(words <= known, words - known)

    def test_in_prometheus(self):
        with Agent("liveness: {app: {exec: /bin/false, failureThreshold: 1}}\n") as agent:
            prometheus = Prometheus(self, {"shop": agent.port}, [RULES])
            prometheus.wait_scraped()

            def alerts():
                return {alert["labels"]["alertname"] for alert in prometheus.api("alerts")["alerts"]}

            wait_until(lambda: "ReadydNotAlive" in alerts(), "the alert")
            # What is to last for minutes is on its way, and nothing else is.
            wait_until(lambda: alerts() == {"ReadydNotAlive", "ReadydNotReady", "ReadydProbeErrors"}, "the alerts")
            for group in prometheus.api("rules")["groups"]:
                for rule in group["rules"]:
                    self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])
