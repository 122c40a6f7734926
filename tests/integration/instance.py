"""One instance of a service as it is in a container: `readyd run` with an nginx as its command."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

import harness

# At this many bytes a second, with the headers an answer takes a second. No multiple of 4096: an
# nginx in front that has just filled its buffers forgets the request when it is reloaded (1.22).
SLOW_SIZE = 10000


class Instance:
    """Serves its name at / and /slow, and has the agent's endpoints on a port of their own, and the
    agent for HAProxy on a third. It is not running at first; it ends with the test.

    settings: further settings of the agent, "NAME=VALUE".
    """

    def __init__(self, test, name, *settings):
        self.name = name
        self.options = [word for setting in settings for word in ("-o", setting)]
        self.port, self.health_port, self.agent_port = (harness.free_port() for _ in range(3))
        self.socket = f"@readyd-test-{os.getpid()}-{self.health_port}"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"instance-{name}-", dir=test.tmp))
        self.directory.chmod(0o755)
        self.process = None
        self._write_nginx_configuration()
        self.config_path = self.directory / "readyd.yaml"
        self.config_path.write_text(f"""
listen: 127.0.0.1:{self.health_port}
socket: "{self.socket}"
haproxyAgent: 127.0.0.1:{self.agent_port}
logFormat: json
drain: {{delaySeconds: 4}}
gracePeriodSeconds: 30
stopTimeoutSeconds: 20
stopSignal: SIGQUIT
readiness:
  nginx: {{target: "http://127.0.0.1:{self.port}/", periodSeconds: 0.5, timeoutSeconds: 10}}
""")
        test.addCleanup(self._kill)

    def _write_nginx_configuration(self):
        (self.directory / "slow").write_text(f"{self.name}\n".ljust(SLOW_SIZE, "x"))
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(f"""
daemon off; {user} worker_processes 1; pid {self.directory}/pid; error_log {self.directory}/error.log;
events {{ }}
http {{
    {temporary}
    access_log off;
    server {{
        listen 127.0.0.1:{self.port};
        location / {{ return 200 "{self.name}\\n"; }}
        location = /slow {{ alias {self.directory}/slow; limit_rate {SLOW_SIZE}; }}
    }}
}}
""")

    def start(self):
        log = open(self.directory / "readyd.log", "ab")
        self.process = subprocess.Popen(
            [harness.BINARY, "run", "-c", self.config_path, *self.options, "--", "nginx", "-p",
             self.directory, "-e", self.directory / "error.log", "-c",
             self.directory / "nginx.conf"],
            env=harness.clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        log.close()

    def wait_ready(self):
        harness.wait_until(lambda: self.readyd("check").returncode == 0, f"{self.name} to be ready")

    def stop(self):
        """As the container's engine does; returns when all is over."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(harness.PATIENCE_SECONDS)
        if status != 0:
            raise AssertionError(f"{self.name} ended with {status}: {self.log()}")

    def readyd(self, verb, *arguments):
        """A verb that speaks to the agent: check, drain, undrain."""
        return harness.readyd(verb, "--socket", self.socket, *arguments)

    def log(self):
        return (self.directory / "readyd.log").read_text()

    def events(self):
        """What the agent has logged."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def _kill(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
