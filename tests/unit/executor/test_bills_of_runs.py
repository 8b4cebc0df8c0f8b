"""The bills of runs in real children of a real minder, with control groups and without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.executor.bench import bench, within_limit
from tests.unit.groups.real import opened
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.executor import one_run, spawn
from worker.executor.minder_process import Minder
from worker.executor.outcome import Outcome
from worker.machine.gpu_look import Look
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.spool import Spool
from worker.usage.gpu_meter import GpuAccounts

MIB = 1 << 20
EXACT = 0.02  # of what the handler says
AROUND_S = 0.02  # starting and ending a run, beside what the handler counts
HANDLERS = '''
"""Handlers that say what they used."""
import os, resource, time
from pathlib import Path
from worker import Context, handler

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass

def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime

@handler("burn")
def burning(ctx: Context, *, seconds: float, mib: int = 0, tell: str = "", then: str = "return") -> dict:
    """Burn, half of it in short children; hold; then return, with a file perhaps, or die."""
    before = used()
    held = bytearray(os.urandom(1 << 20)) * mib if mib else b""
    burn(seconds / 2)
    for _ in range(50):
        if (pid := os.fork()) == 0:
            burn(seconds / 100)
            os._exit(0)
        os.waitpid(pid, 0)
    burnt_s = used() - before
    if tell:
        Path(tell).write_text(str(burnt_s))
    if then == "die":
        os.kill(os.getpid(), 9)
    if then == "hand over":
        ctx.artifact(__file__)
    return {"burnt_s": burnt_s, "held": len(held)}

@handler("leave-behind")
def leave_behind(ctx: Context, *, count: int, seconds: float) -> dict:
    """Start processes that nobody waits for, and go when the last has ended."""
    reading, writing = os.pipe()
    for _ in range(count):
        if (pid := os.fork()) == 0:
            if os.fork() == 0:
                os.setsid()
                burn(seconds)
                os.write(writing, b"x")
            os._exit(0)
        os.waitpid(pid, 0)
    os.close(writing)
    while os.read(reading, 1): pass
    return {"burnt_s": count * seconds}
'''


@pytest.fixture(params=[True, False], ids=["groups", "no-groups"])
def has_groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let the minder make control groups, or forbid it."""
    given: bool = request.param
    if given:
        with opened("probe"):
            pass  # else it is skipped

    def minder(**settings: Any) -> Minder:
        return Minder(**settings | {"has_groups": given})

    monkeypatch.setattr(spawn, "Minder", minder)  # the bench has no setting for it
    return given


def written(path: Path) -> Path:
    """Return the file of handlers."""
    file = path / "burning.py"
    file.write_text(HANDLERS)
    return file


def is_billed(outcome: Outcome, burnt_s: float) -> bool:
    """Tell whether a bill has what was burnt."""
    cpu_s = outcome.usage.cpu_s
    return cpu_s is not None and abs(cpu_s - burnt_s) <= EXACT * burnt_s + AROUND_S


def test_a_warm_childs_run_is_billed_from_its_own_start(tmp_path: Path, has_groups: bool) -> None:
    """Neither the CPU nor the memory that an earlier run had and gave back; short children are counted."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=written(tmp_path)) as it:
            first = await it.run("burn", seconds=0.6, mib=100)
            second = await it.run("burn", seconds=1.0)
            assert len(it.spawner.pids) == 1
            assert (first.usage.ram_peak_bytes or 0) >= 100 * MIB
            assert is_billed(second, second.value["burnt_s"]), (second.usage, second.value)
            assert (second.usage.ram_peak_bytes or 10**12) < 60 * MIB
            assert second.usage.complete
            if not has_groups:
                assert second.usage.methods["cpu_user_s"] == "process_clock"

    within_limit(scenario())


def test_who_dies_has_used_what_it_used(tmp_path: Path, has_groups: bool) -> None:
    """The last words of the kernel are on the bill of a run that was killed."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=written(tmp_path)) as it:
            await it.run("burn", seconds=0.01)
            tell = tmp_path / "burnt"
            died = await it.run("burn", seconds=1.0, tell=str(tell), then="die")
            assert died.error is not None
            assert is_billed(died, float(tell.read_text())), died.usage
            assert died.usage.methods["cpu_user_s"] == ("cgroup" if has_groups else "wait4")

    within_limit(scenario())


