"""`readyd wait`: for what, for how long, how it ends. The terminal is in test_wait_terminal.py, the
command that it becomes in test_wait_command.py."""

import fcntl
import http.server
import json
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time
import unittest

import postgres_server
import private_network
import processes
import redis_server
from bad_server import BadServer, stall
from dns_server import DnsServer, Name
from harness import BINARY, SOON_SECONDS, TestCase, check, free_port, readyd, wait_until
from waiter import Waiter


def setUpModule():
    if private_network.available():
        private_network.enter()


def tearDownModule():
    if private_network.available():
        private_network.leave()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class WaitTestCase(TestCase):
    def wait(self, *arguments, **options):
        return Waiter(self, *arguments, **options)

    def script(self, text):
        """The target of a command that runs this shell script."""
        path = self.tmp / "script"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return f"exec:{path}"

    def file_target(self):
        """(target, path): the target passes once there is a file at the path."""
        path = self.tmp / "it-is-there"
        return f"exec:/usr/bin/test -e {path}", path


class Targets(WaitTestCase):
    """Real dependencies that come up while they are waited for."""

    def test_passes_at_once(self):
        done = readyd("wait", "exec:/bin/true")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertRegex(done.stderr, r"\A\d\d:\d\d:\d\d\.\d{3} info +done target=exec:/bin/true "
                                      r"reason=ok waitedMs=\d+\.\d\n\Z")

    def test_http_opens_its_port_late(self):
        port = free_port()
        waiter = self.wait(f"http://127.0.0.1:{port}/", "-o", "timeoutSeconds=20")
        waiter.wait_line("reason=connect_refused")
        server = http.server.HTTPServer(("127.0.0.1", port), Handler)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.handle_request, daemon=True).start()
        self.assertEqual(waiter.end(), 0)
        self.assertEqual(waiter.events(), [("waiting", "connect_refused"), ("done", "ok")])

    def test_postgres_starts(self):
        server = postgres_server.Server()
        self.addCleanup(server.destroy)
        waiter = self.wait(server.url(), "-o", "role=primary")
        waiter.wait_line("reason=connect_refused")
        server.start(wait=False)
        self.assertEqual(waiter.end(), 0)
        self.assertEqual(server.sql("select 1"), "1")
        self.assertEqual(waiter.events()[-1], ("done", "ok"))
        self.assertNotIn(postgres_server.PASSWORD, "".join(waiter.log))
        self.assertNotIn(postgres_server.ENCODED_PASSWORD, "".join(waiter.log))

    def test_redis_loads_its_data(self):
        full = redis_server.Server(self)
        full.command("DEBUG", "POPULATE", 10000)
        full.command("SAVE")
        full.kill()
        port = free_port()
        waiter = self.wait(f"redis://127.0.0.1:{port}")
        waiter.wait_line("reason=connect_refused")
        server = redis_server.Server(self, directory=full.directory, wait=False, port=port,
                                     key_load_delay=400, loading_process_events_interval_bytes=1024)
        waiter.wait_line("reason=loading")
        self.assertEqual(waiter.end(), 0)
        self.assertEqual(server.info("persistence")["loading"], "0")
        self.assertEqual(waiter.events(), [("waiting", "connect_refused"), ("waiting", "loading"),
                                           ("done", "ok")])

    def test_exec(self):
        target, path = self.file_target()
        waiter = self.wait(target)
        waiter.wait_line("reason=exit_code")
        path.touch()
        self.assertEqual(waiter.end(), 0)

    @unittest.skipUnless(private_network.available(), "only root can make a network namespace")
    def test_name_appears(self):
        with DnsServer({}) as names, BadServer(stall()) as server:
            waiter = self.wait(f"tcp://db.test:{server.port}")
            waiter.wait_line("reason=dns_failure")
            names.names["db.test"] = Name(a=["127.0.0.1"])
            self.assertEqual(waiter.end(), 0)

    def test_all_at_the_same_time(self):
        """Each try takes a while, and all of them together no longer."""
        targets = [f"exec:/bin/sh -c 'sleep 2; : {number}'" for number in range(8)]
        options = ["-o", "timeoutSeconds=20"]
        started = time.monotonic()
        done = readyd("wait", *[word for target in targets for word in (target, *options)])
        self.assertEqual(done.returncode, 0)
        self.assertLess(time.monotonic() - started, 2 + 2 * SOON_SECONDS)
        self.assertEqual(done.stderr.count(" done "), 8)

    def test_what_lacks_is_said(self):
        done = readyd("wait", "exec:/bin/true", "--successes", "3", "--interval", "60", "--timeout", "3")
        self.assertEqual(done.returncode, 124)
        self.assertRegex(done.stderr, r'timed_out target=exec:/bin/true reason=ok inARow="1 of 3"')

    def test_all_must_pass(self):
        target, path = self.file_target()
        waiter = self.wait("exec:/bin/true", target, "exec:/bin/echo")
        waiter.wait_line("reason=exit_code")
        path.touch()
        self.assertEqual(waiter.end(), 0)
        self.assertEqual(sorted(waiter.events()), [("done", "ok")] * 3 + [("waiting", "exit_code")])

    def test_more_targets_than_descriptors(self):
        config = self.tmp / "many.yaml"
        config.write_text("readiness:\n" + "".join(f"  p{i}: tcp://127.0.0.1:{{port}}\n"
                                                   for i in range(3000)))
        with BadServer(stall(), backlog=4096) as server:
            config.write_text(config.read_text().replace("{port}", str(server.port)))
            done = readyd("wait", "-c", config, "--quiet")
            self.assertEqual((done.returncode, done.stderr), (0, ""))


