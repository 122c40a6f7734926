"""The images of the shop, in several versions: good ones, and those that misbehave."""

import stack

# version: how it misbehaves, see docker/shop/shop.c
VERSIONS = {"1": "", "2": "", "never": "never-ready", "ill": "unhealthy:8", "crash": "crash:8",
            "errors": "errors"}


def build():
    """All images that docker/compose, blue-green and swarm name."""
    stack.build_readyd()
    stack.build_example("postgres", "shop-db")
    stack.build_example("redis", "shop-cache")
    stack.build_example("healthcheck", "shop-nginx")
    stack.build_example("entrypoint", "shop:1", stack.DOCKER / "shop")
    for version, fault in VERSIONS.items():
        stack.docker("build", "--tag", f"shop:{version}", "-",
                     input=f"FROM shop:1\nENV SHOP_FAULT={fault}\n")
