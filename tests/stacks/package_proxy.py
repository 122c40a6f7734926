"""An HTTP proxy for `apt-get` in images being built.

The engine's network namespace leads nowhere. The proxy listens there and connects from the
machine's own namespace; it passes requests on to the hosts that the machine's own apt uses, and to
no other.
"""

import ctypes
import http.server
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

CLONE_NEWNET = 0x40000000


def known_hosts():
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"],
                          capture_output=True, text=True)
    return {urllib.parse.urlsplit(uri).netloc for uri in done.stdout.split()}


def start(machine_network, libc):
    """Serves for as long as this process lives; returns the proxy's URL."""
    hosts = known_hosts()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            # of this thread alone; the connection that it serves stays where it is
            if libc.setns(machine_network, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            super().setup()

        def do_GET(self):
            if urllib.parse.urlsplit(self.path).netloc not in hosts:
                self.send_error(403, "not a host of this machine's apt")
                return
            headers = {name: value for name, value in self.headers.items()
                       if name.lower() in ("if-modified-since", "range", "if-range", "user-agent")}
            try:
                answer = urllib.request.urlopen(urllib.request.Request(self.path, headers=headers),
                                                timeout=60)
            except urllib.error.HTTPError as error:
                answer = error
            except OSError as error:
                self.send_error(502, str(error))
                return
            with answer:
                self.send_response(answer.status)
                for name in ("Content-Length", "Content-Range", "Content-Type", "Last-Modified"):
                    if answer.headers[name]:
                        self.send_header(name, answer.headers[name])
                if not answer.headers["Content-Length"]:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                shutil.copyfileobj(answer, self.wfile)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    os.set_inheritable(server.fileno(), False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
