"""Out of service and back: the verbs drain and undrain, the drain file, and what they make of /ready."""

import concurrent.futures
import http.client
import os
import pathlib
import shutil
import signal
import tempfile
import time
import unittest

from harness import Agent, PATIENCE_SECONDS, SOON_SECONDS, readyd, settled, wait_until

NO_PROBES = "service: web\n"


def drain(agent, *arguments, **options):
    return readyd("drain", *arguments, "--socket", agent.socket, **options)


def undrain(agent, *arguments, **options):
    return readyd("undrain", *arguments, "--socket", agent.socket, **options)


class Verbs(unittest.TestCase):
    def test_ready_says_no_and_healthz_stays(self):
        with Agent(NO_PROBES) as agent:
            self.assertEqual(agent.get("/ready")[0], 200)
            done = drain(agent)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "draining\n", ""))
            for path in "/ready", "/readyz", "/":
                status, headers, body = agent.get(path)
                self.assertEqual((status, body), (503, "draining\n"))
                self.assertEqual(headers["connection"].lower(), "close")
                self.assertEqual(headers["x-envoy-immediate-health-check-fail"], "true")
            self.assertEqual(agent.get("/ready?verbose")[0], 503)
            self.assertEqual(agent.get("/ready", {"Accept": "application/json"})[0], 503)
            for path in "/healthz", "/startup":
                status, headers, _ = agent.get(path)
                self.assertEqual(status, 200)
                self.assertNotIn("x-envoy-immediate-health-check-fail", headers)
            self.assertEqual(readyd("check", "--socket", agent.socket).returncode, 1)
            self.assertEqual(readyd("check", "liveness", "--socket", agent.socket).returncode, 0)
            agent.wait_log(lambda event: event["event"] == "drain" and
                           event["source"] == "command")

            done = undrain(agent)
            self.assertEqual((done.returncode, done.stdout), (0, "back in service\n"))
            status, headers, _ = agent.get("/ready")
            self.assertEqual(status, 200)
            self.assertNotIn("x-envoy-immediate-health-check-fail", headers)
            agent.wait_log(lambda event: event["event"] == "undrain" and not event["draining"])

    def test_both_may_be_said_twice(self):
        with Agent(NO_PROBES) as agent:
            for _ in range(2):
                self.assertEqual(drain(agent).returncode, 0)
            self.assertEqual(agent.get("/ready")[0], 503)
            for _ in range(2):
                self.assertEqual(undrain(agent).returncode, 0)
            self.assertEqual(agent.get("/ready")[0], 200)

    def test_it_can_be_not_found_for_haproxy(self):
        with Agent("drain: { statusCode: 404 }\n") as agent:
            drain(agent)
            self.assertEqual(agent.get("/ready")[0], 404)
            self.assertEqual(agent.get("/", method="OPTIONS")[0], 404)
            self.assertEqual(agent.get("/healthz")[0], 200)
            # Our own commands know 404 as "there is no such probe".
            done = readyd("check", "--socket", agent.socket)
            self.assertEqual((done.returncode, done.stdout), (1, "fail readiness draining\n"))
            undrain(agent)
            self.assertEqual(agent.get("/ready")[0], 200)

    def test_only_what_drains_is_not_found(self):
        config = "drain: { statusCode: 404 }\nreadiness: { never: 'exec:false' }\n"
        with Agent(config) as agent:
            self.assertEqual(agent.get("/ready")[0], 503)

    def test_a_kept_alive_connection_is_closed(self):
        with Agent(NO_PROBES) as agent:
            connection = http.client.HTTPConnection("127.0.0.1", agent.port)
            connection.request("GET", "/ready")
            connection.getresponse().read()
            drain(agent)
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            answer.read()
            self.assertTrue(answer.will_close)
            self.assertEqual(connection.sock, None)

    def test_status_tells_of_it(self):
        with Agent(NO_PROBES) as agent:
            drain(agent)
            self.assertTrue(agent.status()["draining"])
            self.assertEqual(agent.status()["drainSources"], ["command"])
            self.assertIn("draining", readyd("status", "--socket", agent.socket).stdout)

    def test_without_an_agent(self):
        for verb in "drain", "undrain":
            done = readyd(verb, "--socket", "@readyd-nobody")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^readyd {verb}: no readyd listens on @readyd-nobody")

    def test_usage(self):
        for verb in "drain", "undrain":
            self.assertIn(f"usage: readyd {verb}", readyd(verb, "--help").stdout)
            for arguments in ["--nonsense"], ["word"], ["--timeout"], ["--timeout", "soon"]:
                done = readyd(verb, *arguments)
                self.assertEqual(done.returncode, 1, arguments)
                self.assertRegex(done.stderr, rf"^readyd {verb}: ")


