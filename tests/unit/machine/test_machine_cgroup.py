"""Limits of cgroups on recorded machines: v1, v2, both at once, with and without namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.machine.recorded import GIB, NO_LIMIT_V1, V1_MOUNTS, V2_MOUNT, record
from worker.machine.cgroup import cpu_quota, cpuset_size, memory_limit

FS = "sys/fs/cgroup"


def v2(root: Path, path: str, files: dict[str, str], mount: str = V2_MOUNT) -> Path:
    """Record a v2 machine whose own cgroup is `path`."""
    own = {
        "proc/self/cgroup": f"0::{path}\n",
        "proc/self/mountinfo": mount,
        f"{FS}/cgroup.controllers": "cpu\n",
    }
    return record(root, own | {f"{FS}/{name}": text for name, text in files.items()})


def v1(root: Path, path: str, files: dict[str, str], mounts: str = V1_MOUNTS) -> Path:
    """Record a v1 machine whose own cgroup is `path` in every hierarchy."""
    lines = f"5:memory:{path}\n4:cpuset:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:{path}\n"
    own = {"proc/self/cgroup": lines, "proc/self/mountinfo": mounts}
    for hierarchy in ("cpu,cpuacct", "memory", "cpuset"):
        (root / FS / hierarchy).mkdir(parents=True)
    return record(root, own | {f"{FS}/{name}": text for name, text in files.items()})


def test_a_v2_container_in_its_own_namespace_is_limited(tmp_path: Path) -> None:
    """The path is `/` and the limits stand at the mount; half a CPU stays half a CPU."""
    files = {"cgroup.type": "domain\n", "cpu.max": "150000 100000\n", "memory.max": f"{2 * GIB}\n"}
    root = v2(tmp_path, "/", files)
    assert (cpu_quota(root).state, cpu_quota(root).value) == ("limited", 1.5)
    assert memory_limit(root).value == 2 * GIB
    assert cpu_quota(root).source == "/sys/fs/cgroup/cpu.max"


def test_a_tighter_parent_wins_in_v2(tmp_path: Path) -> None:
    """A pod's or slice's limit above the own cgroup is the one that holds."""
    files = {
        "kube/cgroup.type": "domain\n",
        "kube/cpu.max": "50000 100000\n",
        "kube/memory.max": f"{GIB}\n",
        "kube/pod/cpu.max": "max 100000\n",
        "kube/pod/memory.max": f"{3 * GIB}\n",
    }
    root = v2(tmp_path, "/kube/pod", files)
    assert (cpu_quota(root).value, cpu_quota(root).source) == (0.5, "/sys/fs/cgroup/kube/cpu.max")
    assert memory_limit(root).value == GIB


def test_max_everywhere_is_unlimited_in_v2(tmp_path: Path) -> None:
    """`max` says that there is no limit, which is not the same as not knowing."""
    root = v2(
        tmp_path, "/a", {"a/cpu.max": "max 100000\n", "a/memory.max": "max\n", "a/cgroup.type": "domain\n"}
    )
    assert cpu_quota(root).state == "unlimited"
    assert memory_limit(root).state == "unlimited"


def test_the_hosts_root_of_v2_has_no_files_and_no_limits(tmp_path: Path) -> None:
    """In the root cgroup itself `cpu.max` does not exist, and nothing can limit it."""
    root = v2(tmp_path, "/", {})
    assert cpu_quota(root).state == "unlimited"
    assert memory_limit(root).state == "unlimited"


def test_a_pod_in_the_hosts_namespace_is_found_below_the_hosts_root(tmp_path: Path) -> None:
    """Where the mount is the host's root, the limits are at the own path and not at the mount."""
    files = {"kubepods/pod1/cpu.max": "200000 100000\n", "kubepods/pod1/memory.max": f"{GIB}\n"}
    root = v2(tmp_path, "/kubepods/pod1", files)
    assert cpu_quota(root).value == 2.0
    assert memory_limit(root).value == GIB


def test_a_mount_of_cgroups_above_our_namespace_is_unreadable(tmp_path: Path) -> None:
    """The host's tree seen from a private namespace does not tell which cgroup is ours: unknown, not none."""
    root = v2(tmp_path, "/", {}, mount=V2_MOUNT.replace(" / /sys", " /../../.. /sys"))
    assert cpu_quota(root).state == "unreadable"
    assert "namespace" in cpu_quota(root).reason


def test_a_cgroup_without_the_controller_is_unreadable(tmp_path: Path) -> None:
    """A delegated cgroup without `cpu` may be limited above, where nobody can look."""
    root = v2(tmp_path, "/", {"cgroup.type": "domain\n"})
    assert cpu_quota(root).state == "unreadable"
    assert "cpu.max" in cpu_quota(root).reason


