"""What the sections of the benchmark share: programs of our own, pinning, paired runs, memory."""

import atexit
import json
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
import private_network  # noqa: E402

# What single runs see, about as much as in a container.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/",
               "HOSTNAME": "bench", "LANG": "C.UTF-8"}

COMPILER = ["musl-gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-Os", "-static",
            "-no-pie", "-fno-pie", "-s"]

# What is measured gets a processor for itself, and its counterpart the other one, if there are two.
CPUS = sorted(os.sched_getaffinity(0))
CLIENT_CPU, SERVER_CPU = CPUS[0], CPUS[-1]


def enter_network():
    """From here on all traffic is within a network of our own, if we may have one.

    Elsewhere a packet filter may look at each packet and a table of connections may fill up, which
    costs all contestants the same and so draws ratios towards 1, and disturbs others on the machine.
    """
    if private_network.available():
        private_network.enter()
        atexit.register(private_network.leave)
        return True
    return False


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

    def agent(self, config):
        """A running agent.

        In a session of its own like the other servers, because on a busy machine the scheduler
        (autogroup) gives each session its share.
        """
        agent = harness.Agent(config, prefix=("setsid", "taskset", "-c", str(SERVER_CPU)))
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
        process = self.start_nginx(port, ready=lambda: harness.port_open(port))
        return process, port

    def start_nginx(self, port, ready=None):
        """The process of such an nginx."""
        directory = self.tmp / f"nginx-{port}"
        directory.mkdir()
        (directory / "nginx.conf").write_text(nginx_config(directory, port))
        process = self.start(nginx_command(directory), ready=ready)
        pin(process.pid, SERVER_CPU)
        return process


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


def memory_figures(pid, name):
    """The figures in bytes that /proc/PID/NAME has for each mapping, by where the mapping begins."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines():
        word, _, rest = line.partition(":")
        if " " in word:
            figures = found.setdefault(word.split("-")[0], {})
        elif rest.endswith(" kB"):
            figures[word] = int(rest.split()[0]) * 1024
    return found


def resident(pid):
    """Resident memory of a process and its descendants as if they were alone on the machine, in bytes.

    The sum of their VmRSS would count what they share several times, and PSS would count only a part
    of the libraries that other programs happen to use now. So: private memory, which only this family
    shares, by its PSS; and of each file the pages that the process with most of them has. (That is
    a little less than all of them have together.) Of a single process, this is VmRSS.
    """
    private, files = 0, {}
    for process in family(pid):
        for total in memory_figures(process, "smaps_rollup").values():
            private += total["Pss_Anon"]
        for place, figures in memory_figures(process, "smaps").items():
            files[place] = max(files.get(place, 0), figures["Rss"] - figures["Anonymous"])
    return private + sum(files.values())


def status_head(agent):
    """/status without its list of probes, which with ten thousand of them is not made then either."""
    connection = harness.UnixConnection(agent.socket)
    connection.connect()
    with connection.sock as sock:
        sock.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        answer = b""
        while b'"probes":[' not in answer:
            answer += sock.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body[:body.index(b'"probes":[')] + b'"probes":[]}')


def connections_opened():
    """How many TCP connections have been opened from here."""
    names, numbers = (line.split() for line in pathlib.Path("/proc/net/snmp").read_text().splitlines()
                      if line.startswith("Tcp:"))
    return int(numbers[names.index("ActiveOpens")])


def quantile(histogram, share):
    """The value below which `share` of them stayed; of {edge: count}."""
    wanted, seen = share * sum(histogram.values()), 0
    for edge in sorted(histogram):
        seen += histogram[edge]
        if seen >= wanted:
            return edge
    return 0


def cpu_ns(pid):
    """CPU time of a single-threaded process, as exact as the scheduler knows it."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def kept_waiting_ns(pid):
    """How long such a process was ready to run while another had its processor."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[1])


def settle(seconds):
    """Lets time pass that is part of the measurement: there is no event to wait for."""
    time.sleep(seconds)


class Ratio:
    """Figures of two contestants from the same rounds: their ratio, round by round."""

    def __init__(self, ours, theirs):
        ratios = [our / their for our, their in zip(ours, theirs)]
        self.median, self.low, self.high = statistics.median(ratios), min(ratios), max(ratios)

    def __str__(self):
        digits = 2 if self.median > 0.2 else 3
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}..{self.high:.{digits}f})"


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
                              env=ENVIRONMENT)
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
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=ENVIRONMENT)
    return sum("(" in line and "resumed>" not in line for line in done.stderr.splitlines())