class WhoMay(unittest.TestCase):
    def test_commands_are_on_the_admin_socket_alone(self):
        with Agent(NO_PROBES) as agent:
            for path in "/drain", "/undrain", "/stop":
                self.assertEqual(agent.get(path, method="POST")[0], 405)
                self.assertEqual(agent.get(path)[0], 404)
            self.assertEqual(agent.get("/ready")[0], 200)

    def test_commands_are_posted(self):
        with Agent(NO_PROBES) as agent:
            for path in "/drain", "/undrain", "/stop":
                status, headers, _ = agent.admin(path)
                self.assertEqual((status, headers["allow"]), (405, "POST"))
            self.assertEqual(agent.get("/ready")[0], 200)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_a_stranger_may_not(self):
        with Agent(NO_PROBES) as agent:
            with concurrent.futures.ProcessPoolExecutor(1) as pool:
                status = pool.submit(post_as_nobody, agent.socket).result(PATIENCE_SECONDS)
            self.assertEqual(status, 403)
            self.assertEqual(agent.get("/ready")[0], 200)


def post_as_nobody(path):
    """The status that another user gets for POST /drain; runs in a process of its own."""
    from harness import UnixConnection
    os.setuid(65534)
    connection = UnixConnection(path)
    connection.request("POST", "/drain")
    return connection.getresponse().status


class File(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = pathlib.Path(directory.name) / "drain"
        self.config = f"drain: {{ file: {self.file} }}\n"

    def test_it_drains_while_the_file_exists(self):
        with Agent(self.config) as agent:
            self.assertEqual(agent.get("/ready")[0], 200)
            self.file.touch()
            agent.wait_ready(503)
            self.assertEqual(agent.get("/healthz")[0], 200)
            self.file.unlink()
            agent.wait_ready(200)

    def test_a_file_that_is_there_at_the_start_counts_from_the_first_answer(self):
        self.file.touch()
        with Agent(self.config) as agent:
            self.assertEqual(agent.get("/ready")[0], 503)
            agent.wait_log(lambda event: event["event"] == "drain" and event["source"] == "file")
            self.assertFalse(any(event["event"] == "verdict" and event["endpoint"] == "ready" and
                                 event["status"] == 200 for event in agent.logs))

    def test_undrain_says_that_the_file_exists(self):
        with Agent(self.config) as agent:
            self.file.touch()
            agent.wait_ready(503)
            done = undrain(agent)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, "readyd undrain: the drain file (drain.file) exists; "
                                          "remove it, then the instance is back\n")

    def test_each_source_is_taken_back_by_itself(self):
        with Agent(self.config) as agent:
            self.file.touch()
            agent.wait_ready(503)
            drain(agent)
            self.file.unlink()
            agent.wait_log(lambda event: event["event"] == "undrain" and event["source"] == "file")
            self.assertEqual(agent.get("/ready")[0], 503)
            undrain(agent)
            self.assertEqual(agent.get("/ready")[0], 200)

    def test_a_reload_can_bring_it(self):
        self.file.touch()
        with Agent(NO_PROBES) as agent:
            self.assertEqual(agent.get("/ready")[0], 200)
            agent.config_path.write_text(self.config)
            agent.process.send_signal(signal.SIGHUP)
            agent.wait_ready(503)


