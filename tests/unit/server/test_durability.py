"""Group commit: what was answered is on disk, and no command undoes another."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from server.ids import ordered_ids
from server.store.changes import TasksPending
from server.store.commands import CreateJob, CreateTask, EnsureOrganisation, UpdateJob
from server.store.queries import JobQuery, Page, Sort
from server.store.records import JobRecord
from server.store.refusal import DatabaseError, Reason, Refused, StoreBusy, StoreFailed
from server.store.sql import execute
from server.store.sql.rows import job_record
from server.store.sql.transaction import Transaction
from server.store.sqlite import writer
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from server.store.sqlite.store import SqliteStore
from tests.unit.server.world import LIMIT_S, FakeClock, opened, rows, run_async

WRITER = """
import asyncio, sys
from server.ids import ordered_ids
from server.store.commands import CreateJob, EnsureOrganisation
from server.store.sqlite.store import SqliteStore
from worker.clock import SystemClock

async def write_for_ever(store, org_id):
    while True:
        job = await store.apply(CreateJob(org_id=org_id, created_by="me"))
        sys.stdout.write(job.id + "\\n")
        sys.stdout.flush()

async def main():
    clock = SystemClock()
    store = SqliteStore(sys.argv[1], clock, ordered_ids(clock))
    await store.start(lambda changes: None)
    org_id = await store.apply(EnsureOrganisation(name="ours"))
    await asyncio.gather(*(write_for_ever(store, org_id) for _ in range(8)))

asyncio.run(main())
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Every job whose creation was answered is there after SIGKILL at any moment."""
    path = tmp_path / "jobs.db"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        answered = [child.stdout.readline().strip() for _ in range(200)]
        child.send_signal(signal.SIGKILL)
        answered += child.stdout.read().split("\n")[:-1]  # the last line may be cut
    finally:
        child.kill()
        child.wait(LIMIT_S)
        assert child.stdout is not None
        child.stdout.close()
    stored = {row[0] for row in rows(str(path), "SELECT id FROM jobs")}
    assert len(answered) >= 200
    assert set(answered) <= stored


def test_a_refused_command_undoes_no_other_of_its_group(tmp_path: Path) -> None:
    """In one transaction the good commands happen and the refused one does not."""
    clock, db = FakeClock(), open_writer(tmp_path / "jobs.db")
    new_id = ordered_ids(clock)
    try:
        migrate(db, migrations(), 1)
        (org_id,), _ = writer.apply_all(db, [EnsureOrganisation(name="ours")], clock, new_id)
        good = CreateJob(org_id=org_id, created_by="me", id="a")
        results, _ = writer.apply_all(
            db, [good, good, CreateJob(org_id=org_id, created_by="me", id="b")], clock, new_id
        )
        assert [type(result) for result in results] == [JobRecord, Refused, JobRecord]
        assert [row["id"] for row in db.execute("SELECT id FROM jobs ORDER BY id")] == ["a", "b"]
    finally:
        db.close()


@pytest.mark.parametrize("fault", [ZeroDivisionError(), Refused(Reason.CONFLICT, "late", "too late")])
def test_a_command_that_fails_halfway_leaves_nothing_and_undoes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """One that wrote before it failed, by a fault of ours, is taken back whole, and nobody hears of it."""

    def fail_halfway(tx: Transaction, command: CreateTask) -> None:
        tx.insert("organisations", id="half", name="half", created_at=1)
        tx.changes.append(TasksPending("a", "t"))
        raise fault

    # No command of ours fails after a write, so one is made to.
    monkeypatch.setitem(execute.FUNCTIONS, CreateTask, fail_halfway)
    clock, db = FakeClock(), open_writer(tmp_path / "jobs.db")
    try:
        migrate(db, migrations(), 1)
        new_id = ordered_ids(clock)
        results, changes = writer.apply_all(
            db,
            [
                EnsureOrganisation(id="a", name="a"),
                CreateTask(org_id="a", created_by="me", job_id="j"),
                EnsureOrganisation(id="b", name="b"),
            ],
            clock,
            new_id,
        )
        assert [type(result) for result in results] == [str, type(fault), str]
        assert changes == []
        assert [row["id"] for row in db.execute("SELECT id FROM organisations ORDER BY id")] == ["a", "b"]
    finally:
        db.close()


def test_a_group_that_is_done_again_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first try of it had counted is forgotten with what it had written."""

    def fail_halfway(tx: Transaction, command: UpdateJob) -> None:
        tx.insert("organisations", id="half", name="half", created_at=1)
        raise ZeroDivisionError

    monkeypatch.setitem(execute.FUNCTIONS, UpdateJob, fail_halfway)
    clock, db = FakeClock(), open_writer(tmp_path / "jobs.db")
    new_id = ordered_ids(clock)
    try:
        migrate(db, migrations(), 1)
        first = [EnsureOrganisation(id="o", name="o"), CreateJob(org_id="o", created_by="me", id="j")]
        writer.apply_all(db, first, clock, new_id)
        task = CreateTask(org_id="o", created_by="me", job_id="j", type="noop")
        results, _ = writer.apply_all(db, [task, UpdateJob(org_id="o", id="j"), task], clock, new_id)
        assert [isinstance(one, Exception) for one in results] == [False, True, False], results
        (row,) = db.execute(SQLITE.job, ("o", "j")).fetchall()
        assert job_record(row).task_status_pending == 2
    finally:
        db.close()


