"""GPU figures of a run: tables of looks, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from worker.machine.gpu_look import DeviceLook, GpuProcess, Look
from worker.usage.gpu import Owner, Span, device_busy_us, process_busy_us
from worker.usage.gpu_bill import GpuFigures, GpuLedger

S = 1_000_000  # µs
RUN, OTHER, HIDDEN = 42, 7, 900
OWNERS = {RUN: Owner.RUN, OTHER: Owner.STRANGER, HIDDEN: Owner.HIDDEN}


def near(value: float) -> Any:
    """Return what is equal but for the last bits."""
    return pytest.approx(value)


@pytest.mark.parametrize(
    ("samples", "started", "ended", "busy", "covered"),
    [
        ([], 0, None, 0.0, 0),
        ([(1 * S, 50)], 0, None, 0.5, 1.0),
        ([(1 * S, 100), (2 * S, 0), (3 * S, 25)], 0, None, 1.25, 3.0),
        ([(1 * S, 100), (2 * S, 50)], S // 2, None, 1.0, 1.5),  # began in the first
        ([(1 * S, 100), (2 * S, 50)], 0, 3 * S // 2, 1.25, 1.5),  # ended in the second
        ([(1 * S, 100)], 1 * S, None, 0.0, 0.0),  # before it began
        ([(1 * S, 100), (5 * S, 100), (6 * S, 50)], 0, None, 1.5, 2.0),  # a gap is not guessed
        ([(1 * S, 250)], 0, None, 1.0, 1.0),  # no driver is busier than busy
    ],
    ids=["none", "one", "three", "began in one", "ended in one", "before", "gap", "too much"],
)
def test_samples_are_integrated_over_the_run(
    samples: list[tuple[int, int]], started: int, ended: int | None, busy: float, covered: float
) -> None:
    """Each tells of the time since the one before it."""
    span = device_busy_us(samples, 0, started, ended)
    assert (span.busy_us / S, span.covered_us / S) == (busy, covered)


def device(at_s: float, **fields: Any) -> DeviceLook:
    """Return a look at a GPU that has everything to tell, and nothing on it."""
    at_us = round(at_s * S)
    told: dict[str, Any] = {"uuid": "GPU-1", "at_us": at_us, "looked_before_us": at_us - S}
    told |= {"since_us": at_us - S, "samples": ((at_us, 60),), "processes": (), "process_samples": ()}
    told |= {"energy_mj": at_us // 1000, "memory_used_bytes": 500}
    return DeviceLook(**(told | fields))


@pytest.mark.parametrize(
    ("samples", "process_samples", "busy"),
    [
        (60, [(RUN, 30)], 0.3),
        (60, [(RUN, 30), (OTHER, 20)], 0.3),
        (60, [(RUN, 60), (OTHER, 60)], 0.3),  # together they were no busier than the device
        (60, [(RUN, 20), (RUN, 40)], 0.3),  # two samples of one
        (60, [(OTHER, 30)], 0.0),
        (None, [(RUN, 90), (OTHER, 90)], 0.5),  # the device says nothing: then no more than all of it
    ],
)
def test_processes_have_their_part_of_what_the_device_was_busy(
    samples: int | None, process_samples: list[tuple[int, int]], busy: float
) -> None:
    """By percent of the multiprocessors."""
    seen = device(
        1.0 + 5,
        samples=None if samples is None else ((6 * S, samples),),
        process_samples=tuple((pid, 6 * S, percent) for pid, percent in process_samples),
    )
    span = process_busy_us(seen, frozenset({RUN}), 0, None)
    assert (span.busy_us / S, span.covered_us / S) == (near(busy), 1.0)
    assert process_busy_us(seen, frozenset({RUN}), 0, 5 * S + S // 2).covered_us == S // 2
    long_ago = device(9.0, looked_before_us=1, process_samples=seen.process_samples)
    assert process_busy_us(long_ago, frozenset({RUN}), 0, None) == Span(0.0, 0)


def billed(
    *looks: DeviceLook, is_exclusive: bool = True, sees_all_pids: bool = True, wall_s: float = 3.0
) -> GpuFigures:
    """Return the figures of a run from 10 s on, after looks."""
    ledger = GpuLedger(["GPU-1"], 10 * S, is_exclusive=is_exclusive, sees_all_pids=sees_all_pids)
    for one in looks:
        ledger.take(Look(devices=(one,)), lambda pid: OWNERS[pid])
    ledger.end(round((10 + wall_s) * S))
    return ledger.figures(round(wall_s * S), None)


def looks(**fields: Any) -> list[DeviceLook]:
    """Return looks at 10, 11, 12 and 13 s."""
    return [device(10.0 + number, **fields) for number in range(4)]


def test_a_run_that_has_a_gpu_alone_gets_what_the_device_tells() -> None:
    """Three seconds at 60 %, one W, and the memory of its processes."""
    seen = billed(*looks(processes=(GpuProcess(RUN, 300),)))
    assert (seen.busy_s, seen.coverage_ratio) == (near(1.8), 1.0)
    assert (seen.peak_bytes, seen.energy_j) == (300, 3.0)
    assert seen.methods == {
        "gpu_busy_s": "device_samples_exclusive",
        "gpu_peak_bytes": "process_memory_sampled",
        "gpu_energy_j": "energy_counter",
    }
    assert seen.reasons == {}


def test_a_run_that_does_not_use_its_gpu_used_none_of_its_memory() -> None:
    """What the driver keeps for itself is not the run's."""
    assert billed(*looks()).peak_bytes == 0


