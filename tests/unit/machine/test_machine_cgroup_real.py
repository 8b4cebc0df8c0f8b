"""Limits of real cgroups of this machine, set for the test and read from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20
V1 = Path("/sys/fs/cgroup")
DETECT = """
import json
from worker.machine.cgroup import cpu_quota, memory_limit
print(json.dumps([[x.state, x.value] for x in (cpu_quota(), memory_limit())]))
"""
ENTER = 'for group in "$CPU" "$MEMORY"; do echo $$ > "$group/cgroup.procs" || exit 9; done; exec "$@"'


@pytest.fixture
def groups() -> Iterator[tuple[Path, Path]]:
    """Make a nested v1 cgroup for `cpu` and one for `memory`; the parents carry the limits."""
    made: list[Path] = []
    try:
        for controller in ("cpu", "memory"):
            top = V1 / controller / f"millhand-test-{os.getpid()}"
            for folder in (top, top / "leaf"):
                folder.mkdir()
                made.append(folder)
    except OSError as exc:
        remove(made)
        pytest.skip(f"no cgroup v1 can be made here: {exc}")
    yield made[0], made[2]
    remove(made)


def remove(folders: list[Path]) -> None:
    """Remove cgroups, leaves first."""
    for folder in reversed(folders):
        folder.rmdir()


def test_real_v1_limits_of_a_parent_are_seen_from_the_leaf(groups: tuple[Path, Path]) -> None:
    """A child in a leaf reads the quota and the bytes that the kernel enforces above it."""
    cpu, memory = groups
    (cpu / "cpu.cfs_quota_us").write_text("75000")
    (memory / "memory.limit_in_bytes").write_text(str(512 * MIB))
    answer = subprocess.run(
        ["/bin/sh", "-c", ENTER, "sh", sys.executable, "-c", DETECT],
        env=os.environ | {"CPU": str(cpu / "leaf"), "MEMORY": str(memory / "leaf")},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert json.loads(answer.stdout) == [["limited", 0.75], ["limited", 512 * MIB]]


def test_real_v1_cgroups_without_limits_are_as_unlimited_as_we_are(groups: tuple[Path, Path]) -> None:
    """A child in cgroups without limits of their own finds what this process finds."""
    cpu, memory = groups
    answers = [
        subprocess.run(
            [*enter, sys.executable, "-c", DETECT],
            env=os.environ | {"CPU": str(cpu / "leaf"), "MEMORY": str(memory / "leaf")},
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout
        for enter in ([], ["/bin/sh", "-c", ENTER, "sh"])
    ]
    assert answers[0] == answers[1]
