"""A Compose project of a test: brought up, looked at, and gone at the end of the test."""

import datetime
import json
import pathlib
import re
import tempfile
import time

import stack

COMPOSE = stack.DOCKER / "compose/compose.yaml"


def seconds(text):
    """A time of the engine's, to the nanosecond, as seconds since 1970."""
    match = re.fullmatch(r"(.*?)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    whole = datetime.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return whole.timestamp() + float(match[2] or 0)


class Project:
    """files: Compose files, or one as an object; environment: for their variables."""

    count = 0

    def __init__(self, test, files, environment=None):
        Project.count += 1
        self.name = f"test-{test.id().split('.')[-1].replace('_', '-')}-{Project.count}"
        self.environment = dict(environment or {}, COMPOSE_PROJECT_NAME=self.name)
        if isinstance(files, dict):
            directory = pathlib.Path(tempfile.mkdtemp(dir=test.tmp))
            (directory / "compose.yaml").write_text(json.dumps(files))
            files = [directory / "compose.yaml"]
        self.files = [word for path in files for word in ("--file", str(path))]
        test.addCleanup(self.destroy)

    def compose(self, *arguments, **options):
        return stack.run("docker", "compose", *self.files, *arguments,
                         env=dict(self.environment, **options.pop("env", {})), **options)

    def up(self, *arguments, check=True, **options):
        done = self.compose("up", "--detach", "--quiet-pull", *arguments, check=False, **options)
        if check and done.returncode != 0:
            raise AssertionError(done.stderr + self.compose("logs").stdout)
        return done

    def destroy(self):
        self.compose("kill", check=False)
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "0", check=False)

    def containers(self, service):
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def inspect(self, service):
        return stack.inspect(self.containers(service)[0])

    def time_of(self, container, name):
        """StartedAt or FinishedAt, in seconds since 1970."""
        return seconds(stack.inspect(container)["State"][name])

    def started(self, service):
        return self.time_of(self.containers(service)[0], "StartedAt")

    def logs(self, service):
        """Both streams of its first container."""
        done = stack.run("docker", "logs", self.containers(service)[0])
        return done.stdout + done.stderr

    def log_time(self, service, text):
        """When the last line with this text was written, in seconds since 1970."""
        done = stack.run("docker", "logs", "--timestamps", self.containers(service)[0])
        return max((seconds(line.split()[0]) for line in (done.stdout + done.stderr).splitlines()
                    if text in line), default=None)

    def first_healthy(self, service, since):
        """When it first was, in seconds since 1970, as the engine's event says."""
        lines = stack.docker("events", "--since", str(since), "--until", f"{time.time():.6f}", "--filter",
                             f"container={self.containers(service)[0]}", "--filter",
                             "event=health_status: healthy", "--format", "{{.TimeNano}}").split()
        return int(lines[0]) / 1e9
