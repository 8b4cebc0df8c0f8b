"""A PostgreSQL of our own, on a socket in a temporary folder, as a user without rights; gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

__all__ = ["Cluster", "find_programs", "programs"]

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
USER: Final = "millhand"
CONFIGURATION: Final = """
listen_addresses = ''
max_connections = 200
shared_buffers = 64MB
max_wal_size = 4GB
jit = off
deadlock_timeout = 200ms
log_min_messages = warning
"""
# A crash of the machine is not tested, so nothing waits for its disk.
NOT_DURABLE: Final = """
fsync = off
full_page_writes = off
"""
INSTALL: Final = Path(__file__).with_name("install.sh")


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; the newest, where there are several.

    Where there are none, they are installed if that is required (in CI); else the test is skipped.
    """
    if (found := find_programs()) is None and os.environ.get("MILLHAND_REAL_PARTS") == "required":
        subprocess.run([str(INSTALL)], check=True, timeout=600)
        found = find_programs()
        assert found is not None, "PostgreSQL was installed, and its programs are not found"
    if found is None:
        pytest.skip("no PostgreSQL here: install it (Debian: apt-get install postgresql)")
    return found


def find_programs() -> Path | None:
    """Return that folder, or None where there is none."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    in_path = shutil.which("postgres")
    return Path(in_path).resolve().parent if in_path else None


class Cluster:
    """The server; `url` names its databases."""

    def __init__(
        self,
        configuration: str = NOT_DURABLE,
        environment: Mapping[str, str] = {},
        before: Callable[[Path], Sequence[str]] = lambda _folder: (),
    ) -> None:
        """Make it; `start` runs it, with more in its environment, and by another program if need be."""
        self._environment = dict(environment)
        self._before = before
        self._configuration = CONFIGURATION + configuration
        self._programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="millhand-pg-"))
        self._prefix: list[str] = ["setpriv", "--pdeathsig=INT"]  # it goes when the tests are killed
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            entry = _unprivileged()
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._prefix += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._initialise()

    def _initialise(self) -> None:
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}"]
        command = [*self._prefix, str(self._programs / "initdb"), *options, "-D", str(self.folder / "data")]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        with (self.folder / "data/postgresql.conf").open("a") as file:
            file.write(f"{self._configuration}unix_socket_directories = '{self.folder}'\n")

    def url(self, database: str, **parameters: str) -> str:
        """Return the URL of a database."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"postgresql://{USER}@/{database}?host={self.folder}{more}"

    def start(self) -> None:
        """Run it, and return once it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before(self.folder), *self._prefix, *command],
                cwd=self.folder,
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-4000:]
            assert time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether its process is there still."""
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts connections, SIGQUIT is a crash (`pg_ctl stop -m immediate`)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(LIMIT_S)

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> bytes:
        """Run one of PostgreSQL's programs, and return what it prints."""
        command = [str(self._programs / program), *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S).stdout

    def ask(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Do a statement on a connection of its own, and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """Make a database, and return its name."""
        name = f"test_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Delete a database, whoever is connected."""
        self.ask(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.OperationalError:
            return False


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("there is no user that PostgreSQL could run as")
