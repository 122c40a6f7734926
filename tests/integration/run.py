#!/usr/bin/env python3
"""Runs the integration tests against one readyd binary.

usage: run.py --binary PATH [--directory DIR] [--jobs N] [--timeout SECONDS] [PATTERN...]

Every test_*.py in the directory (by default this one) is a process of its own, so that files run
side by side and a crash of one does not hide the others. What a file prints is shown if it fails, and
otherwise only its lines that begin with "measured: ". PATTERN picks files whose name contains it. Ends
with the line "N passed, N failed, N skipped", before it the reasons; the exit status is 1 if anything failed.

Where CI is set to true, a test that is skipped for want of an engine has failed: there it must have one.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent

PR_SET_PDEATHSIG = 1
CLEAR_UP_SECONDS = 20  # for a test that is interrupted

libc = ctypes.CDLL(None)
children = set()  # processes of test files, past ones too


def end_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_children():
    """Has the tests under way end in good order, and ends what is left after a while."""
    def kill():
        for child in running:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)

    running = [child for child in children if child.poll() is None]
    for child in running:
        child.terminate()
    timer = threading.Timer(CLEAR_UP_SECONDS, kill)
    timer.daemon = True
    timer.start()


class Interrupted(Exception):
    """Ends the test under way, which then clears up."""


class Result(unittest.TextTestResult):
    """Counts what passed; unittest itself counts only what did not. On SIGTERM the test under way is the last."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0
        signal.signal(signal.SIGTERM, self.interrupt)

    def interrupt(self, *_):
        self.stop()
        raise Interrupted

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addSkip(self, test, reason):
        if reason.startswith("no engine:") and os.environ.get("CI", "").lower() in ("true", "1"):
            reason = f"{reason}; in CI no test may be skipped for that"
            super().addFailure(test, (AssertionError, AssertionError(reason), None))
        else:
            super().addSkip(test, reason)


def run_file(path, report):
    """In the child: runs one file's tests and writes the counts to `report`."""
    sys.path[:0] = [str(HERE), str(pathlib.Path(path).parent)]
    suite = unittest.defaultTestLoader.loadTestsFromName(pathlib.Path(path).stem)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result)
    result = runner.run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    counts = {"passed": result.passed, "failed": failed, "skipped": len(result.skipped),
              "reasons": [(test.id(), why) for test, why in result.skipped]}
    pathlib.Path(report).write_text(json.dumps(counts))
    return 1 if failed else 0


def start_file(path, binary, timeout):
    """In the parent: one child process for one file, which ends with us; its counts, seconds and output."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, __file__, "--binary", binary, "--child", report.name, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, start_new_session=True,
                              preexec_fn=end_with_parent) as child:
            children.add(child)
            try:
                output = child.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                output = child.communicate()[0] + b"\nthe file did not end in time\n"
        text = pathlib.Path(report.name).read_text()
    counts = json.loads(text) if text else {"passed": 0, "failed": 1, "skipped": 0, "reasons": []}
    return path.name, counts, time.monotonic() - began, output.decode(errors="replace")


def hear_signals():
    """A shell's background job ignores these, and so would everything that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def main():
    hear_signals()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--directory", type=pathlib.Path, default=HERE)
    # The tests wait for most of their time.
    parser.add_argument("--jobs", type=int, default=3 * (os.cpu_count() or 1))
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
    reasons = collections.defaultdict(list)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        started = [pool.submit(start_file, path, binary, options.timeout) for path in files]

        def interrupt(*_):
            print("interrupted", flush=True)
            for future in started:
                future.cancel()
            end_children()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, interrupt)
        for future in concurrent.futures.as_completed(started):
            if future.cancelled():
                totals["failed"] += 1
                continue
            name, counts, seconds, output = future.result()
            for key in totals:
                totals[key] += counts[key]
            print(f"{name}: {counts['passed']} passed, {counts['failed']} failed, "
                  f"{counts['skipped']} skipped in {seconds:.0f} s", flush=True)
            for test, reason in counts["reasons"]:
                reasons[reason].append(test)
            if counts["failed"]:
                print(output, flush=True)
            else:
                for line in output.splitlines():
                    if line.startswith("measured: "):
                        print("  " + line, flush=True)
    for reason, tests in reasons.items():
        print(f"skipped {tests[0] if len(tests) == 1 else f'{len(tests)} tests'}: {reason}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if totals["failed"] or not files else 0


if __name__ == "__main__":
    sys.exit(main())
