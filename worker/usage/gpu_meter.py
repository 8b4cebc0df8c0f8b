"""Measure the GPUs of a run beside its processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from worker.clock import Clock
from worker.machine.gpu_look import Look
from worker.usage.gpu import Owner
from worker.usage.gpu_bill import GpuFigures, GpuLedger
from worker.usage.look import Look as ProcessLook
from worker.usage.meter import Meter
from worker.usage.outside import Outside, OutsideLedger
from worker.usage.readings import Left
from worker.usage.rusage import Rusage
from worker.usage.usage import Usage

__all__ = ["GpuAccounts", "GpuMeter", "GpuSource", "RunMeters", "owner_below", "parent_of"]

LAST_LOOK_S: Final = 1.0  # how long the end of a run waits for its last samples
CLOCK_DOUBT_S: Final = 0.1  # the time of day may drift so far from the monotonic clock in a run
ANCESTORS_MAX: Final = 1000  # of one process: against a loop of pids that come back
FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel's proc_ns.h


class GpuSource(Protocol):
    """Where looks come from; see `worker.machine.gpu_watch.GpuWatch`."""

    error: str | None

    async def look_now(self, limit_s: float) -> Look | None:
        """Return a look that was begun after the call."""
        ...

    def listen(self, listener: Callable[[Look], None]) -> Callable[[], None]:
        """Call with each look; return what ends that."""
        ...


class GpuMeter:
    """The GPUs of one run in process `pid`. `close` must be called at last."""

    def __init__(
        self,
        source: GpuSource,
        clock: Clock,
        *,
        pid: int,
        uuids: Collection[str],
        is_exclusive: bool,
        owner: Callable[[int], Owner] | None = None,
    ) -> None:
        """Begin to listen; `begin` follows the first look."""
        self._source = source
        self._clock = clock
        self._owner = owner or owner_below(pid)
        self._started = (now_us(clock), clock.mono())
        self._ended: tuple[int, float] | None = None
        self._ledger = GpuLedger(
            tuple(uuids),
            self._started[0],
            is_exclusive=is_exclusive,
            sees_all_pids=is_first_namespace(),
        )
        self._end = source.listen(lambda look: self._ledger.take(look, self._owner))

    async def look(self) -> None:
        """Have a look now, for as little as it takes."""
        await self._source.look_now(LAST_LOOK_S)

    def begin(self) -> None:
        """Take that the run begins now; a look since the meter was made tells how it found the GPUs."""
        self._started = (now_us(self._clock), self._clock.mono())
        self._ledger.begin(self._started[0])

    async def end(self) -> None:
        """Take that the run ended now, and its last samples where they come soon."""
        self._ended = (now_us(self._clock), self._clock.mono())
        self._ledger.end(self._ended[0])
        await self.look()

    def figures(self, wall_s: float | None) -> GpuFigures:
        """Return what was measured so far; `wall_s` is that of the run."""
        at_us, at_mono = self._ended or (now_us(self._clock), self._clock.mono())
        passed_s = at_mono - self._started[1]
        wall_s = passed_s if wall_s is None else wall_s
        if abs((at_us - self._started[0]) / 1e6 - passed_s) > CLOCK_DOUBT_S:
            return GpuFigures.unknown("the time of day was set during the run, and samples go by it")
        return self._ledger.figures(round(wall_s * 1e6), self._source.error)

    def close(self) -> None:
        """Listen no more."""
        self._end()


class RunMeters:
    """The meter of a run's processes with that of its GPUs, where it has any."""

    def __init__(self, meter: Meter, gpus: GpuMeter | None) -> None:
        """Take both."""
        self._meter = meter
        self._gpus = gpus
        self._outside: OutsideLedger | None = None  # of a run that tells of something
        self._started_mono = 0.0

    def take_outside(self, told: Outside) -> None:
        """Take what the run has consumed outside of its processes."""
        if self._outside is None:
            self._outside = OutsideLedger()
            self._outside.begin(self._started_mono)
        self._outside.take(told, self._meter.mono())
        if told.pid is not None:
            self._meter.leave_out(told.pid)

    async def start(self) -> None:
        """Begin, once the GPUs were looked at.

        The wait for that look is the agent's, and no time of the run.
        """
        if self._gpus is not None:
            await self._gpus.look()
            self._gpus.begin()
        self._started_mono = self._meter.mono()
        self._meter.start()

    def sample(self) -> Usage:
        """Return what was consumed so far; see `Meter`."""
        return self._with_gpus(self._meter.sample())

    def look_last(self) -> Left | None:
        """Look at the processes at the end of the run; see `Meter`."""
        return self._meter.look_last()

    def baseline(self) -> ProcessLook | None:
        """Return what the next run in the process may begin with; see `Meter`."""
        return self._meter.baseline()

    async def finish(
        self,
        rusage: Rusage | None = None,
        *,
        group_cpu_s: tuple[float, float] | None = None,
    ) -> Usage:
        """Return what the run consumed; see `Meter`. Waits a moment for the last samples of its GPUs."""
        usage = self._meter.finish(rusage, group_cpu_s=group_cpu_s)
        if self._gpus is not None:
            await self._gpus.end()
        return self._with_gpus(usage)

    def close(self) -> None:
        """Listen no more."""
        if self._gpus is not None:
            self._gpus.close()

    def _with_gpus(self, usage: Usage) -> Usage:
        if self._outside is not None:
            usage = self._outside.added_to(usage)
        if self._gpus is None:
            return usage
        try:
            seen = self._gpus.figures(usage.wall_s)
        except Exception as exc:  # noqa: BLE001 - a strange driver must not cost a result
            seen = GpuFigures.unknown(f"it could not be reckoned: {type(exc).__name__}: {exc}")
        return replace(
            usage,
            gpu_busy_s=seen.busy_s,
            gpu_peak_bytes=seen.peak_bytes,
            gpu_energy_j=seen.energy_j,
            methods=usage.methods | seen.methods,
            coverage=usage.coverage | seen.coverage(),
            reasons=usage.reasons | seen.reasons,
        )


