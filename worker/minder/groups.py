"""Control groups of runs: one for each child, with limits that the kernel holds.

What of cgroup v1 and v2 may be written here is found out once, by controller: memory and processes are
limited, and in v2 a whole group can be killed at once. Where nothing may be written, as in an ordinary
container, there are no groups and a reason; the guards of the minder do without.
"""

from __future__ import annotations

import contextlib
import os

from worker.minder.base import Base, pids_below, remove_tree
from worker.minder.cpu_group import CpuGroup
from worker.minder.files import flat_numbers, read_once, write_text
from worker.minder.hierarchy import NoCgroup, find_hierarchy, find_unified
from worker.minder.memory_group import MemoryGroup
from worker.minder.unified import may_write, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Group", "Groups", "find_places"]

CONTROLLERS = ("memory", "pids")
CPU_V1 = "cpuacct"  # counts where there is no v2, which does so by itself
# The kernel's limit lies above the run's: the minder's guard, which names the limit and the biggest process,
# mostly comes first. And the kernel counts more than the guard: its stacks, its tables of pages.
SLACK_BYTES = 64 * 1024**2
SLACK_SHARE = 0.02


class Group:
    """The control group of one child, in one or more hierarchies; perhaps in none."""

    __slots__ = ("_cpu", "_leftovers", "_memory", "_processes", "_unified", "folders")

    def __init__(self, places: list[tuple[Base, str]], leftovers: list[str]) -> None:
        """Take the folders, each with the base that it is in, and where to note what could not be removed."""
        self.folders = [folder for _, folder in places]
        self._leftovers = leftovers
        self._cpu: CpuGroup | None = None
        self._memory: MemoryGroup | None = None
        self._processes: str | None = None
        self._unified: str | None = None
        for base, folder in places:
            if "memory" in base.controllers:
                self._memory = MemoryGroup(base.version, folder)
            if "pids" in base.controllers:
                self._processes = folder
            if CPU_V1 in base.controllers or base.version == 2:
                self._cpu = CpuGroup(base.version, folder)
            if base.version == 2:
                self._unified = folder

    @property
    def join_files(self) -> list[str]:
        """Return the files that a process writes "0" to, and is in the group."""
        return [f"{folder}/cgroup.procs" for folder in self.folders]

    def limit(self, memory_bytes: int | None, processes: int | None) -> bool:
        """Set limits; never raises.

        Args:
            memory_bytes: of all processes together; the kernel kills a little above it. None lifts the
                limit, since each run has its own.
            processes: bound of processes and threads; None leaves it as it is.

        Returns:
            Whether the kernel holds all that was asked for.
        """
        holds = True
        if self._memory is not None:
            holds = self._memory.limit(with_slack(memory_bytes))
        elif memory_bytes is not None:
            holds = False
        return holds if processes is None else self._limit_processes(processes) and holds

    def _limit_processes(self, processes: int) -> bool:
        if self._processes is None:
            return False
        try:
            write_text(f"{self._processes}/pids.max", str(processes))
        except OSError:
            return False
        return True

    @property
    def memory_place(self) -> tuple[int, str] | None:
        """Return version and folder of what counts its memory, for `MemoryGroup`; None: nothing does."""
        return None if self._memory is None else (self._memory.version, self._memory.folder)

    @property
    def cpu_place(self) -> tuple[int, str] | None:
        """Return version and folder of what counts its CPU time, for `CpuGroup`; None: nothing does."""
        return None if self._cpu is None else (self._cpu.version, self._cpu.folder)

    def cpu_s(self) -> tuple[float, float] | None:
        """Return CPU seconds of all its processes so far, and those in the kernel alone; None: not known."""
        return None if self._cpu is None else self._cpu.used_s()

    def memory_bytes(self) -> int | None:
        """Return anonymous and shared memory of all processes together; None where it is not known."""
        return None if self._memory is None else self._memory.used_bytes()

    def oom_kills(self) -> int | None:
        """Return how many of its processes the kernel has killed for want of memory; None: not known."""
        return None if self._memory is None else self._memory.oom_kills()

    def peak_bytes(self) -> int | None:
        """Return the most memory that it has had, page cache included; None: not known."""
        return None if self._memory is None else self._memory.peak_bytes()

    def kill(self) -> bool:
        """Kill all processes at once (v2, Linux ≥ 5.14); tell whether there were some and it was done.

        A process that may write control groups can leave them: who is not in it is not killed.
        """
        if self._unified is None:
            return False
        if flat_numbers(read_once(f"{self._unified}/cgroup.events"), b"populated") != [1]:
            return False
        try:
            write_text(f"{self._unified}/cgroup.kill", "1")
        except OSError:
            return False
        return True

    def pids(self) -> list[int]:
        """Return the living processes, those in groups that they made below it too."""
        return sorted({pid for folder in self.folders for pid in pids_below(folder)})

    def remove(self) -> None:
        """Remove the group; what is busy still is tried again when the next one is made."""
        for counter in (self._cpu, self._memory):
            if counter is not None:
                counter.close()
        self._leftovers.extend(folder for folder in self.folders if not remove_tree(folder))
        self.folders = []
        self._cpu = self._memory = self._processes = self._unified = None


