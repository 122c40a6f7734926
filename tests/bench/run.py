#!/usr/bin/env python3
"""Measures readyd side by side with what one would use instead.

usage: run.py --binary PROGRAM [--without-tls PROGRAM] [--quick] [--only SECTION]... [--json FILE]

Contestants take turns in the same run on the same machine, and a ratio is always that of figures from
the same round: its median over all rounds, and in brackets its smallest and largest value. Servers are
pinned to one processor, and what asks them to another; as root, all of it happens in a network of its
own. Ends with a table of what was measured beside what it is to be. A missed bar is no error: machines
differ.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

MIB = 1024 * 1024
SAME = 0.02  # two equal servers differ by as much from run to run


class Report:
    """The rows of the last table, printed as they come."""

    def __init__(self, path):
        self.path = path
        self.rows = []

    def title(self, text):
        print(f"\n== {text}", flush=True)

    def line(self, text):
        print("  " + text, flush=True)

    def add(self, what, measured, bar="", met=None, **figures):
        """One row. `figures` are for the JSON file."""
        self.rows.append({"what": what, "measured": measured, "bar": bar, "met": met, **figures})
        verdict = {True: "  met", False: "  MISSED", None: ""}[met]
        self.line(f"{what}: {measured}" + (f"  (bar: {bar}{verdict})" if bar else ""))
        if self.path:
            pathlib.Path(self.path).write_text(json.dumps(self.rows, indent=2) + "\n")

    def table(self):
        head = ("what", "measured", "bar", "met")
        lines = [head] + [(row["what"], row["measured"], row["bar"],
                           {True: "yes", False: "NO", None: ""}[row["met"]]) for row in self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        print()
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        bars = [row["met"] for row in self.rows if row["met"] is not None]
        print(f"\n{sum(bars)} of {len(bars)} bars met")


def milliseconds(us):
    return f"{us / 1000:.3g} ms"


def mebibytes(size):
    return f"{size / MIB:.2f} MiB"


# --- one check -----------------------------------------------------------------------------------------

def report_launches(report, launches, commands, floor):
    """A table of what each command costs."""
    width = max(map(len, commands))
    report.line(f"{'':{width}}  {'CPU':>8}  {'elapsed':>8}  {'ratio to ' + floor:24}  faults  calls  size")
    for name, command in commands.items():
        calls = tools.system_calls(command)
        size = os.path.getsize(os.path.realpath(command[0]))
        report.line(f"{name:{width}}  {milliseconds(launches.median_us(name)):>8}  "
                    f"{milliseconds(launches.wall_us[name]):>8}  {launches.ratio(name, floor)!s:24}  "
                    f"{launches.faults[name]:6.0f}  {calls if calls is not None else '?':>5}  "
                    f"{size // 1024:5} KiB")


def add_ratio(report, launches, ours, theirs, bar=None):
    ratio = launches.ratio(ours, theirs)
    report.add(f"CPU of {ours} / {theirs}",
               f"{ratio}: {milliseconds(launches.median_us(ours))} / "
               f"{milliseconds(launches.median_us(theirs))}",
               f"<= {bar}" if bar else "", ratio.median <= bar if bar else None, ratio=ratio.median,
               us=launches.median_us(ours), other_us=launches.median_us(theirs))


def section_check(options, report):
    """`readyd check` against a running agent"""
    with tools.Ground() as ground:
        agent = ground.agent("")
        url = f"http://127.0.0.1:{agent.port}/ready"
        commands = {
            "empty program": [ground.compile("empty")],
            "floor": [ground.compile("floor"), "127.0.0.1", agent.port],
            "readyd check": [options.binary, "check", "--socket", agent.socket],
            "busybox wget": [tools.which("busybox"), "wget", "-q", "-O", "/dev/null", url],
            "curl -f": [tools.which("curl"), "-sf", "-o", "/dev/null", url],
        }
        launches = tools.Launches(ground, commands, *((10, 10) if options.quick else (50, 20)))
        report_launches(report, launches, commands, "floor")
        add_ratio(report, launches, "readyd check", "floor", 1.0)
        add_ratio(report, launches, "readyd check", "busybox wget")
        add_ratio(report, launches, "readyd check", "curl -f")


def section_targets(options, report):
    """`readyd check URL` against real servers"""
    import postgres_server
    import redis_server

    def check(url):
        return [options.binary, "check", url]

    with tools.Ground() as ground:
        nginx, http_port = ground.nginx()
        redis = redis_server.Server(ground)
        postgres = postgres_server.Server().start()
        ground.addCleanup(postgres.destroy)
        for process in (nginx, redis.process, postgres.process):
            tools.pin(process.pid, tools.SERVER_CPU)
        http = f"http://127.0.0.1:{http_port}/"
        pg_isready = [postgres_server.bin_directory() / "pg_isready", "-q", "-h", "127.0.0.1", "-p",
                      postgres.port, "-U", "trusted", "-d", "app"]
        commands = {
            "check http://": check(http),
            "curl -f": [tools.which("curl"), "-sf", "-o", "/dev/null", http],
            "check redis://": check(redis.url),
            "redis-cli ping": [tools.which("redis-cli"), "-p", redis.port, "ping"],
            "check postgres:// (trust)": check(postgres.url(user="trusted", password=None)),
            "check postgres:// (scram)": check(postgres.url()),
            "pg_isready": pg_isready,
            "psql -c 'select 1'": [postgres_server.bin_directory() / "psql", "-XAtq", "-c", "select 1", postgres.url()],
            "check tcp://": check(f"tcp://127.0.0.1:{http_port}"),
            "check exec:": check("exec:" + str(ground.compile("empty"))),
        }
        launches = tools.Launches(ground, commands, *((5, 5) if options.quick else (30, 10)))
        report_launches(report, launches, commands, "check tcp://")
        add_ratio(report, launches, "check http://", "curl -f", 0.1)
        add_ratio(report, launches, "check redis://", "redis-cli ping", 0.1)
        add_ratio(report, launches, "check postgres:// (trust)", "pg_isready", 0.1)
        add_ratio(report, launches, "check postgres:// (scram)", "pg_isready", 0.1)
        # pg_isready does not log in; this is what one would run to know that one can.
        add_ratio(report, launches, "check postgres:// (scram)", "psql -c 'select 1'")


# --- under load ----------------------------------------------------------------------------------------

def load_round(server, port, seconds, arguments=()):
    """Under the load of 32 connections: requests a second, the CPU time in microseconds that each costs
    the server, and the server's memory."""
    worker = tools.family(server)[-1]
    before_ns = tools.cpu_ns(worker)
    wrk = subprocess.Popen(["taskset", "-c", str(tools.CLIENT_CPU), "wrk", "-t1", "-c32",
                            f"-d{seconds}s", *arguments, f"http://127.0.0.1:{port}/ready"],
                           stdout=subprocess.PIPE, text=True)
    tools.settle(seconds / 2)
    memory = tools.resident(server)
    output, _ = wrk.communicate()
    if wrk.returncode or "Socket errors" in output or "Non-2xx" in output:
        sys.exit(f"wrk is not content with port {port}:\n{output}")
    requests = int(re.search(r"(\d+) requests in", output)[1])
    rate = float(re.search(r"Requests/sec: +([\d.]+)", output)[1])
    return rate, (tools.cpu_ns(worker) - before_ns) / requests / 1000, memory


