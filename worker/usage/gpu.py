"""How busy a run kept its GPUs: pure arithmetic on looks at them.

Two methods of NVML, and each holds under conditions only:

- ``device_samples_exclusive``: the driver's samples of the whole device, each the percent of the time
  since the one before in which at least one kernel ran. Where the run had the device alone.
- ``process_sm_samples``: percent of the multiprocessors by pid, of the pids that are the run's; all pids
  together are never taken for more than the device was busy. Coarser: one value a look.

"Busy" is an upper bound of useful work. What no sample covers is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from worker.machine.gpu_look import DeviceLook, GpuProcess

__all__ = ["DeviceLedger", "Owner", "Span", "device_busy_us", "process_busy_us", "sizes_by_pid"]

PERIOD_MAX_US: Final = 2_000_000  # a sample tells of 1/6 to 1 s (nvml.h); after more, something was missed


class Owner(Enum):
    """Whose a process on a GPU is."""

    RUN = "of the run"
    STRANGER = "of somebody else"
    GONE = "ended before it could be looked at"
    HIDDEN = "its pid is one of another namespace"


class Span(NamedTuple):
    """Busy and covered time of a device, in µs."""

    busy_us: float
    covered_us: int


def device_busy_us(
    samples: Sequence[tuple[int, int]], since_us: int, started_us: int, ended_us: int | None
) -> Span:
    """Integrate samples over the part of a run that they cover.

    Args:
        samples: time and percent, in order of time; each tells of the time since the one before.
        since_us: time of the sample before the first.
        started_us: of the run; what was before is cut off.
        ended_us: of the run; None while it goes on.
    """
    busy_us, covered_us, before_us = 0.0, 0, since_us
    for at_us, percent in samples:
        if at_us - before_us <= PERIOD_MAX_US:
            part_us = overlap_us(before_us, at_us, started_us, ended_us)
            busy_us += part_us * min(percent, 100) / 100
            covered_us += part_us
        before_us = at_us
    return Span(busy_us, covered_us)


def process_busy_us(device: DeviceLook, ours: frozenset[int], started_us: int, ended_us: int | None) -> Span:
    """Return what the pids of a run kept the device busy between the look before and this one."""
    length_us = device.at_us - device.looked_before_us
    if device.process_samples is None or not device.looked_before_us or length_us > PERIOD_MAX_US:
        return Span(0.0, 0)
    part_us = overlap_us(device.looked_before_us, device.at_us, started_us, ended_us)
    percents: dict[int, list[int]] = {}
    for pid, _, percent in device.process_samples:
        percents.setdefault(pid, []).append(percent)
    means = {pid: sum(found) / len(found) for pid, found in percents.items()}
    total, most = sum(means.values()), mean_percent(device)
    scale = most / total if total > most else 1.0
    return Span(part_us * scale * sum(means.get(pid, 0.0) for pid in ours) / 100, part_us)


def mean_percent(device: DeviceLook) -> float:
    """Return how busy the device was since the look before, as its samples say; 100 where there is none."""
    span = device_busy_us(device.samples or (), device.since_us, 0, None)
    return 100.0 * span.busy_us / span.covered_us if span.covered_us else 100.0


def overlap_us(begin_us: int, end_us: int, started_us: int, ended_us: int | None) -> int:
    """Return how much of a time lies in the run."""
    last_us = end_us if ended_us is None else min(end_us, ended_us)
    return max(0, last_us - max(begin_us, started_us))


def sizes_by_pid(processes: Iterable[GpuProcess]) -> dict[int, int | None]:
    """Return the memory of each process: one that computes and draws is told twice, with all that it has."""
    sizes: dict[int, int | None] = {}
    for one in processes:
        before = sizes.get(one.pid, 0)
        sizes[one.pid] = None if before is None or one.bytes is None else max(before, one.bytes)
    return sizes


class DeviceLedger:
    """One device of one run, fed with looks in order; a look whose samples are older changes nothing."""

    def __init__(self, uuid: str, started_us: int, *, sees_all_pids: bool) -> None:
        """Begin with nothing seen; looks from `started_us` on tell of the run.

        `sees_all_pids`: a process on the device is told of, whatever namespace it is in.
        """
        self.uuid = uuid
        self._sees_all_pids = sees_all_pids
        self.first_us = started_us  # looks since then tell how the run found the device
        self.started_us = started_us
        self.ended_us: int | None = None  # set before the last look
        self.device_busy_us = 0.0
        self.device_covered_us = 0
        self.process_busy_us = 0.0
        self.process_covered_us = 0
        self.first_energy: tuple[int, int] | None = None  # µs, mJ
        self.last_energy: tuple[int, int] | None = None
        self.used_bytes: int | None = None  # of the device, at the last look
        self.run_bytes: int | None = None  # of the run's processes, at the last look; None: not told
        self.ours: frozenset[int] = frozenset()  # pids that were the run's
        self.stranger: int | None = None  # the first pid that was not
        self.is_hidden = False  # a pid could not be told whose it is, or was not told at all
        self.is_instance = False
        self.looks = 0
        self.reasons: dict[str, str] = {}
        self.error: str | None = None

    def begin(self, started_us: int) -> None:
        """Know when the run began; how busy the device was before does not count."""
        self.started_us = started_us
        self.device_busy_us, self.device_covered_us = 0.0, 0
        self.process_busy_us, self.process_covered_us = 0.0, 0
        self.first_energy = self.last_energy

    def take(self, device: DeviceLook, owner: Callable[[int], Owner]) -> bool:
        """Take one look; return whether it told of the device during the run."""
        if device.error is not None:
            self.error = device.error
            return False
        self.looks += 1
        self.is_instance = device.is_instance
        self.reasons |= device.reasons
        is_told = device.at_us >= self.first_us
        if is_told:
            self._take_processes(device, owner)
            self._take_energy(device)
        span = device_busy_us(device.samples or (), device.since_us, self.started_us, self.ended_us)
        self.device_busy_us += span.busy_us
        self.device_covered_us += span.covered_us
        if is_told and not self._sees_all_pids and not self._is_over(device):
            is_idle = device.samples is not None and not span.busy_us
            self.is_hidden |= device.processes == () and not is_idle
        span = process_busy_us(device, self.ours, self.started_us, self.ended_us)
        self.process_busy_us += span.busy_us
        self.process_covered_us += span.covered_us
        return is_told

    def _take_processes(self, device: DeviceLook, owner: Callable[[int], Owner]) -> None:
        """Note whose processes are on the device, and their memory.

        After the end of the run what it left behind is nobody's: strangers count no more.
        """
        self.used_bytes, self.run_bytes = device.memory_used_bytes, None
        if device.processes is None:
            return
        owners = {one.pid: self._owner(one.pid, owner) for one in device.processes}
        self.ours |= {pid for pid, whose in owners.items() if whose is Owner.RUN}
        if not self._is_over(device):
            strangers = (pid for pid, whose in owners.items() if whose is Owner.STRANGER)
            self.stranger = self.stranger or next(strangers, None)
            self.is_hidden |= Owner.HIDDEN in owners.values()
        sizes = [size for pid, size in sizes_by_pid(device.processes).items() if owners[pid] is Owner.RUN]
        self.run_bytes = None if None in sizes else sum(size or 0 for size in sizes)

    def _is_over(self, device: DeviceLook) -> bool:
        return self.ended_us is not None and device.at_us >= self.ended_us

    def _owner(self, pid: int, owner: Callable[[int], Owner]) -> Owner:
        """Return whose a pid is; one that was the run's stays that, also when its parent is gone."""
        return Owner.RUN if pid in self.ours else owner(pid)

    def _take_energy(self, device: DeviceLook) -> None:
        if device.energy_mj is None:
            return
        self.last_energy = (device.at_us, device.energy_mj)
        first = self.first_energy or self.last_energy
        if first[0] < self.started_us < device.at_us:
            first = (self.started_us, energy_at(self.started_us, first, self.last_energy))
        self.first_energy = first


def energy_at(at_us: int, before: tuple[int, int], after: tuple[int, int]) -> int:
    """Return what a counter of energy stood at between two readings, as if it had gone evenly."""
    part = (at_us - before[0]) / (after[0] - before[0])
    return round(before[1] + part * (after[1] - before[1]))
