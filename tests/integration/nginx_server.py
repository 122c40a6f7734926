"""A real nginx for tests, and certificates of every kind that a server can show."""

import datetime
import os
import pathlib
import subprocess
import tempfile

import harness


class Certificates:
    """Authorities and what they have signed. A certificate is a path; its key is at key(path)."""

    def __init__(self, directory):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="certificates-", dir=directory))
        self.ca = self.authority("trusted")
        self.other_ca = self.authority("untrusted")

    def key(self, certificate):
        return certificate.with_suffix(".key")

    def authority(self, name):
        """A certificate that may sign others."""
        path = self.directory / f"{name}.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name} authority", "-days", "30", "-keyout", self.key(path),
                      "-out", path)
        return path

    def issue(self, name, *, names="DNS:localhost,IP:127.0.0.1", begins_days=-1, ends_days=10, ca=None):
        """A certificate for `names` whose life begins and ends so many days from now."""
        ca = ca or self.ca
        path, request = self.directory / f"{name}.crt", self.directory / f"{name}.csr"
        settings = self.directory / f"{name}.cnf"
        (self.directory / "index").write_text("")
        settings.write_text(f"[ca]\ndefault_ca=own\n[own]\ndatabase={self.directory}/index\n"
                            f"new_certs_dir={self.directory}\nrand_serial=yes\ndefault_md=sha256\n"
                            f"policy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n"
                            f"[names]\nsubjectAltName={names}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", self.key(path), "-out", request)
        now = datetime.datetime.now(datetime.timezone.utc)
        begins, ends = ((now + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")
                        for days in (begins_days, ends_days))
        self._openssl("ca", "-batch", "-notext", "-config", settings, "-in", request, "-out", path,
                      "-cert", ca, "-keyfile", self.key(ca), "-startdate", begins, "-enddate", ends)
        return path

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"openssl {arguments[0]}: {done.stderr}")


class Nginx:
    """nginx with the given `server` blocks (without their braces), in a directory of its own.

    Ports and paths have to be free; files in `root` are served under /files/ by every server.
    """

    def __init__(self, test, *servers, ports=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="nginx-", dir=test.tmp))
        self.directory.chmod(0o755)
        self.root = self.directory / "files"
        self.root.mkdir()
        self.log = self.directory / "access.log"
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        blocks = "\n".join(f"server {{ location /files/ {{ root {self.directory}; }} {server} }}"
                           for server in servers)
        configuration = self.directory / "nginx.conf"
        configuration.write_text(f"""
daemon off; {user} worker_processes 1; pid {self.directory}/pid; error_log {self.directory}/error.log;
events {{ }}
http {{
    {temporary}
    log_format seen '$server_protocol $request_method $request_uri $status';
    access_log {self.log} seen;
    default_type text/plain;
    {blocks}
}}
""")
        test.start(["nginx", "-p", self.directory, "-e", self.directory / "error.log", "-c",
                    configuration],
                   ready=lambda: all(harness.port_open(port) for port in ports))

    def requests(self):
        """The requests answered so far, each "PROTOCOL METHOD URI STATUS"."""
        return self.log.read_text().splitlines()

    def wait_requests(self, count):
        """Waits until so many are in the log, which nginx writes after the answer."""
        harness.wait_until(lambda: len(self.requests()) >= count, f"{count} requests")
        return self.requests()

    def wait_request(self, line):
        """Waits until one is in the log."""
        harness.wait_until(lambda: line in self.requests(), line)
