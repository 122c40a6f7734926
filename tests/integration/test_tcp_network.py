"""The TCP probe in a network whose limits the test sets."""

import unittest

from bad_server import BadServer, send, stall, wait_close
from harness import check
from network_case import NetworkTestCase, setUpModule, tearDownModule  # noqa: F401


class OwnPorts(NetworkTestCase):
    def test_a_connection_to_itself_is_none(self):
        # With four ports to choose from, TCP meets itself about every fourth time.
        self.sysctl("ip_local_port_range", "40000 40003")
        for _ in range(40):
            _, result = check("tcp://127.0.0.1:40000")
            self.assert_result(result, "fail", "connect_refused")

    def test_ports_run_out(self):
        self.sysctl("ip_local_port_range", "40000 40001")
        with BadServer(stall(), port=7000) as server:
            for _ in range(4):
                _, result = check(f"tcp://127.0.0.1:{server.port}")
                if result["state"] == "fail":
                    break
        self.assertEqual(result["message"], "cannot connect to 127.0.0.1:7000: no local address or "
                                            "port is left for it")


class SmallBuffers(NetworkTestCase):
    """A peer that does not read makes sending stop."""

    def setUp(self):
        super().setUp()
        self.sysctl("tcp_wmem", "4096 4096 4096")
        self.sysctl("tcp_rmem", "4096 4096 4096")

    def test_a_peer_that_does_not_read(self):
        with BadServer(stall()) as server:
            _, result = check(f"tcp://127.0.0.1:{server.port}", send="x" * 120000, expect="y",
                              timeout=3)
        self.assert_result(result, "fail", "timeout")
        # What is left of the time when the run begins.
        self.assertRegex(result["message"], r"^no progress in sending within [0-3](\.\d+)? s$")

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
