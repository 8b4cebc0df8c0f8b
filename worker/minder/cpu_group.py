"""The CPU time of one control group: of all processes that were ever in it, ended ones too; cgroup v1 and v2.

v2 counts it in every group, whether or not the controller `cpu` is on, and so on hybrid hosts as well.
Formats: Documentation/admin-guide/cgroup-v1/cpuacct.rst and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import os

from worker.minder.files import flat_numbers
from worker.minder.kept_file import KeptFile

__all__ = ["CpuGroup"]


class CpuGroup:
    """One folder that counts CPU time. `close` at last: open files keep a removed group in memory."""

    __slots__ = ("_stat", "_usage", "folder", "version")

    def __init__(self, version: int, folder: str) -> None:
        """Take the folder of the group: of v2, or of the controller `cpuacct` of v1."""
        self.version = version
        self.folder = folder
        self._usage = KeptFile(f"{folder}/cpuacct.usage")  # of v1
        self._stat = KeptFile(f"{folder}/{'cpuacct' if version == 1 else 'cpu'}.stat")

    def used_s(self) -> tuple[float, float] | None:
        """Return seconds of user and system together, and of system alone; None where they are not told.

        v1 counts the first to the nanosecond and the second in ticks (of 10 ms, mostly); v2 both in µs.
        """
        return self._used_v1_s() if self.version == 1 else self._used_v2_s()

    def close(self) -> None:
        """Read no more."""
        self._usage.close()
        self._stat.close()

    def _used_v1_s(self) -> tuple[float, float] | None:
        total_ns = (self._usage.read() or b"").strip()
        ticks = flat_numbers(self._stat.read(), b"system")
        if not total_ns.isdigit() or ticks is None:
            return None
        return int(total_ns) / 1e9, ticks[0] / os.sysconf("SC_CLK_TCK")

    def _used_v2_s(self) -> tuple[float, float] | None:
        used_us = flat_numbers(self._stat.read(), b"usage_usec", b"system_usec")
        return None if used_us is None else (used_us[0] / 1e6, used_us[1] / 1e6)
