"""The benchmark works: it measures, says what is to be beside it, and a missed bar is no error."""

import json
import pathlib
import subprocess
import sys

import harness

RUN = pathlib.Path(__file__).resolve().parent.parent / "bench" / "run.py"


class Bench(harness.TestCase):
    def measure(self, *sections, binary=harness.BINARY):
        """The rows of the result."""
        figures = self.tmp / "figures.json"
        chosen = [word for section in sections for word in ("--only", section)]
        done = subprocess.run([sys.executable, RUN, "--binary", binary, "--quick", "--json", figures,
                               *chosen], capture_output=True, text=True,
                              timeout=4 * harness.PATIENCE_SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.table = done.stdout.splitlines()
        return json.loads(figures.read_text())

    def test_sizes(self):
        row, = self.measure("sizes")
        self.assertEqual(row["bytes"], pathlib.Path(harness.BINARY).stat().st_size)
        self.assertEqual(row["met"], row["bytes"] < 4.5 * 1024 * 1024)

    def test_missed_bar(self):
        large = self.tmp / "large"
        large.write_bytes(bytes(5 * 1024 * 1024))
        row, = self.measure("sizes", binary=large)
        self.assertIs(row["met"], False)
        self.assertEqual(self.table[-1], "0 of 1 bars met")
        self.assertRegex(self.table[-3], r"^size of the binary .* 5\.00 MiB .* NO$")

    def test_servers(self):
        row, = self.measure("start")
        self.assertGreater(row["us"], 100)
        self.assertGreater(row["other_us"], 100)
        self.assertRegex(row["bar"], "5 ms")

    def test_wait(self):
        rows = self.measure("wait")
        self.assertEqual(len(rows), 6)
        for row in rows:
            # A client may need a moment more than readyd to see it.
            self.assertGreater(min(row["all_ms"]), -50)
            self.assertEqual(row["met"], row["ms"] < 50)
