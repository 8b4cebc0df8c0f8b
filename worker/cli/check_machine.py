"""Checks of this machine: the state folder, facts that are not known."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from worker.cli import human
from worker.cli.checks import Check, fail, ok, warn

if TYPE_CHECKING:
    from worker.machine.facts import Facts

__all__ = ["check_facts", "check_state_dir"]

FREE_BYTES_MIN: Final = 1024**3  # below it the journal and files of runs soon have no room
TODO_STATE: Final = "choose a folder that you may write: --state-dir or MILLHAND_STATE_DIR"


def check_state_dir(path: Path) -> Check:
    """Look whether the agent can write there, whether one does, and how much room is left. Makes nothing."""
    if not path.exists():
        return check_future_dir(path)
    try:
        with TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
            os.fsync(probe.fileno())
    except OSError as exc:
        return fail("state folder", f"{path}: {exc.strerror}", TODO_STATE)
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < FREE_BYTES_MIN:
        return warn(
            "state folder", f"{path} has {human.size(free_bytes)} free", "make room; results are kept there"
        )
    return ok("state folder", f"{path}, {human.size(free_bytes)} free, {user_of(path)}")


def check_future_dir(path: Path) -> Check:
    """Look whether a folder that is not there yet could be made."""
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return fail("state folder", f"{path} cannot be made: {parent} may not be written", TODO_STATE)
    return ok("state folder", f"{path} will be made at the first start")


def user_of(path: Path) -> str:
    """Say whether an agent uses the folder now; the lock is tried and given back at once."""
    from worker.agent.statedir import StateDir, StateDirBusy

    try:
        StateDir.acquire(path).release()
    except StateDirBusy:
        return "an agent uses it now"
    except OSError as exc:
        return f"its lock cannot be tried: {exc.strerror}"
    return "no agent uses it now"


def check_facts(facts: Facts) -> Check:
    """Tell which facts are not known; runs carry null for them."""
    unknown = [name for name, fact in facts.items() if fact.state == "unknown"]
    if unknown:
        return ok("facts", f"not known: {', '.join(unknown)} (`millhand facts` says why)")
    return ok("facts", "all known")
