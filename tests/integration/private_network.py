"""A network of the test's own: the loopback interface and nothing else.

enter() puts this process, and what it starts from then on, into network and mount namespaces of its
own, where /etc/resolv.conf and /etc/hosts are files of the test. Only root can do that.
"""

import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import tempfile

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

FILES = {"resolv.conf": "nameserver 127.0.0.1\n", "hosts": "127.0.0.1 localhost\n"}

directory = None


def available():
    return os.geteuid() == 0


def enter():
    global directory
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="readyd-network-"))
    directory.chmod(0o755)
    for name, text in FILES.items():
        replace(name, text)


def leave():
    """The namespaces end with the process; what is on disk is removed."""
    for name in FILES:
        while subprocess.run(["umount", "/etc/" + name], stderr=subprocess.DEVNULL).returncode == 0:
            pass
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def replace(name, text):
    """Makes a new file appear as /etc/NAME."""
    path = directory / f"{name}.{len(list(directory.iterdir()))}"
    path.write_text(text)
    subprocess.run(["mount", "--bind", path, "/etc/" + name], check=True)


def rewrite(name, text):
    """Writes the present /etc/NAME anew."""
    pathlib.Path("/etc/" + name).write_text(text)


def reset():
    """Makes the files say again what they said at the beginning."""
    for name, text in FILES.items():
        rewrite(name, text)


def sysctl(name, value):
    pathlib.Path("/proc/sys/net/ipv4/" + name).write_text(str(value))


def sysctl_value(name):
    return pathlib.Path("/proc/sys/net/ipv4/" + name).read_text()
