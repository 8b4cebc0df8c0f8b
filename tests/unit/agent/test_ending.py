"""How the end of a run is written down, with and without files; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.store import MortalStore, VirtualSpool, VirtualStore
from tests.unit.agent.stub_api import Answer, Request, StubApi, run, task
from tests.unit.reporting.memory import MemoryIO
from worker.agent.claim import Claim
from worker.agent.ending import ANSWER_S, Endings
from worker.agent.policies import Policies
from worker.agent.reporters import Held
from worker.agent.reporting_task import Reporting
from worker.agent.shared_timer import SharedTimer
from worker.agent.uploads import Uploads
from worker.api.models import Identity
from worker.api.wire import ErrorKind, ResultCode, parse_instant
from worker.executor.outcome import Outcome, RunError
from worker.reporting.journal import Journal
from worker.reporting.records import LATE_MARK, Entry
from worker.reporting.reporter import Reporter
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage

AT = "2026-01-01T00:00:01.000Z"
LIVE = {"id": "r", "podId": "pod/a", "startedAt": AT, "stoppedAt": None}
ENTRY = Entry(run_id="r", task_id="t", job_id="j", pod_id="pod/a", started_at=AT, intent=LIVE)
USAGE = Usage(wall_s=3.0, cpu_user_s=2.0)


class Desk:
    """What became of an end."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.io = MemoryIO()
        self.spooled: dict[str, SpooledFile] = {}
        self.ended: list[Entry] = []
        self.held: list[Held] = []
        self.entries: dict[str, Entry] = {}
        self.is_reporting = False
        self.answers = 0  # of the server, to reports
        self.answers_before_end = 0
        self.took_s = 0.0

    def end(self, entry: Entry) -> None:
        """Take an outcome that is to be told."""
        self.ended.append(entry)
        self.answers_before_end = self.answers


def ended(
    make: Callable[[tuple[SpooledFile, ...]], Outcome],
    *,
    files: int = 0,
    answer: dict[str, Any] = LIVE,
    before: Callable[[Desk], None] = lambda desk: None,
    cancel_after: int | None = None,
    answer_s: float | None = None,
) -> Desk:
    """Write an outcome down; the server answers every report so.

    `cancel_after` is how many rounds the loop makes before whoever writes it is cancelled; `answer_s` how
    long the server takes for a report that is sent right before the end, None: there is none.
    """

    async def main() -> Desk:
        def answered(_: Request) -> Answer:
            desk.answers += 1
            return 200, answer if answer_s is None or stub.delay_s else LIVE

        desk, stub, clock = Desk(), StubApi(answered), VirtualClock()
        journal = await Journal.open(desk.io, clock)
        await journal.intent(ENTRY)
        spool = VirtualSpool(desk.spooled, alive, 1 << 30)
        outcome = make(await spool.take_made("r", files))
        store = MortalStore(VirtualStore(Random(1)), alive)
        uploads = Uploads(store=store, spool=spool, journal=journal, random=Random(1))
        endings = Endings(
            journal=journal, spool=spool, uploads=uploads, clock=clock, policies=Policies({}, None),
            on_ended=desk.end, on_held=desk.held.append,
        )  # fmt: skip
        started_at = parse_instant(AT)
        assert started_at is not None
        identity = Identity("pod/a", started_at)
        reporter = Reporter(
            stub.api, clock, run("r"), identity, report_interval_s=1.0, heartbeat_s=2.0, lag_s=0.1,
            machine=dict, on_answer=lambda _: None, on_lost=lambda _: None,
        )  # fmt: skip
        reporting = Reporting(reporter, SharedTimer())
        await asyncio.sleep(10.0)
        before(desk)
        if answer_s is not None:
            desk.answers, stub.delay_s = 0, answer_s
            reporter.tell_stop("drained", "SIGTERM")
            reporting.begin()
            await asyncio.sleep(0.01)
        began_s = clock.mono()
        claim = Claim(task=task(), run=run("r"), identity=identity, attempt=1, resume=None, known=())
        ending = asyncio.create_task(endings.end(claim, outcome, reporter, reporting))
        if cancel_after is not None:
            for _ in range(cancel_after):
                await asyncio.sleep(0)
            ending.cancel()
        await asyncio.wait({ending})
        desk.took_s = clock.mono() - began_s
        if not ending.cancelled():
            ending.result()
        await journal.flush()
        desk.entries = dict(journal.entries)
        desk.is_reporting = not reporting.begin().done()
        await reporting.end()
        return desk

    return run_virtual(main())


async def alive() -> None:
    """Live on."""


def success(files: tuple[SpooledFile, ...], **fields: Any) -> Outcome:
    """Return a success with files."""
    return Outcome(code=ResultCode.SUCCESS, value={"faces": 12}, usage=USAGE, files=files, **fields)


def failure(files: tuple[SpooledFile, ...]) -> Outcome:
    """Return a failure that may be tried again."""
    error = RunError(kind=ErrorKind.HANDLER_ERROR, message="no", retryable=True)
    return Outcome(code=ResultCode.FAILED, error=error, files=files)


def test_an_end_without_files_is_whole_and_its_reporting_over() -> None:
    """It goes on its way at once."""
    desk = ended(success)
    (entry,) = desk.ended
    assert entry.terminal is not None
    assert entry.terminal["results"]["faces"] == 12
    assert not desk.is_reporting
    assert desk.held == []


