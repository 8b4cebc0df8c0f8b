"""Room on the disks: what counts as too little, when it is told, and that nothing is claimed without."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.candidates import Choice, choose
from worker.agent.free_space import FreeSpace, Room, filled_folders, lack, look
from worker.config import AgentConfig

MIB = 1024**2


class Disk(Struct):
    """A file system with blocks of a MiB, as statvfs tells of it."""

    f_bavail: int = 1000
    f_blocks: int = 2000
    f_files: int = 10_000_000
    f_favail: int = 10_000_000
    f_frsize: int = MIB
    error: OSError | None = None
    looks: int = 0

    def __call__(self, folder: Path) -> Disk:
        """Tell."""
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""

    async def limited() -> None:
        async with asyncio.timeout(30.0):
            await scenario

    asyncio.run(limited())


@pytest.mark.parametrize(
    ("room", "wanted_bytes", "text"),
    [
        (Room(Path(), 512, 10_000, 5000), 512, None),
        (Room(Path(), 511, 10_000, 5000), 512, "511 bytes are free, at least 512 bytes are wanted"),
        (Room(Path(), 0, 10_000, None), 512, "0 bytes are free, at least 512 bytes are wanted"),
        (Room(Path(), 512, 10_000, 999), 512, "room for 999 more files, at least 1000 are wanted"),
        (Room(Path(), 512, 10_000, 1000), 512, None),
        (Room(Path(), 512, 10_000, None), 512, None),
        (Room(Path(), 60, 100, None), 512, None),
        (Room(Path(), 49, 100, None), 512, "49 bytes are free, at least 50 bytes are wanted"),
    ],
)
def test_what_is_too_little(room: Room, wanted_bytes: int, text: str | None) -> None:
    """Bytes and names both count; a disk smaller than the limit needs half of itself."""
    assert lack(room, wanted_bytes) == text


def test_it_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """And ends only with some more than the limit, so that it does not flap."""
    disk, woken = Disk(), []

    async def scenario() -> None:
        space = FreeSpace([Path("/state"), Path("/state")], 100 * MIB, disk)
        space.listen(lambda: woken.append(space.is_short))
        for free in (1000, 99, 98, 100, 109, 1000, 1000):
            disk.f_bavail = free
            await space.look()
            assert space.is_short == (free < 110)

    with capture_logs() as said:
        run(scenario())
    assert [(event["event"], event["log_level"]) for event in said] == [
        ("disk.short", "error"), ("disk.has_room", "info"),
    ]  # fmt: skip
    assert said[0]["lack"] == "104 MB are free, at least 105 MB are wanted"
    assert woken == [False]
    assert disk.looks == 7


def test_names_that_run_out_count_like_bytes() -> None:
    """A file system without a bound of them says so by 0 (btrfs, some network disks)."""
    disk = Disk(f_favail=10)

    async def scenario() -> None:
        space = FreeSpace([Path("/state")], MIB, disk)
        await space.look()
        assert space.is_short
        disk.f_files = disk.f_favail = 0
        await space.look()
        assert not space.is_short

    run(scenario())


def test_a_look_that_fails_is_told_once_and_stops_nothing() -> None:
    """Nor does it end a shortage that was seen."""
    disk = Disk(error=OSError(5, "Input/output error"))

    async def scenario() -> None:
        space = FreeSpace([Path("/state")], 100 * MIB, disk)
        await space.look()
        await space.look()
        assert not space.is_short
        disk.error, disk.f_bavail = None, 1
        await space.look()
        assert space.is_short
        disk.error = OSError(5, "Input/output error")
        await space.look()
        assert space.is_short

    with capture_logs() as said:
        run(scenario())
    assert [event["event"] for event in said] == ["disk.unknown", "disk.short", "disk.unknown"]


def test_a_disk_that_does_not_answer_takes_one_thread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent goes on; the late answer counts when it comes."""
    monkeypatch.setattr("worker.agent.free_space.LOOK_LIMIT_S", 0.01)
    answered = threading.Event()
    disk = Disk(f_bavail=1)

    def slow(folder: Path) -> Disk:
        answered.wait(30.0)
        return disk(folder)

    async def scenario() -> None:
        space = FreeSpace([Path("/state")], 100 * MIB, slow)
        for _ in range(3):
            await space.look()
        assert not space.is_short
        answered.set()
        while not space.is_short:
            await space.look()
        assert disk.looks <= 2

    with capture_logs() as said:
        run(scenario())
    assert [event["event"] for event in said] == ["disk.unknown", "disk.short"]


