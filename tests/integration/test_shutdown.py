"""The order of the end of `readyd serve`, seen by a client that asks all the time."""

import signal
import time
import unittest

from harness import Agent, SOON_SECONDS, TestCase
from watcher import Watcher

READY = "liveness: {app: 'exec:/bin/true'}\nreadiness: {app: 'exec:/bin/true'}\n"


def events(agent):
    return [event["event"] for event in agent.logs]


class End(TestCase):
    def test_not_ready_at_once_and_alive_for_the_delay(self):
        with Agent(READY, drain_delay=5) as agent:
            agent.wait_ready()
            with Watcher(ready=agent.url("/ready"), healthz=agent.url("/healthz")) as watcher:
                watcher.wait_for("ready", 200)
                told = time.monotonic()
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.process.wait(20), 0)
                ended = time.monotonic()
            self.assertLess(watcher.first("ready", 503, after=told) - told, 3)
            self.assertNotIn(200, watcher.statuses("ready", after=watcher.first("ready", 503)))
            self.assertEqual(watcher.statuses("healthz") - {None}, {200})
            # It answers until it ends.
            self.assertGreater(watcher.last("ready", 503) - told, 3)
            self.assertGreater(ended - told, 5)
            self.assertLess(ended - told, 5 + SOON_SECONDS)
            agent.stop()
            self.assertEqual(events(agent)[-5:],
                             ["stopping", "drain", "verdict", "delay_over", "stopped"])
            stopping = next(event for event in agent.logs if event["event"] == "stopping")
            self.assertEqual((stopping["by"], stopping["delayMs"]), ("SIGTERM", 5000))
            self.assertGreaterEqual(agent.logs[-1]["afterMs"], 5000)

    def test_alive_whatever_the_liveness_probe_says_then(self):
        path = self.tmp / "alive"
        path.touch()
        config = (f"liveness: {{app: {{target: 'exec:/usr/bin/test -e {path}', periodSeconds: 0.05, "
                  "failureThreshold: 1}}\n")
        with Agent(config, drain_delay=60) as agent:
            agent.wait_for(lambda a: a.probe("app")["standing"] == "passing")
            agent.signal(signal.SIGTERM)
            agent.wait_ready(503)
            path.unlink()
            agent.wait_log(lambda event: event["event"] == "probe" and event["to"] == "failing")
            self.assertEqual(agent.get("/healthz")[0], 200)

    def test_a_second_signal_skips_the_delay(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            with Agent(READY, drain_delay=9) as agent:
                agent.wait_ready()
                agent.signal(signal.SIGINT)
                agent.wait_ready(503)
                told = time.monotonic()
                agent.signal(second)
                self.assertEqual(agent.process.wait(20), 0)
                self.assertLess(time.monotonic() - told, SOON_SECONDS)
                agent.stop()
                over = next(event for event in agent.logs if event["event"] == "delay_over")
                self.assertTrue(over["skipped"])

    def test_the_delay_is_cut_to_fit_the_grace_period(self):
        with Agent(READY, drain_delay=60, args=["-o", "gracePeriodSeconds=1"]) as agent:
            agent.wait_ready()
            told = time.monotonic()
            agent.signal(signal.SIGTERM)
            self.assertEqual(agent.process.wait(20), 0)
            self.assertLess(time.monotonic() - told, 1 + SOON_SECONDS)
            agent.stop()
            cut = next(event for event in agent.logs if event["event"] == "delay_cut")
            self.assertEqual((cut["delayMs"], cut["lackingMs"]), (500, 59500))
            self.assertIn("drain.delaySeconds 60 do not fit gracePeriodSeconds 1", cut["message"])
            # It has been told at the start, too.
            self.assertEqual(events(agent).count("delay_cut"), 2)


if __name__ == "__main__":
    unittest.main()
