"""What a run is told of its GPUs: each figure by the best method that holds, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, field

from worker.machine.gpu_look import Look
from worker.usage.gpu import DeviceLedger, Owner, Span

__all__ = ["GpuFigures", "GpuLedger"]

COVERED_MIN: Final = 0.9  # of the wall time; below it a figure says that it is partial
HIDDEN: Final = (
    "pids on the GPU are of another namespace, or hidden by it: whether the run had it alone could not be"
    " checked"
)
INSTANCE: Final = "NVML does not measure instances of MIG"
NO_LOOK: Final = "no look at the GPU fell into the run"
NO_SAMPLE: Final = "no sample of the GPU fell into the run"
NO_TWO_LOOKS: Final = "no two looks at the GPU fell into the run"


class GpuFigures(Struct, frozen=True, kw_only=True):
    """The GPU part of a bill; names of methods and reasons are those of `Usage`."""

    busy_s: float | None = None  # over all GPUs of the run
    coverage_ratio: float | None = None  # how much of wall x GPUs the samples of `busy_s` cover
    peak_bytes: int | None = None  # of all GPUs together
    energy_j: float | None = None
    methods: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def coverage(self) -> dict[str, float]:
        """Return the covered share of the wall time by figure, as `Usage` has it."""
        return {} if self.coverage_ratio is None else {"gpu_busy_s": round(self.coverage_ratio, 4)}

    @classmethod
    def unknown(cls, reason: str) -> GpuFigures:
        """Return figures that are all not known for one reason."""
        return cls(reasons=dict.fromkeys(("gpu_busy_s", "gpu_peak_bytes", "gpu_energy_j"), reason))


class GpuLedger:
    """The GPUs of one run."""

    def __init__(
        self, uuids: Sequence[str], started_us: int, *, is_exclusive: bool, sees_all_pids: bool = True
    ) -> None:
        """Begin.

        Args:
            uuids: of the GPUs.
            started_us: of the run.
            is_exclusive: no other run is given these GPUs meanwhile.
            sees_all_pids: this process is in the first namespace of pids: none on a GPU is kept from it.
        """
        self._devices = [DeviceLedger(uuid, started_us, sees_all_pids=sees_all_pids) for uuid in uuids]
        self._is_seen = False  # a look told of all at once
        self._is_exclusive = is_exclusive
        self._peak_run_bytes: int | None = 0  # None: a process did not tell
        self._peak_used_bytes: int | None = None

    def begin(self, started_us: int) -> None:
        """Know when the run began, where it did after what was said at first."""
        for ledger in self._devices:
            ledger.begin(started_us)

    def take(self, look: Look, owner: Callable[[int], Owner]) -> None:
        """Take a look; looks come in order, and each is taken once."""
        told = [self._take_device(ledger, look, owner) for ledger in self._devices]
        if not all(told):
            return
        self._is_seen = True
        sizes = [ledger.run_bytes for ledger in self._devices]
        if self._peak_run_bytes is not None:
            self._peak_run_bytes = None if None in sizes else max(self._peak_run_bytes, total(sizes))
        used = [ledger.used_bytes for ledger in self._devices]
        if None not in used:
            self._peak_used_bytes = max(self._peak_used_bytes or 0, total(used))

    def _take_device(self, ledger: DeviceLedger, look: Look, owner: Callable[[int], Owner]) -> bool:
        device = look.of(ledger.uuid)
        if device is None:
            ledger.error = "; ".join(look.failed) or "NVML does not list it any more"
            return False
        return ledger.take(device, owner)

    def end(self, ended_us: int) -> None:
        """Know when the run ended; one more look may follow."""
        for ledger in self._devices:
            ledger.ended_us = ended_us

    def figures(self, wall_us: int, missing: str | None) -> GpuFigures:
        """Return what was seen.

        Args:
            wall_us: of the run so far.
            missing: why there are no looks now, where there are none.
        """
        made = Made(wall_us * len(self._devices))
        self._bill_busy(made, missing)
        self._bill_memory(made, missing)
        self._bill_energy(made, wall_us, missing)
        return GpuFigures(
            busy_s=made.busy_s, coverage_ratio=made.coverage_ratio, peak_bytes=made.peak_bytes,
            energy_j=made.energy_j, methods=made.methods, reasons=made.reasons,
        )  # fmt: skip

    def _bill_busy(self, made: Made, missing: str | None) -> None:
        billed = [busy_of(ledger, self._is_exclusive, missing) for ledger in self._devices]
        reasons = [one for one in billed if isinstance(one, str)]
        spans = [one for one in billed if not isinstance(one, str)]
        covered_us = sum(span.covered_us for _, span in spans)
        if reasons or not covered_us:
            made.reasons["gpu_busy_s"] = "; ".join(dict.fromkeys(reasons)) or self._unseen(missing, NO_SAMPLE)
            return
        made.busy_s = sum(span.busy_us for _, span in spans) / 1e6
        made.coverage_ratio = min(1.0, covered_us / made.wanted_us) if made.wanted_us else None
        made.methods["gpu_busy_s"] = "+".join(sorted({method for method, _ in spans}))
        made.note("gpu_busy_s", covered_us, HIDDEN if self._is_hidden() else "", self._unseen(missing, ""))

    def _bill_memory(self, made: Made, missing: str | None) -> None:
        if not self._is_seen:
            made.reasons["gpu_peak_bytes"] = self._unseen(missing)
        elif self._peak_run_bytes is not None and not self._is_hidden():
            made.peak_bytes = self._peak_run_bytes
            made.methods["gpu_peak_bytes"] = "process_memory_sampled"
        elif (why := self._why_shared()) is not None or self._peak_used_bytes is None:
            made.reasons["gpu_peak_bytes"] = why or "the GPU has no memory of its own"
        else:
            made.peak_bytes = self._peak_used_bytes
            made.methods["gpu_peak_bytes"] = "device_memory_sampled"
            if self._is_hidden():
                made.reasons["gpu_peak_bytes"] = HIDDEN

    def _bill_energy(self, made: Made, wall_us: int, missing: str | None) -> None:
        why = self._why_shared() or next(
            (ledger.reasons["energy_mj"] for ledger in self._devices if "energy_mj" in ledger.reasons), None
        )
        spans = [energy_of(ledger) for ledger in self._devices]
        known = [span for span in spans if span is not None]
        if any(ledger.is_instance for ledger in self._devices):
            why = INSTANCE
        if why is not None or len(known) < len(spans):
            made.reasons["gpu_energy_j"] = why or self._unseen(missing, NO_TWO_LOOKS)
            return
        if any(span.busy_us < 0 for span in known):
            made.reasons["gpu_energy_j"] = "the driver's counter began anew"
            return
        made.energy_j = sum(span.busy_us for span in known)
        made.methods["gpu_energy_j"] = "energy_counter"
        made.note("gpu_energy_j", sum(span.covered_us for span in known), HIDDEN if self._is_hidden() else "")

    def _is_hidden(self) -> bool:
        return any(ledger.is_hidden or "processes" in ledger.reasons for ledger in self._devices)

    def _why_shared(self) -> str | None:
        """Return why figures of a whole device are not the run's."""
        if not self._is_exclusive:
            return "several runs may share the GPU"
        return next((strange(one) for one in self._devices if one.stranger is not None), None)

    def _unseen(self, missing: str | None, otherwise: str = NO_LOOK) -> str:
        errors = [f"{ledger.uuid}: {ledger.error}" for ledger in self._devices if ledger.error is not None]
        return "; ".join(errors) or missing or otherwise


