"""The TCP probe in a network whose limits the test sets."""

import unittest

import private_network
from bad_server import BadServer, send, stall, wait_close
from harness import TestCase, check


def setUpModule():
    if not private_network.available():
        raise unittest.SkipTest("only root can make a network namespace")
    private_network.enter()


def tearDownModule():
    private_network.leave()


class OwnPorts(TestCase):
    def test_a_connection_to_itself_is_none(self):
        # With four ports to choose from, TCP meets itself about every fourth time.
        private_network.sysctl("ip_local_port_range", "40000 40003")
        self.addCleanup(private_network.sysctl, "ip_local_port_range", "32768 60999")
        for _ in range(40):
            _, result = check("tcp://127.0.0.1:40000")
            self.assert_result(result, "fail", "connect_refused")

    def test_ports_run_out(self):
        private_network.sysctl("ip_local_port_range", "40000 40001")
        self.addCleanup(private_network.sysctl, "ip_local_port_range", "32768 60999")
        with BadServer(stall(), port=7000) as server:
            for _ in range(4):
                _, result = check(f"tcp://127.0.0.1:{server.port}")
                if result["state"] == "fail":
                    break
        self.assertEqual(result["message"], "cannot connect to 127.0.0.1:7000: no local address or "
                                            "port is left for it")


class SmallBuffers(TestCase):
    """A peer that does not read makes sending stop."""

    def setUp(self):
        super().setUp()
        private_network.sysctl("tcp_wmem", "4096 4096 4096")
        private_network.sysctl("tcp_rmem", "4096 4096 4096")
        self.addCleanup(private_network.sysctl, "tcp_wmem", "4096 16384 4194304")
        self.addCleanup(private_network.sysctl, "tcp_rmem", "4096 131072 6291456")

    def test_a_peer_that_does_not_read(self):
        with BadServer(stall()) as server:
            _, result = check(f"tcp://127.0.0.1:{server.port}", send="x" * 120000, expect="y",
                              timeout=0.4)
        self.assert_result(result, "fail", "timeout")
        self.assertEqual(result["message"], "no progress in sending within 0.4 s")

    def test_a_slow_reader(self):
        def read_slowly(connection):
            while len(connection.received) < 120000:
                connection.read_some()
                connection.sleep(0.001)
        with BadServer(read_slowly, send(b"thanks"), wait_close()) as server:
            _, result = check(f"tcp://127.0.0.1:{server.port}", send="x" * 120000, expect="thanks",
                              timeout=25)
            self.assert_result(result, "pass", "ok")
            self.assertEqual(server.connections[0].received, b"x" * 120000)


if __name__ == "__main__":
    unittest.main()
