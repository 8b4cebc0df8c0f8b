"""What runs say of their machines and results: shown as it was said, and where SQLite keeps it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.ids import ordered_ids
from server.store.commands import (
    Command,
    CreateJob,
    CreateRun,
    CreateTask,
    DeleteJob,
    EnsureOrganisation,
    RunFields,
    UpdateRun,
)
from server.store.queries import RunQuery
from server.store.records import Deletion, RunAnswer
from server.store.sql import execute, reads, rows
from server.store.sql.run_commands import update_run
from server.store.sql.transaction import Transaction
from server.store.sqlite.database import open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from server.store.sqlite.writer import apply_all
from tests.unit.server.world import FakeClock, opened, run_async

ORG = "org"
LONG = msgspec.json.encode({"os": "x" * 200}).decode()
OTHER = msgspec.json.encode({"os": "y" * 200}).decode()


class Place:
    """A database with commands done one by one."""

    def __init__(self, path: Path) -> None:
        """Make it."""
        self.clock = FakeClock()
        self.ids = ordered_ids(self.clock)
        self.db = open_writer(path)
        migrate(self.db, migrations(), 1)
        self.do(EnsureOrganisation(id=ORG, name="an organisation"))

    def do(self, command: Command[Any]) -> Any:
        """Do a command and return its answer."""
        (answer,), _ = apply_all(self.db, [command], self.clock, self.ids)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, job_id: str, machine: str, *, is_live: bool = False) -> str:
        """Do a task whose run says that at its end, unless it lives on; return the run's id."""
        task = self.do(CreateTask(org_id=ORG, created_by="me", job_id=job_id, type="x"))
        claim = RunFields(started_at=1, pod_id="pod")
        run = self.do(CreateRun(org_id=ORG, created_by="me", task_id=task.task.id, fields=claim))
        if is_live:
            return str(run.run.id)
        told = RunFields(stopped_at=2, result_code="Success", machine=machine)
        ended = self.do(UpdateRun(org_id=ORG, id=run.run.id, fields=told))
        assert bytes(ended.run.machine).decode() == machine
        return str(run.run.id)

    def shown(self, run_id: str) -> list[str]:
        """Return what a run's machine is by each statement that reads runs."""
        alone = reads.select_runs(SQLITE, RunQuery(org_id=ORG, has_results=False))
        listed = reads.select_runs(SQLITE, RunQuery(org_id=ORG))
        one = (rows.one_run(SQLITE), [ORG, run_id])
        answers = [
            rows.run_answer(row)
            for sql, values in (one, listed, alone)
            for row in self.db.execute(sql, values)
            if row["id"] == run_id
        ]
        return [machine_of(answer) for answer in answers]

    def results(self, run_id: str) -> str:
        """Return what a run's results are."""
        (row,) = self.db.execute(rows.one_run(SQLITE), (ORG, run_id))
        return str(row["results"])

    def count(self, table: str = "machines") -> int:
        """Return how many texts are kept there."""
        return int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - ours


def machine_of(answer: RunAnswer) -> str:
    """Return what a run says of its machine."""
    assert answer.run.machine is not None
    return bytes(answer.run.machine).decode()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Give a database."""
    place = Place(tmp_path / "jobs.db")
    yield place
    place.db.close()


@pytest.mark.usefixtures("each_store")
def test_a_run_shows_what_it_said_of_its_machine_and_then_what_it_said_later() -> None:
    """With the claim, with a report, changed by another one, and left alone by one that says nothing."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            first = await world.claim(await world.task(job), machine=LONG)
            second = await world.claim(await world.task(job), machine="{}")
            assert bytes(first.machine or b"").decode() == LONG
            await world.put(second, machine=LONG)
            await world.put(first, machine=OTHER)
            await world.put(first, progress=1)
            listed = await world.store.runs(RunQuery(org_id=world.org_id))
            assert {answer.run.id: machine_of(answer) for answer in listed} == {
                first.id: OTHER,
                second.id: LONG,
            }

    run_async(body)


def test_a_text_is_kept_once_for_a_job_and_a_short_one_with_its_run(place: Place) -> None:
    """Ten runs of one machine are one text; the same text in another job goes with that job."""
    for job_id in ("a", "b"):
        place.do(CreateJob(org_id=ORG, created_by="me", id=job_id))
    runs = [place.run("a", LONG) for _ in range(10)]
    assert place.count() == 1
    assert place.shown(runs[0]) == place.shown(runs[9]) == [LONG] * 3
    other, of_b, short = place.run("a", OTHER), place.run("b", LONG), place.run("b", '{"a": 1}')
    assert place.count() == 3
    assert [place.shown(run) for run in (other, of_b, short)] == [[OTHER] * 3, [LONG] * 3, ['{"a": 1}'] * 3]