class Made:
    """Figures in the making."""

    def __init__(self, wanted_us: int) -> None:
        """`wanted_us` is wall x GPUs."""
        self.wanted_us = wanted_us
        self.busy_s: float | None = None
        self.coverage_ratio: float | None = None
        self.peak_bytes: int | None = None
        self.energy_j: float | None = None
        self.methods: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def note(self, name: str, covered_us: int, *more: str) -> None:
        """Say of a figure that it is partial, and what else there is to say."""
        notes = [one for one in more if one]
        if covered_us < COVERED_MIN * self.wanted_us:
            notes.insert(0, f"partial: {covered_us / 1e6:.1f} of {self.wanted_us / 1e6:.1f} s were covered")
        if notes:
            self.reasons[name] = "; ".join(notes)


def busy_of(ledger: DeviceLedger, is_exclusive: bool, missing: str | None) -> tuple[str, Span] | str:
    """Return method and span of one device, or why there is none."""
    if ledger.is_instance:
        return INSTANCE
    if not ledger.looks:
        return ledger.error or missing or NO_LOOK
    if not is_exclusive:
        why_not = "several runs may share the GPU"
    elif ledger.stranger is not None:
        why_not = strange(ledger)
    elif "samples" in ledger.reasons:
        why_not = f"samples of the device: {ledger.reasons['samples']}"
    else:
        is_checked = not ledger.is_hidden and "processes" not in ledger.reasons
        method = "device_samples_exclusive" if is_checked else "device_samples_unverified"
        return method, Span(ledger.device_busy_us, ledger.device_covered_us)
    for name, what in (("process_samples", "samples of processes"), ("processes", "processes on it")):
        if name in ledger.reasons:
            return f"{why_not}; {what}: {ledger.reasons[name]}"
    if ledger.is_hidden:
        return f"{why_not}; pids on it are of another namespace, or hidden by it"
    return "process_sm_samples", Span(ledger.process_busy_us, ledger.process_covered_us)


def strange(ledger: DeviceLedger) -> str:
    """Say that somebody else was on the device."""
    return f"process {ledger.stranger}, which is not of the run, was on {ledger.uuid}"


def energy_of(ledger: DeviceLedger) -> Span | None:
    """Return J and covered µs between the first and the last look of the run."""
    if ledger.first_energy is None or ledger.last_energy is None or not ledger.looks:
        return None
    (first_us, first_mj), (last_us, last_mj) = ledger.first_energy, ledger.last_energy
    return None if first_us == last_us else Span((last_mj - first_mj) / 1000, last_us - first_us)


def total(sizes: Sequence[int | None]) -> int:
    """Add sizes that are all known."""
    return sum(size or 0 for size in sizes)
