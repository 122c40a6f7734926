#!/usr/bin/env python3
"""Runs the integration tests against one readyd binary.

usage: run.py --binary PATH [--directory DIR] [--jobs N] [--timeout SECONDS] [PATTERN...]

Every test_*.py in the directory (by default this one) is a process of its own, so that files run
side by side and a crash of one does not hide the others. What a file prints is shown if it fails, and
otherwise only its lines that begin with "measured: ". PATTERN picks files whose name contains it. Ends
with the line "N passed, N failed, N skipped"; the exit status is 1 if anything failed.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Result(unittest.TextTestResult):
    """Counts what passed; unittest itself counts only what did not."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run_file(path, report):
    """In the child: runs one file's tests and writes the counts to `report`."""
    sys.path[:0] = [str(HERE), str(pathlib.Path(path).parent)]
    suite = unittest.defaultTestLoader.loadTestsFromName(pathlib.Path(path).stem)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result)
    result = runner.run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    counts = {"passed": result.passed, "failed": failed, "skipped": len(result.skipped),
              "reasons": [f"{test.id()}: {why}" for test, why in result.skipped]}
    pathlib.Path(report).write_text(json.dumps(counts))
    return 1 if failed else 0


def start_file(path, binary, timeout):
    """In the parent: one child process for one file; returns its counts and its output."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, __file__, "--binary", binary, "--child", report.name, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, start_new_session=True) as child:
            try:
                output = child.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                output = child.communicate()[0] + b"\nthe file did not end in time\n"
        text = pathlib.Path(report.name).read_text()
    counts = json.loads(text) if text else {"passed": 0, "failed": 1, "skipped": 0, "reasons": []}
    return path.name, counts, output.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--directory", type=pathlib.Path, default=HERE)
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1)
    parser.add_argument("--timeout", type=float, default=300, help="for one file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    os.environ["READYD_BINARY"] = binary
    if options.child:
        return run_file(options.patterns[0], options.child)
    files = sorted(path for path in options.directory.resolve().glob("test_*.py")
                   if not options.patterns or any(p in path.name for p in options.patterns))
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        started = [pool.submit(start_file, path, binary, options.timeout) for path in files]
        for future in concurrent.futures.as_completed(started):
            name, counts, output = future.result()
            for key in totals:
                totals[key] += counts[key]
            print(f"{name}: {counts['passed']} passed, {counts['failed']} failed, "
                  f"{counts['skipped']} skipped", flush=True)
            for reason in counts["reasons"]:
                print(f"  skipped {reason}")
            if counts["failed"]:
                print(output, flush=True)
            else:
                for line in output.splitlines():
                    if line.startswith("measured: "):
                        print("  " + line, flush=True)
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if totals["failed"] or not files else 0


if __name__ == "__main__":
    sys.exit(main())
