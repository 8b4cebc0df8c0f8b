"""A minder that has no descriptor left to look at its trees: it tells no end that it has not seen."""

import asyncio
import resource
from pathlib import Path

from tests.faults.animals import ZOO, read_animal
from tests.faults.cage import Cages
from tests.faults.processes import adopting_orphans, descendants, is_minder
from tests.unit.executor.bench import bench, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.executor import Event, ProgressEvent, StopRequest

BLIND_S = 0.5  # long enough for a look that must fail


def allow_descriptors(pid: int, count: int | None) -> None:
    """Bound the descriptors of a process; None gives back what was possible before."""
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most if count is None else count, most))


def test_no_end_is_told_before_the_tree_was_looked_at(tmp_path: Path) -> None:
    """While the minder cannot open /proc the run goes on to end; then nothing is left, and the next works."""
    cages = Cages(tmp_path)
    cages.take_in(animal := read_animal(ZOO / "escapes_by_setsid.py"))
    stop, begun = StopRequest(), asyncio.Event()

    async def scenario() -> None:
        async with bench(tmp_path, catalogue=cages) as it:  # type: ignore[arg-type]

            def on_event(event: Event) -> None:
                if isinstance(event, ProgressEvent):
                    allow_descriptors(minder(), 3)
                    stop.request(ErrorKind.CANCELLED, "asked by the test", 5.0)
                    begun.set()

            run = asyncio.create_task(it.run(animal.type, stop=stop, on_event=on_event))
            await begun.wait()
            done, _ = await asyncio.wait({run}, timeout=BLIND_S)
            assert not done, "an end was told that nobody had seen"
            assert strays() != []
            allow_descriptors(minder(), None)
            outcome = await run
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.CANCELLED
            assert strays() == []
            assert (await it.run("tame")).code is ResultCode.SUCCESS

    def minder() -> int:
        return next(one.pid for one in descendants() if is_minder(one))

    def strays() -> list[str]:
        return [one.command for one in descendants() if "sleep" in one.command]

    with adopting_orphans():
        within_limit(scenario())