def test_v1_limits_are_read(tmp_path: Path) -> None:
    """Quota by period, and bytes; a parent may be tighter here too."""
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "cpuset/job/cpuset.cpus": "0-1,4\n",
    }
    root = v1(tmp_path, "/job", files)
    assert cpu_quota(root).value == 2.5
    assert memory_limit(root).value == 2 * GIB
    assert cpuset_size(root).value == 3


def test_v1_says_no_limit_with_a_huge_number(tmp_path: Path) -> None:
    """-1 and the largest page-rounded number are no limits."""
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "memory/memory.stat": f"cache 0\nhierarchical_memory_limit {NO_LIMIT_V1}",
    }
    root = v1(tmp_path, "/", files)
    assert cpu_quota(root).state == "unlimited"
    assert memory_limit(root).state == "unlimited"


def test_docker_on_v1_shows_a_path_that_is_not_below_the_mount(tmp_path: Path) -> None:
    """The host's path is named, the container's own part is mounted: the mount is the own cgroup."""
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": f"{GIB}\n",
    }
    root = v1(tmp_path, "/docker/0123abcd", files)
    assert cpu_quota(root).value == 0.5
    assert memory_limit(root).value == GIB


def test_docker_on_v1_with_its_path_as_the_mounts_root(tmp_path: Path) -> None:
    """The part that is mounted carries the own path as its root."""
    files = {"memory/memory.limit_in_bytes": f"{GIB}\n"}
    root = v1(tmp_path, "/docker/0123abcd", files, V1_MOUNTS.replace(" / /sys", " /docker/0123abcd /sys"))
    assert memory_limit(root).value == GIB


def test_a_limit_of_a_hidden_parent_is_known_to_v1(tmp_path: Path) -> None:
    """`hierarchical_memory_limit` holds what lies above the container's view."""
    files = {
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GIB}\n",
    }
    limit = memory_limit(v1(tmp_path, "/docker/1", files))
    assert limit.value == GIB
    assert limit.source.endswith("memory.stat")


def test_on_a_hybrid_machine_each_controller_is_where_it_is(tmp_path: Path) -> None:
    """v2 is mounted, but the controllers are in v1: those count."""
    files = {
        "proc/self/cgroup": "4:memory:/api/1\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n",
        "proc/self/mountinfo": V1_MOUNTS.replace("/cpu,cpuacct rw", "/cpu rw").replace(",cpuacct\n", "\n")
        + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        f"{FS}/cpu/cpu.cfs_quota_us": "-1\n",
        f"{FS}/cpu/cpu.cfs_period_us": "100000\n",
        f"{FS}/memory/memory.limit_in_bytes": NO_LIMIT_V1,
        f"{FS}/memory/api/1/memory.limit_in_bytes": f"{GIB}\n",
        f"{FS}/unified/cgroup.controllers": "hugetlb\n",
    }
    root = record(tmp_path, files)
    assert cpu_quota(root).state == "unlimited"
    assert memory_limit(root).value == GIB


def test_a_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    """The kernel writes a space as an octal code there."""
    mount = V2_MOUNT.replace("/sys/fs/cgroup", "/sys/my\\040cgroup")
    root = v2(tmp_path, "/", {}, mount=mount)
    record(root, {"sys/my cgroup/memory.max": f"{GIB}\n"})
    assert memory_limit(root).value == GIB


@pytest.mark.parametrize("text", ["", "lots\n", "100000\n", "1 0\n"])
def test_a_file_that_nobody_understands_is_unreadable(tmp_path: Path, text: str) -> None:
    """Garbage is not taken for "no limit"."""
    limit = cpu_quota(v2(tmp_path, "/", {"cpu.max": text}))
    assert limit.state == "unreadable"
    assert limit.reason


def test_without_proc_the_limit_is_unreadable(tmp_path: Path) -> None:
    """A system without cgroups, or without /proc, tells nothing."""
    assert "/proc/self/cgroup" in cpu_quota(tmp_path).reason
    assert memory_limit(tmp_path).state == "unreadable"
    assert cpuset_size(tmp_path).state == "unreadable"


def test_a_v2_cpuset_is_what_is_effective(tmp_path: Path) -> None:
    """The effective list holds what the parents leave."""
    root = v2(tmp_path, "/a", {"a/cpuset.cpus.effective": "0,2-3\n"})
    assert cpuset_size(root).value == 3


def test_a_cpuset_that_nobody_understands_is_unreadable(tmp_path: Path) -> None:
    """A list in an unknown form is not taken for "all CPUs"."""
    assert cpuset_size(v2(tmp_path, "/", {"cpuset.cpus.effective": "all\n"})).state == "unreadable"
