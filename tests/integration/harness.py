"""What every integration test needs: the binary, an agent under test, servers that end with the test.

The binary comes from READYD_BINARY (run.py sets it). All traffic stays on the loopback interface.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BINARY = os.environ.get("READYD_BINARY", "build/readyd")

# Sanitizer builds are several times slower; a limit that guards against hanging is no benchmark.
PATIENCE_SECONDS = 30
# What has nothing to wait for is done by then, however busy the machine; how soon, the benchmark says.
SOON_SECONDS = 5
# Where the answer must not be a matter of how busy the machine is; readyd's own default is shorter.
CHECK_SECONDS = 20


def clean_environment(extra=None):
    """Our environment without READYD_* and libpq's PG*, so that tests see only what they set."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("READYD_", "PG"))}
    environment.update(extra or {})
    return environment


def readyd(*arguments, timeout=PATIENCE_SECONDS, env=None, input=None):
    """Runs the binary to its end; text output."""
    done = subprocess.run([BINARY, *map(str, arguments)], env=clean_environment(env), input=input,
                          stdin=subprocess.DEVNULL if input is None else None,
                          capture_output=True, text=True, timeout=timeout, errors="replace")
    # What a sanitizer finds ends the program with 1, as an honest failure does.
    if "Sanitizer" in done.stderr or "runtime error:" in done.stderr:
        raise AssertionError(f"{arguments}: {done.stderr}")
    return done


def check(url, *, timeout=CHECK_SECONDS, env=None, **options):
    """`readyd check --json URL -o NAME=VALUE…`; returns the exit code and the result object.

    A list as a value gives the option once for each element.
    """
    arguments = ["check", "--json", "--timeout", str(timeout), url]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool):
                item = "true" if item else "false"
            arguments += ["-o", f"{name}={item}"]
    done = readyd(*arguments, env=env)
    if not done.stdout.startswith("{"):
        raise AssertionError(f"{arguments}: exit {done.returncode}, no JSON: "
                             f"{done.stdout!r} {done.stderr!r}")
    return done.returncode, json.loads(done.stdout)


def free_port(host="127.0.0.1"):
    """A TCP port that nobody listens on just now, below those that Linux gives to clients: no connection
    that begins meanwhile, in another test, may take it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(10240, 32768)
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


def wait_until(predicate, what="the condition", timeout=PATIENCE_SECONDS):
    """Waits for something outside our reach (another process) to become true; returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.01)


def settled(agent):
    """Every probe has had its answer; a first run that was late on a busy machine is tried again at once."""
    return all(probe["runs"] and probe["reason"] != "timeout" for probe in agent.status()["probes"])