class GpuAccounts:
    """What the executor asks for the GPUs of a run."""

    def __init__(
        self, source: GpuSource | None, clock: Clock, *, shares: Mapping[str, float], runs_per_gpu: int
    ) -> None:
        """`shares` are those of a whole GPU, by UUID; a GPU goes to `runs_per_gpu` runs at once."""
        self._source = source
        self._clock = clock
        self._shares = shares
        self._runs_per_gpu = runs_per_gpu

    def count(self, uuids: Collection[str]) -> float:
        """Return how many whole GPUs these are for one run."""
        return sum(self._shares.get(uuid, 1.0) for uuid in uuids) / self._runs_per_gpu

    def meter(self, pid: int, uuids: Collection[str]) -> GpuMeter | None:
        """Return what measures them; None where there is nothing to measure, or nobody who does."""
        if not uuids or self._source is None:
            return None
        is_exclusive = self._runs_per_gpu == 1
        return GpuMeter(self._source, self._clock, pid=pid, uuids=uuids, is_exclusive=is_exclusive)


def owner_below(pid: int, proc: Path = Path("/proc")) -> Callable[[int], Owner]:
    """Return what tells whose a pid is: of the run where it is `pid` or below it.

    The driver may give pids of the host to who is in a container. Such a pid is not there to be looked at,
    and in a namespace of its own the agent cannot know whose it is.
    """
    absent = Owner.GONE if is_first_namespace(proc) else Owner.HIDDEN

    def owner(seen: int) -> Owner:
        for _ in range(ANCESTORS_MAX):
            if seen == pid:
                return Owner.RUN
            if (parent := parent_of(seen, proc)) is None:
                return absent
            if parent < 1:
                return Owner.STRANGER
            seen = parent
        return Owner.STRANGER

    return owner


def parent_of(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return the parent of a process; None where it is not there. See proc_pid_stat(5)."""
    try:
        return int((proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def is_first_namespace(proc: Path = Path("/proc")) -> bool:
    """Tell whether this process sees the pids of the whole machine."""
    try:
        return str((proc / "self/ns/pid").readlink()) == FIRST_PID_NAMESPACE
    except OSError:
        return False


def now_us(clock: Clock) -> int:
    """Return the time of day in µs, which is what the driver's samples go by."""
    return round(clock.now().timestamp() * 1e6)
