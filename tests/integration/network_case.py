"""For files of tests that all need a private network (private_network.py).

Such a file imports setUpModule and tearDownModule, and its classes are NetworkTestCases: what a test
changes of the network is as before when it ends.
"""

import unittest

import private_network
from bad_server import BadServer, FullServer, wait_close
from dns_server import DnsServer
from harness import TestCase


def setUpModule():
    if not private_network.available():
        raise unittest.SkipTest("only root can make a network namespace")
    private_network.enter()


def tearDownModule():
    private_network.leave()


class NetworkTestCase(TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(private_network.reset)

    def serve_names(self, names, **options):
        server = DnsServer(names, **options)
        self.addCleanup(server.close)
        return server

    def listen(self, host, port):
        """A server that accepts, and says nothing."""
        listener = BadServer(wait_close(), host=host, port=port)
        self.addCleanup(listener.close)
        return listener

    def listen_full(self, host, port):
        """A server that does not accept."""
        listener = FullServer(host=host, port=port)
        self.addCleanup(listener.close)
        return listener

    def sysctl(self, name, value):
        self.addCleanup(private_network.sysctl, name, private_network.sysctl_value(name))
        private_network.sysctl(name, value)
