"""The load that the other tests count by: it loses what a client loses, and hides nothing."""

import socket
import threading
import unittest

import harness
from traffic import Answer, Client, Closed, Kind, Load

GET, POST = Kind("GET", True), Kind("POST", True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers the connections of a script in turn: on each, reads a request for every answer in its list,
    and then closes. An answer of None is none."""

    def __init__(self, test, *script):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        test.addCleanup(self.listener.close)
        threading.Thread(target=self._serve, args=(script,), daemon=True).start()

    def _serve(self, script):
        for answers in script:
            connection, _ = self.listener.accept()
            with connection:
                for answer in answers:
                    self.requests.append(connection.recv(65536))
                    if answer:
                        connection.sendall(answer)


class Traffic(harness.TestCase):
    def ask(self, client, kind):
        return client.ask(kind, f"{kind.method} / HTTP/1.1\r\n\r\n".encode())

    def test_kept(self):
        """One connection for two requests, a new one when the answer says that this was the last."""
        last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        server = Server(self, [OK, last], [OK])
        client = Client(server.port)
        self.addCleanup(client.close)
        for kind in (GET, POST, GET):
            self.assertEqual(self.ask(client, kind)[::3], (200, False))

    def test_closed_without_an_answer(self):
        """On a connection that was used before GET is repeated, once, and POST is lost."""
        server = Server(self, [OK, None], [OK, None], [None])
        client = Client(server.port)
        self.ask(client, GET)
        self.assertEqual(self.ask(client, GET)[::3], (200, True))
        with self.assertRaises(Closed):
            self.ask(client, POST)
        with self.assertRaises(Closed):  # a new connection: nothing is repeated
            self.ask(client, GET)
        self.assertEqual(len(server.requests), 5)

    def test_cut_off(self):
        """What has begun to be answered is not repeated."""
        server = Server(self, [OK, OK[:-1]])
        client = Client(server.port)
        self.ask(client, GET)
        with self.assertRaisesRegex(ConnectionError, "cut off after 39 bytes"):
            self.ask(client, GET)

    def test_every_request_is_counted(self):
        port = harness.free_port()
        with Load(port, per_second=1000) as load:
            harness.wait_until(lambda: len(load.answers) > 50)
        self.assertEqual(len(load.lost()), len(load.answers))
        for kind in load.kinds:
            self.assertIn(kind, [answer.kind for answer in load.answers])

    def test_foreign_answer(self):
        """An answer that does not repeat the order is somebody else's."""
        server = Server(self, [OK])
        with Load(server.port, per_second=1, workers=1, kinds=[POST]) as load:
            harness.wait_until(lambda: load.answers)
        self.assertIn("not an answer to", load.lost()[0].problem)

    def test_few_are_what_was_under_way_at_one_moment(self):
        load = Load(harness.free_port())
        for lost, few in (([(0, 1)] * 4, True), ([(number, 0.5) for number in range(4)], True),
                          ([(number / 10, 1) for number in range(9)], True),
                          ([(number, 1.5) for number in range(5)], False)):
            load.answers = [Answer(at, seconds, POST, 502, None, None, False) for at, seconds in lost]
            load.answers.append(Answer(20, 1, GET, 200, "1", None, False))
            self.assertEqual(load.lost_few(), few, lost)


if __name__ == "__main__":
    unittest.main()
