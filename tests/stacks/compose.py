"""A Compose project of a test: brought up, looked at, and gone at the end of the test."""

import datetime
import json
import pathlib
import re
import tempfile

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
        # Unlike that of any other file's, for files run side by side.
        file, _, name = test.id().replace("test_", "").split(".")
        self.name = f"test-{file}-{name}-{Project.count}".replace("_", "-")
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

    def containers(self, service, *filters):
        """The oldest first. By the engine, because Compose's own `ps` fails if one goes while it looks."""
        lines = stack.docker("ps", "--all", "--quiet", "--no-trunc", *filters,
                             "--filter", f"label=com.docker.compose.project={self.name}",
                             "--filter", f"label=com.docker.compose.service={service}")
        return lines.split()[::-1]

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

    def first_healthy(self, service, events):
        """When it first was, in seconds since 1970, as the engine's event says."""
        return next(at for action, at in events.of(self.containers(service)[0]) if action == "health_status: healthy")
