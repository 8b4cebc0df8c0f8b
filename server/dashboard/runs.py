"""What a page shows of a run: its state, its facts with their sources, its bill, its files, its plots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from server.dashboard import words
from server.dashboard.files import File, files_of
from server.dashboard.plot import AMOUNT, RATIO, SIZE, Plot, Point, rates
from server.dashboard.shapes import dict_of, number_of, object_of, text_of
from server.store.records import RunRecord, SampleRecord
from worker.api.wire import parse_instant
from worker.cli import human

__all__ = ["Fact", "RunView", "plots_of", "run_view", "state_of"]

SHOWN_BESIDE: Final = frozenset({"error", "logTail", "usage", "files", "checkpoint", "stopping", "message"})
FACTS: Final = (
    ("machine_type", "machine type"), ("zone", "zone"), ("instance_id", "instance"), ("pod_id", "agent"),
    ("cpu_platform", "CPU"), ("gpu_type", "GPU"), ("preemptible", "preemptible"),
    ("node_cpus", "CPUs of the machine"), ("limit_cpus", "CPU limit"), ("request_cpus", "CPU request"),
    ("node_ram", "memory of the machine"), ("limit_ram", "memory limit"), ("request_ram", "memory request"),
)  # fmt: skip
SIZES: Final = frozenset({"node_ram", "limit_ram", "request_ram"})
MORE_FIGURES: Final = (  # label, in `results.usage`, in its methods and reasons
    ("average memory", "ramAverageBytes", "ram_average_bytes", human.size),
    ("GPU time, busy", "gpuBusySeconds", "gpu_busy_s", human.duration),
    ("GPU memory, peak", "gpuPeakBytes", "gpu_peak_bytes", human.size),
    ("GPU energy", "gpuEnergyJoules", "gpu_energy_j", human.energy),
    ("read from disk", "diskReadBytes", "disk_read_bytes", human.size),
    ("written to disk", "diskWrittenBytes", "disk_written_bytes", human.size),
)
WIRE: Final = {field.name: field.encode_name for field in msgspec.structs.fields(RunRecord)}


class Fact(Struct, frozen=True):
    """One fact of the machine, and where it comes from."""

    name: str
    value: str
    source: str


class RunView(Struct, frozen=True, kw_only=True):
    """A run as its page shows it."""

    run: RunRecord
    state: str  # pending, running, succeeded, failed, requeued
    took: str
    kind: str | None  # of its error
    message: str | None
    traceback: str | None
    facts: list[Fact]
    bill: list[Fact]
    files: list[File]
    log_tail: str
    telling: str | None  # the newest message of its progress
    results: dict[str, Any]  # the handler's own
    checkpoint: Any


def state_of(run: RunRecord) -> str:
    """Return one word for where a run stands."""
    if run.stopped_at is None:
        return "pending" if run.started_at is None else "running"
    if run.result_code == "Success":
        return "succeeded"
    return "requeued" if (run.error or "").startswith("requeued") else "failed"


def run_view(run: RunRecord, now: datetime, *, serves_files: bool = False) -> RunView:
    """Return what a page shows of a run; results of any shape are taken.

    Args:
        run: the run.
        now: the time by the server's clock.
        serves_files: whether files of a folder are served by these pages.
    """
    results = object_of(run.results)
    error = dict_of(results.get("error"))
    kind, _, message = (run.error or "").partition(": ")
    return RunView(
        run=run,
        state=state_of(run),
        took=human.duration(words.seconds_between(run.started_at, run.stopped_at, now)),
        kind=kind or None,
        message=message or None,
        traceback=text_of(error.get("traceback")),
        facts=facts_of(run),
        bill=bill_of(run, results.get("usage")),
        files=files_of(run.id, results, serves_files=serves_files),
        log_tail=text_of(results.get("logTail")) or "",
        telling=text_of(results.get("message")),
        results={name: value for name, value in results.items() if name not in SHOWN_BESIDE},
        checkpoint=results.get("checkpoint"),
    )


def facts_of(run: RunRecord) -> list[Fact]:
    """Return what the run ran on, each fact with its source, or why it is unknown."""
    machine = object_of(run.machine)
    told = [(label, getattr(run, name), name in SIZES, machine.get(WIRE[name])) for name, label in FACTS]
    return [
        Fact(label, human.size(value) if is_size else human.text(value), source_of(detail))
        for label, value, is_size, detail in told
        if value is not None or detail is not None
    ]


def source_of(detail: object) -> str:
    """Say where a fact comes from, from what the agent told of it."""
    if not isinstance(detail, dict):
        return ""
    told = detail.get("source") or detail.get("reason")
    return told if isinstance(told, str) else ""


def bill_of(run: RunRecord, details: object) -> list[Fact]:
    """Return what the run consumed, each figure with how it was measured, or why it is unknown."""
    given = dict_of(details)
    methods, reasons = (dict_of(given.get(name)) for name in ("methods", "reasons"))

    def how(*names: str) -> str:
        told = (methods.get(name) or reasons.get(name) for name in names)
        return "; ".join(dict.fromkeys(str(one) for one in told if one))

    lines = [
        ("wall time", human.duration(run.wall_clock_time), how("wall_s")),
        ("CPU time", human.duration(run.cpu_time), how("cpu_user_s", "cpu_system_s")),
        ("GPU time, allocated", human.duration(run.gpu_time), how("gpu_allocated_s")),
        ("peak memory", human.size(run.ram_usage), how("ram_peak_bytes")),
    ]
    lines += [
        (label, say(value), how(field))
        for label, name, field, say in MORE_FIGURES
        if (value := number_of(given.get(name))) is not None
    ]
    return [Fact(*line) for line in lines]


def plots_of(run: RunRecord, samples: Sequence[SampleRecord]) -> list[Plot]:
    """Return the lines of a run's life: how many cores it used, its memory, its GPUs, its progress."""
    timed = in_time(run, samples)

    def line(column: str) -> list[Point]:
        values = ((at_s, getattr(one, column)) for at_s, one in timed)
        return [(at_s, float(value)) for at_s, value in values if value is not None]

    plots = [
        Plot("CPU, cores in use", rates([(0.0, 0.0), *line("cpu_s")]), AMOUNT, has_mean=True),
        Plot("Memory, peak so far", tuple(line("ram_bytes")), SIZE),
        Plot("GPUs allocated", rates([(0.0, 0.0), *line("gpu_s")]), AMOUNT, has_mean=True),
        Plot("GPUs busy", rates([(0.0, 0.0), *line("gpu_busy_s")]), AMOUNT, has_mean=True, is_told_flat=True),
        Plot("GPU memory, peak so far", tuple(line("gpu_bytes")), SIZE),
        Plot("Progress", ((0.0, 0.0), *line("progress")), RATIO),
    ]
    return [plot for plot in plots if plot.is_worth_it]


def in_time(run: RunRecord, samples: Sequence[SampleRecord]) -> list[tuple[float, SampleRecord]]:
    """Return samples, each with when it was taken: seconds since the start of the run.

    What the agent measured was so at the wall time that it measured with it: its report may have come much
    later. Where not all tell one, the server's clock counts.
    """
    if all(one.wall_s is not None for one in samples):
        return sorted(((one.wall_s or 0.0, one) for one in samples), key=lambda pair: pair[0])
    begun = parse_instant(run.created_at)
    times = ((parse_instant(one.at), one) for one in samples)
    return [((at - begun).total_seconds(), one) for at, one in times if at is not None and begun is not None]