def test_the_watch_sees_room_go_and_come_and_a_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, beside the loop; one that hangs keeps its answer, and nobody from looking at others."""
    monkeypatch.setattr("worker.agent.free_space.LOOK_INTERVAL_S", 0.001)
    monkeypatch.setattr("worker.agent.free_space.LATE_S", 0.01)
    answering = threading.Event()
    disk = Disk()

    def statvfs(folder: Path) -> Disk:
        if folder == Path("/away"):
            answering.wait(30.0)
            return Disk()
        return disk(folder)

    async def scenario() -> None:
        space = FreeSpace([Path("/away"), Path("/state")], 100 * MIB, statvfs)
        woken = asyncio.Event()
        space.listen(woken.set)
        watch = asyncio.create_task(space.watch())
        while not said:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
        assert (said[0]["event"], said[0]["folder"]) == ("disk.unknown", "/away")
        looks = disk.looks
        disk.f_bavail = 1
        while not space.is_short:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
        disk.f_bavail = 1000
        await woken.wait()
        assert disk.looks > looks
        answering.set()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    with capture_logs() as said:
        run(scenario())
    assert [event["event"] for event in said] == ["disk.unknown", "disk.short", "disk.has_room"]


def test_nothing_is_looked_at_where_nobody_wants_it() -> None:
    """0 bytes: off; the watch waits all the same, because its end would be the agent's."""
    disk = Disk(f_bavail=0)

    async def scenario() -> None:
        space = FreeSpace([Path("/state")], 0, disk)
        await space.look()
        assert not space.is_short
        watch = asyncio.create_task(space.watch())
        await asyncio.sleep(0)
        assert not watch.done()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    run(scenario())
    assert disk.looks == 0


def test_a_folder_that_is_not_made_yet_has_the_room_of_the_one_above(tmp_path: Path) -> None:
    """It will be made there."""
    folder = tmp_path / "not" / "yet"
    room = look(folder)
    assert room.folder == folder
    assert room.total_bytes == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


@pytest.mark.parametrize(
    ("store", "folders"),
    [
        (None, ["/state"]),
        ("/shared/files", ["/state", "/shared/files"]),
        ("file:///shared/my%20files", ["/state", "/shared/my files"]),
        ("s3://bucket/prefix", ["/state"]),
        ("https://host/prefix", ["/state"]),
    ],
)
def test_which_folders_are_filled(store: str | None, folders: list[str]) -> None:
    """A store elsewhere takes no room here."""
    assert [
        str(path) for path in filled_folders(AgentConfig(state_dir=Path("/state"), artifacts=store))
    ] == folders


class Switched(FreeSpace):
    """Room that a test gives and takes, in virtual time."""

    def __init__(self) -> None:
        """Look at nothing."""
        super().__init__([], 0)
        self.is_taken = False

    @property
    def is_short(self) -> bool:
        """What was set."""
        return self.is_taken

    def give(self) -> None:
        """Have room again."""
        self.is_taken = False
        for listener in self._listeners:
            listener()


CLAIM, POLL = "POST /api/jobs/runs", "GET /api/jobs/tasks"


def lived(world: World, main: Callable[[Switched], Coroutine[Any, Any, None]], *, is_taken: bool) -> None:
    """Let an agent live while `main` gives and takes room."""
    machine = Machine(world, "pod/a", concurrency=2)
    machine.space = space = Switched()
    space.is_taken = is_taken

    async def live() -> None:
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        try:
            await main(space)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    run_virtual(live())


def test_an_agent_without_room_does_not_even_ask_and_goes_on_at_once_with_it() -> None:
    """Others may have its tasks meanwhile."""
    world = World(1, "key", 0.0, 3)

    async def main(space: Switched) -> None:
        await asyncio.sleep(3600.0)
        assert world.server.asked.count(POLL) == world.server.asked.count(CLAIM) == 0
        space.give()
        await until(lambda: len(world.successes()) == 3, 600.0)

    lived(world, main, is_taken=True)


def test_what_runs_goes_on_when_the_room_is_used_up() -> None:
    """Its result is worth more than the room; nothing new begins."""
    world = World(1, "key", 0.0, 6)

    async def main(space: Switched) -> None:
        await until(lambda: len(world.executing) == 2, 600.0)
        space.is_taken = True
        claims = world.server.asked.count(CLAIM)
        await until(lambda: not world.executing, 600.0)
        await asyncio.sleep(3600.0)
        assert world.server.asked.count(CLAIM) == claims
        assert len(world.successes()) == 2
        space.give()
        await until(lambda: len(world.successes()) == 6, 3600.0)

    lived(world, main, is_taken=False)


def test_a_task_that_comes_when_the_room_is_used_up_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll may be held for long, and the disk may fill meanwhile."""
    world = World(1, "key", 0.0, 0)

    async def main(space: Switched) -> None:
        await until(lambda: world.server.asked.count(POLL) > 2, 600.0)
        # The moment between a poll's answer and the claim cannot be met from outside.
        monkeypatch.setattr("worker.agent.poller.choose", taken_at(space))
        world.server.add_task("task-0")
        await asyncio.sleep(600.0)
        assert world.server.asked.count(CLAIM) == 0
        space.give()
        await until(lambda: len(world.successes()) == 1, 3600.0)

    lived(world, main, is_taken=False)


def taken_at(space: Switched) -> Callable[..., Choice]:
    """Return what takes the room when the first task is found."""
    turns = [True]

    def choosing(*given: Any) -> Choice:
        choice = choose(*given)
        if choice.candidates and turns:
            turns.clear()
            space.is_taken = True
        return choice

    return choosing
