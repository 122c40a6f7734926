"""The socket of a service manager such as systemd or Podman, as sd_notify(3) has it."""

import socket
import struct
import time

from harness import PATIENCE_SECONDS


class Manager:
    """The socket of a service manager."""

    def __init__(self, test, name=None):
        self.name = name or str(test.tmp / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + self.name[1:] if self.name.startswith("@") else self.name)
        test.addCleanup(self.socket.close)
        self.environment = {"NOTIFY_SOCKET": self.name}

    def receive(self, timeout=PATIENCE_SECONDS):
        """The next message as a list of lines, and the process that sent it."""
        self.socket.settimeout(timeout)
        text, ancillary, _, _ = self.socket.recvmsg(4096, 1024)
        pid = struct.unpack("iII", ancillary[0][2])[0]
        return text.decode().rstrip("\n").split("\n"), pid

    def wait(self, line, timeout=PATIENCE_SECONDS):
        """Waits for a message with the line; returns all lines until then."""
        seen = []
        end = time.monotonic() + timeout
        while line not in seen:
            seen += self.receive(max(0.01, end - time.monotonic()))[0]
        return seen

    def rest(self):
        """What has come and was not taken yet."""
        seen = []
        while True:
            try:
                seen += self.receive(0.001)[0]
            except OSError:
                return seen
