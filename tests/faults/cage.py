"""Run an animal for real, beside a tame run, and look at everything that it could have left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.animals import Animal
from tests.faults.processes import Process, descendants, is_minder
from tests.unit.executor.bench import Bench, bench
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.catalogue import HandlerEntry
from worker.executor.executor import Event, ProgressEvent, StopRequest
from worker.executor.outcome import Outcome

__all__ = ["TAME", "Cage", "Cages", "reap", "run_tasks", "watched"]

TAME = "tame"
TAME_SOURCE = """
import time
from pathlib import Path
from worker import Context, handler

@handler()
def tame(ctx: Context, *, until: str | None = None) -> int:
    ctx.progress(0.5, "here")
    while until is not None and not Path(until).exists():
        time.sleep(0.005)
    return ctx.attempt
"""
REST_S = 10.0  # within which a child that is let go, or a large folder, must be gone


class Cages:
    """A catalogue of animals, each in a copy of its file: some change it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tame.py").write_text(TAME_SOURCE)

    def get(self, type_: str, /) -> HandlerEntry | None:
        """Return the handler of a type."""
        path = self._folder / f"{type_.replace('-', '_')}.py"
        return HandlerEntry(type=type_, target=str(path), source="zoo") if path.exists() else None

    def take_in(self, animal: Animal) -> None:
        """Copy an animal's file."""
        copy = self._folder / animal.path.name
        if not copy.exists():
            shutil.copyfile(animal.path, copy)


class Cage:
    """An executor with a warm, tame child, in which animals live one after another."""

    def __init__(self, it: Bench, cages: Cages, folder: Path) -> None:
        self._it = it
        self._cages = cages
        self._folder = folder

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, **options: Any) -> AsyncIterator[Cage]:
        """Give one, with options of the executor."""
        cages = Cages(folder)
        async with bench(folder, catalogue=cages, **options) as it:  # type: ignore[arg-type]
            yield cls(it, cages, folder)

    async def live_through(self, animal: Animal) -> Outcome:
        """Run an animal beside a tame run, which must not notice; then a tame one after it."""
        self._cages.take_in(animal)
        until, begun = self._folder / "until", asyncio.Event()
        until.unlink(missing_ok=True)
        tame = asyncio.create_task(self._it.run(TAME, until=str(until), on_event=lambda _: begun.set()))
        try:
            await begun.wait()
            outcome = await run_tasks(self._it, animal)
            await self._see_that_nothing_is_left()
        finally:
            until.touch()
            beside = await tame
        assert beside.code is ResultCode.SUCCESS, f"the run beside it was hurt: {beside.error}"
        after = await self._it.run(TAME)
        assert after.code is ResultCode.SUCCESS, f"the run after it was hurt: {after.error}"
        await self._see_that_folders_go(animal)
        return outcome

    async def _see_that_nothing_is_left(self) -> None:
        """See that there is nothing but the minder and its children, which have none themselves."""
        until = time.monotonic() + REST_S
        while left := [one for one in descendants() if is_stray(one)]:
            assert time.monotonic() < until, f"processes survived: {left}"
            await asyncio.sleep(0.005)

    async def _see_that_folders_go(self, animal: Animal) -> None:
        """See that no run has a folder; large ones are emptied beside further runs."""
        until = time.monotonic() + REST_S
        while left := [path.name for path in self._folder.glob("runs/run-*")]:
            assert time.monotonic() < until, f"folders were left: {left}"
            await asyncio.sleep(0.005)
        aside = list(self._folder.glob("runs/.resisting/*"))
        free_immutable(aside)
        assert bool(aside) <= animal.end.resists, f"it was put aside: {aside}"


def free_immutable(folders: list[Path]) -> None:
    """Remove what an animal made immutable."""
    for folder in folders:
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", folder], check=False)
        shutil.rmtree(folder)


def is_stray(one: Process) -> bool:
    """Tell whether a process is neither the minder nor an executor's child, or is dead and not reaped."""
    is_known = is_minder(one) or "worker.executor.child" in one.command
    return one.is_zombie or not is_known


async def run_tasks(it: Bench, animal: Animal) -> Outcome:
    """Run an animal's tasks; return the last outcome."""
    *before, last = animal.end.tasks
    for parameters in before:
        outcome = await run_task(it, animal, parameters)
        assert (outcome.error.kind if outcome.error else None) == animal.end.first_kind, outcome
    started = time.monotonic()
    outcome = await run_task(it, animal, last)
    took_s = time.monotonic() - started
    assert took_s < animal.end.limit_s, f"it took {took_s:.1f} s"
    return outcome


async def run_task(it: Bench, animal: Animal, parameters: dict[str, Any]) -> Outcome:
    """Run an animal once, and ask it to stop where that is its test."""
    stop = StopRequest()

    def on_event(event: Event) -> None:
        it.events.append(event)
        if isinstance(event, ProgressEvent) and animal.end.stop is not None:
            stop.request(ErrorKind(animal.end.stop), "asked by the test", animal.end.grace_s)

    it.events.clear()
    return await it.run(animal.type, stop=stop, on_event=on_event, **parameters)


@contextmanager
def watched(after_s: float) -> Iterator[None]:
    """Kill everything below when it takes too long: what waits for it, however stubbornly, goes on then."""
    timer = threading.Timer(after_s, kill_everything)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def kill_everything() -> None:
    """Kill what descends from this process."""
    for one in descendants():
        if not one.is_zombie:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)


def reap() -> None:
    """Kill and reap what was left, so that the next test finds a clean world."""
    while left := descendants():
        kill_everything()
        for one in left:
            with contextlib.suppress(ChildProcessError):  # the child of one that is killed first
                os.waitpid(one.pid, 0)