class Rules(WaitTestCase):
    """When the waiting is over."""

    def test_timeout(self):
        started = time.monotonic()
        done = readyd("wait", "--timeout", "3", f"tcp://127.0.0.1:{free_port()}", "exec:/bin/true",
                      "exec:/bin/false")
        self.assertEqual((done.returncode, done.stdout), (124, ""))
        self.assertGreaterEqual(time.monotonic() - started, 3)
        self.assertLess(time.monotonic() - started, 3 + SOON_SECONDS)
        last = [line for line in done.stderr.splitlines() if " timed_out " in line]
        self.assertRegex(last[0], r"error +timed_out target=tcp://\S+ reason=connect_refused message=")
        self.assertRegex(last[1], r"target=exec:/bin/false reason=exit_code message=")
        self.assertEqual(len(last), 2)

    def test_timeout_bounds_the_try(self):
        with BadServer(stall()) as silent:
            started = time.monotonic()
            done = readyd("wait", "--timeout", "300ms", f"http://127.0.0.1:{silent.port}/", "-o",
                          "timeoutSeconds=600")
            self.assertEqual(done.returncode, 124)
            self.assertLess(time.monotonic() - started, SOON_SECONDS)
            self.assertIn("reason=timeout", done.stderr)

    def test_the_last_reason_is_not_that_time_was_over(self):
        target = self.script(f"[ -e {self.tmp}/again ] && exec sleep 600\n"
                             f"touch {self.tmp}/again; exit 9\n")
        done = readyd("wait", "--timeout", "4s", target, "-o", "timeoutSeconds=600")
        self.assertEqual(done.returncode, 124)
        self.assertIn("timed_out", done.stderr)
        self.assertNotIn("reason=timeout", done.stderr)
        self.assertIn("exit code 9", done.stderr.splitlines()[-1])

    def test_no_timeout(self):
        target, path = self.file_target()
        waiter = self.wait("--timeout", "0", target)
        waiter.wait_line("reason=exit_code")
        path.touch()
        self.assertEqual(waiter.end(), 0)

    def test_any(self):
        done = readyd("wait", "--any", f"tcp://127.0.0.1:{free_port()}", "exec:/bin/true")
        self.assertEqual(done.returncode, 0)
        done = readyd("wait", "--any", "--timeout", "0.2", f"tcp://127.0.0.1:{free_port()}",
                      "exec:/bin/false")
        self.assertEqual(done.returncode, 124)
        self.assertEqual(done.stderr.count("timed_out"), 2)

    def test_any_leaves_nothing_behind(self):
        marker = f"marker-{time.monotonic_ns()}"
        done = readyd("wait", "--any", "exec:/bin/sleep 600", "-o", "timeoutSeconds=600",
                      "exec:/bin/sleep 0.1", env={"MARKER": marker})
        self.assertEqual(done.returncode, 0)
        wait_until(lambda: not processes.marked(marker), "the sleeping one to be gone")

    def test_invert(self):
        self.assertEqual(readyd("wait", "--invert", f"tcp://127.0.0.1:{free_port()}").returncode, 0)
        server = BadServer(stall())
        waiter = self.wait("--invert", f"tcp://127.0.0.1:{server.port}")
        waiter.wait_line("waiting")
        server.close()
        self.assertEqual(waiter.end(), 0)
        self.assertEqual(waiter.events(), [("waiting", "ok"), ("done", "connect_refused")])

    def test_invert_needs_an_answer(self):
        """That readyd itself cannot do it does not mean that the target fails."""
        done = readyd("wait", "--invert", "--timeout", "0.3", "exec:/no/such/program")
        self.assertEqual(done.returncode, 124)
        # and neither does that the time was over before the target could pass
        done = readyd("wait", "--invert", "--timeout", "0.3", "exec:/bin/sleep 600", "-o",
                      "timeoutSeconds=600")
        self.assertEqual(done.returncode, 124)

    def test_successes_in_a_row(self):
        target = self.script(f"echo >>{self.tmp}/calls\n"
                             f"[ $(wc -l <{self.tmp}/calls) != 2 ]\n")
        started = time.monotonic()
        done = readyd("wait", "--successes", "3", "--interval", "200ms", target)
        self.assertEqual(done.returncode, 0)
        self.assertEqual((self.tmp / "calls").read_text().count("\n"), 5)
        self.assertGreaterEqual(time.monotonic() - started, 0.6)

    def test_success_threshold(self):
        target = self.script(f"echo >>{self.tmp}/calls\n")
        done = readyd("wait", "--interval", "10ms", target, "-o", "successThreshold=4")
        self.assertEqual(done.returncode, 0)
        self.assertEqual((self.tmp / "calls").read_text().count("\n"), 4)

    def tries_within(self, seconds, *options, work="false"):
        target = self.script(f"echo >>{self.tmp}/calls\n{work}\n")
        (self.tmp / "calls").write_text("")
        self.assertEqual(readyd("wait", "--timeout", seconds, *options, target).returncode, 124)
        return (self.tmp / "calls").read_text().count("\n")

    def test_back_off(self):
        self.assertGreater(self.tries_within(4), 5)
        self.assertLess(self.tries_within(1), 110)
        self.assertGreater(self.tries_within(4, "--interval", "1ms"), 5)

    def test_share_of_a_processor(self):
        """Commands that work hard do not take it from the service that is waited for."""
        busy = "exec:/bin/sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exit "
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = readyd("wait", "-q", "--timeout", "4", *[f"{busy}{number}'" for number in range(1, 9)])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(done.returncode, 124)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.assertLess(used / 4, 0.8)

    def test_log_of_a_target_that_goes_to_and_fro(self):
        """Its reasons are told once each, and then once a second."""
        target = self.script(f"echo >>{self.tmp}/calls\n"
                             f"[ $(($(wc -l <{self.tmp}/calls) % 2)) = 0 ] && kill -9 $$\nexit 5\n")
        done = readyd("wait", "--timeout", "4", target)
        self.assertGreater((self.tmp / "calls").read_text().count("\n"), 8)
        waiting = [line for line in done.stderr.splitlines() if " waiting " in line]
        self.assertLessEqual(len(waiting), 8)
        self.assertIn("reason=signal", done.stderr)


