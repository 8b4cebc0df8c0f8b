"""What a container consumes: read from its control group while it is there, on cgroup v1 and v2.

Its processes are the engine's, not below the run's process, so that nobody else counts them. The group is
found by the container's id in its name, which every driver of docker and podman puts there; it goes with
the container's last process, so that what is consumed after the last look is missed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ContainerMeter", "Groups", "find_groups", "read_groups"]

ROOT = Path("/sys/fs/cgroup")
MAX_DEPTH = 6
SOONEST_S, LATEST_S = 0.02, 0.1  # between two looks: a fiftieth of the time so far, within these


class Groups(NamedTuple):
    """The folders of a container's control group; one on v2, one for each controller on v1."""

    version: int
    cpu: Path
    memory: Path

    @property
    def method(self) -> str:
        """How it is called on a bill."""
        return f"container_cgroup_v{self.version}"


class Look(NamedTuple):
    """What a group counted at one moment."""

    cpu_user_s: float
    cpu_system_s: float
    memory_bytes: int  # anonymous and shared memory, as for every run
    oom_kills: int


def find_groups(container_id: str, root: Path = ROOT) -> Groups | None:
    """Return the groups of a container; None where there are none, or none that can be seen from here."""
    if (root / "cgroup.controllers").exists():
        found = find_below(root, container_id)
        return None if found is None else Groups(2, found, found)
    cpu = find_below(root / "cpuacct", container_id) or find_below(root / "cpu,cpuacct", container_id)
    memory = find_below(root / "memory", container_id)
    return None if cpu is None or memory is None else Groups(1, cpu, memory)


def find_below(folder: Path, container_id: str) -> Path | None:
    """Return the folder that is named after the container, the nearest to the root."""
    level = [folder]
    for _ in range(MAX_DEPTH):
        level = [child for one in level for child in folders_in(one)]
        for child in level:
            if container_id in child.name and "conmon" not in child.name:
                return child
    return None


def folders_in(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:  # it has just gone
        return


def pids_in(group: Path, depth: int) -> Iterator[int]:
    """Yield the processes of a group and of those below it: crun puts them into a child, `container`."""
    with contextlib.suppress(OSError, ValueError):  # it has just gone
        pids = map(int, (group / "cgroup.procs").read_text().split())
        yield from (pid for pid in pids if pid > 0)  # 0: of another namespace
    if depth > 0:
        for child in folders_in(group):
            yield from pids_in(child, depth - 1)


def read_groups(groups: Groups) -> Look | None:
    """Read what they count now; None where they are gone."""
    try:
        return read_v2(groups.cpu) if groups.version == 2 else read_v1(groups)
    except (OSError, ValueError, KeyError):
        return None


def read_v2(group: Path) -> Look:
    """Read a group of cgroup v2."""
    cpu, memory = numbers(group / "cpu.stat"), numbers(group / "memory.stat")
    return Look(
        cpu["user_usec"] / 1e6,
        cpu["system_usec"] / 1e6,
        memory["anon"] + memory["shmem"],
        numbers(group / "memory.events").get("oom_kill", 0),
    )


def read_v1(groups: Groups) -> Look:
    """Read the groups of cgroup v1: the total is exact, its parts come in ticks and are fitted to it."""
    total_s = int((groups.cpu / "cpuacct.usage").read_text()) / 1e9
    parts = numbers(groups.cpu / "cpuacct.stat")
    ticks = parts["user"] + parts["system"]
    system_s = total_s * parts["system"] / ticks if ticks else 0.0
    memory = numbers(groups.memory / "memory.stat")
    return Look(
        total_s - system_s,
        system_s,
        memory["total_rss"] + memory.get("total_shmem", 0),
        numbers(groups.memory / "memory.oom_control").get("oom_kill", 0),
    )


def numbers(path: Path) -> dict[str, int]:
    """Read a file of lines ``name number``."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {parts[0]: int(parts[1]) for parts in lines if len(parts) == 2}


class ContainerMeter:
    """Follow one container; `look` is called as often as there is time for it, and decides when it is due."""

    def __init__(
        self,
        container_id: str,
        *,
        mono: Callable[[], float] = time.monotonic,
        find: Callable[[str], Groups | None] = find_groups,
    ) -> None:
        """Begin with nothing seen."""
        self.groups: Groups | None = None
        self.cpu_user_s = 0.0
        self.cpu_system_s = 0.0
        self.held_bytes = 0
        self.peak_bytes = 0
        self.oom_kills = 0
        self.is_seen = False
        self._id = container_id
        self._mono = mono
        self._find = find
        self._began_mono = mono()
        self._due_mono = self._began_mono

    def look(self) -> bool:
        """Look at it if that is due; tell whether something new was seen."""
        now = self._mono()
        if now < self._due_mono:
            return False
        self._due_mono = now + min(max((now - self._began_mono) / 50, SOONEST_S), LATEST_S)
        if self.groups is None:
            self.groups = self._find(self._id)
        seen = None if self.groups is None else read_groups(self.groups)
        if seen is not None:
            self._take(seen)
        return seen is not None

    def pid(self) -> int | None:
        """Return the container's first process, by which all of them are known; None where it is gone."""
        return None if self.groups is None else min(pids_in(self.groups.cpu, MAX_DEPTH), default=None)

    def _take(self, seen: Look) -> None:
        """Take a look; no figure goes down, and the sum of both parts is kept."""
        total_s = max(seen.cpu_user_s + seen.cpu_system_s, self.cpu_user_s + self.cpu_system_s)
        self.cpu_system_s = max(min(seen.cpu_system_s, total_s - self.cpu_user_s), self.cpu_system_s)
        self.cpu_user_s = max(total_s - self.cpu_system_s, self.cpu_user_s)
        self.held_bytes = seen.memory_bytes
        self.peak_bytes = max(self.peak_bytes, seen.memory_bytes)
        self.oom_kills = max(self.oom_kills, seen.oom_kills)
        self.is_seen = True
