"""What a service manager such as systemd or Podman hears: sd_notify(3) upwards."""

import os
import signal
import time
import unittest

from harness import Agent, PATIENCE_SECONDS, TestCase, wait_until
from processes import state
from run_agent import RunAgent, python
from service_manager import Manager

PASSING = "readiness: {app: 'exec:/bin/true'}\n"


class NotifySend(TestCase):
    def switch(self, role="readiness", name="app", more=""):
        """A probe that passes while a file exists, and the file."""
        path = self.tmp / f"{role}-{name}"
        path.touch()
        return (f"{role}: {{{name}: {{exec: {{command: [/usr/bin/test, -e, {path}]}}, failureThreshold: 1, "
                f"periodSeconds: 0.05, timeoutSeconds: 10}}}}\n", path)

    def test_ready_once_with_the_first_200(self):
        manager = Manager(self)
        config, path = self.switch()
        path.unlink()
        with Agent(config, env=manager.environment) as agent:
            lines, pid = manager.receive()
            self.assertEqual(lines, ["STATUS=not ready: a readiness probe does not pass"])
            self.assertEqual(pid, agent.process.pid)
            path.touch()
            self.assertEqual(manager.receive()[0], ["READY=1", "STATUS=ready"])
            self.assertEqual(agent.get("/ready")[0], 200)
            path.unlink()
            self.assertEqual(manager.receive()[0], ["STATUS=not ready: a readiness probe does not pass"])
            path.touch()
            self.assertEqual(manager.receive()[0], ["STATUS=ready"])
        self.assertEqual(manager.rest(), ["STOPPING=1", "STATUS=stopping"])

    def test_nothing_to_wait_for(self):
        manager = Manager(self, f"@readyd-test-{os.getpid()}-{time.monotonic_ns()}")
        with Agent("", env=manager.environment):
            self.assertEqual(manager.receive()[0], ["READY=1", "STATUS=ready"])

    def test_startup_and_warnings_are_in_the_status(self):
        manager = Manager(self)
        with Agent("startup: {never: 'exec:/bin/false'}\n", env=manager.environment):
            self.assertEqual(manager.receive()[0], ["STATUS=not ready: startup probes have not passed yet"])
        manager.rest()
        with Agent("readiness: {app: \"nagios:/bin/sh -c 'exit 1'\"}\n", env=manager.environment):
            manager.wait("STATUS=ready, a probe passes with a warning")

    def test_reload(self):
        manager = Manager(self)
        with Agent(PASSING, env=manager.environment) as agent:
            manager.wait("READY=1")
            before = time.monotonic_ns() // 1000
            agent.signal(signal.SIGHUP)
            lines, _ = manager.receive()
            self.assertEqual(lines[0], "RELOADING=1")
            name, _, moment = lines[1].partition("=")
            self.assertEqual(name, "MONOTONIC_USEC")
            self.assertTrue(before <= int(moment) <= time.monotonic_ns() // 1000)
            self.assertEqual(manager.receive()[0], ["READY=1"])
            # also when there is a fault
            agent.config_path.write_text("readyness: {}\n")
            agent.signal(signal.SIGHUP)
            self.assertEqual(manager.receive()[0][0], "RELOADING=1")
            self.assertEqual(manager.receive()[0], ["READY=1"])

    def test_stopping_comes_before_the_delay(self):
        manager = Manager(self)
        with Agent(PASSING, env={**manager.environment, **self.watchdog(100000)}, drain_delay=60) as agent:
            manager.wait("READY=1")
            agent.signal(signal.SIGTERM)
            self.assertIn("STATUS=stopping", manager.wait("STOPPING=1"))
            self.assertIsNone(agent.process.poll())
            manager.wait("WATCHDOG=1")
            agent.signal(signal.SIGTERM)
            agent.process.wait(PATIENCE_SECONDS)
        self.assertNotIn("STOPPING=1", manager.rest())  # once is enough

    def test_no_reload_before_ready(self):
        manager = Manager(self)
        config, path = self.switch()
        path.unlink()
        with Agent(config, env=manager.environment) as agent:
            agent.signal(signal.SIGHUP)
            agent.wait_log(lambda event: event["event"] == "reloaded")
            path.touch()
            seen = manager.wait("READY=1")
        self.assertNotIn("RELOADING=1", seen)
        self.assertEqual(seen.count("READY=1"), 1)

    def watchdog(self, interval_us, **more):
        return {"WATCHDOG_USEC": str(interval_us), **more}

    def test_watchdog_every_half_interval(self):
        manager = Manager(self)
        with Agent(PASSING, env={**manager.environment, **self.watchdog(5000000)}):
            manager.wait("WATCHDOG=1")
            moments = []
            for _ in range(3):
                manager.wait("WATCHDOG=1")
                moments.append(time.monotonic())
        gaps = [later - earlier for earlier, later in zip(moments, moments[1:])]
        self.assertLess(max(gaps), 5, gaps)
        self.assertGreater(min(gaps), 0.2, gaps)

    def test_watchdog_of_another_process(self):
        manager = Manager(self)
        with Agent(PASSING, env={**manager.environment, **self.watchdog(20000, WATCHDOG_PID="1")}):
            manager.wait("READY=1")
            time.sleep(0.3)
            self.assertNotIn("WATCHDOG=1", manager.rest())

    def test_no_watchdog_while_liveness_fails(self):
        manager = Manager(self)
        config, path = self.switch("liveness", "life")
        with Agent(config, env={**manager.environment, **self.watchdog(100000)}):
            manager.wait("WATCHDOG=1")
            path.unlink()
            manager.wait("STATUS=not ready: a liveness probe fails")
            time.sleep(0.5)
            self.assertNotIn("WATCHDOG=1", manager.rest())
            path.touch()
            lines, _ = manager.receive()
            self.assertEqual(lines, ["WATCHDOG=1", "STATUS=ready"])  # at once

    def test_watchdog_goes_on_where_the_agent_restarts_the_command_itself(self):
        manager = Manager(self)
        config, path = self.switch("liveness", "life")
        config += "onLivenessFailure: restart\nstopTimeoutSeconds: 60\n"
        environment = {**manager.environment, **self.watchdog(100000)}
        stubborn = python("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                          "print('up')\nwhile True: signal.pause()")
        with RunAgent(stubborn, config, env=environment) as agent:
            agent.wait_line("up")
            manager.wait("WATCHDOG=1")
            path.unlink()
            agent.event("liveness_failed")
            manager.rest()
            for _ in range(5):
                manager.wait("WATCHDOG=1")
            self.assertEqual(agent.events("child_exited"), [])
        with Agent(config, env=environment):  # restarts nothing
            manager.wait("STATUS=not ready: a liveness probe fails")
            manager.rest()
            time.sleep(0.3)
            self.assertNotIn("WATCHDOG=1", manager.rest())

    def test_a_stopped_agent_gives_no_sign_of_life(self):
        manager = Manager(self)
        with Agent(PASSING, env={**manager.environment, **self.watchdog(100000)}) as agent:
            manager.wait("WATCHDOG=1")
            agent.signal(signal.SIGSTOP)
            wait_until(lambda: state(agent.process.pid) == "T", "it to stop")
            manager.rest()
            time.sleep(0.3)
            self.assertEqual(manager.rest(), [])
            agent.signal(signal.SIGCONT)
            manager.wait("WATCHDOG=1")

    def test_children_do_not_see_the_variables(self):
        manager = Manager(self)
        seen = self.tmp / "environment"
        with Agent(f"readiness: {{app: \"exec:/bin/sh -c 'env > {seen}'\"}}\n",
                   env={**manager.environment, **self.watchdog(1000000)}) as agent:
            agent.wait_ready()
        self.assertIn("PATH=", seen.read_text())
        self.assertNotIn("NOTIFY_SOCKET", seen.read_text())
        self.assertNotIn("WATCHDOG", seen.read_text())

    def failures(self, agent):
        return [event["message"] for event in agent.logs if event["event"] == "notify_failed"]

    def test_a_manager_that_is_not_there_is_told_of_once(self):
        config, path = self.switch()
        with Agent(config, env={"NOTIFY_SOCKET": str(self.tmp / "nobody")}) as agent:
            agent.wait_ready()
            path.unlink()
            agent.wait_ready(503)
        self.assertEqual(self.failures(agent), ["No such file or directory"])

    def test_a_manager_that_comes_late_hears_everything(self):
        config, path = self.switch()
        name = str(self.tmp / "late.sock")
        with Agent(config, env={"NOTIFY_SOCKET": name}) as agent:
            agent.wait_ready()
            manager = Manager(self, name)
            path.unlink()
            self.assertEqual(manager.receive()[0],
                             ["READY=1", "STATUS=not ready: a readiness probe does not pass"])

    def test_addresses_that_are_not_known(self):
        for name in ("vsock:2:1234", "relative", "/" + "x" * 200, "@"):
            with Agent(PASSING, env={"NOTIFY_SOCKET": name}) as agent:
                agent.wait_ready()
            self.assertEqual(len(self.failures(agent)), 1, name)

    def test_a_manager_that_does_not_listen_blocks_nothing(self):
        manager = Manager(self)
        config, path = self.switch()
        with Agent(config, env={**manager.environment, **self.watchdog(4000)}) as agent:
            agent.wait_ready()
            time.sleep(0.3)  # its queue is full by now
            path.unlink()
            agent.wait_ready(503)
            path.touch()
            agent.wait_ready(200)
            self.assertEqual(self.failures(agent), [])
            manager.wait("STATUS=ready")
            path.unlink()
            manager.wait("STATUS=not ready: a readiness probe does not pass")


if __name__ == "__main__":
    unittest.main()