def report_load(report, kind, ours, theirs, with_bars):
    """ours, theirs: what load_round() says of each round."""
    our_rates, our_costs, our_memory = zip(*ours)
    their_rates, their_costs, their_memory = zip(*theirs)
    rate, rates = tools.Ratio(our_rates, their_rates), (statistics.median(our_rates),
                                                        statistics.median(their_rates))
    cost, costs = tools.Ratio(our_costs, their_costs), (statistics.median(our_costs),
                                                        statistics.median(their_costs))
    memory = max(our_memory), max(their_memory)
    share = memory[0] / memory[1]
    report.add(f"/ready / nginx, requests a second, {kind}", f"{rate}: {rates[0]:,.0f} / {rates[1]:,.0f}",
               f">= 1.0 (to {SAME})" if with_bars else "",
               rate.median >= 1 - SAME if with_bars else None, ratio=rate.median, per_second=rates)
    report.add(f"/ready / nginx, CPU a request, {kind}", f"{cost}: {costs[0]:.1f} / {costs[1]:.1f} us",
               ratio=cost.median, us=costs)
    report.add(f"memory of readyd / nginx meanwhile, {kind}",
               f"{share:.3f}: {mebibytes(memory[0])} / {mebibytes(memory[1])}",
               "<= 0.1" if with_bars else "", share <= 0.1 if with_bars else None, bytes=memory)


