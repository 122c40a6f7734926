"""A real Prometheus that scrapes agents under test."""

import http.client
import json
import subprocess
import urllib.parse

import yaml

import harness

# No answer may take longer, so it is not the least that would do.
SCRAPE_SECONDS = 2


def promtool(*arguments, input=None):
    """Its exit status, and all that it says."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=input, capture_output=True,
                          text=True, timeout=harness.PATIENCE_SECONDS)
    return done.returncode, done.stdout + done.stderr


class Prometheus:
    """Prometheus in a directory of its own; ends with the test.

    targets: {job: port} of what to scrape; rule_files: paths.
    """

    def __init__(self, test, targets, rule_files=()):
        directory = test.tmp / "prometheus"
        directory.mkdir()
        self.port = harness.free_port()
        self.target_count = len(targets)
        interval = f"{int(SCRAPE_SECONDS * 1000)}ms"
        (directory / "prometheus.yml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": interval, "scrape_timeout": interval,
                       "evaluation_interval": interval},
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                               for job, port in targets.items()],
        }))
        self.process = test.start(["prometheus", f"--config.file={directory}/prometheus.yml",
                                   f"--storage.tsdb.path={directory}/data", "--log.level=warn",
                                   f"--web.listen-address=127.0.0.1:{self.port}"],
                                  ready=self.is_ready)

    def is_ready(self):
        return harness.port_open(self.port) and self.request("/-/ready")[0] == 200

    def request(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.PATIENCE_SECONDS)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def api(self, path, **arguments):
        """What the API answers, which has to be a success."""
        status, body = self.request(f"/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        answer = json.loads(body)
        if status != 200 or answer["status"] != "success":
            raise AssertionError(f"{path} {arguments}: {answer}")
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] of an instant query."""
        return [(row["metric"], float(row["value"][1]))
                for row in self.api("query", query=expression)["result"]]

    def targets(self):
        return self.api("targets", state="active")["activeTargets"]

    def wait_scraped(self, times=2):
        """Waits until each target has been scraped so often, which it begins with in five seconds or
        so, and well."""
        def done():
            for target in self.targets():
                if "deadline exceeded" in target["lastError"]:
                    return False  # a busy machine; the next one will do
                if target["lastError"]:
                    raise AssertionError(target)
            return len(self.query(f"count_over_time(up[1h]) >= {times}")) == self.target_count

        harness.wait_until(done, "scrapes")