class BrokenSpool(Spool):
    """A spool with a fault of ours."""

    async def take(self, run_id: str, made: Sequence[MadeFile], workdir: Path) -> tuple[SpooledFile, ...]:
        """Fail."""
        raise ZeroDivisionError("a fault")


def test_a_fault_after_the_run_leaves_its_bill(tmp_path: Path) -> None:
    """The figures of the end stand, incomplete, and the fault beside each."""

    async def scenario() -> None:
        spool = BrokenSpool(tmp_path / "spool", 1 << 40)
        async with bench(tmp_path, handlers=written(tmp_path), spool=spool) as it:
            failed = await it.run("burn", seconds=0.3, then="hand over")
            usage = failed.usage
            assert failed.error is not None
            assert failed.error.kind is ErrorKind.INTERNAL
            assert (usage.cpu_s or 0) >= 0.3 * (1 - EXACT)
            assert not usage.complete
            for name in ("wall_s", "cpu_user_s", "ram_average_bytes"):
                assert "the executor failed: ZeroDivisionError" in usage.reasons[name]

    within_limit(scenario())


@pytest.mark.usefixtures("has_groups")
def test_a_fault_after_a_run_without_files_leaves_its_bill_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of the figures before the outcome then."""

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(one_run, "outcome_of", fail)  # a slip in our own code, which no fake brings about

    async def scenario() -> None:
        async with bench(tmp_path, handlers=written(tmp_path)) as it:
            usage = (await it.run("burn", seconds=0.3)).usage
            assert (usage.cpu_s or 0) >= 0.3 * (1 - EXACT)
            assert not usage.complete
            assert "the executor failed: ZeroDivisionError" in usage.reasons["cpu_user_s"]

    within_limit(scenario())


def test_what_nobody_waited_for_is_on_the_bill(tmp_path: Path) -> None:
    """A hundred orphans in sessions of their own, of 8 ms each: no sample saw them."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=written(tmp_path)) as it:
            await it.run("burn", seconds=0.01)
            left = await it.run("leave-behind", count=100, seconds=0.008)
            assert (left.usage.cpu_s or 0) >= left.value["burnt_s"] * (1 - EXACT)

    within_limit(scenario())


class SlowLooks:
    """GPUs that are slow to be looked at."""

    error: str | None = "no look"

    def __init__(self) -> None:
        """Not yet."""
        self.looked_mono: list[float] = []

    async def look_now(self, limit_s: float) -> Look | None:
        """Take longer than a small import does: nobody tells that it did not happen."""
        await asyncio.sleep(0.5)
        self.looked_mono.append(time.monotonic())
        return None

    def listen(self, listener: Callable[[Look], None]) -> Callable[[], None]:
        """Tell nothing."""
        return lambda: None


def test_what_a_process_imports_belongs_to_its_first_run(tmp_path: Path) -> None:
    """It does not begin before the bill does, which waits for a look at the run's GPUs."""
    handlers = tmp_path / "handlers.py"
    handlers.write_text(
        "import time\n"
        "from worker import Context, handler\n"
        "IMPORTED_MONO = time.monotonic()\n"
        "@handler('when')\n"
        "def when(ctx: Context) -> dict[str, float]:\n"
        "    return {'imported': IMPORTED_MONO}\n"
    )
    looks = SlowLooks()
    gpus = GpuAccounts(looks, SystemClock(), shares={}, runs_per_gpu=1)

    async def scenario() -> None:
        async with bench(tmp_path, handlers=handlers, gpus=gpus) as it:
            outcome = await it.run("when", gpus=("GPU-1",))
            assert outcome.value["imported"] > looks.looked_mono[0]
            assert outcome.usage.wall_s is not None
            assert outcome.usage.wall_s < looks.looked_mono[-1] - looks.looked_mono[0]

    within_limit(scenario())
