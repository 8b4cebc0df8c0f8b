"""A task that failed and waits: no agent is shown it, and somebody is called when it is due."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec import UNSET

from server.pending import deferred
from server.pending.deferred import Deferred
from server.store.changes import TaskDeferred
from server.store.commands import RunFields
from server.store.records import TaskRecord
from server.store.rules import WAIT_MOST_S, wait_of
from tests.unit.server.test_desk import ids, open_desk, pending, standing
from tests.unit.server.world import LIMIT_S, World, run_async


def told(after_s: object) -> str:
    """Return the results of a placeholder that waits."""
    return msgspec.json.encode({"retry": {"afterS": after_s}}).decode()


async def failed(world: World, after_s: object) -> TaskRecord:
    """Return a task that has failed, and is requeued as an agent does it: the placeholder, then the stop."""
    task = await world.task(await world.job())
    run = await world.claim(task)
    await world.post(task, "again", results=told(after_s))
    await world.put(run, stopped_at=9, result_code="Failed", error="crashed: no")
    return task


@pytest.mark.parametrize(
    ("results", "wait_s"),
    [
        (UNSET, 0.0),
        ("{}", 0.0),
        (told(30), 30.0),
        (told("30"), 30.0),
        (told(-1), 0.0),
        (told(None), 0.0),
        (told("soon"), 0.0),
        (told(1e300), WAIT_MOST_S),
        ('{"retry": [1]}', 0.0),
        ('{"text": "x"}', 0.0),
    ],
)
def test_what_a_placeholder_says_is_read_in_bounds(results: str, wait_s: float) -> None:
    """Whatever a client writes there."""
    assert wait_of(RunFields(results=results)) == wait_s


def test_a_task_that_waits_is_shown_to_no_agent_but_to_people() -> None:
    """It is pending all the same, and whoever claims it has it."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await failed(world, 600)
            assert await world.status(task) == "pending"
            assert await desk.look(pending(world), "a") == []
            assert await desk.wait(pending(world), "a", 0.05) == []
            assert ids(await desk.look(pending(world), None)) == [task.id]
            assert (await world.claim(task, "taken")).id == "taken"

    run_async(body)


def test_who_waits_in_line_is_called_when_a_task_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: a second later than told, for times of HTTP have whole ones."""
    monkeypatch.setattr(deferred, "LATER_S", 0.0)  # the second itself, left out

    async def body() -> None:
        async with open_desk() as (world, desk):
            waiting = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await standing(desk, world, 1)
            other = await world.task(await world.job())
            assert ids(await waiting) == [other.id]
            await world.claim(other, "other")
            task = await failed(world, 0.3)
            since = asyncio.get_running_loop().time()
            assert ids(await desk.wait(pending(world), "a", LIMIT_S)) == [task.id]
            assert asyncio.get_running_loop().time() - since > 0.2

    run_async(body)


def test_a_task_that_was_taken_early_waits_no_more() -> None:
    """By an agent that knows no waits, drained, and requeued at once: the new placeholder counts."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await failed(world, 600)
            run = await world.claim(task, "early")
            await world.post(task, "once more")
            await world.put(run, stopped_at=9, result_code="Failed", error="drained: x")
            assert ids(await desk.look(pending(world), "a")) == [task.id]

    run_async(body)


@pytest.mark.parametrize("results", [UNSET, told(0)])
def test_a_placeholder_without_a_wait_ends_an_earlier_one(results: str) -> None:
    """A person's: the task is shown, and who waits in line is called for it."""

    async def body() -> None:
        async with open_desk() as (world, desk):
            task = await failed(world, 600)
            assert await desk.look(pending(world), "a") == []
            waiting = asyncio.create_task(desk.wait(pending(world), "a", LIMIT_S))
            await standing(desk, world, 1)
            await world.post(task, "by-a-person", results=results)
            assert ids(await waiting) == [task.id]

    run_async(body)


def test_memory_is_bounded_and_no_timer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is shown: its agents know the wait from its runs."""
    monkeypatch.setattr(deferred, "MOST_DEFERRED", 2)  # the bound itself, made small

    async def body() -> None:
        due: list[tuple[str, str]] = []
        one = Deferred(lambda org_id, type_: due.append((org_id, type_)))
        for number in range(3):
            one.add(TaskDeferred("org", f"t{number}", "noop", 600.0))
        one.add(TaskDeferred("org", "t0", "noop", 500.0))
        assert one.hidden_from("org", "a") == {"t0", "t1"}
        assert one.hidden_from("other", "a") == frozenset()
        one.taken("org", "t1")
        one.taken("org", "never")
        assert one.hidden_from("org", "a") == {"t0"}
        one.close()
        assert one.hidden_from("org", "a") == frozenset()
        assert due == []

    run_async(body)
