"""Every animal of the zoo comes to the end that its file names, hurts nobody, and leaves nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.animals import Animal, animals
from tests.faults.cage import Cage, Cages, reap, run_tasks, watched
from tests.faults.ends import check_end
from tests.faults.processes import adopting_orphans, descendants, descriptors
from tests.unit.executor.bench import bench, within_limit
from worker.executor import steering

HANG_S = 45.0  # beyond every limit inside
LIMIT_GRACE_S = 2.0  # the real one is longer, and would only be waited for here


class Zoo(NamedTuple):
    """A cage, and the loop that it lives in."""

    loop: asyncio.Runner
    cage: Cage


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    """Give one executor for all; when it is closed nothing may be left: process, zombie or descriptor."""
    before = descriptors()
    with adopting_orphans(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering, "LIMIT_GRACE_S", LIMIT_GRACE_S)
        try:
            with asyncio.Runner() as loop:
                opened = Cage.open(tmp_path_factory.mktemp("zoo"))
                yield Zoo(loop, loop.run(opened.__aenter__()))
                loop.run(opened.__aexit__(None, None, None))
            left = descendants()
        finally:
            reap()
    leaked = {number: what for number, what in descriptors().items() if number not in before}
    assert left == [], "processes survived the executor"
    assert leaked == {}, "descriptors were left open in the agent"


@pytest.mark.parametrize("animal", animals(), ids=lambda animal: animal.name)
def test_an_animal_comes_to_its_end(zoo: Zoo, animal: Animal) -> None:
    """The end is told truly; no process, zombie or folder of it is left; runs beside and after it go on."""
    with watched(HANG_S):
        outcome = zoo.loop.run(zoo.cage.live_through(animal))
    check_end(outcome, animal.end)


def test_an_import_without_end_is_ended(tmp_path: Path) -> None:
    """Its limit is the executor's; no receipt and no handler is needed for that."""
    (animal,) = animals("short imports")
    cages = Cages(tmp_path)
    cages.take_in(animal)

    async def scenario() -> None:
        async with bench(tmp_path, catalogue=cages, load_timeout_s=1.0) as it:  # type: ignore[arg-type]
            check_end(await run_tasks(it, animal), animal.end)
            assert it.is_tidy

    within_limit(scenario())
