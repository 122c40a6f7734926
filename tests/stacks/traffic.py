"""Constant load on a port of 127.0.0.1, with every request accounted for."""

import collections
import socket
import threading
import time

Answer = collections.namedtuple("Answer", "at seconds status version problem")


class Load:
    """Sends GET / at a constant rate, each on a connection of its own, while the `with` block runs.

    Requests are due at fixed times: one that takes long delays none of the others, as long as there
    are workers left. An answer counts when it is whole.
    """

    def __init__(self, port, per_second=100, workers=32):
        self.port, self.workers = port, workers
        self.interval = 1 / per_second
        self.answers = []
        self._due = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def _request(self):
        at, text, problem = time.monotonic(), b"", None
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
                while chunk := connection.recv(65536):
                    text += chunk
        except OSError as error:
            problem = str(error)
        head, _, body = text.partition(b"\r\n\r\n")
        lines = head.decode(errors="replace").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in
                  (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
        if not problem and len(body) != int(fields.get("content-length", -1)):
            problem = f"{len(body)} bytes of {fields.get('content-length')}"
        return Answer(at, time.monotonic() - at, status, fields.get("x-version"), problem)

    def _work(self):
        while not self._stop.is_set():
            with self._lock:
                due = self._begin + self._due * self.interval
                self._due += 1
            self._stop.wait(max(0, due - time.monotonic()))
            if self._stop.is_set():
                return
            self.answers.append(self._request())

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

    def versions(self):
        """The versions that have answered, each with how many answers."""
        return collections.Counter(answer.version for answer in self.answers if answer.status == 200)

    def summary(self):
        seconds = sorted(answer.seconds for answer in self.answers)
        return (f"{len(seconds)} requests, {len(self.lost())} lost, p50 {seconds[len(seconds) // 2] * 1e3:.0f} ms, "
                f"p99 {seconds[len(seconds) * 99 // 100] * 1e3:.0f} ms, max {seconds[-1] * 1e3:.0f} ms; "
                f"by version {dict(self.versions())}")
