"""Dump a small database of the newest schema: python -m tests.released.make (once for each release).

The files are not written again afterwards; they are what older programs left behind.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Final

from server.store.choice import store_for
from server.store.commands import (
    AnnounceAgent,
    CreateJob,
    CreateRun,
    CreateTask,
    CreateToken,
    EnsureOrganisation,
    NoteTokenUse,
    RunFields,
    UpdateRun,
)
from server.store.store import Store
from tests.postgres.databases import cluster, database

__all__ = ["FOLDER", "ORG", "fill"]

FOLDER: Final = Path(__file__).parent
ORG: Final = "org-1"
PARAMETERS: Final = '{"n": 123456789012345678901, "x": 1.10}'
MACHINE: Final = '{"os": "%s"}' % ("x" * 200)  # a text that SQLite keeps beside the runs


async def fill(store: Store) -> None:
    """Make a job with a task in each state; every table gets a row."""
    await store.apply(EnsureOrganisation(id=ORG, name="an organisation"))
    await store.apply(
        CreateToken(id="token-1", org_id=ORG, sha256="5f" * 32, scopes=frozenset({"full"}), name="hosts")
    )
    await store.apply(NoteTokenUse(used={"token-1": 7}))
    await store.apply(AnnounceAgent(org_id=ORG, id="agent-1", machine='{"cpus": 1.10}'))
    await store.apply(
        CreateJob(org_id=ORG, created_by="me", id="job-1", type="noop", title="ä", parameters=PARAMETERS)
    )
    for name in ("pending", "running", "requeued", "stopped"):
        await store.apply(
            CreateTask(
                org_id=ORG,
                created_by="me",
                job_id="job-1",
                id=name,
                parameters=PARAMETERS,
                extra={"image": '"x"'},
            )
        )
        if name != "pending":
            machine = MACHINE if name == "requeued" else '{"a": 1}'
            claim = RunFields(started_at=5, pod_id="pod", cpu_time=1.5, ram_usage=2**40, machine=machine)
            await store.apply(
                CreateRun(
                    org_id=ORG, created_by="me", task_id=name, id=f"run-{name}", lease_ms=9_000, fields=claim
                )
            )
    end = RunFields(stopped_at=9, result_code="Success", results='{"r": 1.10}')
    await store.apply(UpdateRun(org_id=ORG, id="run-stopped", agent="pod", fields=end))
    await store.apply(
        CreateRun(org_id=ORG, created_by="me", task_id="requeued", id="again", fields=RunFields())
    )
    failed = RunFields(stopped_at=9, result_code="Failed", error="drained: bye")
    await store.apply(UpdateRun(org_id=ORG, id="run-requeued", agent="pod", fields=failed))


async def filled(url: str) -> None:
    """Fill a database."""
    store = store_for(url)
    await store.start(lambda _: None)
    try:
        await fill(store)
    finally:
        await store.close()


def write(name: str, lines: list[str]) -> None:
    """Write a dump, unless there is one of that schema."""
    path = FOLDER / name
    if not path.exists():
        path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write both dumps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        asyncio.run(filled(f"sqlite:///{path}"))
        with sqlite3.connect(path) as db:
            ((version,),) = db.execute("SELECT max(version) FROM schema_version")
            write(f"sqlite-{version}.sql", list(db.iterdump()))
    with database() as url:
        asyncio.run(filled(url))
        name = url.partition("@/")[2].partition("?")[0]
        ((version,),) = cluster().ask("SELECT max(version) FROM schema_version", name)
        dump = cluster().run("pg_dump", "--no-owner", "--inserts", url).decode()
        lines = [line for line in dump.splitlines() if line and not line.startswith(("--", "\\"))]
        write(f"postgres-{version}.sql", lines)
    sys.stdout.write(f"{', '.join(path.name for path in FOLDER.glob('*.sql'))}\n")


if __name__ == "__main__":
    main()
