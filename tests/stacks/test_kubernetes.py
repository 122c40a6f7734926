"""docker/kubernetes: the manifests are what the API takes, and their times fit together.

Where kubectl is, it decodes them into the API's own types, which drops what those do not have.
"""

import json
import shutil
import subprocess
import unittest

import yaml

import harness
import stack

MANIFESTS = sorted((stack.DOCKER / "kubernetes").glob("*.yaml"))

# commands that decode an object of a kind, change it, and print it, without a server
DECODE = {"Deployment": ["set", "resources", "--requests=cpu=1m"],
          "Service": ["set", "selector", "app=shop"]}


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def missing(given, known, path=""):
    """The paths of what is given and not known."""
    if isinstance(given, dict) and isinstance(known, dict):
        return [fault for name, value in given.items()
                for fault in ([f"{path}.{name}"] if name not in known else
                              missing(value, known[name], f"{path}.{name}"))]
    if isinstance(given, list) and isinstance(known, list):
        return [fault for number, value in enumerate(given)
                for fault in missing(value, known[number], f"{path}[{number}]")]
    return []


def decode(document):
    verb = DECODE[document["kind"]]
    command = ["kubectl", *verb[:2], "--local", "-f", "-", "-o", "json", *verb[2:]]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


class Manifests(harness.TestCase):
    def test_schema(self):
        client = shutil.which("kubectl")
        for path in MANIFESTS:
            for document in documents(path):
                with self.subTest(path=path.name, kind=document["kind"]):
                    self.assertIn(document["kind"], DECODE)
                    if client:
                        self.assertEqual(missing(document, decode(document)), [])
        if not client:
            print("kubectl is not here: the manifests were parsed only")

    def test_schema_check_finds_a_typo(self):
        if shutil.which("kubectl"):
            document = documents(MANIFESTS[0])[0]
            document["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
            self.assertEqual(missing(document, decode(document)),
                             [".spec.template.spec.containers[0].readinesProbe"])

    def pods(self):
        for path in MANIFESTS:
            pod = documents(path)[0]["spec"]["template"]["spec"]
            agent, = (container for container in pod.get("initContainers", pod["containers"])
                      if any(each["name"] == "READYD_READINESS_DATABASE" for each in container["env"]))
            yield path.name, pod, agent, {each["name"]: each["value"] for each in agent["env"]}

    def test_agent_accepts_its_settings(self):
        secret = self.tmp / "secret"
        secret.write_text("secret")
        for name, _, _, environment in self.pods():
            with self.subTest(name):
                settings = {key: value for key, value in environment.items()
                            if key.startswith("READYD_")}
                settings["READYD_READINESS_DATABASE__PASSWORD_FILE"] = str(secret)
                done = harness.readyd("config", "check", "/dev/null", env=settings)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_probes_go_to_the_agent(self):
        for name, pod, agent, _ in self.pods():
            with self.subTest(name):
                shop, = pod["containers"]
                health, = (port for port in agent["ports"] if port["name"] == "health")
                for probe, path in (("startupProbe", "/startup"), ("readinessProbe", "/ready"),
                                    ("livenessProbe", "/healthz")):
                    asked = shop[probe]["httpGet"]
                    self.assertEqual(asked["path"], path)
                    self.assertIn(asked["port"], (health["containerPort"],
                                                  "health" if agent is shop else None))

    def test_the_end_fits_the_grace_period(self):
        """Drain and stop, wherever they are, end before SIGKILL does it for them."""
        for name, pod, agent, environment in self.pods():
            with self.subTest(name):
                shop, = pod["containers"]
                drain = float(environment["READYD_DRAIN_DELAY_SECONDS"])
                pause = shop.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                self.assertIn(10, (drain, pause))
                grace = pod["terminationGracePeriodSeconds"]
                if agent is shop:
                    self.assertLess(float(environment["READYD_GRACE_PERIOD_SECONDS"]), grace)
                    drain += float(environment["READYD_STOP_TIMEOUT_SECONDS"])
                self.assertLess(drain + pause, grace)

    def test_rolling_update_keeps_every_replica(self):
        for path in MANIFESTS:
            strategy = documents(path)[0]["spec"]["strategy"]["rollingUpdate"]
            self.assertEqual(strategy, {"maxSurge": 1, "maxUnavailable": 0})


if __name__ == "__main__":
    unittest.main()
