"""How a run is reported on: in virtual time, against a stub."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi, error, run
from worker.api.models import Identity, Run
from worker.executor.executor import CheckpointEvent, LogEvent, ProgressEvent, UsageEvent
from worker.reporting.reporter import Reporter
from worker.usage.usage import Usage

AT = "2026-01-01T00:00:01.000Z"
OURS = Identity("pod/a", datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
LIVE = {"id": "r", "podId": "pod/a", "startedAt": AT, "stoppedAt": None}


class Desk:
    """A reporter and what it told."""

    def __init__(self, stub: StubApi) -> None:
        """Report every 2 s at most and every 15 s at least."""
        self.answers: list[Run] = []
        self.lost: list[str] = []
        self.machine = {"nodeCPUs": {"state": "measured", "value": 2, "source": "psutil"}}
        self.fields: dict[str, Any] = {}
        self.reporter = Reporter(
            stub.api,
            VirtualClock(),
            run("r"),
            OURS,
            report_interval_s=2.0,
            heartbeat_s=15.0,
            lag_s=3.0,
            machine=lambda: {"machine": self.machine, **self.fields},
            on_answer=self.answers.append,
            on_lost=self.lost.append,
        )

    async def live(self, limit_s: float) -> None:
        """Let it report for a while."""
        try:
            async with asyncio.timeout(limit_s):
                await self.reporter.run()
        except TimeoutError:
            return


def reported(answer: Any, limit_s: float = 60.0) -> tuple[Desk, StubApi]:
    """Report for a while on a run about which nothing happens."""
    stub = StubApi(answer if callable(answer) else lambda _: answer)

    async def main() -> Desk:
        desk = Desk(stub)
        await desk.live(limit_s)
        return desk

    return run_virtual(main()), stub


def test_a_silent_run_is_reported_once_in_a_heartbeat() -> None:
    """Never less: the server may give a silent run away."""
    desk, stub = reported((200, LIVE), limit_s=61.0)
    assert len(stub.requests) == 4
    assert len(desk.answers) == 4
    assert ["machine" in request.body for request in stub.requests] == [True, False, False, False]
    assert stub.requests[0].body["startedAt"] == AT


def test_what_comes_late_of_the_machine_follows_in_the_next_report_once() -> None:
    """Field by field, with `machine`; what was told already is not repeated."""
    stub = StubApi(lambda _: (200, LIVE))

    async def main() -> Desk:
        desk = Desk(stub)
        desk.fields = {"nodeCPUs": 2}
        await desk.live(20.0)
        desk.fields = {**desk.fields, "zone": "europe-west4-a", "preemptible": False}
        desk.machine = {**desk.machine, "zone": {"state": "measured"}}
        await desk.live(40.0)
        return desk

    desk = run_virtual(main())
    about = {"machine", "nodeCPUs", "zone", "preemptible"}
    told = [
        {name: body[name] for name in about & body.keys()} for body in (one.body for one in stub.requests)
    ]
    assert "zone" not in told[0]["machine"]
    assert [set(one) for one in told if one] == [{"machine", "nodeCPUs"}, about - {"nodeCPUs"}]
    assert told[0]["nodeCPUs"] == 2
    assert desk.reporter.untold == {}


def test_what_is_late_and_was_not_answered_stays_untold() -> None:
    """The last report of a run tells it, at the latest."""
    desk, _ = reported((503, error("no")))
    assert set(desk.reporter.untold) == {"machine"}


def test_a_report_that_was_not_answered_may_arrive_for_a_minute() -> None:
    """Then it is taken for lost; one that was answered, or refused, has arrived."""
    answers: list[Answer] = [(200, LIVE), (403, {}), (502, {})]
    stub = StubApi(lambda _: answers[0])

    async def main() -> list[bool]:
        desk, sure = Desk(stub), []
        for _ in range(3):
            await desk.live(20.0)
            sure.append(await desk.reporter.answered(0.0))
            answers.append(answers.pop(0))
        await desk.live(50.0)
        return [*sure, await desk.reporter.answered(0.0)]

    assert run_virtual(main()) == [True, True, False, True]


def test_a_thousand_progress_reports_become_one_in_an_interval() -> None:
    """Only the newest progress is told, with usage and the log's end."""
    stub = StubApi(lambda _: (200, LIVE))

    async def main() -> None:
        desk = Desk(stub)

        async def work() -> None:
            for step in range(1000):
                desk.reporter.note(ProgressEvent(step / 1000, f"step {step}"))
                desk.reporter.note(LogEvent("stdout", f"line {step}"))
                desk.reporter.note(UsageEvent(Usage(wall_s=step / 100, cpu_user_s=1.0, cpu_system_s=0.5)))
                await asyncio.sleep(0.01)

        await asyncio.gather(desk.live(11.0), work())

    run_virtual(main())
    assert 4 <= len(stub.requests) <= 6
    last = stub.requests[-1].body
    assert last["progress"] == 0.999
    assert last["results"]["logTail"].splitlines()[-1] == "line 999"
    assert len(last["results"]["logTail"].splitlines()) == 50
    assert last["CPUTime"] == 1.5
    assert "RAMUsage" not in last  # unknown is left out, never 0


