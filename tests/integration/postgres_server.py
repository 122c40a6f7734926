"""A real PostgreSQL for tests: primary and streaming standby, TLS, every way to authenticate.

Servers listen on 127.0.0.1 and on a unix socket, on ports of their own, and end with the process that
started them.
"""

import atexit
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import harness

PASSWORD = "s3cret/pass@word"
ENCODED_PASSWORD = "s3cret%2Fpass%40word"

# How a user may come in; the first line that matches counts.
ACCESS = """
local all postgres trust
local all local_app trust
local all all scram-sha-256
host replication postgres 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all plain 127.0.0.1/32 password
host all md5er 127.0.0.1/32 md5
host all refused 127.0.0.1/32 reject
hostssl all tls_app 127.0.0.1/32 scram-sha-256
hostnossl all tls_app 127.0.0.1/32 reject
hostssl all certified 127.0.0.1/32 cert
host all app 127.0.0.1/32 scram-sha-256
host all limited 127.0.0.1/32 trust
"""

# Single-user mode takes one statement a line.
ROLES = f"""
create role app login password '{PASSWORD}';
create role trusted login;
create role local_app login;
create role plain login password '{PASSWORD}';
create role refused login;
create role tls_app login password '{PASSWORD}';
create role certified login;
create role limited login connection limit 0;
set password_encryption = md5;
create role md5er login password '{PASSWORD}';
create database app;
"""

# Small, quick to start and to copy, and careless about its data.
SETTINGS = {
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "hot_standby": "on",
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
    "max_connections": "20",
    "max_wal_size": "8MB",
    "min_wal_size": "2MB",
    "shared_buffers": "1MB",
    "superuser_reserved_connections": "3",
    "wal_retrieve_retry_interval": "100ms",
}


def bin_directory():
    """Where Debian keeps the newest server's programs."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"),
                   key=lambda path: float(path.parts[4]))
    if not found:
        raise AssertionError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


def server_user():
    """The server refuses to be root; None = we are not, so it runs as us."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("there is neither a user postgres nor a user nobody")


