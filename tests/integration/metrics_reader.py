"""Reads what /metrics says, and knows where it may not be as it is."""

import re

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def labels_of(text):
    """The labels of a sample as a sorted tuple of pairs."""
    pairs, rest = [], text or ""
    while rest:
        match = LABEL.match(rest)
        if not match:
            raise AssertionError(f"no label: {rest!r}")
        value = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), match[2])
        pairs.append((match[1], value))
        rest = rest[match.end():]
    if len({name for name, _ in pairs}) != len(pairs):
        raise AssertionError(f"a label twice: {text}")
    return tuple(sorted(pairs))


class Metrics:
    """All samples of one answer, which must be well-formed."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        self.types = {}
        family, seen = None, set()
        if not text.endswith("\n") or "\r" in text:
            raise AssertionError("the last line has no end, or a line has a CR")
        for line in text.split("\n")[:-1]:
            if line.startswith("#"):
                words = line.split(" ", 3)
                if words[1] == "HELP":
                    family = words[2]
                    if family in seen:
                        raise AssertionError(f"{family} is not in one piece")
                    seen.add(family)
                elif words[1] == "TYPE":
                    self.types[words[2]] = words[3]
                elif words[1] not in ("UNIT", "EOF"):
                    raise AssertionError(f"a comment: {line}")
                continue
            match = SAMPLE.match(line)
            if not match:
                raise AssertionError(f"no sample: {line!r}")
            if not match[1].startswith(family):
                raise AssertionError(f"{match[1]} is not of the family {family}")
            key = match[1], labels_of(match[2])
            if key in self.samples:
                raise AssertionError(f"twice: {line}")
            self.samples[key] = float(match[3])

    def of(self, name, **labels):
        """{labels: value} of the samples of that name that have these labels."""
        wanted = set(labels.items())
        return {key[1]: value for key, value in self.samples.items()
                if key[0] == name and wanted <= set(key[1])}

    def one(self, name, **labels):
        """The value of the only one."""
        found = self.of(name, **labels)
        if len(found) != 1:
            raise AssertionError(f"{name} {labels}: {found}")
        return next(iter(found.values()))

    def counters(self):
        """Those samples that may never go down."""
        return {(name, labels): value for (name, labels), value in self.samples.items()
                if name.endswith(("_total", "_bucket", "_count", "_sum"))}


def metrics_of(agent, accept="*/*"):
    status, _, body = agent.get("/metrics", {"Accept": accept})
    if status != 200:
        raise AssertionError(f"/metrics says {status}")
    return Metrics(body)
