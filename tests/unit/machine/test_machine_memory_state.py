"""How short of memory a recorded machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.machine.recorded import GIB, NO_LIMIT_V1, V1_MOUNTS, V2_MOUNT, record
from worker.machine.memory_state import Pressure, Room, read_memory_state

MEMINFO = f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {2 * GIB // 1024} kB\n"
CALM = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
BUSY = "some avg10=90.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=42.50 avg60=0.00 avg300=0.00 total=1\n"
V2 = {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2_MOUNT, "proc/meminfo": MEMINFO}
V1 = {
    "proc/self/cgroup": "9:memory:/docker/x\n",
    "proc/self/mountinfo": V1_MOUNTS,
    "proc/meminfo": MEMINFO,
    "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/docker/x/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 4}\n",
}


def test_the_machine_alone(tmp_path: Path) -> None:
    """Without cgroups, what the kernel says of all."""
    files = {"proc/meminfo": MEMINFO, "proc/pressure/memory": BUSY}
    state = read_memory_state(record(tmp_path, files))
    assert state.pressure == Pressure(42.5, "/proc/pressure/memory")
    assert state.rooms == (Room(2 * GIB, 8 * GIB, "/proc/meminfo"),)


def test_machine_and_own_cgroups_are_told_and_the_worst_pressure_counts(tmp_path: Path) -> None:
    """Also of those above the own one; pages that can be given back are no use of memory."""
    files = {
        **V2,
        "proc/pressure/memory": CALM,
        "sys/fs/cgroup/a/memory.pressure": BUSY,
        "sys/fs/cgroup/a/b/memory.pressure": CALM,
        "sys/fs/cgroup/a/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/a/memory.current": f"{GIB}\n",
        "sys/fs/cgroup/a/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/b/memory.current": f"{GIB}\n",
    }
    state = read_memory_state(record(tmp_path, files))
    assert state.pressure == Pressure(42.5, "/sys/fs/cgroup/a/memory.pressure")
    assert set(state.rooms) == {
        Room(2 * GIB, 8 * GIB, "/proc/meminfo"), Room(GIB // 2, GIB, "/sys/fs/cgroup/a/memory.max"),
    }  # fmt: skip


def test_cgroups_of_the_first_version(tmp_path: Path) -> None:
    """They have limits; of pressure only the machine tells."""
    limit = {"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": f"{GIB}\n"}
    state = read_memory_state(record(tmp_path, {**V1, **limit}))
    assert state.pressure is None
    source = "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes"
    assert state.rooms == (Room(2 * GIB, 8 * GIB, "/proc/meminfo"), Room(GIB // 4, GIB, source))


def test_no_limit_of_the_first_version_limits_nothing(tmp_path: Path) -> None:
    """It is written as a number there."""
    limit = {"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": NO_LIMIT_V1}
    state = read_memory_state(record(tmp_path, {**V1, **limit}))
    assert state.rooms == (Room(2 * GIB, 8 * GIB, "/proc/meminfo"),)


@pytest.mark.parametrize("text", ["", "full\n", "full avg10=x avg60=0\n", "some avg10=99.00 avg60=0\n", "\0"])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    """Neither 0 nor a guess."""
    files = {"proc/meminfo": "MemTotal: 1 kB\n" + text, "proc/pressure/memory": text}
    state = read_memory_state(record(tmp_path, files))
    assert (state.pressure, state.rooms) == (None, ())


def test_this_machine_can_be_read() -> None:
    """Whatever it is."""
    rooms = read_memory_state().rooms
    assert rooms
    assert all(0 <= room.available_bytes <= room.total_bytes for room in rooms)
