"""The memory controller's files, v1 and v2: reading, writing, and the pool that all share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.machine.recorded import GIB, NO_LIMIT_V1, V2_MOUNT, record
from worker.minder.memory_group import MemoryGroup
from worker.minder.pool import PoolMemory

MIB = 1 << 20
V1_STAT = f"cache 7\nrss 1\nshmem 1\nhierarchical_memory_limit {GIB}\ntotal_rss 30\ntotal_shmem 12\n"


def test_v1_use_is_that_of_the_whole_tree_without_page_cache(tmp_path: Path) -> None:
    """The totals are taken, which count the groups below."""
    record(tmp_path, {"memory.stat": V1_STAT})
    assert MemoryGroup(1, str(tmp_path)).used_bytes() == 42


def test_v2_use_is_anonymous_and_shared_memory(tmp_path: Path) -> None:
    """The file cache is left out; shmem is not part of anon."""
    record(tmp_path, {"memory.stat": "anon 40\nfile 900\nshmem 2\nanon_thp 5\n"})
    assert MemoryGroup(2, str(tmp_path)).used_bytes() == 42


@pytest.mark.parametrize("stat", [None, "", "anon\n", "anon x\nshmem 1\n", "anon 1\n", "\x00\xff"])
def test_use_that_is_not_told_is_unknown(tmp_path: Path, stat: str | None) -> None:
    """No file, an empty one, half a one or junk: None, never 0."""
    record(tmp_path, {} if stat is None else {"memory.stat": stat})
    assert MemoryGroup(2, str(tmp_path)).used_bytes() is None
    assert MemoryGroup(1, str(tmp_path)).used_bytes() is None


def test_limits_of_both_versions_are_read(tmp_path: Path) -> None:
    """Each has its own spelling of "no limit"; v1 knows the limits above it."""
    one, two = MemoryGroup(1, str(tmp_path)), MemoryGroup(2, str(tmp_path))
    assert (one.limit_bytes(), two.limit_bytes()) == (None, None)
    record(tmp_path, {"memory.max": "max\n", "memory.limit_in_bytes": NO_LIMIT_V1})
    assert (one.limit_bytes(), two.limit_bytes()) == (None, None)
    record(tmp_path, {"memory.stat": V1_STAT})
    assert one.limit_bytes() == GIB
    record(tmp_path, {"memory.max": f"{5 * MIB}\n", "memory.limit_in_bytes": f"{7 * MIB}\n"})
    assert (one.limit_bytes(), two.limit_bytes()) == (7 * MIB, 5 * MIB)


def test_kills_of_the_kernel_are_counted_by_either_file(tmp_path: Path) -> None:
    """v1 tells them in memory.oom_control, v2 in memory.events; without the line they are unknown."""
    one, two = MemoryGroup(1, str(tmp_path)), MemoryGroup(2, str(tmp_path))
    assert (one.oom_kills(), two.oom_kills()) == (None, None)
    record(tmp_path, {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n", "memory.events": "oom 3\n"})
    assert (one.oom_kills(), two.oom_kills()) == (None, None)
    record(
        tmp_path,
        {
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 4\noom_group_kill 1\n",
        },
    )
    assert (one.oom_kills(), two.oom_kills()) == (2, 4)


def test_a_v2_limit_is_without_swap_and_for_the_group_as_a_whole(tmp_path: Path) -> None:
    """What the kernel offers is set; lifting it lifts swap too."""
    record(tmp_path, {"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0"})
    group = MemoryGroup(2, str(tmp_path))
    assert group.limit(256 * MIB)
    assert (tmp_path / "memory.max").read_text() == str(256 * MIB)
    assert (tmp_path / "memory.oom.group").read_text()[0] == "1"
    assert (tmp_path / "memory.swap.max").read_text()[0] == "0"
    assert group.limit(None)
    assert (tmp_path / "memory.max").read_text().startswith("max")
    assert (tmp_path / "memory.swap.max").read_text().startswith("max")


def test_a_limit_below_what_is_used_is_not_set(tmp_path: Path) -> None:
    """The kernel would let the caller wait while it reclaims; the guard acts at once instead."""
    record(tmp_path, {"memory.max": "max", "memory.stat": f"anon {300 * MIB}\nshmem 0\n"})
    assert MemoryGroup(2, str(tmp_path)).limit(256 * MIB) is False
    assert (tmp_path / "memory.max").read_text() == "max"


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_that_nothing_takes_is_told(tmp_path: Path, version: int) -> None:
    """Without the files, as in a group that vanished, no limit holds and nothing is raised."""
    group = MemoryGroup(version, str(tmp_path / "gone"))
    assert group.limit(256 * MIB) is False
    assert group.limit(None) is False


def pool_machine(root: Path, files: dict[str, str]) -> PoolMemory:
    """Record a v2 machine with a pod and its container, and open its pool."""
    base = {"proc/self/cgroup": "0::/pod/box\n", "proc/self/mountinfo": V2_MOUNT}
    (root / "sys/fs/cgroup/pod/box").mkdir(parents=True, exist_ok=True)
    record(root, {**base, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}})
    return PoolMemory.open(str(root))


def stat(used_bytes: int) -> str:
    """Return a v2 memory.stat."""
    return f"anon {used_bytes - MIB}\nshmem {MIB}\n"


def test_the_pool_is_the_level_that_is_nearest_to_its_limit(tmp_path: Path) -> None:
    """A pod that is nearly full counts, although its container has a lower limit and much room."""
    files = {
        "pod/box/memory.max": f"{512 * MIB}\n",
        "pod/box/memory.stat": stat(100 * MIB),
        "pod/memory.max": f"{GIB}\n",
        "pod/memory.stat": stat(1000 * MIB),
    }
    pool = pool_machine(tmp_path, files)
    assert pool.read() == (1000 * MIB, GIB)
    record(tmp_path, {"sys/fs/cgroup/pod/memory.max": "max\n"})
    assert pool.read() == (100 * MIB, 512 * MIB)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pod/box/memory.max": "max\n", "pod/box/memory.stat": stat(9 * MIB)},
        {"pod/box/memory.max": f"{GIB}\n", "pod/box/memory.stat": "junk\n"},
        {"pod/box/memory.max": "junk\n", "pod/box/memory.stat": stat(9 * MIB)},
    ],
    ids=["nothing", "unlimited", "unknown-use", "unknown-limit"],
)
def test_a_pool_without_limit_or_figures_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    """Nobody is ever stopped for a figure that is not known."""
    assert pool_machine(tmp_path, files).read() is None


def test_a_machine_without_groups_has_no_pool(tmp_path: Path) -> None:
    """No /proc at all is answered, too."""
    assert PoolMemory.open(str(tmp_path)).read() is None