def test_a_process_that_computes_and_draws_has_its_memory_once() -> None:
    """The driver tells it in both lists; where one has no size, none is known of it."""
    told = (GpuProcess(RUN, 300), GpuProcess(RUN, 290, is_graphics=True))
    assert billed(*looks(processes=told)).peak_bytes == 300
    half = billed(*looks(processes=(GpuProcess(RUN, 300), GpuProcess(RUN, None, is_graphics=True))))
    assert (half.peak_bytes, half.methods["gpu_peak_bytes"]) == (500, "device_memory_sampled")


@pytest.mark.parametrize("at_s", [9.0, None], ids=["before", "never together"])
def test_no_look_at_all_gpus_during_the_run_leaves_no_peak(at_s: float | None) -> None:
    """Nobody saw that it used none."""
    if at_s is not None:
        seen = billed(device(at_s))
    else:
        ledger = GpuLedger(["GPU-1", "GPU-2"], 10 * S, is_exclusive=True)
        for one in (device(11.0), device(12.0, uuid="GPU-2")):
            ledger.take(Look(devices=(one,)), lambda pid: OWNERS[pid])
        seen = ledger.figures(3 * S, None)
    assert seen.peak_bytes is None
    assert "gpu_peak_bytes" not in seen.methods
    assert seen.reasons["gpu_peak_bytes"]


def test_a_busy_gpu_on_which_no_pid_is_told_hides_them() -> None:
    """In a namespace of its own a driver may leave out what is not in it: that is no proof of being alone."""
    seen = billed(*looks(), sees_all_pids=False)
    assert (seen.busy_s, seen.methods["gpu_busy_s"]) == (near(1.8), "device_samples_unverified")
    assert (seen.peak_bytes, seen.methods["gpu_peak_bytes"]) == (500, "device_memory_sampled")
    assert all("another namespace" in reason for reason in seen.reasons.values())
    untold = billed(*looks(samples=None, reasons={"samples": "Not Supported"}), sees_all_pids=False)
    assert untold.methods["gpu_peak_bytes"] == "device_memory_sampled"
    idle = billed(
        *[device(10.0 + at, samples=((round((10 + at) * S), 0),)) for at in range(4)], sees_all_pids=False
    )
    assert (idle.busy_s, idle.peak_bytes, idle.reasons) == (0.0, 0, {})


