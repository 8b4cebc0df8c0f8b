"""The limits that cgroups set: the tightest one from the own cgroup up to the root.

A limit has three states, never two: limited, unlimited, and unreadable with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from worker.machine.hierarchy import Hierarchy, NoCgroup, find_hierarchy, shown

__all__ = ["V1_NO_LIMIT_BYTES", "Limit", "cpu_quota", "cpuset_size", "memory_limit"]

# v1 says "no limit" with LONG_MAX rounded down to a page; 64 KiB is the largest page of any machine.
V1_NO_LIMIT_BYTES = (1 << 63) - (1 << 16)

Parse = Callable[[Path], float | None]  # the limit in a folder, None: the folder sets none


class Limit(Struct, frozen=True):
    """What cgroups allow. CPUs in vCPUs (fractional), memory in bytes."""

    state: Literal["limited", "unlimited", "unreadable"]
    value: float | None = None
    source: str = ""  # the file that sets the limit, or where none was found
    reason: str = ""  # for unreadable


def cpu_quota(root: Path = Path("/")) -> Limit:
    """Return the CPUs that the quotas allow."""
    return tightest("cpu", {1: ("cpu.cfs_quota_us", v1_quota), 2: ("cpu.max", v2_quota)}, root)


def memory_limit(root: Path = Path("/")) -> Limit:
    """Return the bytes that the hard limits allow; `memory.high` only slows down and is left out."""
    limit = tightest("memory", {1: ("memory.limit_in_bytes", v1_bytes), 2: ("memory.max", v2_bytes)}, root)
    return min_with_hidden_parents(limit, root)


def cpuset_size(root: Path = Path("/")) -> Limit:
    """Return the number of CPUs of the own cpuset, which holds what the parents leave."""
    try:
        version, folders = find_hierarchy("cpuset", root)
    except NoCgroup as exc:
        return Limit("unreadable", reason=str(exc))
    names = ("cpuset.effective_cpus", "cpuset.cpus") if version == 1 else ("cpuset.cpus.effective",)
    for path in (folder / name for folder in folders for name in names):
        try:
            size = count_cpus(read(path) or "")
        except ValueError as exc:
            return Limit("unreadable", reason=f"{shown(path, root)} is no list of CPUs: {exc}")
        if size:
            return Limit("limited", size, shown(path, root))
    return Limit("unlimited", source=shown(folders[0], root))


def tightest(controller: str, files: dict[int, tuple[str, Parse]], root: Path) -> Limit:
    """Walk from the own cgroup to the top of the mount; a parent may be tighter than the leaf."""
    try:
        hierarchy = find_hierarchy(controller, root)
        name, parse = files[hierarchy.version]
        found = [
            (folder / name, parse(folder / name)) for folder in hierarchy.folders if (folder / name).exists()
        ]
    except NoCgroup as exc:
        return Limit("unreadable", reason=str(exc))
    except (OSError, ValueError, ZeroDivisionError) as exc:
        return Limit("unreadable", reason=f"a cgroup's limit of {controller} could not be read: {exc}")
    limits = [(value, path) for path, value in found if value is not None]
    if limits:
        value, path = min(limits)
        return Limit("limited", value, shown(path, root))
    return without_limit(name, hierarchy, found_any=bool(found), root=root)


def without_limit(name: str, hierarchy: Hierarchy, *, found_any: bool, root: Path) -> Limit:
    """Tell "no limit is set" from "the file that would set it is not to be seen"."""
    top = hierarchy.folders[-1]
    # Only the root of cgroup v2 has no cgroup.type, and only there limits cannot exist.
    if found_any or (hierarchy.version == 2 and not (top / "cgroup.type").exists()):
        return Limit("unlimited", source=f"{name} in {shown(hierarchy.folders[0], root)} and above")
    return Limit("unreadable", reason=f"there is no {name} in {shown(hierarchy.folders[0], root)} nor above")


def min_with_hidden_parents(limit: Limit, root: Path) -> Limit:
    """Take v1's own sum-up into account: it knows the parents that a container does not see."""
    if limit.state == "unreadable":
        return limit
    version, folders = find_hierarchy("memory", root)
    value = hierarchical_bytes(folders[0] / "memory.stat") if version == 1 else None
    if value is None or (limit.value is not None and limit.value <= value):
        return limit
    return Limit("limited", value, shown(folders[0] / "memory.stat", root))


def hierarchical_bytes(path: Path) -> float | None:
    """Return `hierarchical_memory_limit` of a v1 cgroup, None where there is no limit or no such line."""
    for line in (read(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "hierarchical_memory_limit" and value.isdigit():
            return None if int(value) >= V1_NO_LIMIT_BYTES else int(value)
    return None


def v1_quota(path: Path) -> float | None:
    """Return quota by period in CPUs; the quota is -1 where there is none."""
    quota_us = int(path.read_text())
    period_us = int((path.parent / "cpu.cfs_period_us").read_text())
    return quota_us / period_us if quota_us > 0 else None


def v2_quota(path: Path) -> float | None:
    """Return `cpu.max` ("50000 100000", "max 100000") in CPUs."""
    quota_us, period_us = path.read_text().split()
    return None if quota_us == "max" else int(quota_us) / int(period_us)


def v1_bytes(path: Path) -> float | None:
    """Return `memory.limit_in_bytes`."""
    limit_bytes = int(path.read_text())
    return None if limit_bytes >= V1_NO_LIMIT_BYTES else limit_bytes


def v2_bytes(path: Path) -> float | None:
    """Return `memory.max`."""
    text = path.read_text().strip()
    return None if text == "max" else int(text)


def count_cpus(text: str) -> int:
    """Return how many CPUs a list names: "0-3,8" are five."""
    spans = [span.split("-") for span in text.strip().split(",") if span]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def read(path: Path) -> str | None:
    """Return a file's text, None where it is not there or not ours to read."""
    try:
        return path.read_text()
    except OSError:
        return None
