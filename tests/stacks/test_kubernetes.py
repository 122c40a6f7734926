"""docker/kubernetes: the manifests are what the API takes, and their times fit together.

Where kubectl is, it decodes them into the API's own types, which drops what those do not have. The rest
is judged here, and it is shown that a wrong field is found.
"""

import copy
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


PATHS = {"startupProbe": "/startup", "readinessProbe": "/ready", "livenessProbe": "/healthz"}


def agent_of(pod):
    """Its container with readyd: the sidecar, or the application's own."""
    agent, = (container for container in pod["initContainers"] + pod["containers"]
              if any(each["name"] == "READYD_READINESS_DATABASE" for each in container.get("env", [])))
    return agent


def settings_of(agent):
    return {each["name"]: each["value"] for each in agent["env"] if each["name"].startswith("READYD_")}


def probe_faults(shop, agent):
    for name, path in PATHS.items():
        probe = shop.get(name, {})
        asked = probe.get("httpGet", {})
        if name == "startupProbe" and agent is not shop:
            # A sidecar does not see that the other container starts again.
            if asked.get("port") != "http":
                yield "startupProbe: not the shop's own"
            continue
        if set(probe) - {"httpGet", "periodSeconds", "failureThreshold", "timeoutSeconds"} or not asked:
            yield f"{name}: not httpGet alone"  # an exec probe that cannot start never fails
        if asked.get("path") != path or asked.get("host"):
            yield f"{name}: not the agent's {path}"
        ports = [port["containerPort"] for port in agent["ports"] if port["name"] == "health"]
        if asked.get("port") not in ports + (["health"] if agent is shop else []):
            yield f"{name}: not the agent's port"
        for field in ("periodSeconds", "failureThreshold", "timeoutSeconds"):
            if not isinstance(probe.get(field, 1), int) or probe.get(field, 1) < 1:
                yield f"{name}.{field}: not a whole number from 1 on"


def end_faults(pod, shop, agent):
    """Drain and stop, wherever they are, end before SIGKILL does it for them."""
    settings = settings_of(agent)
    drain = float(settings["READYD_DRAIN_DELAY_SECONDS"])
    pause = shop.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = pod["terminationGracePeriodSeconds"]
    if {drain, pause} != {0, 10}:  # one of them, and as long as all need to hear of it
        yield f"drain {drain} s and preStop {pause} s"
    if agent is shop:
        stop = float(settings["READYD_STOP_TIMEOUT_SECONDS"])
        if not drain + stop < float(settings["READYD_GRACE_PERIOD_SECONDS"]) < grace:
            yield f"drain {drain} s and stop {stop} s do not fit"
    elif pause + 15 > grace:
        yield f"preStop {pause} s and 15 s do not fit into {grace} s"


def faults(documents):
    """What is wrong with the documents of a manifest: a deployment and its service."""
    deployment, service = documents
    spec, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
    shop, = pod["containers"]
    agent = agent_of(pod)
    yield from probe_faults(shop, agent)
    yield from end_faults(pod, shop, agent)
    if not any(container["name"] == "migration" for container in pod["initContainers"]):
        yield "nobody makes the tables"
    if agent is not shop and agent.get("restartPolicy") != "Always":
        yield "the agent is no sidecar"
    if spec["strategy"] != {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}:
        yield "an update takes a good pod away first"
    startup = shop.get("startupProbe", {})
    if startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10) >= spec["progressDeadlineSeconds"]:
        yield "the deadline of the update ends before a slow start does"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    if not spec["selector"]["matchLabels"] == service["spec"]["selector"] == labels:
        yield "the selectors do not select the pods"
    if service["spec"]["ports"][0]["targetPort"] not in [port["name"] for port in shop["ports"]]:
        yield "the service leads nowhere"
    for container in pod["initContainers"] + pod["containers"]:
        context = container.get("securityContext", {})
        if not (context.get("runAsNonRoot") and context.get("readOnlyRootFilesystem") and
                context.get("allowPrivilegeEscalation") is False and
                context.get("capabilities") == {"drop": ["ALL"]}):
            yield f"{container['name']} may too much"


