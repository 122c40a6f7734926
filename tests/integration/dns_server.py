"""A name server for tests, over UDP and TCP, that answers from a dictionary.

    with DnsServer({"db.test": Name(a=["127.0.0.2"])}): ...

A name that is not in the dictionary does not exist.
"""

import dataclasses
import socket
import struct
import threading

A, CNAME, AAAA = 1, 5, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
HELD_SECONDS = 30  # at most


@dataclasses.dataclass
class Name:
    """What is known of a name, and how the server behaves when asked for it."""
    a: list = dataclasses.field(default_factory=list)
    aaaa: list = dataclasses.field(default_factory=list)
    cname: str = None
    rcode: int = NOERROR
    silent: tuple = ()  # the types of question that get no answer
    truncate: bool = False  # over UDP
    delay: float = 0
    released: threading.Event = None  # the answer waits for it
    garbage: bool = False


SILENT = Name(silent=(A, AAAA))


def _encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _decode_question(message):
    """(name, type, the question's bytes) of a query."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    kind = struct.unpack("!H", message[at + 1:at + 3])[0]
    return ".".join(labels).lower(), kind, message[12:at + 5]


def _record(name, kind, data):
    return _encode(name) + struct.pack("!HHIH", kind, 1, 1, len(data)) + data


class DnsServer:
    """questions: what was asked, as (name, type, "udp" or "tcp")."""

    def __init__(self, names, host="127.0.0.1", port=53):
        self.names = dict(names)
        self.questions = []
        self.asked = threading.Condition()
        self.ending = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((host, port))
        self.tcp = socket.socket(family)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((host, port))
        self.tcp.listen()
        self.threads = [threading.Thread(target=target, daemon=True)
                        for target in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def count(self, name):
        return sum(question[0] == name for question in self.questions)

    def wait_asked(self, name, timeout=30):
        with self.asked:
            if not self.asked.wait_for(lambda: self.count(name), timeout):
                raise AssertionError(f"nobody asked for {name}")

    def _records(self, name, kind):
        """All records for a question, aliases followed; and the response code."""
        records = []
        while True:
            known = self.names.get(name)
            if known is None:
                return records, NXDOMAIN
            if known.cname is None:
                break
            records.append(_record(name, CNAME, _encode(known.cname)))
            name = known.cname
        if kind == A:
            records += [_record(name, A, socket.inet_aton(ip)) for ip in known.a]
        if kind == AAAA:
            records += [_record(name, AAAA, socket.inet_pton(socket.AF_INET6, ip))
                        for ip in known.aaaa]
        return records, known.rcode

    def _answer(self, query, transport):
        """The response to a query; None for silence."""
        name, kind, question = _decode_question(query)
        with self.asked:
            self.questions.append((name, kind, transport))
            self.asked.notify_all()
        known = self.names.get(name, Name())
        if kind in known.silent or (known.delay and self.ending.wait(known.delay)):
            return None
        if known.released:
            known.released.wait(HELD_SECONDS)
        if known.garbage:
            return query[:2] + b"\x84\x00\xff\xff\xff\xff\xff\xff\xff\xffgarbage"
        records, rcode = self._records(name, kind)
        flags = 0x8580 | rcode
        if known.truncate and transport == "udp":
            records, flags = [], flags | 0x0200
        header = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return header + question + b"".join(records)

    def _serve_udp(self):
        def respond(query, peer):
            response = self._answer(query, "udp")
            if response:
                try:
                    self.udp.sendto(response, peer)
                except OSError:
                    pass
        while not self.ending.is_set():
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if query:
                threading.Thread(target=respond, args=(query, peer), daemon=True).start()

    def _serve_tcp(self):
        while not self.ending.is_set():
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    while len(size := connection.recv(2, socket.MSG_WAITALL)) == 2:
                        query = connection.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)
                        response = self._answer(query, "tcp")
                        if response:
                            connection.sendall(struct.pack("!H", len(response)) + response)
                except OSError:
                    pass

    def close(self):
        self.ending.set()
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        for thread in self.threads:
            thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