class Wait(unittest.TestCase):
    def poll(self, agent, until, interval=0.1):
        """Asks /ready over and over, as a load balancer does; returns when it stopped."""
        while not until():
            agent.get("/ready", {"User-Agent": "balancer"})
            time.sleep(interval)
        return time.monotonic()

    def test_it_returns_at_once_when_nobody_asks(self):
        with Agent(NO_PROBES, drain_delay=60) as agent:
            done = drain(agent, "--wait")
            self.assertEqual((done.returncode, done.stdout),
                             (0, "draining, and nobody asks any more\n"))

    def test_it_waits_until_nobody_asks(self):
        with Agent(NO_PROBES, drain_delay=60) as agent:
            seen = 0

            def left():
                """As a balancer that takes the instance out after three refusals."""
                nonlocal seen
                seen += agent.get("/ready", {"User-Agent": "balancer"})[0] == 503
                return seen >= 3

            for _ in range(3):
                left()
                time.sleep(0.5)  # whoever asks so seldom is not gone before two seconds are over
            with concurrent.futures.ThreadPoolExecutor() as pool:
                waiting = pool.submit(drain, agent, "--wait")
                stopped = pool.submit(self.poll, agent, left, 0.5).result()
                done = waiting.result()
                returned = time.monotonic()
            self.assertEqual((done.returncode, done.stdout),
                             (0, "draining, and nobody asks any more\n"))
            self.assertGreater(returned, stopped + 0.5)
            self.assertLess(returned, stopped + 20)

    def test_more_askers_than_are_remembered(self):
        with Agent(NO_PROBES, drain_delay=2) as agent:
            askers = [{"User-Agent": f"balancer {number}"} for number in range(100)]
            for headers in askers:
                agent.get("/ready", headers)
            done = drain(agent, "--wait")
            self.assertEqual((done.returncode, done.stdout),
                             (0, "draining, and drain.delaySeconds is over\n"))

    def test_who_asked_once_may_come_again(self):
        with Agent(NO_PROBES, drain_delay=2) as agent:
            agent.get("/ready")
            self.assertEqual(drain(agent, "--wait").stdout,
                             "draining, and drain.delaySeconds is over\n")

    def test_it_waits_no_longer_than_the_delay(self):
        with Agent(NO_PROBES, drain_delay=1) as agent:
            agent.get("/ready")
            with concurrent.futures.ThreadPoolExecutor() as pool:
                waiting = pool.submit(drain, agent, "--wait")
                self.poll(agent, waiting.done)
                done = waiting.result()
            self.assertEqual((done.returncode, done.stdout),
                             (0, "draining, and drain.delaySeconds is over\n"))

    def test_undrain_ends_the_wait(self):
        with Agent(NO_PROBES, drain_delay=60) as agent:
            agent.get("/ready")
            with concurrent.futures.ThreadPoolExecutor() as pool:
                waiting = pool.submit(drain, agent, "--wait")
                agent.wait_ready(503)
                undrain(agent)
                done = waiting.result()
            self.assertEqual((done.returncode, done.stderr),
                             (1, "readyd drain: taken back into service meanwhile\n"))

    def test_it_gives_up_in_time(self):
        with Agent(NO_PROBES, drain_delay=60) as agent:
            agent.get("/ready")
            with concurrent.futures.ThreadPoolExecutor() as pool:
                waiting = pool.submit(drain, agent, "--wait", "--timeout", "2")
                self.poll(agent, waiting.done)
                done = waiting.result()
            self.assertEqual((done.returncode, done.stderr),
                             (1, "readyd drain: the time is over; the instance drains, but is "
                                 "still asked\n"))
            # Who has hung up is not held any longer, and the drain stands.
            self.assertEqual(agent.get("/ready")[0], 503)


