"""A Postgres server on loopback with a new database: `Postgres`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Postgres", "why_not"]

_USERS = ("postgres", "nobody")
"""Whose account the server uses if this process is root's: Postgres refuses to run as root."""

_SETTINGS = ("fsync=off", "synchronous_commit=off", "shared_buffers=16MB", "max_connections=60")


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(found[0]) if found else shutil.which(name)


def why_not() -> str:
    """The reason why no Postgres can be started here; empty if one can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "Postgres is not installed (apt-get install postgresql)"
    return ""


class Postgres:
    """A server with its database in a temporary folder. Use it as a context manager; it can be stopped and restarted.

    Attributes:
        port: Its port on 127.0.0.1, the same after every start.
    """

    user = "dagster"
    password = "hush-dagster"
    database = "dagster"

    def __enter__(self) -> Postgres:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._account: dict[str, Any] = {}
        if os.getuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            account = pwd.getpwnam(next(name for name in _USERS if name in names))
            self._account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._run(
            "initdb",
            "-D",
            f"{self._folder}/data",
            "-U",
            self.user,
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            "--locale=C",
        )
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, self.database)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        program = _program("postgres")
        assert program is not None
        settings = [f"-c{setting}" for setting in _SETTINGS]
        place = ["-D", f"{self._folder}/data", "-k", str(self._folder), "-h", "127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [program, *place, "-p", str(self.port), *settings],
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=log,
                **self._account,
            )
        until = time.monotonic() + 60
        while not self._accepts():
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server immediately; open connections break, as in a crash."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(60)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that docs/deployment.md and deploy/dagster.yaml use."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_USER": self.user,
            "DAGSTER_PG_PASSWORD": self.password,
            "DAGSTER_PG_DB": self.database,
        }

    def query(self, sql: str) -> list[str]:
        """The rows of a query, columns separated by `|`."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", self.database, "-Atc", sql
        ).splitlines()

    def _accepts(self) -> bool:
        ready = _program("pg_isready")
        assert ready is not None
        return not subprocess.run(
            [ready, "-q", "-h", "127.0.0.1", "-p", str(self.port)], cwd="/", check=False
        ).returncode

    def _run(self, name: str, *arguments: str) -> str:
        program = _program(name)
        assert program is not None, name
        done = subprocess.run(
            [program, *arguments],
            cwd="/",
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
            **self._account,
        )
        assert not done.returncode, done.stderr
        return done.stdout
