"""Looks at processes through /proc: which are there, and whose children they are."""

import pathlib

from harness import BINARY, wait_until

# The sanitizers' build starts processes several times slower.
SANITIZED = b"__asan_init" in pathlib.Path(BINARY).read_bytes()


def marked(marker):
    """The processes, zombies left out, in whose environment the marker is."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def wait_gone(marker):
    """Waits for the end of all of these: what is killed needs a moment of a processor to die."""
    wait_until(lambda: not marked(marker), "the end of all that was started")


def children(pid):
    """The states of a process's children, "Z" for a zombie."""
    states = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                states.append(fields[0])
    return states


def state(pid):
    """A process's state letter, or None when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