class FromFile(WaitTestCase):
    CONFIG = """
liveness: {app: "exec:/bin/false", only-alive: "exec:/bin/true"}
startup: {app: "exec:/bin/true", twice: "exec:/bin/true"}
readiness:
  twice: "exec:/bin/false"
  late: {target: "exec:/usr/bin/test -e FILE", initialDelaySeconds: 600, successThreshold: 2}
"""

    def setUp(self):
        super().setUp()
        self.config = self.tmp / "readyd.yaml"
        self.file = self.tmp / "late"
        self.config.write_text(self.CONFIG.replace("FILE", str(self.file)))

    def names(self, *arguments, status=0):
        done = readyd("wait", "--json", "--quiet", "-c", self.config, *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        return [json.loads(line)["name"] for line in done.stdout.splitlines()]

    def test_by_name(self):
        self.assertEqual(self.names("app"), ["app"])
        self.assertEqual(self.names("startup/app", "startup/twice"), ["app", "twice"])
        self.assertEqual(self.names("liveness/only-alive"), ["only-alive"])
        self.assertEqual(self.names("app", "startup/app"), ["app"])
        self.assertEqual(self.names("app", "exec:/bin/true"), ["app", "exec:/bin/true"])

    def test_settings_of_the_file(self):
        waiter = self.wait("-c", self.config, "readiness/late", "--interval", "10ms")
        waiter.wait_line("reason=exit_code")
        self.file.touch()
        self.assertEqual(waiter.end(), 0)

    def test_all(self):
        self.file.touch()
        self.assertEqual(self.names("--timeout", "0.5", "--interval", "0.1", status=124),
                         ["twice", "late", "app", "twice"])

    def test_environment_counts_as_everywhere(self):
        done = readyd("wait", "-c", self.config, "more", env={"READYD_READINESS_MORE": "exec:/bin/true"})
        self.assertEqual(done.returncode, 0)

    def test_wrong(self):
        for arguments, sentence in (
                (["none"], "this is no target, and the configuration has no such probe: none;"),
                (["only-alive"], "the configuration has no such probe: only-alive;"),
                (["twice"], "several probes have this name, say readiness/NAME or startup/NAME: twice;"),
                (["app", "-o", "a=b"], "-o is for targets, and what is before it is none: app;")):
            done = readyd("wait", "-c", self.config, *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(sentence, done.stderr)
        done = readyd("wait", "-c", "/no/such/file")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/no/such/file", done.stderr)
        self.config.write_text("readiness: {a: {exec: /bin/true, periodSecond: 3}}\nliveness: {b: 3}\n")
        done = readyd("wait", "-c", self.config)
        self.assertEqual(done.returncode, 2)
        self.assertIn("periodSeconds", done.stderr)
        self.config.write_text("liveness: {a: 'exec:/bin/true'}\n")
        done = readyd("wait", "-c", self.config)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no readiness or startup probe", done.stderr)


class Output(WaitTestCase):
    def test_json(self):
        done = readyd("wait", "--json", "--timeout", "3", "exec:/bin/true", "exec:/bin/false")
        self.assertEqual(done.returncode, 124)
        good, bad = map(json.loads, done.stdout.splitlines())
        self.assertEqual((good["state"], bad["state"], bad["reason"]), ("pass", "fail", "exit_code"))
        self.assertEqual(list(bad), list(check("exec:/bin/false")[1]))

    def test_quiet(self):
        done = readyd("wait", "--quiet", "exec:/bin/true")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        done = readyd("wait", "-q", "--timeout", "3", "exec:/bin/true", "exec:/bin/false")
        self.assertEqual(done.returncode, 124)
        self.assertRegex(done.stderr, r"\A\S+ error +timed_out target=exec:/bin/false reason=exit_code .*\n\Z")

    def test_bad_usage(self):
        for arguments, sentence in (
                ([], "a target is missing"),
                (["db"], "this is no target; the name of a probe needs -c FILE: db"),
                (["gopher://x"], "no probe type has the scheme of this target"),
                (["exec:/bin/true", "--"], "a command is missing after --"),
                (["--timeout", "x", "exec:/bin/true"], "--timeout takes a time such as"),
                (["--interval", "0", "exec:/bin/true"], "--interval takes a time such as"),
                (["--successes", "0", "exec:/bin/true"], "--successes takes a number from 1"),
                (["--successes", "2x", "exec:/bin/true"], "--successes takes a number from 1"),
                (["--bogus"], "unknown option: --bogus"),
                (["--timeout"], "a value is missing after: --timeout"),
                (["-o", "a=b"], "-o is for targets, and there is none"),
                (["exec:/bin/true", "-o", "bogus=1"], "bogus"),
                (["exec:/bin/true"] * 257, "too many targets"),
                (["tcp://nowhere"], "port")):
            done = readyd("wait", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn(sentence, done.stderr)

    def test_help(self):
        done = readyd("wait", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("examples:\n  readyd wait ", done.stdout)
        self.assertIn("wait", readyd("--help").stdout)

    def test_password_is_in_no_title_and_no_output(self):
        target = f"redis://:geheim@127.0.0.1:{free_port()}"
        waiter = self.wait("--timeout", "5", target)
        waiter.wait_line("reason=connect_refused")
        title = pathlib.Path(f"/proc/{waiter.process.pid}/cmdline").read_text()
        self.assertEqual(waiter.end(), 124)
        for text in (title, "".join(waiter.log)):
            self.assertNotIn("geheim", text)
            self.assertIn("***", text)

    def test_log_that_nobody_reads(self):
        """A full pipe holds up nothing."""
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, bytes(4096))
        target, path = self.file_target()
        process = subprocess.Popen([BINARY, "wait", target], stderr=writer, stdin=subprocess.DEVNULL)
        self.addCleanup(self.end, process)
        path.touch()
        self.assertEqual(process.wait(20), 0)
        os.close(reader)
        os.close(writer)


class Signals(WaitTestCase):
    def test_ends_as_by_the_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            marker = f"marker-{time.monotonic_ns()}"
            waiter = self.wait("exec:/bin/sleep 600", "-o", "timeoutSeconds=600", "exec:/bin/false",
                               "--", "/bin/echo", env={"MARKER": marker})
            waiter.wait_line("reason=exit_code")
            waiter.signal(number)
            self.assertEqual(waiter.end(), -number)
            self.assertEqual(waiter.stdout, "")
            self.assertNotIn("timed_out", "".join(waiter.log))
            wait_until(lambda: not processes.marked(marker), "what it started to be gone")

    def test_what_was_ignored_stays_ignored(self):
        """As the background processes of a shell script have SIGINT."""
        target, path = self.file_target()
        waiter = self.wait(target, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        waiter.wait_line("reason=exit_code")
        waiter.signal(signal.SIGINT)
        path.touch()
        self.assertEqual(waiter.end(), 0)

    @unittest.skipUnless(private_network.available(), "only root can make a PID namespace")
    def test_as_process_1(self):
        """There the kernel would ignore the signal."""
        waiter = self.wait("exec:/bin/false",
                           prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
        waiter.wait_line("reason=exit_code")
        children = pathlib.Path(f"/proc/{waiter.process.pid}/task/{waiter.process.pid}/children")
        subprocess.run(["kill", "-TERM", children.read_text().split()[0]], check=True)
        self.assertEqual(waiter.end(), 143)


if __name__ == "__main__":
    unittest.main()