def section_load(options, report):
    """/ready under load, against nginx `return 200` with one worker"""
    rounds, seconds = (3, 2) if options.quick else (10, 3)
    with tools.Ground() as ground:
        nginx, nginx_port = ground.nginx()
        agent = ground.agent("")
        for kind, arguments, with_bars in (("kept alive", (), True),
                                           ("one a connection", ("-H", "Connection: close"), False)):
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(load_round(agent.process.pid, agent.port, seconds, arguments))
                theirs.append(load_round(nginx.pid, nginx_port, seconds, arguments))
            report_load(report, kind, ours, theirs, with_bars)


# --- many probes ---------------------------------------------------------------------------------------

def tcp_probes(count, port, period):
    """A configuration with as many TCP probes, each of an address of its own."""
    lines = [f"  p{i}: {{tcp: tcp://127.{1 + i // 62500}.{i // 250 % 250}.{1 + i % 250}:{port}, "
             f"periodSeconds: {period}}}" for i in range(count)]
    return "\n".join(["readiness:", *lines]) + "\n" if count else ""


def section_memory(options, report):
    """Resident memory with TCP probes that have all run"""
    bars = {0: None, 10: 2 * MIB, 1000: None, 10000: 20 * MIB}
    with tools.Ground() as ground:
        port = ground.acceptor(tools.CLIENT_CPU)
        for count, bar in bars.items():
            agent = ground.agent(tcp_probes(count, port, 5))
            agent.wait_ready()
            tools.settle(6)
            size = tools.resident(agent.process.pid)
            agent.stop()
            report.add(f"resident memory with {count:,} probes", mebibytes(size),
                       f"< {mebibytes(bar)}" if bar else "", size < bar if bar else None, bytes=size)


def section_schedule(options, report):
    """Ten thousand TCP probes, each every second"""
    count, seconds = 10000, 10 if options.quick else 30
    with tools.Ground() as ground:
        agent = ground.agent(tcp_probes(count, ground.acceptor(tools.CLIENT_CPU), 1))
        agent.wait_ready()
        tools.settle(3)
        before = schedule_reading(agent)
        tools.settle(seconds)
        after = schedule_reading(agent)
        elapsed = after["at"] - before["at"]
        share = (after["cpu_ns"] - before["cpu_ns"]) / elapsed / 1e9
        rate = (after["runs"] - before["runs"]) / elapsed
        late = {edge: count - before["late"].get(edge, 0) for edge, count in after["late"].items()}
        p99 = tools.quantile(late, 0.99)
        waited = (after["waited_ns"] - before["waited_ns"]) / elapsed / 1e9
        report.line(f"{rate:,.0f} runs a second, {share / rate * 1e6:.1f} us of CPU each; all pass: "
                    f"{'yes' if after['ok'] else 'NO'}; others had its processor when it was to run "
                    f"{waited:.1%} of the time")
        report.add("CPU of 10,000 TCP probes a second", f"{share:.3f} of one core", "< 0.333",
                   share < 1 / 3 and rate > 0.98 * count and after["ok"], share=share,
                   runs_per_second=rate)
        report.add("their lateness, 99th percentile",
                   f"{p99:.2f} ms (half of them {tools.quantile(late, 0.5):.2f}, all "
                   f"{tools.quantile(late, 1):.2f})", "< 20 ms", p99 < 20, ms=p99)


def schedule_reading(agent):
    """What has been done until now."""
    status = tools.status_head(agent)
    return {"at": time.monotonic(), "cpu_ns": tools.cpu_ns(agent.process.pid),
            "waited_ns": tools.kept_waiting_ns(agent.process.pid),
            "runs": tools.connections_opened(), "ok": status["verdicts"]["ready"]["ok"],
            "late": {entry["below"]: entry["count"] for entry in status["latenessMs"]["histogram"]}}


# --- being watched -------------------------------------------------------------------------------------

def start_scraper(ground, agent, path, count, pause_ms):
    """A process that reads a long answer again and again."""
    command = [ground.compile("scrape"), tools.CLIENT_CPU, agent.port, path, count, pause_ms]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                            env=tools.ENVIRONMENT)


