"""Backup and restore, by the commands of docs/server.md."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.testing import RunningServer, running_server
from tests.contract.caller import Caller
from tests.postgres.cluster import programs
from tests.postgres.databases import database, empty_database

DOCS = Path(__file__).resolve().parents[2] / "docs/server.md"
LIMIT_S = 60.0


def documented(begin: str, replaced: dict[str, str]) -> str:
    """Return the line of the documentation that begins so, with other names in it."""
    (line,) = [line for line in DOCS.read_text().splitlines() if line.startswith(begin)]
    for old, new in replaced.items():
        assert old in line
        line = line.replace(old, new)
    return line


def shell(line: str) -> None:
    """Do it as a person would."""
    path = f"{programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def writing(server: RunningServer) -> Iterator[list[str]]:
    """Create jobs without a pause; give the ids of those that were answered."""
    made: list[str] = []
    stop = threading.Event()

    def write() -> None:
        caller = Caller("ours", server.url, server.token)
        while not stop.is_set():
            made.append(caller.task()["jobId"])
        caller.http.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(LIMIT_S)


def backed_up(server: RunningServer, back_up: Callable[[], None]) -> set[str]:
    """Back up while it serves; return the jobs that were answered before, which must be in it."""
    with writing(server) as made:
        while len(made) < 20:
            threading.Event().wait(0.01)
        before = set(made)
        back_up()
        assert len(made) >= len(before)
    return before


def jobs(server: RunningServer) -> set[str]:
    """Return the ids of all jobs."""
    caller = Caller("ours", server.url, server.token)
    found: set[str] = set()
    page = 1
    while some := caller.list("jobs", page=page, perPage=100):
        found |= {job["id"] for job in some}
        page += 1
    caller.http.close()
    return found


BY_PYTHON = "python3 -c \"import sqlite3; sqlite3.connect('/var/lib/millhand/jobs.db')."


@pytest.mark.parametrize("command", ["sqlite3 /var", f"{BY_PYTHON}backup"])
def test_a_sqlite_backup_is_whole_and_can_be_served(tmp_path: Path, command: str) -> None:
    """It is made while the server writes, and holds all that was answered before."""
    if shutil.which(command.split(maxsplit=1)[0]) is None:
        pytest.skip("the shell of SQLite is not installed; the same by Python is tested")
    names = {
        "/var/lib/millhand/jobs.db": str(tmp_path / "jobs.db"),
        "/backup/jobs.db": str(tmp_path / "b.db"),
    }
    line = documented(command, names).partition("   # ")[0]
    with running_server(f"sqlite:///{tmp_path / 'jobs.db'}") as server:
        before = backed_up(server, lambda: shell(line))
    with running_server(f"sqlite:///{tmp_path / 'b.db'}") as server:
        assert before <= jobs(server)


def test_a_dump_is_whole_and_can_be_restored_over_what_is_there(tmp_path: Path) -> None:
    """Into an empty database, and again over one with a schema and other data."""
    documented_url = "postgresql://millhand@db.example.com/millhand"
    file = str(tmp_path / "millhand.dump")
    with database() as url, running_server(url) as server:
        line = documented("pg_dump", {documented_url: url, "millhand.dump": file})
        before = backed_up(server, lambda: shell(line))
    with empty_database() as other:
        line = documented("pg_restore", {documented_url: other, "millhand.dump": file}).partition("   # ")[0]
        shell(line)
        with running_server(other) as server:
            assert before <= jobs(server)
            caller = Caller("ours", server.url, server.token)
            later = caller.job()["id"]
            caller.http.close()
        shell(line)
        shell(documented("vacuumdb", {documented_url: other}).partition("   # ")[0])
        with running_server(other) as server:
            assert before <= jobs(server)
            assert later not in jobs(server)


def test_a_sqlite_file_gives_the_space_of_deleted_jobs_back(tmp_path: Path) -> None:
    """By the documented command, and what is left can be served."""
    path = tmp_path / "jobs.db"
    with running_server(f"sqlite:///{path}") as server:
        caller = Caller("ours", server.url, server.token)
        kept = caller.job()["id"]
        for _ in range(20):
            caller.expect("POST", "/api/jobs", json={"parameters": {"x": "x" * 100_000}})
        caller.http.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM jobs WHERE id <> ?", (kept,))
        db.commit()
    before = path.stat().st_size
    shell(documented(f"{BY_PYTHON}execute", {"/var/lib/millhand/jobs.db": str(path)}))
    assert path.stat().st_size < before - 1_500_000
    with running_server(f"sqlite:///{path}") as server:
        assert jobs(server) == {kept}
