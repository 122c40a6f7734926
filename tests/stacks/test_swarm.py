"""docker/swarm: an update start-first, and the rollback of bad versions, lose no request."""

import concurrent.futures
import time
import unittest

import harness
import shop
import stack
from traffic import Load
from stack import docker

STACK = stack.DOCKER / "swarm/stack.yaml"
WATCH_SECONDS = 20
ADDRESS = "172.17.0.1"  # of the engine's own bridge: there is no other network


class Shop:
    """A stack of its own, with what has been ordered of it while the tests count."""

    def __init__(self, test, name, version):
        self.test, self.name, self.port = test, name, harness.free_port()
        self.ordered = 0
        self.deploy(version)
        test.addCleanup(docker, "stack", "rm", name)
        harness.wait_until(lambda: self.answer()[0] == 200, f"{name} answers", 120)

    def deploy(self, version):
        docker("stack", "deploy", "--compose-file", STACK, "--resolve-image=never", "--prune", self.name,
               env={"SHOP_VERSION": version, "SHOP_START_SECONDS": "1", "SHOP_START_PERIOD": "5s",
                    "SHOP_WATCH": f"{WATCH_SECONDS}s", "SHOP_PORT": str(self.port)})

    def containers(self, service):
        return docker("ps", "--quiet", "--filter",
                      f"label=com.docker.swarm.service.name={self.name}_{service}").split()

    def answer(self):
        try:
            return stack.get(self.port, "/", timeout=5)
        except OSError as error:
            return 0, str(error)

    def orders(self):
        """How many the shop has taken."""
        cache, = self.containers("cache")
        return int(docker("exec", cache, "redis-cli", "get", "orders") or 0)

    def update(self, version, expect):
        """Under load, until the update is in the expected state; the load."""
        def state():
            status = stack.inspect(f"{self.name}_shop", "service").get("UpdateStatus") or {}
            return status.get("State")

        began, before = time.monotonic(), self.orders()
        with Load(self.port, per_second=30) as load:
            self.deploy(version)
            harness.wait_until(lambda: state() == expect, f"version {version} {expect}", 240)
        stack.measured(f"Swarm, version {version} {expect} after {time.monotonic() - began:.0f} s: "
                       f"{load.summary()}")
        # Nothing was ordered twice, nothing was confirmed and not taken.
        unsure = sum(answer.kind.method == "POST" for answer in load.lost())
        self.test.assertIn(self.orders() - before - load.orders(), range(unsure + 1))
        return load


class Swarm(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shop.build()
        docker("swarm", "init", "--advertise-addr", ADDRESS, "--listen-addr", ADDRESS)
        # The engine is taken out of it at the end of all tests: `swarm leave` takes away what Docker's DNS says of any
        # container.
        docker("secret", "create", "db-password", "-", input="secret\n")

    def locked_down(self, container):
        """As stack.LOCKED_DOWN has it."""
        settings = stack.inspect(container)
        host = settings["HostConfig"]
        self.assertEqual((host["ReadonlyRootfs"], host["CapDrop"], host["Memory"], host["NanoCpus"]),
                         (True, ["ALL"], 16 << 20, 100_000_000))
        self.assertEqual(settings["Config"]["User"], "65532:65532")
        for process in ("1", docker("exec", container, "cat", "/proc/1/task/1/children").split()[0]):
            status = docker("exec", container, "cat", f"/proc/{process}/status")
            self.assertRegex(status, r"NoNewPrivs:\t1\n")
            self.assertRegex(status, r"CapBnd:\t0+\n")

    def good(self):
        """From a version that does not hear SIGTERM to one that does."""
        this = Shop(self, "shop-good", "deaf")
        load = this.update("2", "completed")
        self.assertEqual(load.losses(), {})
        self.assertGreater(min(load.versions()[version] for version in ("deaf", "2")), 50)
        # An old task that is still ending would be gone in the middle of this.
        harness.wait_until(lambda: len(this.containers("shop")) == 2, "the two of version 2 are alone")
        for container in this.containers("shop"):
            self.locked_down(container)

    def never_ready(self):
        this = Shop(self, "shop-never", "1")
        load = this.update("never", "rollback_completed")
        self.assertEqual(load.losses(), {})
        self.assertEqual(set(load.versions()), {"1"})

    def going_bad(self):
        """Versions that are ready and do not remain so."""
        this = Shop(self, "shop-bad", "1")
        self.assertEqual(this.update("ill", "rollback_completed").losses(), {})
        # What was under way when it crashed: nginx repeats GET, and nobody may repeat POST.
        load = this.update("crash", "rollback_completed")
        self.assertEqual(set(load.losses()) - {("POST", None, 502)}, set())
        self.assertTrue(load.lost_few(), load.lost())
        # What it answered itself, and nothing else.
        load = this.update("spoils", "rollback_completed")
        self.assertEqual(set(load.losses()), {("GET", "spoils", 500), ("POST", "spoils", 500)})
        spoilt = load.lost()
        self.assertLess(spoilt[-1].at - spoilt[0].at, WATCH_SECONDS)
        self.assertIn("shop 1:", this.answer()[1])

    def test_updates(self):
        """Side by side, because most of it is waiting."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for result in [pool.submit(case) for case in (self.good, self.never_ready, self.going_bad)]:
                result.result()


if __name__ == "__main__":
    unittest.main()
