"""`readyd wait` under test, while it waits."""

import concurrent.futures
import subprocess

from harness import BINARY, PATIENCE_SECONDS, clean_environment


class Waiter:
    """A running `readyd wait`; its log is read line by line, its stdout at the end."""

    def __init__(self, test, *arguments, env=None, prefix=(), **options):
        words = [*prefix, BINARY, "wait", *arguments]
        self.process = subprocess.Popen([str(word) for word in words], env=clean_environment(env),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **options)
        self.log = []
        test.addCleanup(self.close)

    def wait_line(self, text):
        """Reads the log up to a line that contains the text, and returns that line."""
        for line in self.process.stderr:
            self.log.append(line)
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r}: {''.join(self.log)}")

    def end(self):
        """The exit status, once all is read."""
        # Not by communicate(), which passes by what wait_line() has already got into its buffer.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            output = pool.submit(self.process.stdout.read)
            self.log += self.process.stderr.readlines()
            self.stdout = output.result()
        self.process.wait(PATIENCE_SECONDS)
        if any("Sanitizer" in line or "runtime error:" in line for line in self.log):
            raise AssertionError("".join(self.log))
        return self.process.returncode

    def signal(self, number):
        self.process.send_signal(number)

    def events(self):
        """What the log tells: [(event, reason)…]."""
        found = []
        for line in self.log:
            words = line.split()
            reason = next((word[7:] for word in words if word.startswith("reason=")), "")
            found.append((words[2], reason))
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