@pytest.mark.parametrize(
    "shown",
    [
        {**LIVE, "stoppedAt": AT},
        {**LIVE, "podId": "pod/b"},
        {**LIVE, "startedAt": "2026-01-01T00:00:02.000Z"},
    ],
)
def test_an_answer_that_shows_the_run_stopped_or_taken_ends_the_attempt(shown: dict[str, Any]) -> None:
    """One answer of the API itself is enough, and nothing more is written to the run."""
    desk, stub = reported((200, shown))
    assert len(desk.lost) == 1
    assert len(stub.requests) == 1


@pytest.mark.parametrize(("status", "code"), [(404, "run_not_found"), (409, "run_stopped"), (410, "gone")])
def test_a_documented_refusal_that_a_look_confirms_ends_the_attempt(status: int, code: str) -> None:
    """It must persist for longer than the server's reads lag."""

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            return status, error(code)
        return 200, {**LIVE, "stoppedAt": AT}

    desk, stub = reported(answer)
    assert len(desk.lost) == 1
    assert len(stub.asked("GET")) == 2


def test_a_refusal_that_a_look_does_not_confirm_changes_nothing() -> None:
    """A replica that lags behind says 404 for a moment."""
    desk, _ = reported(
        lambda request: (404, error("run_not_found")) if request.method == "PUT" else (200, LIVE)
    )
    assert desk.lost == []
    assert desk.answers


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"message": "no such route"}),
        (404, "<html>not here</html>"),
        (409, {}),
        (502, {}),
        (500, error("run_not_found")),
        (401, error("users_service_unavailable")),
        (429, {}),
        (200, "<html>"),
        (200, []),
        httpx.ReadTimeout("silence"),
        httpx.ConnectError("refused"),
    ],
)
def test_what_the_api_itself_did_not_say_never_ends_a_run(answer: Answer) -> None:
    """An ingress, a time-out, a failing server: the run goes on, and is reported again."""
    desk, stub = reported(lambda _: answer)
    assert desk.lost == []
    assert len(stub.asked("PUT")) >= 3


def test_a_server_that_leaves_out_the_identity_has_not_taken_the_run() -> None:
    """Absent means unknown."""
    desk, _ = reported((200, {"id": "r"}))
    assert desk.lost == []


def test_a_server_that_refuses_undocumented_fields_is_told_the_others() -> None:
    """Usage is no part of the documented report; progress is, and a person wants to see it."""
    allowed = {"startedAt", "stoppedAt", "resultCode", "error", "progress", "results", "machine"}
    stub = StubApi(lambda one: (200, LIVE) if set(one.body) <= allowed else (422, error("update_run_error")))

    async def main() -> Desk:
        desk = Desk(stub)
        desk.reporter.note(UsageEvent(Usage(wall_s=1.0, cpu_user_s=1.0, cpu_system_s=0.5)))
        desk.reporter.note(ProgressEvent(0.5))
        await desk.live(61.0)
        return desk

    assert len(run_virtual(main()).answers) >= 3
    assert stub.requests[1].body["progress"] == 0.5


def test_a_server_that_refuses_every_report_is_not_hammered() -> None:
    """Once in a heartbeat is enough to see whether the run is still ours."""
    _, stub = reported((422, error("update_run_error")), limit_s=600.0)
    assert len(stub.requests) <= 45


def test_retry_after_is_obeyed_up_to_a_heartbeat() -> None:
    """No longer: the answer to a report tells whether the run is still ours."""
    _, stub = reported((429, {}, {"Retry-After": "3600"}), limit_s=151.0)
    assert 9 <= len(stub.requests) <= 11


def test_why_a_run_is_to_stop_is_told_at_once_with_its_checkpoint() -> None:
    """Neither the interval nor the heartbeat is waited for; it is told again, as long as the run goes on."""
    stub = StubApi(lambda _: (200, LIVE))

    async def main() -> list[Request]:
        desk = Desk(stub)
        living = asyncio.create_task(desk.live(60.0))
        await asyncio.sleep(0.5)
        desk.reporter.note(CheckpointEvent({"step": 3}))
        desk.reporter.tell_stop("drained", "SIGTERM received")
        await asyncio.sleep(0.1)
        at_once = list(stub.requests)
        await living
        return at_once

    at_once = run_virtual(main())
    told = {"stopping": {"kind": "drained", "message": "SIGTERM received"}, "checkpoint": {"step": 3}}
    assert [request.body["results"] for request in at_once] == [told]
    assert "stoppedAt" not in at_once[0].body
    assert [request.body["results"] for request in stub.requests] == [told] * len(stub.requests)
    assert len(stub.requests) > 3


