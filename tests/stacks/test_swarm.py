"""docker/swarm: an update start-first, and the rollback of bad versions, lose no request."""

import time
import unittest

import harness
import shop
import stack
from traffic import Load
from stack import docker

STACK = stack.DOCKER / "swarm/stack.yaml"
ADDRESS = "172.17.0.1"  # of the engine's own bridge: there is no other network
PORT = 8000


class Swarm(stack.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shop.build()
        docker("swarm", "init", "--advertise-addr", ADDRESS, "--listen-addr", ADDRESS)
        cls.addClassCleanup(docker, "swarm", "leave", "--force")
        docker("secret", "create", "db-password", "-", input="secret\n")

    def deploy(self, version):
        docker("stack", "deploy", "--compose-file", STACK, "--resolve-image=never", "--prune", "shop",
               env={"SHOP_VERSION": version, "SHOP_START_SECONDS": "1", "SHOP_START_PERIOD": "5s",
                    "SHOP_WATCH": "15s"})

    def update_state(self):
        status = stack.inspect("shop_shop", "service").get("UpdateStatus") or {}
        return status.get("State"), status.get("Message", "")

    def update(self, version, expect):
        """Returns how long it took until the update was in the expected state."""
        began = time.monotonic()
        self.deploy(version)
        harness.wait_until(lambda: self.update_state()[0] == expect, f"update {expect}", 120)
        return time.monotonic() - began

    def answers(self):
        try:
            return stack.get(PORT, "/", timeout=5)
        except OSError as error:
            return 0, str(error)

    def test_updates(self):
        self.deploy("1")
        self.addCleanup(docker, "stack", "rm", "shop")
        harness.wait_until(lambda: self.answers()[0] == 200, "the shop answers", 120)
        for version, expect in (("2", "completed"), ("never", "rollback_completed"),
                                ("ill", "rollback_completed"), ("crash", "rollback_completed")):
            with self.subTest(version), Load(PORT, per_second=50) as load:
                took = self.update(version, expect)
            stack.measured(f"version {version} {expect} after {took:.0f} s: {load.summary()}")
            self.assertEqual(load.lost(), [], version)
            self.assertIn("shop 2:", self.answers()[1])


if __name__ == "__main__":
    unittest.main()
