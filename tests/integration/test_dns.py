"""Names: resolved without blocking, and all their addresses tried within the deadline.

In a private network whose only name server is the test's own.
"""

import pathlib
import threading
import time
import unittest

import private_network
from bad_server import BadServer, FullServer, wait_close
from dns_server import AAAA, A, DnsServer, Name, REFUSED, SERVFAIL, SILENT
from harness import BINARY, SOON_SECONDS, Agent, check
from network_case import NetworkTestCase, setUpModule, tearDownModule  # noqa: F401

PORT = 7000


class DnsTestCase(NetworkTestCase):
    def listen(self, host, port=PORT):
        return super().listen(host, port)

    def listen_full(self, host, port=PORT):
        return super().listen_full(host, port)

    def resolv_conf(self, text):
        private_network.rewrite("resolv.conf", text)


class Addresses(DnsTestCase):
    """What a name may resolve to."""

    def assert_check(self, state, reason, target, **options):
        _, result = check(target, **options)
        self.assert_result(result, state, reason)
        return result

    def test_a_only(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2"])})
        self.listen("127.0.0.2")
        result = self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")
        self.assertEqual(set(result["phasesMs"]), {"resolve", "connect", "total"})

    def test_aaaa_only(self):
        self.serve_names({"db.test": Name(aaaa=["::1"])})
        self.listen("::1")
        self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")

    def test_both(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2"], aaaa=["::1"])})
        for host in ("127.0.0.2", "::1"):
            with BadServer(wait_close(), host=host, port=PORT):
                self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")

    def test_first_refuses_second_accepts(self):
        """After a refusal the next one is tried at once, not after the quarter of a second for silent ones."""
        self.serve_names({"db.test": Name(a=[f"127.0.0.{i}" for i in range(2, 18)])})
        self.listen("127.0.0.17")
        result = self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")
        self.assertLess(result["phasesMs"]["connect"], 15 * 250 * 0.8)

    def test_first_dead_second_accepts(self):
        for dead, alive in (("127.0.0.2", "127.0.0.3"), ("127.0.0.3", "127.0.0.2")):
            with self.subTest(dead=dead), FullServer(host=dead, port=PORT), \
                    BadServer(wait_close(), host=alive, port=PORT), \
                    DnsServer({"db.test": Name(a=["127.0.0.2", "127.0.0.3"])}):
                self.assert_check("pass", "ok", f"tcp://db.test:{PORT}", timeout=10)

    def test_ipv6_dead_ipv4_accepts(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2"], aaaa=["::1"])})
        self.listen_full("::1")
        self.listen("127.0.0.2")
        result = self.assert_check("pass", "ok", f"tcp://db.test:{PORT}", timeout=10)
        self.assertGreaterEqual(result["phasesMs"]["connect"], 240)

    def test_more_dead_ones_than_are_tried_at_a_time(self):
        dead = [f"127.0.0.{i}" for i in range(2, 8)]
        self.serve_names({"db.test": Name(a=[*dead, "127.0.0.8"])})
        for host in dead:
            self.listen_full(host)
        self.listen("127.0.0.8")
        result = self.assert_check("pass", "ok", f"tcp://db.test:{PORT}", timeout=20)
        self.assertLess(result["phasesMs"]["connect"], 10000)

    def test_all_refuse(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2", "127.0.0.3", "127.0.0.4"])})
        result = self.assert_check("fail", "connect_refused", f"tcp://db.test:{PORT}")
        self.assertRegex(result["message"], r"^cannot connect to 127\.0\.0\.\d:7000 or 2 other "
                                            r"addresses: connection refused$")

    def test_refused_tells_more_than_unreachable(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2", "198.51.100.1"], aaaa=["2001:db8::1"])})
        result = self.assert_check("fail", "connect_refused", f"tcp://db.test:{PORT}")
        self.assertIn("127.0.0.2:7000 or 2 other addresses", result["message"])
        self.serve_names({"far.test": Name(a=["198.51.100.1"])}, host="127.0.0.53")
        self.resolv_conf("nameserver 127.0.0.53\n")
        self.assert_check("fail", "unreachable", f"tcp://far.test:{PORT}")

    def test_alias(self):
        self.serve_names({"db.test": Name(cname="db-1.test"), "db-1.test": Name(cname="x.test"),
                          "x.test": Name(a=["127.0.0.2"])})
        self.listen("127.0.0.2")
        self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")

    def test_truncated_answer_is_asked_for_over_tcp(self):
        names = self.serve_names({"db.test": Name(a=["127.0.0.2"], truncate=True)})
        self.listen("127.0.0.2")
        self.assert_check("pass", "ok", f"tcp://db.test:{PORT}", timeout=10)
        self.assertIn(("db.test", A, "tcp"), names.questions)

    def test_no_answer_for_ipv6(self):
        self.serve_names({"db.test": Name(a=["127.0.0.2"], silent=(AAAA,))})
        self.listen("127.0.0.2")
        self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")

    def test_search_list(self):
        names = self.serve_names({"db.prod.test": Name(a=["127.0.0.2"])})
        self.listen("127.0.0.2")
        self.resolv_conf("search dev.test prod.test\nnameserver 127.0.0.1\noptions ndots:5\n")
        self.assert_check("pass", "ok", f"tcp://db:{PORT}", timeout=10)
        self.assertTrue(names.count("db.dev.test"))

    def test_second_name_server(self):
        for host in ("127.0.0.53", "127.0.0.54"):
            self.serve_names({"db.test": SILENT}, host=host)
        self.serve_names({"db.test": Name(a=["127.0.0.2"])}, host="127.0.0.55")
        self.listen("127.0.0.2")
        self.resolv_conf("nameserver 127.0.0.53\nnameserver 127.0.0.54\nnameserver 127.0.0.55\n")
        result = self.assert_check("pass", "ok", f"tcp://db.test:{PORT}")
        self.assertLess(result["phasesMs"]["resolve"], 4000)  # the next is asked after 500, not after 2000


class NoServerNeeded(DnsTestCase):
    def test_literals_and_localhost(self):
        names = self.serve_names({})
        self.listen("127.0.0.1")
        for host in ("127.0.0.1", "localhost", "LocalHost", "localhost."):
            self.assert_result(check(f"tcp://{host}:{PORT}")[1], "pass", "ok")
        self.listen("::1", port=PORT + 1)
        for host in ("[::1]", "localhost", "[::1%25lo]", "[::1%251]"):
            self.assert_result(check(f"tcp://{host}:{PORT + 1}")[1], "pass", "ok")
        _, result = check(f"tcp://[fe80::1%25nothere]:{PORT}")
        self.assert_result(result, "fail", "dns_failure")
        self.assertEqual(result["message"], 'there is no network interface "nothere"')
        self.assertEqual(names.questions, [])

    def test_hosts_file(self):
        names = self.serve_names({"db": Name(a=["127.0.0.9"])})
        self.listen("127.0.0.2")
        private_network.rewrite("hosts", "127.0.0.1 localhost\n127.0.0.2 db db.alias\n")
        self.assert_result(check(f"tcp://db:{PORT}")[1], "pass", "ok")
        self.assert_result(check(f"tcp://DB.alias:{PORT}")[1], "pass", "ok")
        self.assertEqual(names.questions, [])


class Failures(DnsTestCase):
    """Why a name may not resolve; each with its sentence."""

    def assert_fails(self, name, sentence, timeout=20):
        code, result = check(f"tcp://{name}:{PORT}", timeout=timeout)
        self.assert_result(result, "fail", "dns_failure")
        self.assertEqual((code, result["alive"], result["message"]), (1, False, sentence))

    def test_no_such_name(self):
        self.serve_names({})
        self.assert_fails("db.test", 'cannot resolve "db.test": no such name')

    def test_no_address(self):
        self.serve_names({"db.test": Name()})
        self.assert_fails("db.test", 'cannot resolve "db.test": the name has no address')

    def test_server_failure(self):
        self.serve_names({"db.test": Name(rcode=SERVFAIL)})
        self.assert_fails("db.test", 'cannot resolve "db.test": the name server 127.0.0.1 failed '
                                     '(SERVFAIL)')

    def test_server_refuses(self):
        self.serve_names({"db.test": Name(rcode=REFUSED)})
        self.assert_fails("db.test", 'cannot resolve "db.test": the name server 127.0.0.1 refused '
                                     'the question')

    def test_server_is_not_there(self):
        self.resolv_conf("nameserver 127.0.0.77\nnameserver 127.0.0.78\n")
        self.assert_fails("db.test", 'cannot resolve "db.test": the name servers 127.0.0.77,'
                                     '127.0.0.78 cannot be reached')

    def test_server_is_silent(self):
        self.serve_names({"db.test": SILENT})
        self.assert_fails("db.test", 'cannot resolve "db.test": the name server 127.0.0.1 does '
                                     'not answer', timeout=20)

    def test_deadline_comes_first(self):
        self.serve_names({"db.test": SILENT})
        started = time.monotonic()
        self.assert_fails("db.test", "no address of db.test within 0.3 s", timeout=0.3)
        self.assertLess(time.monotonic() - started, 0.3 + SOON_SECONDS)

    def test_garbage(self):
        self.serve_names({"db.test": Name(garbage=True)})
        _, result = check(f"tcp://db.test:{PORT}", timeout=20)
        self.assert_result(result, "fail", "dns_failure")

    def test_names_that_are_none(self):
        self.serve_names({})
        for name in ("a" * 64 + ".test", ".".join(["a" * 60] * 5), "db..test", "10.0.0.256"):
            _, result = check(f"tcp://{name}:{PORT}", timeout=20)
            self.assert_result(result, "fail", "dns_failure")
            self.assertLess(len(result["message"]), 220)


class Serving(DnsTestCase):
    """The agent while names are being resolved."""

    def test_a_silent_name_server_holds_nothing_up(self):
        self.serve_names({"dead.test": SILENT})
        self.listen("127.0.0.1")
        probes = "".join(f"  dead{i}: {{tcp: {{url: 'tcp://dead.test:{PORT}'}}, periodSeconds: 1, "
                         f"timeoutSeconds: 1}}\n" for i in range(50))
        config = (f"liveness:\n  here: {{tcp: {{port: {PORT}}}, periodSeconds: 0.05}}\n"
                  f"readiness:\n{probes}")
        with Agent(config) as agent:
            slowest = 0
            end = time.monotonic() + 3
            while time.monotonic() < end:
                started = time.monotonic()
                self.assertEqual(agent.get("/healthz")[0], 200)
                slowest = max(slowest, time.monotonic() - started)
            self.assertLess(slowest, SOON_SECONDS)
            agent.wait_for(lambda _: agent.probe("here")["runs"] > 20, timeout=SOON_SECONDS)
            agent.wait_for(lambda _: agent.probe("dead0")["runs"] >= 2)
            self.assertEqual(agent.probe("dead0")["reason"], "dns_failure")
            # and it ends at once in the middle of it
            started = time.monotonic()
            self.assertEqual(agent.stop(), 0)
            self.assertLess(time.monotonic() - started, SOON_SECONDS)

    def test_another_name_server_at_run_time(self):
        private_network.replace("resolv.conf", "nameserver 127.0.0.53\n")
        self.serve_names({"db.test": SILENT}, host="127.0.0.53")
        self.serve_names({"db.test": Name(a=["127.0.0.2"])}, host="127.0.0.54")
        self.listen("127.0.0.2")
        config = (f"readiness:\n  db: {{tcp: {{url: 'tcp://db.test:{PORT}'}}, periodSeconds: 0.1, "
                  f"timeoutSeconds: 0.5, failureThreshold: 1}}\n")
        with Agent(config) as agent:
            agent.wait_for(lambda _: agent.probe("db")["runs"] >= 2)
            self.resolv_conf("nameserver 127.0.0.54\n")  # the same file, other contents
            agent.wait_ready()
            private_network.replace("resolv.conf", "nameserver 127.0.0.53\n")  # another file
            agent.wait_ready(503)

    def test_a_lookup_under_way_survives_the_change(self):
        released = threading.Event()
        first = self.serve_names({"slow.test": Name(a=["127.0.0.2"], released=released)},
                                 host="127.0.0.53")
        second = self.serve_names({"db.test": Name(a=["127.0.0.2"])}, host="127.0.0.54")
        self.listen("127.0.0.2")
        self.resolv_conf("nameserver 127.0.0.53\n")
        config = (f"readiness:\n"
                  f"  slow: {{tcp: {{url: 'tcp://slow.test:{PORT}'}}, timeoutSeconds: 20, "
                  f"periodSeconds: 100}}\n"
                  f"liveness:\n"
                  f"  db: {{tcp: {{url: 'tcp://db.test:{PORT}'}}, timeoutSeconds: 20, "
                  f"periodSeconds: 0.1}}\n")
        with Agent(config) as agent:
            first.wait_asked("slow.test")
            private_network.rewrite("resolv.conf", "nameserver 127.0.0.54\n")
            second.wait_asked("db.test")
            self.assertEqual(second.count("slow.test"), 0)
            released.set()
            agent.wait_ready()
            slow = agent.probe("slow")
            self.assertEqual((slow["reason"], slow["runs"]), ("ok", 1))

    def test_nothing_is_left_of_lookups(self):
        self.serve_names({"dead.test": SILENT, "db.test": Name(a=["127.0.0.2"]),
                          "fail.test": Name(rcode=SERVFAIL),
                          "two.test": Name(a=["127.0.0.3", "127.0.0.2"])})
        self.listen("127.0.0.2")
        self.listen_full("127.0.0.3")
        common = "periodSeconds: 0.02, timeoutSeconds: 0.02, failureThreshold: 1"
        config = "readiness:\n" + "".join(
            f"  {name}: {{tcp: {{url: 'tcp://{name}.test:{PORT}'}}, {common}}}\n"
            for name in ("dead", "db", "fail", "none", "two"))
        with Agent(config) as agent:
            def runs():
                return min(probe["runs"] for probe in agent.status()["probes"])
            agent.wait_for(lambda _: runs() >= 5)
            before = agent.descriptors()
            for step in range(1, 5):
                agent.wait_for(lambda _: runs() >= 60 * step, timeout=60)
                private_network.rewrite("resolv.conf", f"nameserver 127.0.0.1\n# {'x' * step}\n")
            # Channels of former files are gone with their last lookup, at most 3.5 s later.
            agent.wait_for(lambda _: agent.descriptors() <= before + 6, timeout=20)


    def test_changed_files_leave_no_memory(self):
        private_network.replace("resolv.conf", "nameserver 127.0.0.1\n")
        # One that is idle when the file changes, and some in the middle of a lookup.
        slow = [f"slow{i}" for i in range(8)]
        names = self.serve_names({"db.test": Name(a=["127.0.0.1"])} | {
            f"{name}.test": Name(a=["127.0.0.1"], delay=0.1) for name in slow})
        self.listen("127.0.0.1")
        config = "readiness:\n" + "".join(
            f"  {name}: {{tcp: {{url: 'tcp://{name}.test:{PORT}'}}, periodSeconds: 0.01}}\n"
            for name in ["db", *slow])
        with Agent(config) as agent:
            def change_often(times):
                for i in range(times):
                    private_network.rewrite("resolv.conf", f"nameserver 127.0.0.1\n# {i}\n")
                    asked = len(names.questions)
                    while len(names.questions) < asked + 2:
                        time.sleep(0.002)
                status = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text()
                return int(status.split("VmRSS:")[1].split()[0])
            before = change_often(20)
            after = change_often(400)
            # The address sanitizer's heap grows by itself; it tells of leaks at the end instead.
            if b"__asan_init" not in pathlib.Path(BINARY).read_bytes():
                self.assertLess(after, before + 500)


if __name__ == "__main__":
    unittest.main()