def report_scrapes(report, ground, agent, count):
    """How long /metrics of 10,000 probes takes, and what others wait meanwhile."""
    before = schedule_reading(agent)
    scraper = start_scraper(ground, agent, "/metrics", count, 200)
    output, _ = scraper.communicate()
    if scraper.returncode:
        sys.exit("/metrics is not answered whole")
    after = schedule_reading(agent)
    rows = [[int(word) for word in line.split()] for line in output.splitlines()]
    taken = statistics.median(us for us, _ in rows)
    waited = (after["waited_ns"] - before["waited_ns"]) / (after["at"] - before["at"]) / 1e9
    cpu_ms = (after["cpu_ns"] - before["cpu_ns"]) / len(rows) / 1e6
    report.line(f"{len(rows)} answers of {rows[0][1] / MIB:.1f} MiB, {min(rows)[0] / 1000:.1f} to "
                f"{max(rows)[0] / 1000:.1f} ms, {cpu_ms:.1f} ms of CPU each with the runs meanwhile; others had "
                f"its processor when it was to run {waited:.1%} of the time")
    report.add("/metrics of 10,000 probes", milliseconds(taken), "< 50 ms", taken < 50000, us=taken)
    late = {edge: count - before["late"].get(edge, 0) for edge, count in after["late"].items()}
    p99 = tools.quantile(late, 0.99)
    report.add("lateness of probes meanwhile, 99th percentile",
               f"{p99:.2f} ms (all {tools.quantile(late, 1):.2f})", "< 20 ms", p99 < 20, ms=p99)


def section_watched(options, report):
    """/metrics of ten thousand probes, and /ready under load while somebody reads it"""
    rounds, seconds = (4, 2) if options.quick else (20, 2)
    with tools.Ground() as ground:
        agent = ground.agent(tcp_probes(10000, ground.acceptor(tools.CLIENT_CPU), 10))
        agent.wait_ready()
        tools.settle(3)
        report_scrapes(report, ground, agent, 10 if options.quick else 50)
        agent.stop()
        agent = ground.agent(tcp_probes(10, ground.acceptor(tools.CLIENT_CPU), 10))
        agent.wait_ready()
        alone, watched = [], []
        for i in range(2 * rounds):
            # In turns, and each as often before as after the other: the machine gets slower and faster.
            is_watched = i % 4 in (1, 2)
            # A Prometheus, and a browser that has the page open.
            watchers = [start_scraper(ground, agent, path, 0, 1000)
                        for path in ("/metrics", "/status?limit=100") if is_watched]
            requests_a_second = load_round(agent.process.pid, agent.port, seconds)[0]
            (watched if is_watched else alone).append(requests_a_second)
            for watcher in watchers:
                watcher.kill()
                watcher.communicate()
        ratio = tools.Ratio(watched, alone)
        report.add("/ready with a scraper and the page / without, requests a second",
                   f"{ratio}: {statistics.median(watched):,.0f} / {statistics.median(alone):,.0f}",
                   f">= 1.0 (to {SAME})", ratio.median >= 1 - SAME, ratio=ratio.median)


# --- start and size ------------------------------------------------------------------------------------

def section_start(options, report):
    """From exec to the first 200 on /healthz"""
    rounds = 10 if options.quick else 100
    with tools.Ground() as ground:
        program, target = ground.compile("first_answer"), ground.acceptor(tools.CLIENT_CPU)
        ports = tools.harness.free_port(), tools.harness.free_port()
        directory = ground.tmp / "nginx"
        directory.mkdir()
        (directory / "nginx.conf").write_text(tools.nginx_config(directory, ports[1]))
        config = ground.tmp / "readyd.yaml"
        config.write_text(f'listen: 127.0.0.1:{ports[0]}\nsocket: "@readyd-bench-{ports[0]}"\n'
                          'drain: {delaySeconds: 0}\n' + tcp_probes(10, target, 10))
        commands = [[options.binary, "serve", "-c", config], tools.nginx_command(directory)]
        times = [], []
        for _ in range(rounds):
            for port, command, taken in zip(ports, commands, times):
                words = [program, tools.CLIENT_CPU, tools.SERVER_CPU, port, *command]
                done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True, check=True,
                                      env=tools.ENVIRONMENT)
                taken.append(int(done.stdout))
        ours, theirs = map(statistics.median, times)
        report.add("from exec to the first 200",
                   f"{milliseconds(ours)} (at most {milliseconds(max(times[0]))}; nginx "
                   f"{milliseconds(theirs)})", "< 5 ms", ours < 5000, us=ours, other_us=theirs)


# --- waiting -------------------------------------------------------------------------------------------