def changed(documents, path, value):
    """A copy with another value at a path; without it if the value is None."""
    copied = copy.deepcopy(documents)
    *outer, last = path
    place = copied
    for name in outer:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copied


SPEC = (0, "spec")
POD = (*SPEC, "template", "spec")
SHOP = (*POD, "containers", 0)

# each of them spoils a manifest
WRONG = [
    ((*SHOP, "readinessProbe"), None),
    ((*SHOP, "livenessProbe", "httpGet"), None),
    ((*SHOP, "livenessProbe", "httpGet", "path"), "/ready"),
    ((*SHOP, "readinessProbe", "httpGet", "port"), 8080),
    ((*SHOP, "livenessProbe", "exec"), {"command": ["/readyd", "check"]}),
    ((*POD, "initContainers", -1), {"name": "other"}),
    ((*SHOP, "livenessProbe", "successThreshold"), 2),
    ((*SHOP, "readinessProbe", "terminationGracePeriodSeconds"), 10),
    ((*SHOP, "readinessProbe", "periodSeconds"), 0.5),
    ((*SHOP, "startupProbe", "failureThreshold"), 1000),
    ((*SHOP, "securityContext", "readOnlyRootFilesystem"), None),
    ((*POD, "terminationGracePeriodSeconds"), 20),
    ((*SPEC, "strategy"), {"type": "Recreate"}),
    ((*SPEC, "strategy", "rollingUpdate", "maxUnavailable"), 1),
    ((*SPEC, "template", "metadata", "labels"), {"app": "other"}),
    ((1, "spec", "selector"), {"app": "other"}),
    ((1, "spec", "ports", 0, "targetPort"), "web"),
]
WRONG_IN = {
    "sidecar.yaml": [((*POD, "initContainers", 0, "restartPolicy"), None), ((*SHOP, "lifecycle"), None),
                     ((*SHOP, "startupProbe", "httpGet"), {"path": "/startup", "port": 8086})],
    "entrypoint.yaml": [((*SHOP, "lifecycle"), {"preStop": {"sleep": {"seconds": 10}}})],
}


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

    @unittest.skipUnless(shutil.which("kubectl"), "kubectl is not here")
    def test_schema_check_finds_what_is_wrong(self):
        for path in MANIFESTS:
            good = documents(path)
            for place, name in ((POD, "hostnetwork"), (SHOP, "readinesProbe"), ((*SHOP, "livenessProbe"), "period"),
                                ((1, "spec"), "selectors")):
                with self.subTest(path=path.name, name=name):
                    document = changed(good, (*place, name), {})[place[0]]
                    self.assertEqual([fault.rpartition(".")[2] for fault in missing(document, decode(document))],
                                     [name])
            with self.subTest(path=path.name), self.assertRaisesRegex(AssertionError, "periodSeconds"):
                decode(changed(good, (*SHOP, "livenessProbe", "periodSeconds"), "5s")[0])

    def test_rules(self):
        for path in MANIFESTS:
            self.assertEqual((path.name, list(faults(documents(path)))), (path.name, []))

    def test_rules_find_what_is_wrong(self):
        for path in MANIFESTS:
            good = documents(path)
            for place, value in WRONG + WRONG_IN[path.name]:
                with self.subTest(path=path.name, place=place, value=value):
                    self.assertNotEqual(list(faults(changed(good, place, value))), [])

    def test_agent_accepts_its_settings(self):
        secret = self.tmp / "secret"
        secret.write_text("secret")
        for path in MANIFESTS:
            with self.subTest(path.name):
                settings = settings_of(agent_of(documents(path)[0]["spec"]["template"]["spec"]))
                settings["READYD_READINESS_DATABASE__PASSWORD_FILE"] = str(secret)
                done = harness.readyd("config", "check", "/dev/null", env=settings)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
