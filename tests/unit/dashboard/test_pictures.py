"""Pictures that are drawn once, kept, and not drawn too often."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from server.dashboard.matrix import NARROW, WIDE, png
from server.dashboard.pictures import MANY, MOST_KEPT, SHARE, Picture, Pictures, Version
from server.store.outcomes import TaskTimes
from server.store.store import Store
from tests.unit.server.world import FakeClock

MADE = Picture("o", "j", "made")
FAILED = Picture("o", "j", "failed")
SLOWEST = Picture("o", "j", "slowest")


class Tasks:
    """A store whose job is as it was set, and which takes a second to read."""

    def __init__(self, clock: FakeClock, states: str) -> None:
        """Nobody has asked yet."""
        self.clock = clock
        self.states = states
        self.reads = 0

    async def task_states(self, org_id: str, job_id: str, most: int) -> str:
        """Return the states."""
        self.reads += 1
        await asyncio.sleep(0)
        self.clock.advance(1)
        return self.states[:most]

    async def task_times(self, org_id: str, job_id: str, now_ms: int, most: int) -> TaskTimes:
        """Return the states, later tasks being slower."""
        return TaskTimes(await self.task_states(org_id, job_id, most), list(range(len(self.states[:most]))))


def drawing(states: str) -> tuple[FakeClock, Tasks, Pictures]:
    """Return a job that is to be drawn."""
    clock = FakeClock()
    tasks = Tasks(clock, states)
    return clock, tasks, Pictures(cast(Store, cast(Any, tasks)), clock)


def test_all_who_look_at_a_version_get_one_drawing() -> None:
    """Both widths of it too; another version is drawn anew, as the job is then."""

    async def scene() -> None:
        _, tasks, pictures = drawing("psrf")
        first = Version(4, "t1")
        files = await asyncio.gather(*(pictures.file(MADE, first, WIDE) for _ in range(5)))
        tasks.states = "ssss"
        assert {*files, await pictures.file(MADE, first, WIDE)} == {png("psrf")}
        assert await pictures.file(MADE, first, NARROW) == png("psrf", NARROW)
        assert tasks.reads == 1
        assert await pictures.file(MADE, Version(4, "t2"), WIDE) == png("ssss")
        assert await pictures.file(MADE, Version(2, "t2"), WIDE) == png("ss")

    asyncio.run(scene())


def test_a_click_means_what_was_seen() -> None:
    """Whatever the job has become since; of a picture that is forgotten it means the job as it is."""

    async def scene() -> None:
        _, tasks, pictures = drawing("ppfpf")
        seen = Version(5, "t1")
        await pictures.file(FAILED, seen, WIDE)
        tasks.states = "fpfpf"
        assert await pictures.task_at(FAILED, seen, WIDE, 0, 0) == 2
        assert await pictures.task_at(FAILED, seen, WIDE, 12, 0) == 4
        assert await pictures.task_at(FAILED, seen, WIDE, 5 * 12, 0) is None
        assert await pictures.task_at(SLOWEST, seen, WIDE, 0, 0) == 4
        for number in range(MOST_KEPT):
            await pictures.file(MADE, Version(5, f"u{number}"), WIDE)
        assert await pictures.task_at(FAILED, seen, WIDE, 0, 0) == 0
        assert len(pictures._drawn) == MOST_KEPT

    asyncio.run(scene())


def test_a_large_job_is_drawn_for_a_twentieth_of_the_time() -> None:
    """Meanwhile its pages show the picture that there is, by its address; in the end the last one."""

    async def scene() -> None:
        clock, _, pictures = drawing("p" * MANY)
        first = pictures.version(MADE, MANY, "t1")
        assert first == Version(MANY, "t1")
        await pictures.file(MADE, first, WIDE)
        assert pictures.version(MADE, MANY, "t2") == first
        assert pictures.version(FAILED, MANY, "t2") == Version(MANY, "t2")
        clock.advance(SHARE - 0.5)
        await pictures.file(MADE, first, NARROW)  # that takes no time: its tasks are known
        assert pictures.version(MADE, MANY + 1, "t3") == first
        clock.advance(0.5)
        assert pictures.version(MADE, MANY + 1, "t3") == Version(MANY + 1, "t3")

    asyncio.run(scene())


def test_each_change_of_a_small_job_is_drawn() -> None:
    """However long the machine takes."""

    async def scene() -> None:
        _, _, pictures = drawing("ps")
        await pictures.file(MADE, pictures.version(MADE, 2, "t1"), WIDE)
        assert pictures.version(MADE, 2, "t2") == Version(2, "t2")

    asyncio.run(scene())
