"""An executor with real children for each test, and its parts where a test needs them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.skipping import run_skipping
from worker.clock import SystemClock
from worker.executor.assignment import Assignment
from worker.executor.catalogue import Catalogue, HandlerEntry
from worker.executor.executor import Event, ProgressEvent, StopRequest
from worker.executor.outcome import Outcome
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner, Spawned, Spawner
from worker.executor.workdir import Workdirs
from worker.storage.spool import Spool

SAMPLES = Path(__file__).with_name("sample_handlers.py")
TEST_LIMIT_S = 30.0  # of whatever a test waits for; reached only where something hangs
SPOOL_BYTES = 1 << 40


class SampleHandlers:
    """A catalogue that looks every type up in one file."""

    def __init__(self, path: Path = SAMPLES) -> None:
        self.path = path

    def get(self, type_: str, /) -> HandlerEntry | None:
        """Return an entry for any type but one."""
        if type_ == "unknown":
            return None
        return HandlerEntry(type=type_, target=str(self.path), source="tests")


class CountingSpawner:
    """Start real children and keep their pids."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._real = ProcessSpawner(environment)
        self.pids: list[int] = []
        self._born: list[tuple[int, str | None]] = []  # a pid is given to somebody else one day

    @property
    def left(self) -> list[int]:
        """Return the pids of its children that live or wait to be reaped."""
        return [pid for pid, born in self._born if born is not None and born_at(pid) == born]

    async def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child."""
        spawned = await self._real.spawn(gpus)
        self.pids.append(spawned.life.pid)
        self._born.append((spawned.life.pid, born_at(spawned.life.pid)))
        return spawned

    async def has_strangers(self) -> bool:
        """Ask the real one."""
        return await self._real.has_strangers()

    def oom_kills(self) -> int | None:
        """Ask the real one."""
        return self._real.oom_kills()

    async def aclose(self) -> None:
        """Close the real one."""
        await self._real.aclose()


class Bench:
    """An executor on a folder, and what was told while it ran."""

    def __init__(
        self, executor: ProcessExecutor, folder: Path, spawner: CountingSpawner, workdirs: Workdirs
    ) -> None:
        self.executor = executor
        self.workdirs = workdirs
        self.folder = folder
        self.spawner = spawner
        self.events: list[Event] = []
        self.runs = 0

    async def run(
        self,
        type_: str,
        *,
        stop: StopRequest | None = None,
        on_event: Callable[[Event], None] | None = None,
        gpus: tuple[str, ...] = (),
        **parameters: Any,
    ) -> Outcome:
        """Run one task to its end, within a limit, and let its folder go if it is empty."""
        self.runs += 1
        assignment = Assignment(
            run_id=f"run-{self.runs}", task_id="task", type=type_, parameters=parameters, gpus=gpus
        )
        async with asyncio.timeout(TEST_LIMIT_S):
            outcome = await self.executor.execute(
                assignment, stop or StopRequest(), on_event or self.events.append
            )
            await self.workdirs.sweep()
        return outcome

    @property
    def is_tidy(self) -> bool:
        """Tell whether no folder of a run is left."""
        return not list(self.folder.glob("runs/*"))

    async def wait_for_children(self, count: int) -> None:
        """Wait until so many children have not been reaped; within the scenario's limit."""
        while len(self.spawner.left) != count:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def bench(
    folder: Path,
    *,
    handlers: Path = SAMPLES,
    spool: Spool | None = None,
    environment: dict[str, str] | None = None,
    spawner: Spawner | None = None,
    catalogue: Catalogue | None = None,
    workdirs: Workdirs | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Give an executor; close it, and see that every child is gone."""
    counting = CountingSpawner(environment)
    workdirs = workdirs or Workdirs(folder / "runs")
    executor = ProcessExecutor(
        catalogue=catalogue or SampleHandlers(handlers),
        spawner=spawner or counting,
        clock=SystemClock(),
        workdirs=workdirs,
        spool=spool or Spool(folder / "spool", SPOOL_BYTES),
        concurrency=options.pop("concurrency", 2),
        **options,
    )
    try:
        yield Bench(executor, folder, counting, workdirs)
    finally:
        async with asyncio.timeout(TEST_LIMIT_S):
            await executor.aclose()
    assert counting.left == []


def within_limit(scenario: Coroutine[Any, Any, None], *, skipped_s: float = 0.0) -> None:
    """Run an async scenario to its end; it may skip so much time."""

    async def limited() -> None:
        async with asyncio.timeout(TEST_LIMIT_S + skipped_s):
            await scenario

    run_skipping(limited())


def is_running(pid: int) -> bool:
    """Tell whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def born_at(pid: int) -> str | None:
    """Return when a process began (proc(5), stat, field 22), in ticks since boot; None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def open_descriptors() -> set[str]:
    """Return the descriptors of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def stop_at_progress(
    bench: Bench, type_: str, stop: StopRequest, ask: Callable[[], None], **parameters: Any
) -> Outcome:
    """Run a task and ask it to stop when it first tells progress."""
    asked = False

    def on_event(event: Event) -> None:
        nonlocal asked
        bench.events.append(event)
        if isinstance(event, ProgressEvent) and not asked:
            asked = True
            ask()

    return await bench.run(type_, stop=stop, on_event=on_event, **parameters)
