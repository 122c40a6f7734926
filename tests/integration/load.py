"""Constant load on a proxy, of which every single request counts."""

import collections
import http.client
import threading
import time

from harness import PATIENCE_SECONDS, wait_until

# Between two requests of one client: steady, and bearable for a small machine.
PAUSE_SECONDS = 0.004


class Load:
    """Asks 127.0.0.1:PORT in a `with` block, from several clients at once.

    keeping: clients that keep their connection, closing: clients that take a new one for each
    request; slow: clients whose answers (of /slow) take about a second. `methods` are used in turn,
    except for what is slow.
    An answer is right if it is a 200 and whole; what served it is its first line.
    """

    def __init__(self, port, keeping=2, closing=2, slow=1, methods=("GET",)):
        self.port = port
        self.methods = methods
        self.answers = collections.Counter()
        self.last = {}  # what served: when it was last asked for something that it answered
        self.failures = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        plans = [(True, "/")] * keeping + [(False, "/")] * closing + [(False, "/slow")] * slow
        self._threads = [threading.Thread(target=self._ask_on, args=plan, daemon=True)
                         for plan in plans]

    def _ask_on(self, keep, path):
        connection, number = None, 0
        while not self._done.wait(PAUSE_SECONDS):
            if connection is None or not keep:
                connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                        timeout=PATIENCE_SECONDS)
            number += 1
            asked = time.monotonic()
            try:
                method = "GET" if path == "/slow" else self.methods[number % len(self.methods)]
                self._ask(connection, method, path, keep, asked)
            except (OSError, http.client.HTTPException) as error:
                self._fail(f"{path}: {type(error).__name__} {error} after "
                           f"{time.monotonic() - asked:.3f} s")
                connection.close()
                connection = None
            else:
                if not keep:
                    connection.close()

    def _ask(self, connection, method, path, keep, asked):
        headers = {} if keep else {"Connection": "close"}
        connection.request(method, path, body=b"x=1" if method == "POST" else None, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self._fail(f"{method} {path}: {answer.status}")
            return
        server = body.split(b"\n", 1)[0].decode()
        with self._lock:
            self.answers[server] += 1
            self.last[server] = max(asked, self.last.get(server, 0))

    def _fail(self, sentence):
        with self._lock:
            self.failures.append(sentence)

    @property
    def total(self):
        return sum(self.answers.values())

    def served_since(self, server, moment):
        return self.last.get(server, 0) > moment

    def wait_served(self, *servers):
        """Waits until each of them serves from now on."""
        now = time.monotonic()
        wait_until(lambda: all(self.served_since(server, now) for server in servers),
                   f"answers of {servers}; failures: {self.failures[:5]}")

    def assert_quiet(self, server, seconds):
        """Nothing that is asked for within this time is answered by the server."""
        now, before = time.monotonic(), self.total
        wait_until(lambda: time.monotonic() > now + seconds and self.total > before, "load")
        if self.served_since(server, now):
            raise AssertionError(f"{server} still gets requests")

    def assert_nothing_lost(self):
        if self.failures:
            raise AssertionError(f"{len(self.failures)} of {self.total + len(self.failures)} "
                                 f"requests failed: {self.failures[:10]}")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