def test_an_end_with_files_is_held_and_goes_on_reporting() -> None:
    """The outcome is in the journal without its files, and with the last usage for further reports."""
    desk = ended(success, files=2)
    (held,) = desk.held
    entry = desk.entries[held.run_id]
    assert entry.terminal is None
    assert entry.ended is not None
    assert entry.ended["resultCode"] == "Success"
    assert "files" not in entry.ended["results"]
    assert [file.name for file in entry.files] == ["file-0", "file-1"]
    assert entry.usage == USAGE
    assert desk.is_reporting
    assert desk.ended == []


def test_a_failure_with_files_remembers_that_its_task_is_requeued() -> None:
    """It waits, for a moment, too."""
    desk = ended(failure, files=1)
    assert desk.entries["r"].requeue
    assert desk.is_reporting


@pytest.mark.parametrize("files", [0, 1])
def test_results_that_are_too_large_say_the_bound_and_what_to_do(files: int) -> None:
    """In the error of the run; nothing of it stays in the spool, nothing is reported any more."""
    desk = ended(
        lambda made: Outcome(code=ResultCode.SUCCESS, value={"x": "y" * 600_000}, files=made), files=files
    )
    (entry,) = desk.ended
    assert entry.terminal is not None
    assert entry.terminal["resultCode"] == "Failed"
    bound = 393_216 if not files else 393_216 - 4096 - 48
    for words in ("too large to report: 60", f"{bound} are allowed", "ctx.artifact"):
        assert words in entry.terminal["error"]
    assert "x" not in entry.terminal["results"]
    assert desk.spooled == {}
    assert not desk.is_reporting


def test_a_list_of_files_that_is_too_large_is_refused_before_anything_is_stored() -> None:
    """Asked with their addresses, which come last."""
    desk = ended(success, files=2500)
    (entry,) = desk.ended
    assert entry.terminal is not None
    assert "the results and 2500 files are too large to report" in entry.terminal["error"]
    assert "archive" in entry.terminal["error"]


def test_a_failure_of_a_run_that_is_lost_leaves_nothing() -> None:
    """Nobody wants it: no entry, no file."""
    desk = ended(failure, files=2, answer=LIVE | {"stoppedAt": AT})
    assert desk.entries == {}
    assert desk.spooled == {}


def test_a_result_of_a_run_that_is_anothers_stays_with_its_files() -> None:
    """For a person; nothing is told or stored."""
    desk = ended(success, files=2, answer=LIVE | {"podId": "pod/b"})
    assert desk.entries["r"].marks == ("fenced",)
    assert len(desk.spooled) == 2
    assert desk.ended == []
    assert desk.held == []


def test_a_disk_that_refuses_the_end_does_not_lose_it() -> None:
    """It is held from memory, and the journal tries again."""
    desk = ended(success, files=1, before=refuse)
    assert len(desk.held) == 1
    assert desk.entries["r"].ended is not None


def refuse(desk: Desk) -> None:
    """Let the disk fail from now on."""
    desk.io.fail = lambda call, name: OSError(5, "Input/output error") if call != "names" else None


def test_a_disk_that_refuses_all_keeps_no_outcome_from_being_told() -> None:
    """Not the note either that a live report was not answered; who delivers finds it in memory."""
    desk = ended(success, before=refuse, answer_s=30.0)
    assert [entry.marks for entry in desk.ended] == [(LATE_MARK,)]


def test_an_outcome_is_not_sent_beside_a_live_report() -> None:
    """It might arrive later, and be the last word on servers that take reports on runs that are over."""
    desk = ended(success, answer_s=0.4)
    assert (len(desk.ended), desk.answers_before_end) == (1, 1)
    assert desk.ended[0].marks == ()
    assert not desk.is_reporting


def test_an_outcome_does_not_wait_long_for_a_server_that_does_not_answer() -> None:
    """Whether what was given up arrives, nobody knows."""
    desk = ended(success, answer_s=30.0)
    assert (len(desk.ended), desk.answers_before_end) == (1, 0)
    assert desk.ended[0].marks == (LATE_MARK,)  # it is sent once more, where that matters
    assert desk.took_s == pytest.approx(ANSWER_S)


def test_what_the_last_answer_says_of_a_run_counts() -> None:
    """It comes between the outcome and its sending: nothing is written to a run that is another's."""
    desk = ended(success, answer=LIVE | {"podId": "pod/b"}, answer_s=0.4)
    assert desk.ended == []
    assert desk.entries["r"].marks == ("fenced",)


@pytest.mark.parametrize("files", [0, 1])
@pytest.mark.parametrize("rounds", range(1, 9))
def test_an_end_that_is_cancelled_is_written_all_the_same(rounds: int, files: int) -> None:
    """The time of a drain is over, and live reports are just being ended: else the task would run again."""
    desk = ended(success, files=files, cancel_after=rounds)
    entry = desk.entries["r"]
    report = entry.ended if files else entry.terminal
    assert report is not None
    assert report["resultCode"] == "Success"


def test_the_spool_of_these_tests_is_no_real_one() -> None:
    """Nothing is written."""
    assert not Path("/spool").exists()