def test_a_full_disk_fails_the_write_and_not_the_server(tmp_path: Path) -> None:
    """What cannot be stored is said to have failed; once there is room again, writing goes on."""

    async def body() -> None:
        async with opened(f"sqlite:///{tmp_path / 'jobs.db'}") as world:
            assert isinstance(world.store, SqliteStore)
            assert world.store._open_writer is not None
            db = world.store._open_writer._db
            with world.store._write_lock:
                (pages,) = db.execute("PRAGMA page_count").fetchone()
                db.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreFailed, match="full"):
                await world.job(parameters=f'{{"x": "{"x" * 1_000_000}"}}')
            with world.store._write_lock:
                db.execute(f"PRAGMA max_page_count = {pages * 1000}")
            assert (await world.job()).id

    run_async(body)


def test_a_full_queue_refuses_at_once_and_loses_nothing_that_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the bound callers are told to come back; all others get their answers."""
    monkeypatch.setattr(writer, "MOST_WAITING", 5)  # the bound itself, small enough to reach

    async def body() -> None:
        async with opened() as world:
            answers = await asyncio.gather(*(world.job() for _ in range(20)), return_exceptions=True)
            busy = [answer for answer in answers if isinstance(answer, StoreBusy)]
            made = [answer for answer in answers if isinstance(answer, JobRecord)]
            assert (len(busy), len(made)) == (15, 5)
            assert (await world.job()).id

    run_async(body)


def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    """A cancelled caller's command still happens, and the others are answered."""

    async def body() -> None:
        async with opened() as world:
            gone = asyncio.create_task(world.job(id="gone"))
            other = asyncio.create_task(world.job(id="other"))
            await asyncio.sleep(0)  # both are queued now
            gone.cancel()
            assert (await other).id == "other"
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert await world.store.job(world.org_id, "gone") is not None

    run_async(body)


def test_a_write_is_answered_although_the_word_of_it_fails() -> None:
    """What is durable is told to who asked; the fault is the loop's to log."""

    @run_async
    async def _() -> None:
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: faults.append(str(context["exception"]))
        )

        def fail(_: object) -> None:
            raise RuntimeError("who listens has a fault")

        async with opened("sqlite://") as world:
            assert isinstance(world.store, SqliteStore)
            job = await world.job()
            world.store._listener = fail
            task = await world.task(job)
            assert await world.store.task(world.org_id, task.id) is not None
        assert faults == ["who listens has a fault"]


def test_the_database_itself_refuses_a_second_live_run() -> None:
    """One live run per task holds by an index, not only by the rules above it."""

    async def body() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            await world.claim(task)
            assert isinstance(world.store, SqliteStore)
            assert world.store._open_writer is not None
            db = world.store._open_writer._db
            with world.store._write_lock, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                db.execute(
                    "INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at,"
                    " started_at, report_progress) SELECT org_id, 'x', task_id, job_id, 'me',"
                    " created_at + 1, 1, 1, 1 FROM runs"
                )

    run_async(body)


def test_unusual_orders_and_far_pages_read_what_was_just_written(tmp_path: Path) -> None:
    """Lists that go through another thread show every command that was answered before."""

    async def body() -> None:
        for db in (f"sqlite:///{tmp_path / 'jobs.db'}", "sqlite://"):
            async with opened(db) as world:
                found: list[JobRecord] = []
                for title in ("b", "c", "a"):
                    await world.job(title=title)
                    by_title = Page(sort=Sort("title", descending=True))
                    found = await world.store.jobs(JobQuery(org_id=world.org_id, page=by_title))
                    assert title in [job.title for job in found]
                assert [job.title for job in found] == ["c", "b", "a"]
                far = Page(number=1000, size=100)
                assert await world.store.jobs(JobQuery(org_id=world.org_id, page=far)) == []

    run_async(body)


def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """The message says which process is in the way; once the first is gone, the file opens."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)

    async def body() -> None:
        async with opened(url) as world:
            for same in (url, f"sqlite:///{link / 'jobs.db'}"):
                with pytest.raises(DatabaseError, match="served by another process"):
                    async with opened(same):
                        pass
            assert (await world.job()).id
        async with opened(url) as world:
            assert (await world.job()).id

    run_async(body)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is opened."""

    async def body() -> None:
        with pytest.raises(DatabaseError, match="does its folder exist"):
            async with opened(f"sqlite:///{tmp_path}/none/jobs.db"):
                pass

    run_async(body)
