"""The example of the README: it gets ready, shows itself, and leaves nothing behind."""

import glob
import os
import pathlib
import subprocess
import unittest

from harness import BINARY, TestCase, clean_environment, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Example(TestCase):
    def test_all_five_types_pass_and_nothing_is_left(self):
        before = set(glob.glob("/tmp/readyd-example.*"))
        environment = clean_environment({
            "DATABASE_PORT": str(free_port()), "CACHE_PORT": str(free_port()),
            "WEB_PORT": str(free_port()), "READYD_LISTEN": f"127.0.0.1:{free_port()}",
            "READYD_SOCKET": f"@readyd-example-{os.getpid()}"})
        done = subprocess.run([ROOT / "conf/examples/local/start", "--once", BINARY],
                              env=environment, capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("example 1  healthz yes  ready yes  startup yes", done.stdout)
        rows = [line.split() for line in done.stdout.splitlines() if " passing " in line]
        self.assertEqual({row[0] for row in rows},
                         {"web", "database", "cache", "port", "migrated"})
        self.assertEqual(set(glob.glob("/tmp/readyd-example.*")) - before, set())
        marks = subprocess.run(["pgrep", "-f", environment["READYD_SOCKET"]], capture_output=True)
        self.assertEqual(marks.stdout, b"")


if __name__ == "__main__":
    unittest.main()