def wait_round(ground, options, kind, port, url, start, delay):
    """Milliseconds from the moment a dependency can serve until `readyd wait` returns, and until the gate
    of an agent, `readyd check --wait`, opens.

    It is waited for from the beginning, started after a while, and found to serve by a client of our
    own that asks it all the time.
    """
    cpu = str(tools.CLIENT_CPU)
    watcher = subprocess.Popen([ground.compile("can_serve"), cpu, kind, str(port)],
                               stdout=subprocess.PIPE, text=True)
    socket = f"@bench-gate-{port}"
    agent = ground.start(["taskset", "-c", cpu, options.binary, "serve", "-o", "listen=none", "-o",
                          f"socket={socket}", "-o", f"readiness.late={url}", "-o", "drain.delaySeconds=0"],
                         env=tools.ENVIRONMENT)
    commands = (["wait", "--quiet", url], ["check", "--wait", "--socket", socket])
    waiting = [subprocess.Popen(["taskset", "-c", cpu, options.binary, *command], env=tools.ENVIRONMENT,
                                stdout=subprocess.DEVNULL) for command in commands]
    tools.settle(delay)
    start()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda process: (process.wait(), time.monotonic()), waiting))
    served, _ = watcher.communicate()
    ground.end(agent)
    if any(status for status, _ in ended) or watcher.returncode != 0:
        sys.exit(f"waiting for {url}: readyd ended with {[status for status, _ in ended]}, "
                 f"can_serve with {watcher.returncode}")
    return [returned * 1000 - int(served) / 1000 for _, returned in ended]


def report_waits(report, what, rounds):
    for end, times in zip(("wait returns", "the gate opens"), zip(*rounds)):
        median = statistics.median(times)
        report.add(f"from when {what} can serve until {end}",
                   f"{median:.1f} ms ({min(times):.1f}..{max(times):.1f})", "< 50 ms", median < 50,
                   ms=median, all_ms=times)


def late_postgres(ground, options, delay):
    import postgres_server

    server = postgres_server.Server()
    ground.addCleanup(server.destroy)

    def start():
        server.start(wait=False)
        tools.pin(server.process.pid, tools.SERVER_CPU)

    taken = wait_round(ground, options, "postgres", server.port, server.url(), start, delay)
    server.destroy()
    return taken


def late_redis(ground, options, delay, data):
    port = tools.harness.free_port()
    process = None

    def start():
        nonlocal process
        process = ground.start(["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", data,
                                "--save", ""])
        tools.pin(process.pid, tools.SERVER_CPU)

    taken = wait_round(ground, options, "redis", port, f"redis://127.0.0.1:{port}", start, delay)
    ground.end(process)
    return taken


def late_http(ground, options, delay):
    port = tools.harness.free_port()
    process = None

    def start():
        nonlocal process
        process = ground.start_nginx(port)

    taken = wait_round(ground, options, "http", port, f"http://127.0.0.1:{port}/", start, delay)
    ground.end(process)
    return taken


def section_wait(options, report):
    """`readyd wait`, and the gate of `check --wait`, for servers that start later, by up to five seconds"""
    import redis_server

    rounds, longest = (3, 0.5) if options.quick else (20, 5)
    # Evenly spread, in no step with anything.
    delays = [longest * (0.1 + number * 0.618 % 0.9) for number in range(rounds)]
    with tools.Ground() as ground:
        report_waits(report, "PostgreSQL", [late_postgres(ground, options, delay) for delay in delays])
        full = redis_server.Server(ground)
        full.command("DEBUG", "POPULATE", 100000 if options.quick else 2000000)
        full.command("SAVE")
        full.kill()
        report_waits(report, "Redis, which loads its data,",
                     [late_redis(ground, options, delay, full.data) for delay in delays])
        report_waits(report, "nginx", [late_http(ground, options, delay) for delay in delays])


def section_sizes(options, report):
    """The binary"""
    for what, program, bar in (("with everything", options.binary, 4.5 * MIB),
                               ("without TLS", options.without_tls, 1.2 * MIB)):
        if program:
            size = os.path.getsize(program)
            report.add(f"size of the binary {what}", mebibytes(size), f"< {mebibytes(bar)}", size < bar,
                       bytes=size)


SECTIONS = {"check": section_check, "targets": section_targets, "load": section_load,
            "memory": section_memory, "schedule": section_schedule, "watched": section_watched,
            "start": section_start, "wait": section_wait, "sizes": section_sizes}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the release binary")
    parser.add_argument("--without-tls", help="the binary that was built with TLS=0")
    parser.add_argument("--quick", action="store_true", help="a minute instead of several")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section (repeatable)")
    parser.add_argument("--json", help="also write the figures into this file")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    return options


def main():
    report = Report(options.json)
    if not tools.enter_network():
        report.line("no root: the packet filters of this machine are part of what is measured")
    for name in options.only or SECTIONS:
        report.title(SECTIONS[name].__doc__)
        SECTIONS[name](options, report)
    report.table()


if __name__ == "__main__":
    options = parse_options()
    os.environ["READYD_BINARY"] = options.binary
    import tools
    main()
