"""conf/grafana: every query of the dashboard yields data in a real Prometheus, and the panels fit."""

import json
import math
import pathlib
import re

from harness import Agent, TestCase, free_port, wait_until
from nginx_server import Certificates, Nginx
from prometheus_server import Prometheus

HERE = pathlib.Path(__file__).resolve().parent
DASHBOARD = HERE.parent.parent / "conf" / "grafana" / "readyd-dashboard.json"

VARIABLES = {"$job": "shop|none", "$instance": ".*", "$probe": ".*", "$__rate_interval": "10s"}


def filled_in(query):
    """As Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    if "$" in query:
        raise AssertionError(f"an unknown variable: {query}")
    return query


class Dashboard(TestCase):
    def setUp(self):
        super().setUp()
        self.dashboard = json.loads(DASHBOARD.read_text())
        self.panels = [panel for panel in self.dashboard["panels"] if panel["type"] != "row"]

    def queries(self):
        """[(where, query)] of panels and annotations."""
        return ([(panel["title"], target["expr"]) for panel in self.panels for target in panel["targets"]] +
                [(entry["name"], entry["expr"]) for entry in self.dashboard["annotations"]["list"]])

    def test_layout(self):
        places, numbers = {}, set()
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for y in range(place["y"], place["y"] + place["h"]):
                for x in range(place["x"], place["x"] + place["w"]):
                    self.assertNotIn((x, y), places, panel["title"])
                    places[x, y] = panel["title"]
            self.assertNotIn(panel["id"], numbers)
            numbers.add(panel["id"])
        for panel in self.panels:
            self.assertTrue(panel["description"].endswith("."), panel["title"])
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")
            names = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(names), len(set(names)))

    def test_every_query_yields_data(self):
        certificates = Certificates(self.tmp)
        certificate, port = certificates.issue("good"), free_port()
        Nginx(self, f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; "
                    f"ssl_certificate_key {certificates.key(certificate)}; return 200 ok;", ports=(port,))
        with Agent(f"""
service: shop
version: "1.0"
details: local
liveness: {{app: {{exec: /bin/true, periodSeconds: 0.2}}}}
readiness:
  web: {{target: 'https://localhost:{port}/', caFile: {certificates.ca}, periodSeconds: 0.2}}
  refused: {{tcp: 'tcp://127.0.0.1:1', periodSeconds: 0.2}}
  plugin: {{exec: {{command: [echo, 'OK | time=12ms /var=55% mem=5MB n=3c'], nagios: true}}, periodSeconds: 0.2}}
""") as agent:
            agent.wait_for(lambda a: all(probe["runs"] for probe in a.status()["probes"]))
            agent.admin("/drain", method="POST")
            prometheus = Prometheus(self, {"shop": agent.port})
            prometheus.wait_scraped()
            missing = self.queries()

            def none_missing():
                agent.get("/ready", {"User-Agent": "kube-probe/1.34"})
                missing[:] = [(where, query) for where, query in missing
                              if all(math.isnan(value) for _, value in prometheus.query(filled_in(query)))]
                return not missing

            try:
                wait_until(none_missing)
            except AssertionError:
                self.fail(f"no data: {missing}")
            for variable in self.dashboard["templating"]["list"]:
                if variable["type"] != "query":
                    continue
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                values = prometheus.api(f"label/{match[2]}/values", **{"match[]": filled_in(match[1])})
                self.assertTrue(values, variable["name"])
            for target in (target for panel in self.panels for target in panel["targets"]):
                for labels, _ in prometheus.query(filled_in(target["expr"])):
                    shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
                    self.assertTrue(shown <= set(labels), target)
