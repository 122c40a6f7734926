"""A client that asks several addresses over and over and remembers when it got which answer."""

import http.client
import threading
import time
import urllib.parse

from harness import wait_until


class Watcher:
    """Watcher(ready="http://…", app="http://…") asks each in a thread, on a connection of its own
    for every request. An answer is a status, or None when there was none. Ends with the `with`
    block."""

    def __init__(self, pause=0.005, **urls):
        self.answers = {name: [] for name in urls}
        self._pause = pause
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=item, daemon=True)
                         for item in urls.items()]
        for thread in self._threads:
            thread.start()

    def _watch(self, name, url):
        parts = urllib.parse.urlsplit(url)
        while not self._done.wait(self._pause):
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
            asked = time.monotonic()
            try:
                connection.request("GET", parts.path)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                status = None
            finally:
                connection.close()
            self.answers[name].append((asked, status))

    def statuses(self, name, after=0):
        """The answers to what was asked after that moment."""
        return {status for asked, status in list(self.answers[name]) if asked > after}

    def first(self, name, status, after=0):
        """When it was first asked after that moment with this answer."""
        return next(asked for asked, seen in list(self.answers[name])
                    if seen == status and asked > after)

    def last(self, name, status):
        return next(asked for asked, seen in reversed(list(self.answers[name])) if seen == status)

    def wait_for(self, name, status):
        after = time.monotonic()
        wait_until(lambda: status in self.statuses(name, after), f"{status} from {name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()