class Groups:
    """Where this process makes groups."""

    def __init__(self, bases: list[Base], reason: str) -> None:
        """Set the values; use `open`."""
        self.reason = reason  # why something is not possible; "" where all is
        self._bases = bases
        self._leftovers: list[str] = []

    @classmethod
    def open(cls, name: str, root: str = "/") -> Groups:
        """Find out what may be written, and make a folder there; never raises.

        In v2 this process, its parent (the agent) and what belongs to them may move to a group below.
        What agents that were killed left behind is ended and removed.
        """
        bases: list[Base] = []
        places, reasons = find_places(root)
        for version, folders, controllers in places:
            try:
                bases.append(open_base(version, folders, controllers, name, reasons))
            except OSError as exc:
                if controllers:
                    reasons.append(exc.strerror or str(exc))
        if all(base.version == 1 for base in bases):
            with contextlib.suppress(NoCgroup, OSError):
                version, folders = find_hierarchy(CPU_V1, root)
                if version == 1:
                    bases.append(open_base(1, folders, frozenset({CPU_V1}), name, reasons))
        return cls(bases, "; ".join(dict.fromkeys(reasons)))

    @property
    def controllers(self) -> frozenset[str]:
        """Return what can be limited: of "memory" and "pids"."""
        return frozenset(name for base in self._bases for name in base.controllers if name in CONTROLLERS)

    @property
    def can_kill(self) -> bool:
        """Tell whether groups can be killed at once."""
        return any(os.path.exists(f"{base.folder}/cgroup.kill") for base in self._bases)

    def make(self, id_: int | str) -> Group:
        """Make the group of one child; never raises: where it cannot be made, limits do without."""
        self._leftovers = [folder for folder in self._leftovers if not remove_tree(folder)]
        return Group(list(self._made(id_)), self._leftovers)

    def _made(self, id_: int | str) -> Iterator[tuple[Base, str]]:
        for base in self._bases:
            folder = f"{base.folder}/{id_}"
            try:
                os.mkdir(folder)
            except OSError as exc:
                self.reason = f"{folder} could not be made: {exc.strerror}"
            else:
                yield base, folder

    def close(self) -> None:
        """Remove the own folders."""
        for base in self._bases:
            base.remove()
        self._bases = []


def with_slack(limit_bytes: int | None) -> int | None:
    """Return where the kernel's limit is for a run's own."""
    if limit_bytes is None:
        return None
    return limit_bytes + max(SLACK_BYTES, int(limit_bytes * SLACK_SHARE))


def find_places(root: str = "/") -> tuple[list[tuple[int, list[str], frozenset[str]]], list[str]]:
    """Return the hierarchies that hold the controllers, each with the own folders in it; changes nothing.

    v2 is among them even where it has neither controller: a group can be killed there.

    Returns:
        Version, folders (the own one first) and controllers of each; and why some are missing.
    """
    found: dict[tuple[int, str], tuple[list[str], set[str]]] = {}
    reasons = []
    for controller in CONTROLLERS:
        try:
            version, folders = find_hierarchy(controller, root)
        except NoCgroup as exc:
            reasons.append(str(exc))
            continue
        found.setdefault((version, folders[0]), (folders, set()))[1].add(controller)
    with contextlib.suppress(NoCgroup):
        folders = find_unified(root)
        found.setdefault((2, folders[0]), (folders, set()))
    places = [(version, folders, frozenset(names)) for (version, _), (folders, names) in found.items()]
    return places, reasons


def open_base(
    version: int, folders: list[str], controllers: frozenset[str], name: str, reasons: list[str]
) -> Base:
    """Make the own folder in one hierarchy; add to the reasons where a controller cannot be had.

    Raises:
        OSError: nothing may be made there.
    """
    if version == 1:
        may_write(folders[0])
        base = Base.make(folders[0], 1, name, controllers)
        with contextlib.suppress(OSError):  # before Linux 5.11 memory was not counted upwards by itself
            write_text(f"{base.folder}/memory.use_hierarchy", "1")
        return base
    own, passed_on, reason = prepare(folders, controllers)
    if reason:
        reasons.append(reason)
    base = Base.make(own, 2, name, passed_on)
    for controller in sorted(passed_on):
        try:
            write_text(f"{base.folder}/cgroup.subtree_control", f"+{controller}")
        except OSError as exc:
            reasons.append(f"{base.folder} cannot pass on {controller}: {exc.strerror}")
            base.controllers -= {controller}
    return base