def told_with_checkpoint(answer: Any, checkpoint: CheckpointEvent, limit_s: float) -> list[Request]:
    """Report on a run that saved a checkpoint at its start and goes on telling progress."""
    stub = StubApi(answer)

    async def main() -> None:
        desk = Desk(stub)
        desk.reporter.note(checkpoint)
        living = asyncio.create_task(desk.live(limit_s))
        for step in range(int(limit_s)):
            desk.reporter.note(ProgressEvent(step / limit_s, None))
            await asyncio.sleep(1.0)
        await living

    run_virtual(main())
    return stub.requests


def test_a_checkpoint_stands_in_every_report() -> None:
    """Results replace those before, and a machine may be lost without notice."""
    requests = told_with_checkpoint(lambda _: (200, LIVE), CheckpointEvent({"step": 3}, 10), 30.0)
    assert len(requests) >= 10
    assert all(request.body["results"]["checkpoint"] == {"step": 3} for request in requests)


def test_a_large_checkpoint_makes_reports_rarer_up_to_the_heartbeat() -> None:
    """256 KiB each two seconds would be a load; a heartbeat must be."""
    large = CheckpointEvent("x" * 256 * 1024, 256 * 1024)
    assert 3 <= len(told_with_checkpoint(lambda _: (200, LIVE), large, 30.0)) <= 4
    huge = CheckpointEvent("x", 256 * 1024 * 1024)
    assert 2 <= len(told_with_checkpoint(lambda _: (200, LIVE), huge, 31.0)) <= 3


@pytest.mark.parametrize("status", [413, 422])
def test_a_server_that_refuses_checkpoints_hears_all_the_rest(status: int) -> None:
    """A lease would end for want of reports; the checkpoint in the outcome is another matter."""

    def answer(request: Request) -> Answer:
        if "checkpoint" in request.body["results"]:
            return status, error("update_run_error")
        return 200, LIVE

    requests = told_with_checkpoint(answer, CheckpointEvent({"step": 3}, 10), 40.0)
    refused = [request for request in requests if "checkpoint" in request.body["results"]]
    assert 1 <= len(refused) <= 2
    assert len(requests) - len(refused) >= 10
    assert requests[-1].body["progress"] > 0.5


LARGE_AT = 100  # characters of a checkpoint's `token`, from which on the server refuses it


def token(size: int) -> CheckpointEvent:
    """Return a checkpoint of a size."""
    return CheckpointEvent({"token": "x" * size}, size)


def told_one_after_the_other(answer: Any, checkpoints: list[CheckpointEvent]) -> list[Any]:
    """Save a checkpoint each 30 s; return which ones the server has taken, in the order of reports."""
    taken: list[Any] = []

    def weigh(request: Request) -> Answer:
        status, body = answer(request)
        if status == 200:
            taken.append(request.body["results"].get("checkpoint"))
        return status, body

    async def main() -> None:
        desk = Desk(StubApi(weigh))
        living = asyncio.create_task(desk.live(30.0 * len(checkpoints)))
        for checkpoint in checkpoints:
            desk.reporter.note(checkpoint)
            await asyncio.sleep(30.0)
        await living

    run_virtual(main())
    return [one for at, one in enumerate(taken) if at == 0 or taken[at - 1] != one]


@pytest.mark.parametrize("status", [413, 422])
def test_a_checkpoint_that_is_refused_does_not_erase_the_one_before(status: int) -> None:
    """It is told again until a smaller one takes its place, or the handler takes it back."""

    def answer(request: Request) -> Answer:
        size = len((request.body["results"].get("checkpoint") or {"token": ""})["token"])
        return (status, error("update_run_error")) if size >= LARGE_AT else (200, LIVE)

    first, smaller = token(50), token(60)
    values = told_one_after_the_other(answer, [first, token(500), token(LARGE_AT), smaller])
    assert values == [first.value, smaller.value]
    assert told_one_after_the_other(answer, [first, token(500), CheckpointEvent(None)]) == [first.value, None]


def test_a_checkpoint_that_is_not_taken_any_more_ends_no_reports() -> None:
    """A server, or a proxy before it, that became stricter meanwhile."""
    limits = iter([1000] * 2)

    def answer(request: Request) -> Answer:
        size = len((request.body["results"].get("checkpoint") or {"token": ""})["token"])
        return (413, error("update_run_error")) if size >= next(limits, 10) else (200, LIVE)

    first = token(50)
    assert told_one_after_the_other(answer, [first, token(500), token(500), token(500)]) == [
        first.value,
        None,
    ]