def test_a_run_that_says_something_else_with_each_report_leaves_no_texts_behind(place: Place) -> None:
    """Its first is kept for others, the newest is with it; one that another run said is found again."""
    place.do(CreateJob(org_id=ORG, created_by="me", id="a"))
    place.run("a", LONG)
    task = place.do(CreateTask(org_id=ORG, created_by="me", job_id="a", type="x"))
    claim = RunFields(started_at=1, pod_id="pod")
    run = place.do(CreateRun(org_id=ORG, created_by="me", task_id=task.task.id, fields=claim)).run.id
    for number in range(9):
        load = LONG.replace("x", str(number))
        place.do(UpdateRun(org_id=ORG, id=run, fields=RunFields(machine=load)))
        assert place.shown(run) == [load] * 3
    assert place.count() == 2
    place.do(UpdateRun(org_id=ORG, id=run, fields=RunFields(machine=LONG)))
    assert place.shown(run) == [LONG] * 3
    assert len(place.db.execute("SELECT machine FROM runs WHERE id = ?", (run,)).fetchone()[0]) < len(LONG)


def test_a_text_whose_command_is_taken_back_is_kept_by_the_next_that_says_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of a group remember what is kept, but not beyond what was undone."""
    place.do(CreateJob(org_id=ORG, created_by="me", id="a"))
    first, second = (place.run("a", "{}", is_live=True) for _ in range(2))

    def fail_at_first(tx: Transaction, command: UpdateRun) -> RunAnswer:
        answer = update_run(tx, command)
        if command.id == first:
            raise ZeroDivisionError
        return answer

    monkeypatch.setitem(execute.FUNCTIONS, UpdateRun, fail_at_first)
    both = [UpdateRun(org_id=ORG, id=run, fields=RunFields(machine=LONG)) for run in (first, second)]
    results, _ = apply_all(place.db, both, place.clock, place.ids)
    assert [type(result) for result in results] == [ZeroDivisionError, RunAnswer]
    assert place.shown(second) == [LONG] * 3
    assert place.count() == 1


def test_a_run_of_an_older_release_shows_what_lies_in_its_own_row(place: Place) -> None:
    """Nothing is copied when the schema is brought up to date; a later report of the same is taken too."""
    place.do(CreateJob(org_id=ORG, created_by="me", id="a"))
    run = place.run("a", LONG)
    place.db.execute("UPDATE runs SET machine = ?", (OTHER,))
    assert place.shown(run) == [OTHER] * 3


def test_results_of_an_older_release_are_shown_replaced_and_deleted(place: Place) -> None:
    """They lie in a table of their own, by the run's id; those of today by a number."""
    place.do(CreateJob(org_id=ORG, created_by="me", id="a"))
    run = place.run("a", "{}", is_live=True)
    place.db.execute("INSERT INTO results VALUES (?, ?, ?)", (ORG, run, '{"n": 1}'))
    assert place.results(run) == '{"n": 1}'
    same = place.do(UpdateRun(org_id=ORG, id=run, fields=RunFields(results='{"n": 1}')))
    assert (bytes(same.run.results), place.count("run_results")) == (b'{"n": 1}', 0)
    place.do(UpdateRun(org_id=ORG, id=run, fields=RunFields(results='{"n": 2}')))
    assert place.results(run) == '{"n": 2}'
    end = UpdateRun(org_id=ORG, id=run, fields=RunFields(stopped_at=9, results='{"n": 3}'))
    for _ in range(2):
        assert bytes(place.do(end).run.results) == b'{"n": 3}'
    assert (place.results(run), place.count("run_results"), place.count("results")) == ('{"n": 3}', 1, 1)
    place.clock.advance(1)
    job = place.db.execute(SQLITE.job, (ORG, "a")).fetchone()
    gone = DeleteJob(org_id=ORG, id="a", changed_at=job["changed_at"], age_ms=1, most=100)
    assert place.do(gone) is Deletion.GONE
    assert (place.count("run_results"), place.count("results")) == (0, 0)


def test_the_texts_of_a_job_go_with_it_in_parts(place: Place) -> None:
    """No more rows at once than was said, and none of another job."""
    for job_id in ("a", "b"):
        place.do(CreateJob(org_id=ORG, created_by="me", id=job_id))
    for number in range(5):
        place.run("a", LONG.replace("x", str(number)))
    place.run("b", LONG)
    changed_at = place.db.execute("SELECT max(updated_at) FROM job_counters WHERE job_id = 'a'").fetchone()[0]
    command = DeleteJob(org_id=ORG, id="a", changed_at=changed_at, age_ms=0, most=4)
    parts = 0
    while place.do(command) is Deletion.PARTLY:
        parts += 1
    assert parts >= 15 // 4
    assert place.count() == 1
    with pytest.raises(sqlite3.IntegrityError):
        place.db.execute("DELETE FROM jobs WHERE id = 'b'")
