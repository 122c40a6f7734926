"""A stream server that misbehaves as it is told.

    with BadServer(send(b"HTTP/1.1 200 OK\\r\\n"), stall()) as server:
        check(f"http://127.0.0.1:{server.port}/")

Every connection is treated alike: the steps one after the other, then a normal close. A step is a
function of the Connection. Servers listen on `host`, on a free port unless one is given, or on the
unix socket `path` ("@name" is an abstract one). `tls` is an ssl.SSLContext to put under the steps.

FullServer listens and never accepts, with a full queue: connecting to it gets no answer at all.
"""

import os
import socket
import struct
import threading
import time

CHUNK = 4096


class Ended(Exception):
    """The server is being closed, or the peer is gone."""


class Connection:
    """One accepted connection, in a thread of its own."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.received = b""
        self.closed_by_peer = False

    def sleep(self, seconds):
        if self.server.ending.wait(seconds):
            raise Ended

    def read_some(self):
        """Reads once; b"" when the peer has closed."""
        data = self.sock.recv(CHUNK)
        self.received += data
        if not data:
            self.closed_by_peer = True
        return data


# ---- steps ----


def send(data):
    """Sends the bytes at once."""
    def step(connection):
        connection.sock.sendall(data)
    return step


def drip(data, seconds, size=1):
    """Sends the bytes in pieces of `size` with pauses between them."""
    def step(connection):
        for start in range(0, len(data), size):
            connection.sock.sendall(data[start:start + size])
            connection.sleep(seconds)
    return step


def flood(data=b"x" * CHUNK, total=None):
    """Sends the bytes again and again: `total` bytes at least, or until the peer closes."""
    def step(connection):
        sent = 0
        while total is None or sent < total:
            connection.sock.sendall(data)
            sent += len(data)
            if connection.server.ending.is_set():
                raise Ended
    return step


def receive(until=None, count=1):
    """Waits for `count` bytes, or for those of `until`; ends the connection if the peer closes."""
    def step(connection):
        while not (until in connection.received if until else len(connection.received) >= count):
            if not connection.read_some():
                raise Ended
    return step


def wait_close():
    """Reads until the peer closes."""
    def step(connection):
        while connection.read_some():
            pass
    return step


def pause(seconds):
    def step(connection):
        connection.sleep(seconds)
    return step


def wait_event(event):
    """Waits until the test sets a threading.Event."""
    def step(connection):
        while not event.wait(0.02):
            if connection.server.ending.is_set():
                raise Ended
    return step


def stall():
    """Does nothing and keeps the connection until the server ends."""
    def step(connection):
        connection.server.ending.wait()
        raise Ended
    return step


def half_close():
    """Sends FIN; the connection stays open for reading."""
    def step(connection):
        connection.sock.shutdown(socket.SHUT_WR)
    return step


def reset():
    """Closes with RST instead of FIN."""
    def step(connection):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sock.close()
        raise Ended
    return step


def echo():
    """Sends back what comes."""
    def step(connection):
        while data := connection.read_some():
            connection.sock.sendall(data)
    return step


# ---- servers ----


def _listen(host, port, path, backlog):
    if path is None:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = (host, port)
    else:
        sock = socket.socket(socket.AF_UNIX)
        address = "\0" + path[1:] if path.startswith("@") else path
    sock.bind(address)
    sock.listen(backlog)
    return sock


class BadServer:
    """Accepts connections and treats each as the steps say.

    accepted: how many there have been; connections: those, in order, with what they received.
    """

    def __init__(self, *steps, host="127.0.0.1", port=0, path=None, tls=None, backlog=128):
        self.steps = steps
        self.tls = tls
        self.ending = threading.Event()
        self.connections = []
        self.changed = threading.Condition()
        self.threads = []
        self.listener = _listen(host, port, path, backlog)
        self.path = path
        self.port = None if path else self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    @property
    def accepted(self):
        return len(self.connections)

    def _accept(self):
        while not self.ending.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self.changed:
                self.connections.append(connection)
                self.threads.append(thread)
                thread.start()
                self.changed.notify_all()

    def _serve(self, connection):
        try:
            if self.tls:
                # An end without close_notify is to be an error, so that a test can see it.
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True,
                                                       suppress_ragged_eofs=False)
            for step in self.steps:
                step(connection)
        except (Ended, OSError):
            pass
        finally:
            connection.sock.close()
            with self.changed:
                self.changed.notify_all()

    def wait_accepted(self, count, timeout=30):
        """Waits until so many connections have been accepted in all."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.connections) >= count, timeout):
                raise AssertionError(f"{len(self.connections)} of {count} connections came")

    def join(self, timeout=30):
        """Waits until all connections so far are over."""
        end = time.monotonic() + timeout
        for thread in list(self.threads):
            thread.join(max(0, end - time.monotonic()))
            if thread.is_alive():
                raise AssertionError("a connection is still open")

    def close(self):
        self.ending.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.acceptor.join(10)
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)
        if self.path and not self.path.startswith("@"):
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FullServer:
    """Listens with a queue that is full and never emptied: TCP gets no answer to its SYN, a unix
    socket says EAGAIN. drain() begins to accept."""

    def __init__(self, host="127.0.0.1", port=0, path=None):
        self.listener = _listen(host, port, path, 0)
        self.path = path
        self.port = None if path else self.listener.getsockname()[1]
        self.fillers = []
        self.accepted = []
        # The queue holds one more than it is told, and the system's idea of full is its own.
        for _ in range(8):
            filler = socket.socket(self.listener.family)
            filler.setblocking(False)
            self.fillers.append(filler)
            if filler.connect_ex(self.listener.getsockname()) not in (0, 115, 11):
                raise AssertionError("the queue could not be filled")

    def drain(self):
        """Accepts all that wait, once."""
        self.listener.setblocking(False)
        try:
            while True:
                self.accepted.append(self.listener.accept()[0])
        except BlockingIOError:
            pass

    def close(self):
        for sock in [*self.fillers, *self.accepted, self.listener]:
            sock.close()
        if self.path and not self.path.startswith("@"):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
