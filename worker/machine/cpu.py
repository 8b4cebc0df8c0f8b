"""The CPUs: how many this process may use, how many the machine has, and which they are."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from worker.machine.cgroup import Limit, cpu_quota, cpuset_size
from worker.machine.facts import Fact

__all__ = ["cpu_facts", "node_cpus"]


def node_cpus() -> int | None:
    """Return how many CPUs the machine has on line; None where the system does not tell."""
    try:
        count = os.sysconf("SC_NPROCESSORS_ONLN")
    except (AttributeError, OSError, ValueError):
        return None
    return count if count > 0 else None


def cpu_facts(root: Path, *, affinity: int | None, logical: int | None) -> dict[str, Fact]:
    """Return limitCPUs, nodeCPUs and cpuPlatform.

    Args:
        root: stands for `/`.
        affinity: on how many CPUs this process may run (sched_getaffinity); None where nobody can tell.
        logical: how many CPUs the machine has (`node_cpus`).
    """
    return {
        "limitCPUs": limit_cpus(cpu_quota(root), cpuset_size(root), affinity, logical),
        "nodeCPUs": Fact.unknown("the system does not tell how many CPUs are on line")
        if logical is None
        else Fact.measured(logical, "sysconf"),
        "cpuPlatform": cpu_platform(root),
    }


def limit_cpus(quota: Limit, cpuset: Limit, affinity: int | None, logical: int | None) -> Fact:
    """Return the least of quota, cpuset and affinity, fractional; absent where none of them limits.

    A cpuset and an affinity of all the machine's CPUs limit nothing. Where the quota cannot be read, the
    limit is unknown: the others are only bounds from above.
    """
    if quota.state == "unreadable":
        bound = "" if affinity is None else f" (the affinity allows {affinity})"
        return Fact.unknown(quota.reason + bound)
    limits: list[tuple[float, str]] = []
    if quota.value is not None:
        limits.append((quota.value, quota.source))
    for size, source in ((cpuset.value, cpuset.source), (affinity, "sched_getaffinity")):
        if size is not None and (logical is None or size < logical):
            limits.append((float(size), source))
    if not limits:
        return Fact.absent(quota.source)
    return Fact.measured(*min(limits))


def cpu_platform(root: Path) -> Fact:
    """Return the model's name, as the first CPU says it."""
    names = {"model name", "Model", "cpu model", "cpu"}  # x86; ARM boards; MIPS; POWER
    try:
        for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names and value.strip():
                return Fact.measured(value.strip(), "/proc/cpuinfo")
    except OSError:
        pass  # no /proc here: ask the standard library
    name = platform.processor()
    if name:
        return Fact.measured(name, "platform.processor")
    return Fact.unknown("/proc/cpuinfo names no model of the CPU")
