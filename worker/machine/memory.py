"""The memory: how much this process may use, and how much the machine has."""

from __future__ import annotations

from pathlib import Path

from worker.machine.cgroup import Limit, memory_limit
from worker.machine.facts import Fact

__all__ = ["memory_facts"]


def memory_facts(root: Path, *, total_bytes: int | None) -> dict[str, Fact]:
    """Return limitRAM and nodeRAM in bytes; `total_bytes` is what the machine has (psutil)."""
    node = Fact.unknown("psutil could not read how much memory there is")
    if total_bytes is not None:
        node = Fact.measured(total_bytes, "psutil")
    return {"limitRAM": limit_ram(memory_limit(root), total_bytes), "nodeRAM": node}


def limit_ram(limit: Limit, total_bytes: int | None) -> Fact:
    """Return the tightest limit; a limit at or above all the memory there is limits nothing."""
    if limit.state == "unreadable":
        return Fact.unknown(limit.reason)
    if limit.value is None or (total_bytes is not None and limit.value >= total_bytes):
        return Fact.absent(limit.source)
    return Fact.measured(int(limit.value), limit.source)
