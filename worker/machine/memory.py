"""The memory: how much this process may use, and how much the machine has."""

from __future__ import annotations

from pathlib import Path

from worker.machine.cgroup import Limit, memory_limit
from worker.machine.facts import Fact

__all__ = ["memory_facts", "node_memory"]

MEMINFO = "/proc/meminfo"


def node_memory(root: Path) -> tuple[int | None, str]:
    """Return how many bytes of memory the machine has, and who says so: Linux itself, elsewhere psutil."""
    try:
        for line in (root / MEMINFO[1:]).read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                return int(value.removesuffix("kB")) * 1024, MEMINFO
    except (OSError, ValueError):
        pass
    import psutil  # noqa: PLC0415 - Linux does without; it takes 1 MiB

    return psutil.virtual_memory().total, "psutil"


def memory_facts(root: Path, *, total_bytes: int | None, source: str = MEMINFO) -> dict[str, Fact]:
    """Return limitRAM and nodeRAM in bytes; `total_bytes` is what the machine has, as `source` says."""
    node = Fact.unknown(f"{source} does not tell how much memory there is")
    if total_bytes is not None:
        node = Fact.measured(total_bytes, source)
    return {"limitRAM": limit_ram(memory_limit(root), total_bytes), "nodeRAM": node}


def limit_ram(limit: Limit, total_bytes: int | None) -> Fact:
    """Return the tightest limit; a limit at or above all the memory there is limits nothing."""
    if limit.state == "unreadable":
        return Fact.unknown(limit.reason)
    if limit.value is None or (total_bytes is not None and limit.value >= total_bytes):
        return Fact.absent(limit.source)
    return Fact.measured(int(limit.value), limit.source)
