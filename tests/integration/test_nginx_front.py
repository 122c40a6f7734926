"""nginx in front of two instances that leave and come back, and not one request is lost.

An nginx without a subscription asks nobody whether a server is ready. What it goes by is a refused
connection, after which it tries the next server: so an instance that is to be stopped goes on
serving for drain.delaySeconds and then closes its listener in an orderly way, which is what
stopSignal has it do. A request that must not be sent twice (POST) is safe if the instance is taken
out of nginx's list first, while it still serves.
"""

import pathlib
import signal
import tempfile
import unittest

from harness import TestCase, free_port, port_open, wait_until
from instance import Instance
from load import Load


class Front:
    """nginx as the proxy; `location` is what stands beside proxy_pass."""

    def __init__(self, test, instances, location="", upstream=""):
        self.instances, self.location, self.upstream = instances, location, upstream
        self.port = free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="front-", dir=test.tmp))
        self.directory.chmod(0o755)
        self.configuration = self.directory / "nginx.conf"
        self.write()
        self.process = test.start(["nginx", "-p", self.directory, "-e", self.directory / "error.log",
                                   "-c", self.configuration], ready=lambda: port_open(self.port))

    def write(self, without=None):
        """Writes the configuration, with one of the instances marked as down."""
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        servers = "".join(f"server 127.0.0.1:{instance.port} fail_timeout=1s"
                          f"{' down' if instance.name == without else ''}; "
                          for instance in self.instances)
        self.configuration.write_text(f"""
daemon off; worker_processes 2; pid {self.directory}/pid; error_log {self.directory}/error.log info;
events {{ }}
http {{
    {temporary}
    access_log off;
    upstream service {{ {servers} {self.upstream} }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{ proxy_pass http://service; {self.location} }}
    }}
}}
""")

    def reload(self, without=None):
        """Returns when the workers with the old list take no new connections."""
        self.write(without)
        log = self.directory / "error.log"
        before = log.read_text().count("gracefully shutting down")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count("gracefully shutting down") >= before + 2,
                   "the end of the old workers")


class TwoInstances(TestCase):
    def setUp(self):
        super().setUp()
        self.instances = [Instance(self, name) for name in ("a", "b")]
        for instance in self.instances:
            instance.start()
        for instance in self.instances:
            instance.wait_ready()

    def roll(self, load, leave=lambda instance: None, come_back=lambda instance: None):
        """Each in turn is stopped and started again."""
        for instance in self.instances:
            load.wait_served("a", "b")
            leave(instance)
            instance.stop()
            load.assert_quiet(instance.name, 0.3)
            instance.start()
            instance.wait_ready()
            come_back(instance)
            load.wait_served("a", "b")

    def test_stop_and_start(self):
        front = Front(self, self.instances)
        with Load(front.port) as load:
            self.roll(load)
        load.assert_nothing_lost()
        self.assertGreater(load.total, 200)

    def test_stop_and_start_with_kept_connections(self):
        front = Front(self, self.instances, upstream="keepalive 16;",
                      location='proxy_http_version 1.1; proxy_set_header Connection "";')
        with Load(front.port) as load:
            self.roll(load)
        load.assert_nothing_lost()

    def test_requests_that_must_not_be_repeated(self):
        front = Front(self, self.instances)
        # A worker that ends closes the connections that clients keep, so these take new ones.
        with Load(front.port, keeping=0, closing=4, methods=("POST", "GET")) as load:
            def leave(instance):
                front.reload(without=instance.name)
                load.assert_quiet(instance.name, 0.2)

            self.roll(load, leave, lambda instance: front.reload())
        load.assert_nothing_lost()
        self.assertGreater(load.total, 200)

    def test_ready_alone_is_nothing_to_go_by(self):
        """What is documented: drain takes nothing away here, so nothing is lost either."""
        front = Front(self, self.instances)
        with Load(front.port) as load:
            self.assertEqual(self.instances[0].readyd("drain").returncode, 0)
            load.wait_served("a", "b")
            self.assertEqual(self.instances[0].readyd("undrain").returncode, 0)
        load.assert_nothing_lost()


if __name__ == "__main__":
    unittest.main()
