"""How short of memory the machine is now: what is available, and how much everything waits for it.

Sources: proc(5), /proc/meminfo; https://docs.kernel.org/accounting/psi.html;
https://docs.kernel.org/admin-guide/cgroup-v2.html, memory.pressure, memory.current, memory.stat.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from worker.machine.cgroup import V1_NO_LIMIT_BYTES
from worker.machine.hierarchy import Hierarchy, NoCgroup, find_hierarchy, shown
from worker.minder.files import read_text

__all__ = ["MemoryState", "Pressure", "Room", "read_memory_state"]

FULL: Final = re.compile(r"^full avg10=(\d+(?:\.\d+)?) ", re.MULTILINE)
KIB: Final = 1024
# By version: the limit, what is used, and the line of `memory.stat` that tells what can be given back.
FILES: Final = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


class Pressure(Struct, frozen=True):
    """The share of the last ten seconds in which everything stood still for want of memory."""

    percent: float
    source: str


class Room(Struct, frozen=True):
    """Memory that can be had without swapping, and how much there is of it at most."""

    available_bytes: int
    total_bytes: int
    source: str


class MemoryState(Struct, frozen=True):
    """The worst pressure of the machine and of one's own cgroups, and the room that each has, as far as told.

    No room hides another: how much is enough goes by the total of each.
    """

    pressure: Pressure | None
    rooms: tuple[Room, ...]


def read_memory_state(root: Path = Path("/")) -> MemoryState:
    """Read it now; what is not there, not ours to read or garbled does not count."""
    try:
        own: Hierarchy | None = find_hierarchy("memory", root)
    except NoCgroup:
        own = None
    pressures = [pressure_of(root / "proc/pressure/memory", root)]
    rooms = [machine_room(root)]
    for folder in own.folders if own else ():
        if own and own.version == 2:
            pressures.append(pressure_of(folder / "memory.pressure", root))
        rooms.append(cgroup_room(folder, own.version if own else 2, root))
    return MemoryState(
        pressure=max((one for one in pressures if one), key=lambda one: one.percent, default=None),
        rooms=tuple(one for one in rooms if one),
    )


def pressure_of(path: Path, root: Path) -> Pressure | None:
    """Read one file of pressure stall information; the kernel may be without it (psi=0)."""
    match = FULL.search(text_of(path))
    return Pressure(float(match[1]), shown(path, root)) if match else None


def machine_room(root: Path) -> Room | None:
    """Read what the kernel estimates to be available on the machine."""
    path = root / "proc/meminfo"
    text = text_of(path)
    total_kib, available_kib = (number(text, f"{name}:") for name in ("MemTotal", "MemAvailable"))
    if total_kib is None or available_kib is None:
        return None
    return Room(available_kib * KIB, total_kib * KIB, shown(path, root))


def cgroup_room(folder: Path, version: int, root: Path) -> Room | None:
    """Read what one cgroup leaves below its limit, without the pages that can be given back at once."""
    limit_name, used_name, inactive_name = FILES[version]
    limit = text_of(folder / limit_name).strip()
    if not limit.isdecimal() or int(limit) >= V1_NO_LIMIT_BYTES:
        return None
    used = text_of(folder / used_name).strip()
    if not used.isdecimal():
        return None
    inactive = number(text_of(folder / "memory.stat"), inactive_name) or 0
    left = int(limit) - max(int(used) - inactive, 0)
    return Room(max(left, 0), int(limit), shown(folder / limit_name, root))


def number(text: str, name: str) -> int | None:
    """Return the number that stands beside a name at the beginning of a line."""
    match = re.search(rf"^{re.escape(name)}\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


def text_of(path: Path) -> str:
    """Return a file's text, nothing where it cannot be read."""
    return read_text(str(path)) or ""
