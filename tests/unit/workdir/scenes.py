"""Scenarios with folders of runs."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from worker.executor.assignment import Assignment
from worker.executor.workdir import Workdirs

LIMIT_S = 30.0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scenario

    asyncio.run(limited())


def assigned(run_id: str) -> Assignment:
    """Return what a run is."""
    return Assignment(run_id=run_id, task_id="task-1", type="noop")


def there(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def made(workdirs: Workdirs, run_id: str) -> Path:
    """Make the folder of a run."""
    return Path(workdirs.make(run_id))
