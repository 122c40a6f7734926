"""The shop in several versions, good ones and those that misbehave; what each test of its stacks needs."""

import fcntl
import os
import pathlib

import harness
import stack

# version: how it misbehaves, see docker/shop/shop.c
VERSIONS = {"1": "", "2": "", "never": "never-ready", "ill": "unhealthy:12", "crash": "crash:12",
            "errors": "errors", "spoils": "errors:12", "hang": "hang", "deaf": "deaf"}


def build():
    """All images that docker/compose, blue-green and swarm name; once for an engine, however many files want them."""
    state = pathlib.Path(os.environ["READYD_ENGINE_STATE"])
    with open(state / "shop.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (state / "shop.built").exists():
            build_images()
            (state / "shop.built").touch()


def build_images():
    stack.build_readyd()
    stack.build_example("postgres", "shop-db")
    stack.build_example("redis", "shop-cache")
    stack.build_example("healthcheck", "shop-nginx")
    stack.build_example("entrypoint", "shop:1", stack.DOCKER / "shop")
    for version, fault in VERSIONS.items():
        stack.docker("build", "--tag", f"shop:{version}", "-",
                     input=f"FROM shop:1\nENV SHOP_FAULT={fault}\nLABEL test.version={version}\n")


class TestCase(stack.TestCase):
    """With the images, a port, and settings for any of the stacks."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        build()

    def setUp(self):
        super().setUp()
        self.port = harness.free_port()
        (self.tmp / "db-password").write_text("secret\n")
        self.settings = {"SHOP_PORT": str(self.port), "SHOP_SECRETS": str(self.tmp), "SHOP_START_SECONDS": "1"}