class Gate(unittest.TestCase):
    """`readyd check --wait` opens at the instant of the first readiness."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = pathlib.Path(directory.name) / "there"
        self.config = f"readiness: {{ there: {{ target: 'exec:test -e {self.file}', timeoutSeconds: 20 }} }}\n"

    def gate(self, agent, *arguments):
        return readyd("check", "--wait", *arguments, "--socket", agent.socket)

    def test_it_is_held_until_ready_and_answers_at_once_from_then_on(self):
        with Agent(self.config) as agent:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                gates = [pool.submit(self.gate, agent) for _ in range(8)]
                held = concurrent.futures.wait(gates, 0.5)
                self.assertEqual(len(held.done), 0)
                self.file.touch()
                for gate in gates:
                    done = gate.result()
                    self.assertEqual((done.returncode, done.stdout), (0, "pass readiness\n"))
            drain(agent)
            done = self.gate(agent)
            self.assertEqual((done.returncode, done.stdout), (1, "fail readiness draining\n"))

    def test_it_ends_before_its_deadline_and_says_why(self):
        with Agent(self.config) as agent:
            agent.wait_for(settled)
            started = time.monotonic()
            done = self.gate(agent, "--timeout", "5")
            self.assertLess(time.monotonic() - started, 5 + SOON_SECONDS)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, "^fail readiness: .*there exit_code")

    def test_it_is_let_go_when_the_end_begins(self):
        with Agent(self.config, drain_delay=60) as agent:
            before = agent.descriptors()
            with concurrent.futures.ThreadPoolExecutor() as pool:
                gate = pool.submit(self.gate, agent)
                agent.wait_for(lambda agent: agent.descriptors() > before)
                agent.process.terminate()
                self.assertEqual(gate.result().returncode, 1)
            self.assertIsNone(agent.process.poll())

    def test_startup_and_json(self):
        with Agent(self.config.replace("readiness", "startup")) as agent:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                gate = pool.submit(self.gate, agent, "startup", "--json")
                self.assertEqual(len(concurrent.futures.wait([gate], 0.3).done), 0)
                self.file.touch()
                done = gate.result()
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout.startswith("{"))

    def test_it_may_come_before_the_agent(self):
        socket = f"@readyd-early-{os.getpid()}"
        with concurrent.futures.ThreadPoolExecutor() as pool:
            gate = pool.submit(readyd, "check", "--wait", "--socket", socket)
            self.assertEqual(len(concurrent.futures.wait([gate], 0.3).done), 0)
            with Agent(NO_PROBES, args=["-o", f"socket={socket}"]):
                self.assertEqual(gate.result().returncode, 0)

    def test_it_outlives_a_crash_of_the_agent(self):
        socket = f"@readyd-again-{os.getpid()}"
        with concurrent.futures.ThreadPoolExecutor() as pool:
            agent = Agent(self.config, args=["-o", f"socket={socket}"])
            self.addCleanup(shutil.rmtree, agent.directory)
            before = len(os.listdir(f"/proc/{agent.process.pid}/fd"))
            gate = pool.submit(readyd, "check", "--wait", "--socket", socket)
            wait_until(lambda: len(os.listdir(f"/proc/{agent.process.pid}/fd")) > before,
                       "the gate's connection")
            agent.process.kill()
            agent.process.wait()
            # A probe's process that was just being started lives a moment longer.
            wait_until(lambda: "no readyd listens" in
                       readyd("status", "--socket", socket).stderr, "a free name")
            self.file.touch()
            with Agent(self.config, args=["-o", f"socket={socket}"]):
                self.assertEqual(gate.result().returncode, 0)

    def test_it_leaves_room_for_others(self):
        with Agent(self.config, args=["-o", "connectionLimit=8"]) as agent:
            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                gates = [pool.submit(self.gate, agent) for _ in range(12)]
                self.assertEqual(len(concurrent.futures.wait(gates, 0.5).done), 0)
                for _ in range(20):
                    self.assertEqual(agent.get("/healthz")[0], 200)
                self.file.touch()
                self.assertEqual({gate.result().returncode for gate in gates}, {0})

    def test_who_has_hung_up_is_let_go(self):
        with Agent(self.config) as agent:
            before = len(os.listdir(f"/proc/{agent.process.pid}/fd"))
            for _ in range(3):
                self.gate(agent, "--timeout", "300ms")
            wait_until(lambda: len(os.listdir(f"/proc/{agent.process.pid}/fd")) <= before,
                       "the descriptors of the gone")

    def test_it_is_for_readiness_and_startup_alone(self):
        for what in "liveness", "there", "tcp://127.0.0.1:1":
            done = readyd("check", "--wait", what)
            self.assertEqual(done.returncode, 1)
            self.assertIn("--wait asks the agent for readiness or startup", done.stderr)


if __name__ == "__main__":
    unittest.main()
