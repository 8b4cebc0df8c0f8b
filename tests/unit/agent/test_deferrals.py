"""How an agent knows that a failed task is not to be tried yet, from the server's times and its own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import run
from worker.agent.claim_rules import open_placeholders
from worker.agent.deferrals import TASKS_MAX, Deferrals, left_s, told_wait_s
from worker.api.ids import requeue_run_id
from worker.api.models import Run
from worker.api.wire import parse_instant
from worker.executor.retries import WAIT_MAX_S

ID = requeue_run_id("first")


def at(second: int) -> str:
    """Return a time of the server."""
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000Z"


def failed(after_s: Any, id_: str = "first", second: int = 0, error: str = "crashed: no") -> Run:
    """Return a run that failed, and says what follows."""
    results = {} if after_s is None else {"retry": {"afterS": after_s}}
    return run(id_, createdAt=at(second), startedAt=at(second), stoppedAt=at(1), error=error, results=results)


def placeholder(after_s: Any = None, id_: str = ID, second: int = 10) -> Run:
    """Return what makes a task pending again."""
    results = {} if after_s is None else {"retry": {"afterS": after_s}}
    return run(id_, createdAt=at(second), results=results)


@pytest.mark.parametrize(
    ("known", "keeps_ids", "wait_s"),
    [
        ([failed(30), placeholder()], True, 30.0),
        ([failed("30"), placeholder()], True, 30.0),
        ([failed(None), placeholder(30)], True, 30.0),
        ([failed(30), placeholder(5)], True, 5.0),
        ([failed(None), placeholder()], True, 0.0),
        ([failed(30), placeholder(id_="a person's")], True, 0.0),
        ([failed(30), placeholder(id_="given by the server")], False, 30.0),
        ([failed(30), failed(None, "second", 5), placeholder(id_="x")], False, 0.0),
        ([failed(30), failed(None, "lost", 5, "lost_claim: x"), placeholder(id_="x")], False, 30.0),
        ([failed(-5), placeholder()], True, 0.0),
        ([failed("soon"), placeholder()], True, 0.0),
        ([failed({}), placeholder()], True, 0.0),
        ([failed(1e300), placeholder()], True, WAIT_MAX_S),
        ([placeholder()], True, 0.0),
    ],
)
def test_the_wait_is_read_from_the_placeholder_or_the_run_that_it_follows(
    known: Sequence[Run], keeps_ids: bool, wait_s: float
) -> None:
    """What nobody can mean is no wait, and a day is the most."""
    assert told_wait_s(known, known[-1], keeps_ids=keeps_ids) == wait_s


@pytest.mark.parametrize(
    ("server_second", "rest_s"), [(None, 30.0), (10, 30.0), (25, 15.0), (40, 0.0), (3000, 0.0), (0, 30.0)]
)
def test_what_is_left_is_a_difference_of_the_servers_own_times(
    server_second: int | None, rest_s: float
) -> None:
    """A server that tells no time, or that of another clock, has all of the wait kept."""
    now = None if server_second is None else parse_instant(at(server_second))
    assert left_s(30.0, placeholder(), now) == rest_s


def test_a_placeholder_without_a_time_waits_for_all_of_it() -> None:
    """From when it was seen."""
    assert left_s(30.0, run("p", createdAt=None), parse_instant(at(40))) == 30.0


def due(deferrals: Deferrals, server_second: int | None, after_s: float = 30.0) -> bool:
    """Look at the runs of a task."""
    known = [failed(after_s), placeholder()]
    now: datetime | None = None if server_second is None else parse_instant(at(server_second))
    return deferrals.is_due("t", known, open_placeholders(known), now, keeps_ids=True)


def test_a_task_is_left_alone_until_its_wait_is_over() -> None:
    """It is looked at once; then the own clock tells when it is due."""

    async def main() -> None:
        deferrals = Deferrals(VirtualClock())
        assert not due(deferrals, 20)
        assert deferrals.next_s() == 20.0
        await asyncio.sleep(19.9)
        assert deferrals.is_waiting("t")
        await asyncio.sleep(0.2)
        assert not deferrals.is_waiting("t")
        assert due(deferrals, 39)  # the second is not over there; it was waited for here
        assert deferrals.next_s() is None

    run_virtual(main())


def test_a_servers_clock_that_stands_still_or_jumps_delays_nothing_for_ever() -> None:
    """A wait that was seen once is never made longer."""

    async def main() -> None:
        deferrals = Deferrals(VirtualClock())
        for second in (10, 0, 10, None, 5):
            assert not due(deferrals, second)
            await asyncio.sleep(5.9)
        await asyncio.sleep(1.0)
        assert due(deferrals, 0)

    run_virtual(main())


def test_an_agent_that_knows_that_a_task_comes_back_does_not_call_itself_idle() -> None:
    """A moment longer, for the server's list to show it."""

    async def main() -> None:
        deferrals = Deferrals(VirtualClock())
        assert not deferrals.expects_any()
        deferrals.note("t", "p", 30.0)
        await asyncio.sleep(31.0)
        assert not deferrals.is_waiting("t")
        assert deferrals.expects_any()
        await asyncio.sleep(5.0)
        assert not deferrals.expects_any()

    run_virtual(main())


def test_no_more_tasks_are_remembered_than_there_is_room_for() -> None:
    """The oldest are forgotten: they are looked at again."""

    async def main() -> None:
        deferrals = Deferrals(VirtualClock())
        for number in range(TASKS_MAX + 1):
            deferrals.note(f"t{number}", "p", 60.0)
        assert not deferrals.is_waiting("t0")
        assert deferrals.is_waiting("t1")
        assert deferrals.is_waiting(f"t{TASKS_MAX}")

    run_virtual(main())
