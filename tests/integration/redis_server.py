"""Real Redis and Valkey servers for tests, and a client that says exactly what it is told."""

import pathlib
import socket
import subprocess
import tempfile

import harness


class Error(Exception):
    """An error reply; its text is the server's."""


class Client:
    """A connection to a unix socket that speaks RESP2, which all versions do."""

    def __init__(self, path, timeout=harness.PATIENCE_SECONDS):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.stream = self.socket.makefile("rb")

    def send(self, *words):
        """A command, without waiting for its reply."""
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(encoded) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))

    def receive(self):
        """One reply; raises Error for an error reply."""
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise Error(text.decode())
        if kind == b"+":
            return text.decode()
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.stream.read(int(text) + 2)[:-2].decode()
        if kind == b"*":
            return [self.receive() for _ in range(int(text))]
        raise ValueError(f"not RESP2: {line!r}")

    def command(self, *words):
        self.send(*words)
        return self.receive()

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Server:
    """A server of its own directory, port and unix socket, which ends with the test.

    settings: as on the command line, with "_" for "-"; a list is several words. wait=False returns
    as soon as the server accepts connections, for one that is meant to answer with errors.
    """

    def __init__(self, test, binary="redis-server", *, wait=True, directory=None, **settings):
        self.test = test
        self.binary = binary
        self.directory = directory or pathlib.Path(tempfile.mkdtemp(prefix="server-", dir=test.tmp))
        self.data = self.directory / "data"
        self.data.mkdir(exist_ok=True)
        self.socket = self.directory / "socket"
        self.port = harness.free_port()
        settings = {"port": self.port, "bind": "127.0.0.1", "unixsocket": self.socket,
                    "dir": self.data, "save": "", "appendonly": "no",
                    "enable-debug-command": "yes", "repl-diskless-sync-delay": 0} | {
                        name.replace("_", "-"): value for name, value in settings.items()}
        words = [binary]
        for name, value in settings.items():
            words += [f"--{name}", *(value if isinstance(value, list) else [value])]
        self.process = test.start(words, ready=self.answers if wait else self.accepts)

    def accepts(self):
        try:
            with Client(self.socket):
                return True
        except OSError:
            return False

    def answers(self):
        """Whether PING gets an answer that means that the server has started."""
        try:
            with Client(self.socket, timeout=1) as client:
                client.command("PING")
        except Error as error:
            return not str(error).startswith("LOADING")
        except OSError:
            return False
        return True

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def client(self):
        return Client(self.socket)

    def command(self, *words):
        """One command on a connection of its own."""
        with self.client() as client:
            return client.command(*words)

    def info(self, section):
        """A section of INFO as a dictionary."""
        lines = self.command("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def wait_info(self, section, name, value):
        """Waits until INFO says so."""
        harness.wait_until(lambda: self.info(section).get(name) == value, f"{name}:{value}")

    def kill(self):
        self.test.end(self.process)


class Certificates:
    """An authority, and certificates that it has signed: server.* for localhost, client.*."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.ca, self.ca_key = self.directory / "ca.crt", self.directory / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", "/CN=authority of a test", "-days", "2", "-keyout", self.ca_key,
                      "-out", self.ca)
        self.server, self.server_key = self.issue("server", days=10)
        self.client, self.client_key = self.issue("client", days=10)

    def issue(self, name, days):
        """Returns the paths of a certificate for localhost and 127.0.0.1, and of its key."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                      f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
                      "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"openssl {arguments[0]}: {done.stderr}")

