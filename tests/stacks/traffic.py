"""Constant load on a port of 127.0.0.1, with every request accounted for."""

import collections
import select
import socket
import threading
import time

Kind = collections.namedtuple("Kind", "method kept")
Answer = collections.namedtuple("Answer", "at seconds kind status version problem repeated")

# In turn: each kind is as frequent as the others.
MIXTURE = [Kind(method, kept) for method in ("GET", "POST") for kept in (False, True)]

PATIENCE_SECONDS = 20


class Closed(ConnectionError):
    """The server has closed the connection before any byte of the answer."""


class Connection:
    """To the server, for one request after the other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)

    def idle(self):
        """Whether it is still there. Every client looks, before it uses a connection again."""
        return not select.select([self.socket], [], [], 0)[0]

    def ask(self, request):
        """Status, fields with lower-case names, and content of the answer."""
        try:
            self.socket.sendall(request)
        except ConnectionError:
            pass  # which the answer, or that there is none, tells
        text, fields, length = b"", {}, None
        while length is None or len(text) < length:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise ConnectionError(f"cut off after {len(text)} bytes") if text else Closed("no answer")
            text += chunk
            head, end, content = text.partition(b"\r\n\r\n")
            if end and not fields:
                lines = head.decode(errors="replace").split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in
                          (line.partition(":") for line in lines[1:])}
                if "content-length" not in fields:
                    raise ConnectionError(f"an answer of unknown length: {lines[0]}")
                length = len(head + end) + int(fields["content-length"])
        return int(text.split()[1]), fields, content

    def close(self):
        self.socket.close()


class Client:
    """Keeps one connection, and obeys HTTP: what went out on a connection that had been used before, and
    was closed before any byte of the answer, is repeated once if the method is idempotent. POST is not,
    and nothing else is repeated."""

    def __init__(self, port):
        self.port = port
        self.kept = None

    def ask(self, kind, request):
        """What Connection.ask() returns, and whether it took a second attempt."""
        connection, self.kept = self.kept if kind.kept else None, None if kind.kept else self.kept
        if connection and connection.idle():
            try:
                return *self._ask(connection, kind, request), False
            except Closed:
                if kind.method == "POST":
                    raise
                return *self._ask(Connection(self.port), kind, request), True
        if connection:
            connection.close()
        return *self._ask(Connection(self.port), kind, request), False

    def _ask(self, connection, kind, request):
        keep = False
        try:
            answer = connection.ask(request)
            keep = kind.kept and answer[1].get("connection", "").lower() != "close"
        finally:
            if keep:
                self.kept = connection
            else:
                connection.close()
        return answer

    def close(self):
        if self.kept:
            self.kept.close()


class Load:
    """Sends requests at a constant rate while the `with` block runs: GET / and, with a body that the
    answer must repeat, POST /; each on a connection of its own or on one that is kept.

    Requests are due at fixed times: one that takes long delays none of the others, as long as there
    are workers left. An answer counts when it is whole.
    """

    def __init__(self, port, per_second=50, workers=32, kinds=MIXTURE):
        self.port, self.workers, self.kinds = port, workers, list(kinds)
        self.interval = 1 / per_second
        self.answers = []
        self._due = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def _request(self, client, number):
        kind = self.kinds[number % len(self.kinds)]
        body = f"order-{number}".encode() if kind.method == "POST" else b""
        head = [f"{kind.method} / HTTP/1.1", "Host: shop"]
        if kind.method == "POST":
            head += [f"Content-Length: {len(body)}", "Content-Type: text/plain"]
        if not kind.kept:
            head.append("Connection: close")
        at, status, version, problem, repeated = time.monotonic(), 0, None, None, False
        try:
            status, fields, content, repeated = client.ask(
                kind, "\r\n".join([*head, "", ""]).encode() + body)
            version = fields.get("x-version")
            if status == 200 and body not in content:
                problem = f"not an answer to {body}: {content[:100]}"
        except OSError as error:
            problem = str(error)
        return Answer(at, time.monotonic() - at, kind, status, version, problem, repeated)

    def _work(self):
        client = Client(self.port)
        try:
            while not self._stop.is_set():
                with self._lock:
                    number = self._due
                    self._due += 1
                self._stop.wait(max(0, self._begin + number * self.interval - time.monotonic()))
                if self._stop.is_set():
                    return
                self.answers.append(self._request(client, number))
        finally:
            client.close()

    def __enter__(self):
        self._begin = time.monotonic()
        self._threads = [threading.Thread(target=self._work) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def lost(self):
        """Requests without a whole answer of 200."""
        return [answer for answer in self.answers if answer.problem or answer.status != 200]

    def lost_few(self):
        """Whether no more was lost than crashes may cost: next to nothing, or what was under way at one moment."""
        lost = self.lost()
        return len(lost) < 5 or max(answer.at for answer in lost) <= min(answer.at + answer.seconds for answer in lost)

    def losses(self):
        """How many were lost in which way: method, version that answered, status or what went wrong."""
        return collections.Counter((answer.kind.method, answer.version, answer.problem or answer.status)
                                   for answer in self.lost())

    def versions(self):
        """The versions that have answered, each with how many answers."""
        return collections.Counter(answer.version for answer in self.answers if answer.status == 200)

    def orders(self):
        """How many orders, as POST places them, have been confirmed."""
        return sum(answer.kind.method == "POST" and answer.status == 200 for answer in self.answers)

    def summary(self):
        seconds = sorted(answer.seconds for answer in self.answers)
        kept = sum(answer.kind.kept for answer in self.answers)
        posts = sum(answer.kind.method == "POST" for answer in self.answers)
        repeated = sum(answer.repeated for answer in self.answers)
        return (f"{len(seconds)} requests ({posts} POST, {kept} on kept connections, {repeated} of GET "
                f"repeated), {len(self.lost())} lost, p50 {seconds[len(seconds) // 2] * 1e3:.0f} ms, "
                f"p99 {seconds[len(seconds) * 99 // 100] * 1e3:.0f} ms, max {seconds[-1] * 1e3:.0f} ms; "
                f"by version {dict(self.versions())}")