def as_server_user():
    user = server_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def die_with_parent():
    """Also when the test is killed: SIGQUIT is an immediate shutdown."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def run(program, *arguments, input=None, env=None):
    done = subprocess.run([bin_directory() / program, *map(str, arguments)], input=input,
                          capture_output=True, text=True, errors="replace", cwd="/",
                          env=harness.clean_environment(env),
                          timeout=2 * harness.PATIENCE_SECONDS, **as_server_user())
    if done.returncode != 0:
        raise AssertionError(f"{program} {arguments}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def new_directory():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="readyd-postgres-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    user = server_user()
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    directory.chmod(0o755)
    return directory


_template = None


def template():
    """A data directory to copy from, made once a process."""
    global _template
    if _template is None:
        data = new_directory() / "template"
        run("initdb", "-D", data, "--no-sync", "--auth=trust", "--username=postgres",
            "--encoding=UTF8", "--locale=C", "--wal-segsize=1")
        run("postgres", "--single", "-F", "-D", data, "postgres", input=ROLES)
        _template = data
    return _template


class Server:
    """One server. `settings` are added to SETTINGS; it is started by start()."""

    def __init__(self, settings=None, *, port=None, data_from=None):
        self.directory = new_directory()
        self.data = self.directory / "data"
        self.port = port or harness.free_port()
        self.process = None
        self.log_path = self.directory / "log"
        if data_from is None:
            subprocess.run(["cp", "-a", template(), self.data], check=True)
        else:
            run("pg_basebackup", "-D", self.data, "-h", "127.0.0.1", "-p", data_from.port, "-U",
                "postgres", "--checkpoint=fast", "--no-sync", "--write-recovery-conf")
        (self.data / "pg_hba.conf").write_text(ACCESS)
        (self.data / "postgresql.conf").write_text("")
        self.settings = dict(SETTINGS, port=self.port,
                             unix_socket_directories=self.directory, **settings or {})
        self.write_settings()
        atexit.register(self.destroy)

    def write_settings(self):
        """For the next start."""
        lines = [f"{name} = '{value}'\n" for name, value in self.settings.items()]
        (self.data / "postgresql.conf").write_text("".join(lines))

    def enable_tls(self, certificate, key):
        """PEM files; the server wants the key for itself."""
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            shutil.copyfile(source, self.data / name)
            (self.data / name).chmod(0o600)
            os.chown(self.data / name, *self.owner())
        self.settings.update(ssl="on")
        self.write_settings()

    def start(self, wait=True, env=None):
        """Starts it; with `wait` until it takes sessions."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([bin_directory() / "postgres", "-D", self.data],
                                            stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            preexec_fn=die_with_parent, cwd="/",
                                            env=harness.clean_environment(env),
                                            **as_server_user())
        if wait:
            harness.wait_until(self.is_ready, "PostgreSQL is ready")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("PostgreSQL ended:\n" + self.log())
        try:
            return self.sql("select 1") == "1"
        except OSError:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def sql(self, text, database="postgres"):
        """What a query as the superuser returns, see RawSession.query()."""
        with RawSession(self.port, "postgres", database, self.directory) as session:
            return session.query(text)

    def standby(self, settings=None):
        """A streaming standby of this server, not started yet."""
        return Server(settings, data_from=self)

    def url(self, user="app", password=ENCODED_PASSWORD, database="app", host="127.0.0.1",
            **parameters):
        secret = f":{password}" if password is not None else ""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return (f"postgres://{user}{secret}@{host}:{self.port}/{database}" +
                (f"?{query}" if query else ""))

    def socket_url(self, user="local_app", database="app"):
        return f"postgres://{user}@/{database}?host={self.directory}&port={self.port}"

    def fill(self, sessions):
        """Takes all sessions that users may have; those in the list are the only ones then."""
        def full():
            try:
                while True:
                    sessions.append(RawSession(self.port))
            except ConnectionError:
                # One that is ending has counted against the limit, and soon leaves room for another.
                return int(sessions[0].query("select count(*) from pg_stat_activity where datname "
                                             "is not null")) == len(sessions)

        harness.wait_until(full, "a full server")

    def sessions(self, application="readyd"):
        """How many sessions of an application the server has."""
        return int(self.sql("select count(*) from pg_stat_activity "
                            f"where application_name = '{application}'"))

    def owner(self):
        """(user, group) of its files."""
        status = os.stat(self.data)
        return status.st_uid, status.st_gid

    def freeze(self):
        """From now on the kernel accepts connections and nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def shut_down(self, mode="fast", wait=True):
        """mode: smart (waits for the sessions), fast or immediate (a crash)."""
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self.process.send_signal(number[mode])
        if wait:
            self.process.wait(harness.PATIENCE_SECONDS)

    def restart(self):
        self.shut_down()
        self.start()

    def destroy(self):
        """Ends it at once and removes its files."""
        if self.process and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


# ---- the protocol, for servers and clients that do one thing ----


def message(kind, body=b""):
    """A message of the protocol; kind b"" for those at the beginning, which have none."""
    return kind + struct.pack("!I", len(body) + 4) + body


def error_message(sqlstate, text, severity="FATAL"):
    fields = f"S{severity}\0C{sqlstate}\0M{text}\0\0"
    return message(b"E", fields.encode())


def authentication(kind, body=b""):
    """A server's request: 0 = done, 3 = password in clear, 10 = SASL."""
    return message(b"R", struct.pack("!I", kind) + body)


READY = message(b"Z", b"I")


class RawSession:
    """A session of a user who needs no password: over TCP, or over a unix socket."""

    def __init__(self, port, user="trusted", database="app", directory=None):
        if directory is None:
            self.sock = socket.create_connection(("127.0.0.1", port))
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(f"{directory}/.s.PGSQL.{port}")
        self.sock.settimeout(harness.PATIENCE_SECONDS)
        self.stream = self.sock.makefile("rb")
        names = f"user\0{user}\0database\0{database}\0application_name\0raw\0\0"
        self.sock.sendall(message(b"", struct.pack("!I", 3 << 16) + names.encode()))
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self):
        """The rows up to ReadyForQuery; ConnectionError with what the server says instead."""
        rows, error = [], None
        while True:
            head = self.stream.read(5)
            if len(head) < 5:
                raise ConnectionError(error or "the server closed the connection")
            body = self.stream.read(struct.unpack("!I", head[1:])[0] - 4)
            if head[:1] == b"E":
                fields = {field[:1]: field[1:].decode() for field in body.split(b"\0") if field}
                error = f"{fields[b'C']}: {fields[b'M']}"
            elif head[:1] == b"D":
                rows.append(self._row(body))
            elif head[:1] == b"Z":
                if error:
                    raise ConnectionError(error)
                return rows

    def _row(self, body):
        values, offset = [], 2
        for _ in range(struct.unpack("!H", body[:2])[0]):
            length = struct.unpack("!i", body[offset:offset + 4])[0]
            offset += 4
            values.append(body[offset:offset + length].decode() if length >= 0 else "")
            offset += max(length, 0)
        return "|".join(values)

    def query(self, text):
        """Rows as lines, their values separated by "|"."""
        self.sock.sendall(message(b"Q", text.encode() + b"\0"))
        return "\n".join(self._read())

    def close(self):
        self.stream.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
