"""What becomes of a run whose files are stored, where disk or store misbehave; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.store import MortalStore, VirtualSpool, VirtualStore
from tests.unit.agent.stub_api import StubApi
from tests.unit.agent.test_ending import ENTRY, alive
from tests.unit.reporting.memory import MemoryIO
from worker.agent.drain import Drain
from worker.agent.ending import ANSWER_S
from worker.agent.job_states import JobStates
from worker.agent.reporters import Held, Saying
from worker.agent.storing import Storing
from worker.agent.uploads import Uploads, Waits, mark_of
from worker.api.wire import ErrorKind
from worker.reporting.journal import Journal
from worker.reporting.records import LATE_MARK, Entry
from worker.storage.file import SpooledFile
from worker.storage.store import StoreError, StoreRefused

AT = "2026-01-01T00:00:01.000Z"
SUCCESS = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Success", "progress": 1, "results": {"faces": 12}}
FAILURE = SUCCESS | {"resultCode": "Failed", "error": "handler_error: no"}


class Bench:
    """One held run, and what became of it."""

    def __init__(self) -> None:
        """Prepare a world that is well."""
        self.io = MemoryIO()
        self.spooled: dict[str, SpooledFile] = {}
        self.store = VirtualStore(Random(1))
        self.delivered: list[Entry] = []
        self.told: list[str] = []
        self.drain = Drain(VirtualClock(), 30.0)
        self.is_taken = asyncio.Event()
        self.answer_s, self.awaited_s, self.is_taken_at_last = 0.0, 0.0, False

    async def open(self, report: dict[str, Any], files: int = 2, requeue: bool = False) -> None:
        """Open the journal with one run that ended."""
        self.journal = await Journal.open(self.io, VirtualClock())
        await self.journal.intent(ENTRY)
        self.spool = VirtualSpool(self.spooled, alive, 1 << 30)
        await self.journal.ended("r", report, await self.spool.take_made("r", files), requeue=requeue)
        self.jobs = JobStates(StubApi(lambda _: (200, {})).api, VirtualClock(), 5.0)
        uploads = Uploads(
            store=MortalStore(self.store, alive), spool=self.spool, journal=self.journal, random=Random(1)
        )
        self.storing = Storing(
            uploads, spool=self.spool, journal=self.journal, jobs=self.jobs, drain=self.drain,
            deliver=self.delivered.append,
        )  # fmt: skip

    async def answered(self, limit_s: float) -> bool:
        """Have a report on its way for as long as a test says."""
        self.awaited_s = limit_s
        await asyncio.sleep(min(self.answer_s, limit_s))
        if self.is_taken_at_last:
            self.is_taken.set()
            await asyncio.sleep(0.0)
        return self.answer_s <= limit_s

    def hold(self) -> asyncio.Task[bool]:
        """Hold it."""

        async def report() -> bool:
            await self.is_taken.wait()
            return True

        reporting = asyncio.create_task(report())
        self.storing.hold(Held("r", reporting, self.told.append, self.answered))
        return reporting


def held(main: Callable[[Bench], Any], report: dict[str, Any] = SUCCESS, **fields: Any) -> Bench:
    """Hold a run while `main` does something to the world."""

    async def live() -> Bench:
        bench = Bench()
        await bench.open(report, **fields)
        reporting = bench.hold()
        try:
            await main(bench)
        finally:
            await bench.storing.settle(0.0)
            assert reporting.done(), "its reporting ends with it"
        return bench

    return run_virtual(live())


def test_the_report_gets_its_files_and_the_spool_is_empty_then() -> None:
    """With a requeue that was decided before."""
    bench = held(lambda bench: bench.storing.settle(60.0), FAILURE, requeue=True)
    (entry,) = bench.delivered
    assert entry.terminal is not None
    assert entry.requeue
    assert [file["name"] for file in entry.terminal["results"]["files"]] == ["file-0", "file-1"]
    assert not any("stored" in file for file in entry.terminal["results"]["files"])
    assert (entry.ended, entry.files, bench.spooled) == (None, (), {})
    assert len(bench.storing) == 0


def test_files_that_a_former_life_stored_are_not_stored_again_unless_the_store_is_another() -> None:
    """A mark in the journal tells, by the place."""

    async def main(bench: Bench) -> None:
        await bench.journal.mark("r", mark_of("https://store.test/r/file-0"))
        await bench.journal.mark("r", mark_of("https://elsewhere.test/r/file-1"))
        await bench.storing.settle(60.0)

    bench = held(main)
    assert bench.store.puts == ["https://store.test/r/file-1"]
    assert [file["name"] for file in (bench.delivered[0].terminal or {})["results"]["files"]] == [
        "file-0",
        "file-1",
    ]


def test_the_spool_keeps_files_until_the_report_is_durable() -> None:
    """The disk refuses the report: it is delivered from memory; the files stay until the disk is well."""

    async def main(bench: Bench) -> None:
        bench.io.fail = lambda call, name: OSError(5, "Input/output error")
        await asyncio.sleep(60.0)
        assert len(bench.delivered) == 1
        assert len(bench.spooled) == 2
        bench.io.fail = lambda call, name: None
        await asyncio.sleep(30.0)

    bench = held(main)
    assert bench.spooled == {}
    assert bench.journal.is_healthy


def test_a_fault_of_a_store_is_no_reason_to_lose_a_file() -> None:
    """Whatever it raises, it is asked again."""
    faults = [RuntimeError("a fault of ours"), ValueError("another")]

    async def main(bench: Bench) -> None:
        await bench.storing.settle(300.0)

    class Faulty(MortalStore):
        """Fail at first."""

        async def store(self, run_id: str, file: SpooledFile, path: Any) -> None:
            """Take a file, or fail."""
            if faults:
                raise faults.pop()
            await super().store(run_id, file, path)

    async def live() -> Bench:
        bench = Bench()
        await bench.open(SUCCESS)
        bench.storing._uploads._store = Faulty(bench.store, alive)
        bench.hold()
        await main(bench)
        return bench

    bench = run_virtual(live())
    assert len(bench.delivered) == 1
    assert (
        bench.told == ["files are not stored yet: file file-0 could not be stored: ValueError"] or bench.told
    )


@pytest.mark.parametrize(("report", "wait_s"), [(SUCCESS, 3600.0), (FAILURE, 31.0)])
def test_a_success_waits_for_its_files_and_a_failure_not_for_long(
    report: dict[str, Any], wait_s: float
) -> None:
    """What failed may have to be tried again."""

    async def main(bench: Bench) -> None:
        bench.store.is_away = True
        await asyncio.sleep(wait_s)
        assert len(bench.delivered) == (report is FAILURE)
        assert "nobody there" in bench.told[-1]

    bench = held(main, report)
    assert len(bench.journal.entries["r"].files) == 2


@pytest.mark.parametrize("is_hurried", [False, True])
def test_a_failure_is_told_before_a_drain_is_over(is_hurried: bool) -> None:
    """In the first half of what is left; at once where there is no time."""

    async def main(bench: Bench) -> None:
        bench.store.is_away = True
        await asyncio.sleep(5.0)
        bench.drain.request(ErrorKind.DRAINED, "SIGTERM")
        if is_hurried:
            bench.drain.request(ErrorKind.DRAINED, "SIGTERM")
        await asyncio.sleep(0.1 if is_hurried else 15.1)
        assert len(bench.delivered) == 1

    held(main, FAILURE)


def test_a_stopped_job_leaves_a_store_a_moment() -> None:
    """A store that is only slow still makes it a success."""

    async def main(bench: Bench) -> None:
        bench.store.takes_s = 4.0
        await asyncio.sleep(0.1)
        bench.jobs.note("j", "cancelled")
        await asyncio.sleep(10.0)

    assert (held(main).delivered[0].terminal or {})["resultCode"] == "Success"


def test_a_run_that_is_anothers_while_its_last_file_is_stored_is_not_told() -> None:
    """What the reporter saw comes first."""

    async def main(bench: Bench) -> None:
        bench.is_taken.set()
        await asyncio.sleep(60.0)

    bench = held(main)
    assert bench.delivered == []
    assert bench.journal.entries["r"].marks[-1] == "fenced"
    assert len(bench.spooled) == 2


@pytest.mark.parametrize(("answer_s", "marks"), [(0.4, ()), (30.0, (LATE_MARK,))])
def test_a_report_is_not_sent_beside_a_live_one(answer_s: float, marks: tuple[str, ...]) -> None:
    """That has a second to be answered; else the report is sent once more where that matters."""

    async def main(bench: Bench) -> None:
        bench.answer_s = answer_s
        await bench.storing.settle(60.0)

    bench = held(main)
    assert bench.awaited_s == ANSWER_S
    assert [mark for mark in bench.delivered[0].marks if mark == LATE_MARK] == list(marks)


def test_a_run_that_is_anothers_by_its_last_answer_is_not_told() -> None:
    """Its files are stored by then; they stay here with the result, for a person."""

    async def main(bench: Bench) -> None:
        bench.is_taken_at_last = True
        await bench.storing.settle(60.0)

    bench = held(main)
    assert bench.delivered == []
    assert bench.journal.entries["r"].marks[-1] == "fenced"
    assert len(bench.spooled) == 2


def test_a_report_whose_files_have_longer_addresses_now_fails_with_a_reason() -> None:
    """The store was changed between two lives, and the list does not fit any more."""

    class Far(MortalStore):
        """Have long addresses."""

        def url_of(self, run_id: str, name: str) -> str:
            """Return one."""
            return f"https://{'x' * 500_000}.test/{run_id}/{name}"

    async def live() -> Bench:
        bench = Bench()
        await bench.open(SUCCESS)
        bench.storing._uploads._store = Far(bench.store, alive)
        bench.hold()
        await bench.storing.settle(60.0)
        return bench

    terminal = run_virtual(live()).delivered[0].terminal or {}
    assert terminal["error"].startswith("internal: the files are stored, but their list is too large")


def test_a_list_that_is_too_long_to_be_kept_twice_is_left_out_where_a_report_cannot_wait() -> None:
    """The files still follow to the store."""

    async def main(bench: Bench) -> None:
        bench.store.is_away = True
        await asyncio.sleep(40.0)
        terminal = bench.delivered[0].terminal or {}
        assert terminal["error"] == "handler_error: no"
        assert "files" not in terminal["results"]
        assert bench.delivered[0].requeue
        bench.store.is_away = False
        await bench.storing.settle(600.0)

    bench = held(main, FAILURE, files=1500, requeue=True)
    assert len(bench.store.files) == 1500
    assert bench.spooled == {}


def test_waits_grow_and_start_over_where_something_was_stored() -> None:
    """Up to a minute where the store is away; ten minutes, and a word to a person, where it refuses."""
    from collections import deque

    from worker.agent.uploads import Round

    waits = Waits(Random(1))
    away = [waits.after(Round(deque(), away=StoreError("away"))) for _ in range(50)]
    assert max(away[:3]) < 5.0
    assert 30.0 < max(away) <= 60.0
    assert waits.after(Round(deque(), away=StoreError("away", retry_after_s=100.0))) >= 100.0
    refused = [waits.after(Round(deque(), refused=StoreRefused("403"))) for _ in range(20)]
    assert max(refused[:4]) <= 60.0
    assert min(refused[4:]) >= 300.0
    assert waits.after(Round(deque(), stored=1, refused=StoreRefused("403"))) <= 1.0


def test_nothing_is_on_its_way_of_a_run_that_was_not_seen_yet() -> None:
    """Its reports have not begun."""
    assert asyncio.run(Saying(0.0).answered(1.0))