def port_open(port, host="127.0.0.1"):
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; "@name" is an abstract one."""

    def __init__(self, path, timeout=PATIENCE_SECONDS):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        name = "\0" + self.path[1:] if self.path.startswith("@") else self.path
        self.sock.connect(name)


class Agent:
    """`readyd serve` with a configuration, listening on a free port; ends with the `with` block.

    config: YAML text without `listen` and `socket` (they are set on the command line), or None.
    args: further arguments; env: further environment; prefix: a command to run it under.
    drain_delay: drain.delaySeconds; None leaves it to the configuration.
    verb, operands: what else to run; options: of subprocess.Popen.
    """

    def __init__(self, config="", *, args=(), env=None, listen=None, prefix=(), wait=True,
                 drain_delay=0, verb="serve", operands=(), **options):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="readyd-"))
        self.port = free_port()
        self.listen = listen or f"127.0.0.1:{self.port}"
        self.socket = f"@readyd-test-{os.getpid()}-{self.port}"
        self.config_path = self.directory / "readyd.yaml"
        self.logs = []
        self.raw_logs = []
        self._new_log = threading.Condition()
        command = [*prefix, BINARY, verb]
        if config is not None:
            self.config_path.write_text(config)
            command += ["-c", str(self.config_path)]
        command += ["-o", f"listen={self.listen}", "-o", f"socket={self.socket}",
                    "-o", "logFormat=json"]
        self.delays = drain_delay != 0
        if drain_delay is not None:
            command += ["-o", f"drain.delaySeconds={drain_delay}"]
        command += [*args, *operands]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        self.process = subprocess.Popen(command, env=clean_environment(env),
                                        stderr=subprocess.PIPE, **options)
        self._reader = threading.Thread(target=self._read_logs, daemon=True)
        self._reader.start()
        if wait:
            self.wait_log(lambda event: event["event"] == "started")

    def _read_logs(self):
        for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            try:
                event = json.loads(text)
            except ValueError:
                event = None
            with self._new_log:
                self.raw_logs.append(text)
                if event is not None:
                    self.logs.append(event)
                self._new_log.notify_all()
        with self._new_log:
            self._new_log.notify_all()

    def wait_log(self, predicate, timeout=PATIENCE_SECONDS):
        """The first log event, past or to come, for which the predicate holds."""
        end = time.monotonic() + timeout
        with self._new_log:
            while True:
                for event in self.logs:
                    if predicate(event):
                        return event
                if not self._reader.is_alive() or time.monotonic() > end:
                    raise AssertionError("no such log event; the log is:\n" +
                                         "\n".join(self.raw_logs))
                self._new_log.wait(0.2)

    def request(self, connection, method, path, headers):
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        names = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, names, body

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path, headers=None, method="GET"):
        """(status, headers with lower-case names, body) from the TCP listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        return self.request(connection, method, path, headers)

    def admin(self, path, headers=None, method="GET"):
        """The same from the admin socket."""
        return self.request(UnixConnection(self.socket), method, path, headers)

    def status(self):
        """/status from the admin socket, as a dictionary."""
        status, _, body = self.admin("/status")
        if status != 200:
            raise AssertionError(f"/status says {status}: {body}")
        return json.loads(body)

    def probe(self, name):
        """One probe's entry of /status."""
        return next(probe for probe in self.status()["probes"] if probe["name"] == name)

    def wait_for(self, predicate, timeout=PATIENCE_SECONDS):
        """Waits until the predicate holds for this agent; returns its value."""
        return wait_until(lambda: predicate(self), "what the agent should show", timeout)

    def wait_ready(self, status=200):
        return self.wait_for(lambda agent: agent.get("/ready")[0] == status)

    def check(self, *arguments, **options):
        """`readyd check` against this agent."""
        return readyd("check", "--socket", self.socket, "--timeout", CHECK_SECONDS, *arguments, **options)

    def signal(self, number):
        self.process.send_signal(number)

    def descriptors(self):
        """How many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self):
        """SIGTERM, and on it goes if a test has stopped it.

        Nobody else gets SIGCONT: it would take away the SIGSTOP by which the leak sanitizer holds a
        process at its end.
        """
        if self.process.poll() is None:
            state = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
            self.process.terminate()
            if state.split()[0] == "T":
                self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.terminate()
        try:
            status = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("readyd did not end on SIGTERM") from None
        self._reader.join(PATIENCE_SECONDS)
        return status

    def __enter__(self):
        return self

    def hurry(self):
        """Skips the drain delay at the end, as a second SIGTERM does."""
        if self.process.poll() is None:
            self.terminate()
            self.wait_log(lambda event: event["event"] == "stopping")

    def __exit__(self, kind, value, traceback):
        try:
            if self.delays:
                self.hurry()
            status = self.stop()
            if kind is None and status != 0:
                raise AssertionError(f"readyd ended with {status}:\n" + "\n".join(self.raw_logs))
        finally:
            self.process.stderr.close()
            self.clean()

    def clean(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class TestCase(unittest.TestCase):
    """A test with a directory of its own and servers that are killed at its end."""

    maxDiff = None

    def setUp(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="readyd-test-"))
        self.tmp.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)

    def start(self, argv, ready=None, **options):
        """Starts a real server; `ready` is polled until true. Its output goes to a file."""
        log = open(self.tmp / f"server-{len(os.listdir(self.tmp))}.log", "wb+")
        self.addCleanup(log.close)
        process = subprocess.Popen([str(argument) for argument in argv], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                   **options)
        self.addCleanup(self.end, process)

        def is_ready():
            if process.poll() is not None:
                log.seek(0)
                raise AssertionError(f"{argv[0]} ended with {process.returncode}: "
                                     f"{log.read().decode(errors='replace')}")
            return ready is None or ready()

        wait_until(is_ready, f"{argv[0]}")
        return process

    def end(self, process):
        """Kills a server with its whole session and reaps it."""
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def assert_result(self, result, state, reason):
        """The state and the reason of a result object, with its sentence in the failure."""
        self.assertEqual((result["state"], result["reason"]), (state, reason), result)
