"""The images that a FROM or `image:` line of docker/ names, made from Debian's packages.

They behave as the official ones do as far as the stacks need: the same user, entrypoint, command,
stop signal, ports and environment.
"""

import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent / "images"
LABEL = "readyd.base"


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


class Image:
    """name: as a FROM line has it. files: {path in the image: file in images/}; commands: run in
    the new root, as a shell's; the rest as a Dockerfile has it."""

    def __init__(self, name, packages=(), *, variant="minbase", files=None, commands=(), cmd=None,
                 entrypoint=None, env=None, stop_signal=None, workdir=None, expose=None, volume=None,
                 user=None):
        self.name, self.packages, self.files = name, ("ca-certificates", *packages), files or {}
        self.variant, self.commands = variant, commands
        self.settings = [f"CMD {json.dumps(cmd)}"] if cmd else []
        if entrypoint:
            self.settings.append(f"ENTRYPOINT {json.dumps(entrypoint)}")
        self.settings += [f"ENV {name}={value}" for name, value in (env or {}).items()]
        for word, value in (("STOPSIGNAL", stop_signal), ("WORKDIR", workdir), ("EXPOSE", expose),
                            ("VOLUME", volume), ("USER", user)):
            if value:
                self.settings.append(f"{word} {value}")
        content = [(HERE / file).read_text() for file in self.files.values()]
        self.digest = digest(name, packages, variant, self.files, content, commands, self.settings)

    def options(self):
        """mmdebstrap's options."""
        found = [f"--variant={self.variant}"]
        for path, file in self.files.items():
            found += [f"--customize-hook=upload {HERE / file} {path}",
                      f'--customize-hook=chmod 755 "$1{path}"']
        found += [f'--customize-hook=chroot "$1" sh -euc \'{command}\'' for command in self.commands]
        return found

    def changes(self):
        """`docker import`'s options."""
        settings = [*self.settings, f"LABEL {LABEL}={self.digest}"]
        return [word for setting in settings for word in ("--change", setting)]

    def stamp(self, data):
        """The file that says that the engine which keeps its things in `data` has this image."""
        return data / f"readyd-{self.digest}"


IMAGES = [
    Image("debian:trixie-slim", cmd=["bash"]),
    # the packages' files alone: no shell, no package manager
    Image("gcr.io/distroless/cc-debian13:nonroot", ["base-files", "libc6", "libgcc-s1", "tzdata"],
          variant="extract", user="65532"),
    # buildpack-deps, which gcc is made of, has libpq-dev too
    Image("gcc:14", ["gcc", "libc6-dev", "libpq-dev", "make", "pkg-config"],
          cmd=["bash"]),
    Image("postgres:17", ["postgresql-17"],
          files={"/usr/local/bin/docker-entrypoint.sh": "postgres-entrypoint.sh"},
          commands=["mkdir -p /docker-entrypoint-initdb.d /var/lib/postgresql/data",
                    "rm -rf /var/lib/postgresql/17 /etc/postgresql/17",
                    "chown -R postgres:postgres /var/lib/postgresql"],
          env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"
                       "/usr/lib/postgresql/17/bin", "PGDATA": "/var/lib/postgresql/data"},
          entrypoint=["docker-entrypoint.sh"], cmd=["postgres"], stop_signal="SIGINT",
          expose="5432", volume="/var/lib/postgresql/data"),
    Image("redis:8", ["redis-server", "redis-tools"],
          files={"/usr/local/bin/docker-entrypoint.sh": "redis-entrypoint.sh"},
          commands=["mkdir -p /data", "chown redis:redis /data"],
          entrypoint=["docker-entrypoint.sh"], cmd=["redis-server"], workdir="/data", expose="6379",
          volume="/data"),
    Image("nginx:1.26", ["nginx-light"],
          files={"/docker-entrypoint.sh": "nginx-entrypoint.sh", "/etc/nginx/nginx.conf": "nginx.conf",
                 "/etc/nginx/conf.d/default.conf": "nginx-default.conf"},
          commands=["rm -rf /etc/nginx/sites-enabled /etc/nginx/modules-enabled",
                    "mkdir -p /etc/nginx/templates",
                    "ln -sf /dev/stdout /var/log/nginx/access.log",
                    "ln -sf /dev/stderr /var/log/nginx/error.log"],
          entrypoint=["/docker-entrypoint.sh"], cmd=["nginx", "-g", "daemon off;"],
          stop_signal="SIGQUIT", expose="80"),
]
