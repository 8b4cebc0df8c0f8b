"""Claims are held while memory is short: what counts as short, and that it is told once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.drain import Drain
from worker.agent.holds import Holds
from worker.agent.memory_watch import MemoryWatch, lack_of_room, lack_of_speed
from worker.machine.memory_state import MemoryState, Pressure, Room

MIB = 1024**2
PLENTY = Room(4096 * MIB, 8192 * MIB, "/proc/meminfo")
CALM = Pressure(0.0, "/proc/pressure/memory")


def room(mib: float, of_mib: int = 8192) -> Room:
    """Return so much memory."""
    return Room(int(mib * MIB), of_mib * MIB, "/proc/meminfo")


@pytest.mark.parametrize(
    ("found", "min_mib", "is_short"),
    [
        (room(256), 256, False),
        (room(255), 256, True),
        (room(0), 0, False),  # never looked at
        (None, 256, False),  # nobody can tell
        (room(128, 256), 256, False),  # more than there is: half of it counts
        (room(127, 256), 256, True),
        (room(256), None, False),
        (room(255), None, True),
        (room(30, 256), None, False),  # a small container: a tenth is enough
        (room(25, 256), None, True),
    ],
)
def test_what_is_too_little_memory(found: Room | None, min_mib: int | None, is_short: bool) -> None:
    """A limit that a machine cannot have does not keep it from its work."""
    text = lack_of_room([found] if found else [], None if min_mib is None else min_mib * MIB)
    assert (text is not None) == is_short
    assert text is None or "/proc/meminfo" in text


def test_a_small_cgroup_that_has_enough_does_not_hide_that_the_machine_lacks() -> None:
    """It has less available than the machine, and needs less."""
    small = Room(100 * MIB, 500 * MIB, "/sys/fs/cgroup/memory.max")
    assert lack_of_room([room(255), small], None) == lack_of_room([room(255)], None) is not None
    assert "/proc/meminfo" in str(lack_of_room([small, room(255)], None))
    assert lack_of_room([room(256), small], None) is None


@pytest.mark.parametrize(
    ("percent", "allowed", "is_slow"),
    [(20.0, 20.0, False), (20.1, 20.0, True), (99.0, 0.0, False), (None, 20.0, False)],
)
def test_what_is_too_much_pressure(percent: float | None, allowed: float, is_slow: bool) -> None:
    """Above the limit; 0 is none."""
    pressure = None if percent is None else Pressure(percent, "/proc/pressure/memory")
    assert (lack_of_speed(pressure, allowed) is not None) == is_slow


def test_it_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """And ends only well within the limits, so that it does not flap."""
    holds = Holds()
    watch = MemoryWatch(holds, min_bytes=100 * MIB, max_percent=20.0)
    seen = []
    with capture_logs() as logs:
        for found, percent in [
            (4096, 0),
            (99, 0),
            (50, 0),
            (105, 0),
            (111, 0),
            (111, 30),
            (111, 11),
            (111, 9),
        ]:
            watch.take(MemoryState(Pressure(percent, "psi"), (room(found),)))
            seen.append(holds.is_held)
    assert seen == [False, True, True, True, False, True, True, False]
    events = [(one["event"], one.get("by") or one.get("was_held_by")) for one in logs]
    assert events == [
        ("claims.held", "memory"), ("claims.resumed", "memory"),
        ("claims.held", "memory pressure"), ("claims.resumed", "memory pressure"),
    ]  # fmt: skip
    assert all(one["hint"] for one in logs if one["event"] == "claims.held")


def test_what_is_kept_for_later_is_let_go_at_each_look_while_memory_is_short() -> None:
    """The agent's own idle processes must not hold its claims."""
    calls: list[bool] = []
    holds = Holds()
    watch = MemoryWatch(
        holds, min_bytes=100 * MIB, max_percent=20.0, on_short=lambda: calls.append(holds.is_held)
    )
    counts = []
    for found, percent in [(4096, 0), (99, 0), (105, 0), (111, 0), (111, 30), (111, 9)]:
        watch.take(MemoryState(Pressure(percent, "psi"), (room(found),)))
        counts.append(len(calls))
    assert counts == [0, 1, 2, 2, 3, 3]
    assert all(calls)


