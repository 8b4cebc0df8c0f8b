"""Find one's own cgroup, as `worker.minder.hierarchy` does, in the types of this package."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from worker.minder import hierarchy
from worker.minder.hierarchy import NoCgroup

__all__ = ["Hierarchy", "NoCgroup", "find_hierarchy", "shown"]


class Hierarchy(NamedTuple):
    """The folders of one's own cgroup in one hierarchy, the own one first, the mount's last."""

    version: int  # 1 or 2
    folders: tuple[Path, ...]


def find_hierarchy(controller: str, root: Path) -> Hierarchy:
    """Return where a controller of this process is: its v1 hierarchy if it has one, else v2.

    Raises:
        NoCgroup: there are no cgroups here, or the mount does not show ours.
    """
    version, folders = hierarchy.find_hierarchy(controller, str(root))
    return Hierarchy(version, tuple(map(Path, folders)))


def shown(path: Path, root: Path) -> str:
    """Return a path as the machine itself names it."""
    return "/" + str(path.relative_to(root))
