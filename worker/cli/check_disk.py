"""Checks of the disks that the agent fills: their room, and what lies there for a person."""

from __future__ import annotations

from pathlib import Path

from worker.agent.free_space import filled_folders, lack, look
from worker.agent.input_cache import key_path
from worker.agent.workdirs import KEPT_NAME, RUNS_NAME
from worker.cli import human
from worker.cli.checks import Check, fail, ok, warn
from worker.config import AgentConfig
from worker.executor.kept import read_notes
from worker.executor.workdir import RESISTING

__all__ = ["check_disk"]


def check_disk(config: AgentConfig) -> list[Check]:
    """Look at everything that is on the agent's disks."""
    checks = [check_room(folder, config.min_free_bytes) for folder in filled_folders(config)]
    checks += [check_kept(config.state_dir / KEPT_NAME), check_resisting(config.state_dir)]
    checks.append(check_inputs(config))
    return [check for check in checks if check is not None]


def check_room(folder: Path, min_free_bytes: int) -> Check | None:
    """Look whether there is room below a folder; nothing is claimed without."""
    if not min_free_bytes:
        return None
    try:
        room = look(folder)
    except OSError as exc:
        return warn("free space", f"{folder}: not known: {exc.strerror}", "see what is wrong with the disk")
    if (text := lack(room, min_free_bytes)) is not None:
        todo = "nothing is claimed so: make room, or lower MILLHAND_MIN_FREE"
        return fail("free space", f"{folder}: {text}", todo)
    return ok("free space", f"{folder}: {human.size(room.free_bytes)}")


def check_kept(folder: Path) -> Check | None:
    """Look how many folders of failed runs are kept, and where."""
    try:
        notes, _ = read_notes(folder)
    except OSError as exc:
        return warn("kept folders", f"{folder}: {exc.strerror}", "run doctor as the agent's user")
    if not notes:
        return None
    size = human.size(sum(note.size_bytes for note in notes))
    return ok("kept folders", f"{folder}: {human.count(len(notes), 'failed run')}, {size}")


def check_inputs(config: AgentConfig) -> Check | None:
    """Look whether inputs can be kept, and how much of them is."""
    folder = config.input_cache
    if folder is None:
        return None
    if not key_path(folder).exists():
        return ok("input cache", f"{folder}: the agent makes it")
    try:
        key_path(folder).read_bytes()
        sizes = [path.stat().st_size for path in folder.glob("user-*/content/*")]
    except OSError as exc:
        todo = "run doctor as the agent's user; agents that share it run as the same one"
        return warn("input cache", f"{folder}: {exc.strerror}", todo)
    held = f"{human.size(sum(sizes))} of {human.size(config.input_cache_bytes)}"
    return ok("input cache", f"{folder}: {held} in {human.count(len(sizes), 'file')}")


def check_resisting(state_dir: Path) -> Check | None:
    """Look for folders of runs that could not be removed."""
    folder = state_dir / RUNS_NAME / RESISTING
    try:
        left = [path.name for path in folder.iterdir()]
    except OSError:  # not there, or not for our eyes, which the state folder's own check tells
        return None
    if not left:
        return None
    said = f"{folder}: {human.count(len(left), 'folder')} of runs could not be removed"
    return warn("runs' folders", said, "remove them by hand: lsattr, findmnt and ls -l tell what resists")
