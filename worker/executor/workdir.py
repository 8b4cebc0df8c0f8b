"""The folder of a run: made empty before it, removed after it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from worker.executor.artifacts import safe_part

__all__ = ["clear_workdirs", "is_removed", "make_workdir", "remove_workdir"]


def make_workdir(root: Path, run_id: str) -> Path:
    """Make the run's folder below `root` (absolute); what a crash left of an earlier try goes first.

    Raises:
        OSError: it cannot be made.
    """
    workdir = root / safe_part(run_id)
    try:
        workdir.mkdir(mode=0o700)
    except FileNotFoundError:
        root.mkdir(parents=True, exist_ok=True)
        workdir.mkdir(mode=0o700)
    except FileExistsError:
        shutil.rmtree(workdir)
        workdir.mkdir(mode=0o700)
    return workdir


def is_removed(workdir: Path) -> bool:
    """Remove the folder if it is empty, as it mostly is: one call, no thread; tell whether it is gone."""
    try:
        workdir.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


async def remove_workdir(workdir: Path) -> None:
    """Remove the run's folder with all that is in it; what resists is left, for a person to see."""
    await asyncio.to_thread(shutil.rmtree, workdir, ignore_errors=True)


async def clear_workdirs(root: Path) -> None:
    """Remove what runs of an earlier life left below `root`; nothing of them runs any more."""

    def clear() -> None:
        for left in root.iterdir() if root.is_dir() else ():
            shutil.rmtree(left, ignore_errors=True)

    await asyncio.to_thread(clear)
