"""What the sections of the benchmark share: programs of our own, pinning, paired runs, memory."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import harness  # noqa: E402  (it is a neighbour of this directory)

COMPILER = ["musl-gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-Os", "-static",
            "-no-pie", "-fno-pie", "-s"]

# What is measured gets a processor for itself, and its counterpart the other one, if there are two.
CPUS = sorted(os.sched_getaffinity(0))
CLIENT_CPU, SERVER_CPU = CPUS[0], CPUS[-1]


class Ground(harness.TestCase):
    """A temporary directory with servers, all of which end with the `with` block."""

    def __enter__(self):
        self.setUp()
        return self

    def __exit__(self, *_):
        self.doCleanups()

    def compile(self, name):
        """The path of one of our C programs."""
        program = self.tmp / name
        if not program.exists():
            subprocess.run([*COMPILER, "-o", program, HERE / f"{name}.c"], check=True)
        return program

    def agent(self, config, cpu=None):
        """A running agent, on the servers' processor unless told otherwise."""
        agent = harness.Agent(config, prefix=("taskset", "-c", str(SERVER_CPU if cpu is None else cpu)))
        self.addCleanup(agent.__exit__, None, None, None)
        return agent

    def acceptor(self, cpu):
        """The port of a listener that accepts and closes, on every address of this machine."""
        port = harness.free_port()
        process = self.start([self.compile("acceptor"), port], ready=lambda: harness.port_open(port))
        pin(process.pid, cpu)
        return port

    def nginx(self):
        """(process, port) of an nginx with one worker that says 200 to everything."""
        port = harness.free_port()
        directory = self.tmp / f"nginx-{port}"
        directory.mkdir()
        (directory / "nginx.conf").write_text(nginx_config(directory, port))
        process = self.start(nginx_command(directory), ready=lambda: harness.port_open(port))
        pin(process.pid, SERVER_CPU)
        return process, port


def nginx_command(directory):
    return [which("nginx"), "-p", directory, "-c", "nginx.conf", "-e", "error.log"]


def nginx_config(directory, port):
    temporary = "\n".join(f"  {kind}_temp_path temporary;"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
{temporary}
  server {{
    listen 127.0.0.1:{port};
    default_type text/plain;
    location / {{ return 200 "ok\\n"; }}
  }}
}}
"""


def which(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        sys.exit(f"{name} is not installed")
    return path


def family(pid):
    """A process and all that descend from it."""
    children = [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]
    return [pid] + [other for child in children for other in family(child)]


def pin(pid, cpu):
    """Keeps a process, its threads and its children on one processor."""
    for process in family(pid):
        for thread in os.listdir(f"/proc/{process}/task"):
            os.sched_setaffinity(int(thread), {cpu})


def resident(pid):
    """(VmRSS, PSS) in bytes of a process and its descendants.

    RSS counts what several processes share in each of them; PSS divides it among them.
    """
    rss = pss = 0
    for process in family(pid):
        for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0]) * 1024
            elif name == "Pss":
                pss += int(rest.split()[0]) * 1024
    return rss, pss


def cpu_ns(pid):
    """CPU time of a single-threaded process, as exact as the scheduler knows it."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def settle(seconds):
    """Lets time pass that is part of the measurement: there is no event to wait for."""
    time.sleep(seconds)


class Ratio:
    """Figures of two contestants from the same rounds: their ratio, round by round."""

    def __init__(self, ours, theirs):
        ratios = [our / their for our, their in zip(ours, theirs)]
        self.median, self.low, self.high = statistics.median(ratios), min(ratios), max(ratios)

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f})"


class Launches:
    """CPU time per run of several commands: in every round each of them runs several times.

    A command's figure for a round is the median of its runs in it, so that a single disturbance
    counts for nothing, and ratios compare figures of the same round.
    """

    def __init__(self, ground, commands, rounds, runs):
        words = [ground.compile("launch"), CLIENT_CPU, rounds, runs]
        for position, command in enumerate(commands.values()):
            words += ["+"] * (position > 0) + list(command)
        done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True,
                              env=harness.clean_environment())
        if done.returncode != 0:
            sys.exit(done.stdout)
        numbers = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
        self.cpu_us, self.wall_us, self.faults = {}, {}, {}
        for number, name in enumerate(commands):
            runs_of_it = [row for row in numbers if row[0] == number]
            rounds_of_it = [runs_of_it[start:start + runs]
                            for start in range(0, len(runs_of_it), runs)]
            self.cpu_us[name] = [statistics.median(row[1] for row in rows) for rows in rounds_of_it]
            self.wall_us[name] = statistics.median(row[2] for row in runs_of_it)
            self.faults[name] = statistics.median(row[3] for row in runs_of_it)

    def median_us(self, name):
        return statistics.median(self.cpu_us[name])

    def ratio(self, ours, theirs):
        return Ratio(self.cpu_us[ours], self.cpu_us[theirs])


def system_calls(command):
    """How many system calls a run makes, or None without strace."""
    if not shutil.which("strace"):
        return None
    done = subprocess.run(["strace", "-f", "-qq", "-e", "signal=none", *map(str, command)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return sum("(" in line and "resumed>" not in line for line in done.stderr.splitlines())