def test_where_nothing_can_be_read_claims_go_on() -> None:
    """That is told once."""
    holds = Holds()
    watch = MemoryWatch(holds, min_bytes=100 * MIB, max_percent=20.0)
    with capture_logs() as logs:
        for _ in range(3):
            watch.take(MemoryState(None, ()))
    assert not holds.is_held
    assert [one["event"] for one in logs] == ["memory.unknown"]


def test_one_of_two_reasons_that_is_over_does_not_let_claims_go_on() -> None:
    """Who listens is told when the last one is."""
    holds, told = Holds(), []
    holds.listen(lambda: told.append(holds.is_held))
    holds.hold("a", "why", "do")
    holds.hold("b", "why", "do")
    holds.lift("a")
    holds.lift("a")
    assert (holds.is_held, told) == (True, [])
    holds.lift("b")
    assert (holds.is_held, told) == (False, [False])


def test_an_agent_short_of_memory_claims_nothing_and_goes_on_when_there_is_some() -> None:
    """What runs goes on meanwhile."""
    world, state = World(1, "key", 0.0, 9), MemoryState(CALM, (room(1),))

    async def watch(drain: Drain, holds: Holds) -> None:
        watching = MemoryWatch(holds, min_bytes=100 * MIB, max_percent=20.0)
        while True:
            watching.take(state)
            await asyncio.sleep(2.0)

    async def main() -> int:
        nonlocal state
        machine = Machine(world, "pod/a")
        machine.watches = (watch,)
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await asyncio.sleep(300.0)
        held = len(world.executions)
        state = MemoryState(CALM, (PLENTY,))
        await until(lambda: len(world.successes()) == 9, 600.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        return held

    assert run_virtual(main()) == 0


def test_a_limit_of_nothing_is_never_looked_at() -> None:
    """Neither file is opened."""

    def read() -> Any:
        raise AssertionError("it was looked at")

    asyncio.run(MemoryWatch(Holds(), min_bytes=0, max_percent=0.0, read=read).run())


def test_a_look_that_fails_ends_neither_the_watch_nor_leaves_a_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can look nobody knows of the memory: that holds nothing, and is told once."""
    monkeypatch.setattr("worker.agent.memory_watch.LOOK_INTERVAL_S", 0.001)
    holds = Holds()
    held: list[bool] = []  # before each look
    done = threading.Event()

    def look() -> MemoryState:
        while len(held) > 1 and holds.is_held != (len(held) not in (2, 3)) and not done.wait(0.001):
            pass  # the loop has not heard of the look before
        held.append(holds.is_held)
        if len(held) in (2, 3):
            raise OSError("too many open files")
        return MemoryState(CALM, (room(1),))

    async def main() -> None:
        watch = asyncio.create_task(
            MemoryWatch(holds, min_bytes=100 * MIB, max_percent=20.0, read=look).run()
        )
        async with asyncio.timeout(30.0):
            while len(held) < 5:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.001)
        done.set()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    with capture_logs() as logs:
        asyncio.run(main())
    assert held[2:5] == [False, False, True]
    (told,) = [one for one in logs if one["event"] == "memory.unknown"]
    assert "too many open files" in told["problem"]


@pytest.mark.parametrize(
    ("mib", "percent", "is_news"),
    [(4096, 0, False), (101, 0, False), (99, 0, True), (4096, 21, True), (4096, 19, False)],
)
def test_the_loop_hears_of_what_would_change_something(mib: int, percent: float, is_news: bool) -> None:
    """All other looks wake nobody; while claims are held each is heard of, as what is kept is let go."""
    watch = MemoryWatch(Holds(), min_bytes=100 * MIB, max_percent=20.0)
    state = MemoryState(Pressure(percent, "psi"), (room(mib),))
    assert watch.is_news(state) == is_news
    watch.take(MemoryState(CALM, (room(1),)))
    assert watch.is_news(state)


def test_the_loop_hears_once_that_nothing_can_be_read_and_once_that_it_can() -> None:
    """Neither holds anything."""
    watch, unseen, plenty = (
        MemoryWatch(Holds(), min_bytes=None, max_percent=20.0),
        MemoryState(None, ()),
        MemoryState(CALM, (PLENTY,)),
    )
    assert watch.is_news(unseen)
    watch.take(unseen)
    assert (watch.is_news(unseen), watch.is_news(plenty)) == (False, True)
    watch.take(plenty)
    assert not watch.is_news(plenty)