def test_a_process_that_ended_with_its_run_is_not_missed() -> None:
    """The last look finds nobody, also in a namespace of its own."""
    ledger = GpuLedger(["GPU-1"], 10 * S, is_exclusive=True, sees_all_pids=False)
    for at_s in (11.0, 12.0):
        seen = device(at_s, processes=(GpuProcess(RUN, 300),))
        ledger.take(Look(devices=(seen,)), lambda pid: OWNERS[pid])
    ledger.end(12 * S + S // 2)
    ledger.take(Look(devices=(device(13.0),)), lambda pid: OWNERS[pid])
    figures = ledger.figures(5 * S // 2, None)
    assert figures.methods["gpu_busy_s"] == "device_samples_exclusive"
    assert figures.peak_bytes == 300


def test_a_stranger_on_the_gpu_takes_the_figures_of_the_device_away() -> None:
    """What processes tell remains; the stranger is named."""
    sample = ((RUN, 1, 30), (OTHER, 1, 20))
    processes = (GpuProcess(RUN, 300), GpuProcess(OTHER, 100))
    seen = billed(*looks(processes=processes, process_samples=sample))
    assert seen.busy_s == near(0.9)
    assert seen.methods["gpu_busy_s"] == "process_sm_samples"
    assert (seen.peak_bytes, seen.energy_j) == (300, None)
    assert seen.reasons["gpu_energy_j"] == "process 7, which is not of the run, was on GPU-1"


def test_a_stranger_where_processes_are_not_sampled_leaves_no_busy_time() -> None:
    """Null with both reasons."""
    reasons = {"process_samples": "Not Supported"}
    seen = billed(*looks(processes=(GpuProcess(OTHER, 1),), process_samples=None, reasons=reasons))
    assert (seen.busy_s, seen.coverage_ratio) == (None, None)
    assert "process 7" in seen.reasons["gpu_busy_s"]
    assert "samples of processes: Not Supported" in seen.reasons["gpu_busy_s"]


def test_a_shared_gpu_is_billed_by_processes() -> None:
    """Its energy is nobody's alone."""
    sample = ((RUN, 1, 30), (OTHER, 1, 20))
    seen = billed(
        *looks(processes=(GpuProcess(RUN, 300),), process_samples=sample, reasons={}), is_exclusive=False
    )
    assert (seen.busy_s, seen.methods["gpu_busy_s"]) == (near(0.9), "process_sm_samples")
    assert seen.reasons["gpu_energy_j"] == "several runs may share the GPU"


def test_pids_of_another_namespace_are_said() -> None:
    """In a container with an older driver: the device's samples, under a name of their own."""
    seen = billed(*looks(processes=(GpuProcess(HIDDEN, 300),)))
    assert (seen.busy_s, seen.methods["gpu_busy_s"]) == (near(1.8), "device_samples_unverified")
    assert (seen.peak_bytes, seen.methods["gpu_peak_bytes"]) == (500, "device_memory_sampled")
    assert all("another namespace" in reason for reason in seen.reasons.values())
    assert len(seen.reasons) == 3
    shared = billed(*looks(processes=(GpuProcess(HIDDEN, 300),)), is_exclusive=False)
    assert (shared.busy_s, shared.peak_bytes) == (None, None)
    assert "another namespace" in shared.reasons["gpu_busy_s"]


def test_an_instance_of_mig_has_memory_but_no_busy_time() -> None:
    """NVML measures the whole GPU only."""
    reasons = {"samples": "Not Supported", "energy_mj": "Not Supported"}
    seen = billed(
        *looks(
            is_instance=True, samples=None, energy_mj=None, reasons=reasons, processes=(GpuProcess(RUN, 9),)
        )
    )
    assert (seen.busy_s, seen.energy_j, seen.peak_bytes) == (None, None, 9)
    assert (
        seen.reasons["gpu_busy_s"] == seen.reasons["gpu_energy_j"] == "NVML does not measure instances of MIG"
    )


def test_what_is_covered_in_part_says_so() -> None:
    """Two of three seconds; nothing is added for the third."""
    seen = billed(*looks()[:3])
    assert (seen.busy_s, seen.coverage_ratio) == (near(1.2), near(2 / 3))
    assert seen.reasons["gpu_busy_s"] == "partial: 2.0 of 3.0 s were covered"
    assert seen.reasons["gpu_energy_j"] == "partial: 2.0 of 3.0 s were covered"


def test_a_gpu_that_is_lost_in_a_run_leaves_a_part_and_says_why() -> None:
    """And one that was lost all the time leaves nothing."""
    lost = DeviceLook(uuid="GPU-1", error="GPU is lost")
    seen = billed(*looks(processes=(GpuProcess(RUN, 300),))[:2], lost, lost)
    assert (seen.busy_s, seen.peak_bytes) == (near(0.6), 300)
    assert seen.reasons["gpu_busy_s"] == "partial: 1.0 of 3.0 s were covered; GPU-1: GPU is lost"
    never = billed(lost)
    assert (never.busy_s, never.peak_bytes, never.energy_j) == (None, None, None)
    assert all("GPU is lost" in reason for reason in never.reasons.values())


def test_without_a_look_nothing_is_known() -> None:
    """Why stands beside each figure."""
    ledger = GpuLedger(["GPU-1"], 0, is_exclusive=True)
    seen = ledger.figures(S, "NVML did not answer within 5 s")
    assert set(seen.reasons.values()) == {"NVML did not answer within 5 s"}
    assert len(seen.reasons) == 3
    ledger.take(Look(), lambda pid: OWNERS[pid])
    assert "does not list it" in ledger.figures(S, None).reasons["gpu_busy_s"]


def test_a_run_between_two_samples_has_no_figure_of_them() -> None:
    """It is not 0 that was busy."""
    seen = billed(device(10.0, samples=(), process_samples=()), wall_s=0.01)
    assert (seen.busy_s, seen.energy_j, seen.peak_bytes) == (None, None, 0)
    assert seen.reasons["gpu_busy_s"] == "no sample of the GPU fell into the run"
    assert seen.reasons["gpu_energy_j"] == "no two looks at the GPU fell into the run"


def test_a_counter_of_energy_that_begins_anew_is_not_a_figure() -> None:
    """The driver was loaded again."""
    seen = billed(device(10.0, energy_mj=9000), device(13.0, energy_mj=5))
    assert (seen.energy_j, seen.reasons["gpu_energy_j"]) == (None, "the driver's counter began anew")


def test_strangers_after_the_end_do_not_count() -> None:
    """The last look comes after it."""
    ledger = GpuLedger(["GPU-1"], 10 * S, is_exclusive=True)
    ledger.take(Look(devices=(device(11.0),)), lambda pid: OWNERS[pid])
    ledger.end(11 * S + S // 2)
    ledger.take(Look(devices=(device(12.0, processes=(GpuProcess(OTHER, 1),)),)), lambda pid: OWNERS[pid])
    seen = ledger.figures(3 * S // 2, None)
    assert (seen.busy_s, seen.coverage_ratio) == (near(0.9), 1.0)
    assert seen.methods["gpu_busy_s"] == "device_samples_exclusive"
