"""CPUs and memory: the least limit, and what the machine has."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.unit.machine.recorded import GIB, record
from worker.machine.cgroup import Limit
from worker.machine.cpu import cpu_platform, limit_cpus
from worker.machine.memory import limit_ram, memory_facts, node_memory

UNLIMITED = Limit("unlimited", source="cpu.max")
UNREADABLE = Limit("unreadable", reason="no cgroup is mounted")


def limited(value: float) -> Limit:
    """Return a limit."""
    return Limit("limited", value, "cpu.max")


@pytest.mark.parametrize(
    ("quota", "cpuset", "affinity", "expected"),
    [
        (limited(1.5), UNLIMITED, 8, (1.5, "cpu.max")),
        (limited(6.0), limited(4), 8, (4.0, "cpu.max")),
        (limited(6.0), UNREADABLE, 2, (2.0, "sched_getaffinity")),
        (UNLIMITED, UNLIMITED, 2, (2.0, "sched_getaffinity")),
        (limited(12.0), limited(8), 8, (12.0, "cpu.max")),
    ],
)
def test_the_least_of_quota_cpuset_and_affinity_is_the_limit(
    quota: Limit, cpuset: Limit, affinity: int, expected: tuple[float, str]
) -> None:
    """On a machine of 8 CPUs each source may be the tightest; all 8 of them are no limit."""
    fact = limit_cpus(quota, cpuset, affinity, 8)
    assert (fact.value, fact.source) == expected


def test_no_limit_of_cpus_is_absent() -> None:
    """A process that may use every CPU has no limit, which is known."""
    assert limit_cpus(UNLIMITED, limited(8), 8, 8).state == "absent"


def test_an_unreadable_quota_makes_the_limit_unknown() -> None:
    """An affinity alone is no limit: the quota might be tighter."""
    fact = limit_cpus(UNREADABLE, UNREADABLE, 2, 8)
    assert fact.state == "unknown"
    assert fact.value is None
    assert fact.reason == "no cgroup is mounted (the affinity allows 2)"


def test_a_limit_below_the_machines_memory_counts() -> None:
    """Bytes are whole numbers on the wire."""
    fact = limit_ram(Limit("limited", float(GIB), "memory.max"), 8 * GIB)
    assert (fact.state, fact.value) == ("measured", GIB)
    assert isinstance(fact.value, int)


@pytest.mark.parametrize("limit", [limited(8 * GIB), limited(9 * GIB), UNLIMITED])
def test_a_limit_of_all_memory_or_more_is_none(limit: Limit) -> None:
    """What the machine does not have cannot be limited by cgroups."""
    assert limit_ram(limit, 8 * GIB).state == "absent"


def test_unreadable_memory_is_unknown(tmp_path: Path) -> None:
    """Neither a limit nor a size is guessed."""
    facts = memory_facts(tmp_path, total_bytes=None)
    assert {fact.state for fact in facts.values()} == {"unknown"}
    assert all(fact.reason for fact in facts.values())


def test_the_cpus_model_is_read(tmp_path: Path) -> None:
    """The first CPU's name stands for all."""
    cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 7B13\n"
    fact = cpu_platform(record(tmp_path, {"proc/cpuinfo": cpuinfo}))
    assert (fact.value, fact.source) == ("AMD EPYC 7B13", "/proc/cpuinfo")


def test_the_memory_of_the_machine_is_told_in_bytes(tmp_path: Path) -> None:
    """The kernel counts in kB of 1024; and on this machine psutil says the same."""
    root = record(tmp_path, {"proc/meminfo": "MemTotal:       24575000 kB\nMemFree:         1000 kB\n"})
    assert node_memory(root) == (24575000 * 1024, "/proc/meminfo")
    assert node_memory(Path("/"))[0] == psutil.virtual_memory().total
