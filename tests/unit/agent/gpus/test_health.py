"""What ails a GPU, in words; and which GPUs are shut for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.agent.gpus.health import ailment
from worker.agent.gpus.quarantine import Quarantine, verdict_of
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import Outcome, RunError
from worker.machine.gpu_look import DeviceLook, GpuProcess
from worker.usage.gpu import Owner
from worker.usage.usage import Usage

GIB = 1024**3
OURS, OTHER, HIDDEN, GONE = 1, 2, 3, 4
OWNERS = {OURS: Owner.RUN, OTHER: Owner.STRANGER, HIDDEN: Owner.HIDDEN, GONE: Owner.GONE}


def look(**fields: Any) -> DeviceLook:
    """Return a look at a GPU of 24 GiB with nothing on it."""
    told: dict[str, Any] = {"uuid": "GPU-1", "processes": (), "memory_used_bytes": GIB}
    return DeviceLook(**(told | {"memory_total_bytes": 24 * GIB} | fields))


@pytest.mark.parametrize(
    ("device", "word"),
    [
        (None, "does not list it"),
        (look(error="GPU is lost"), "GPU is lost"),
        (look(xid=79), "Xid 79"),
        (look(processes=(GpuProcess(OTHER, 1),)), "process 2, which is not of this agent"),
        (look(memory_used_bytes=7 * GIB), "7.0 of its 24.0 GiB"),
        (look(memory_used_bytes=20 * GIB, processes=(GpuProcess(OURS, 12 * GIB),)), "8.0 of its 24.0 GiB"),
        (
            look(
                memory_used_bytes=20 * GIB,
                processes=(GpuProcess(OURS, 10 * GIB), GpuProcess(OURS, 10 * GIB, is_graphics=True)),
            ),
            "10.0 of its 24.0 GiB",  # one process, told twice
        ),
    ],
)
def test_what_keeps_runs_from_a_gpu_is_said(device: DeviceLook | None, word: str) -> None:
    """One reason, the worst first."""
    assert word in str(ailment(device, OWNERS.__getitem__))


@pytest.mark.parametrize(
    "device",
    [
        look(),
        look(xid=43),  # a program's own fault
        look(processes=(GpuProcess(OTHER, None, is_graphics=True),)),  # a display
        look(processes=(GpuProcess(OURS, 20 * GIB),), memory_used_bytes=21 * GIB),  # a warm process
        look(processes=(GpuProcess(OURS, None),), memory_used_bytes=21 * GIB),  # whose it is is not known
        look(processes=(GpuProcess(HIDDEN, GIB),), memory_used_bytes=21 * GIB),
        look(processes=(GpuProcess(GONE, GIB),)),
        look(processes=None, memory_used_bytes=21 * GIB),
        look(memory_used_bytes=None, memory_total_bytes=None),  # it shares the machine's
    ],
)
def test_a_gpu_that_nothing_is_known_against_is_well(device: DeviceLook) -> None:
    """What is ours, and what cannot be told, keeps nobody away."""
    assert ailment(device, OWNERS.__getitem__) is None


def test_a_shared_gpu_may_be_used_by_others_but_not_be_lost() -> None:
    """As the operator says."""
    busy = look(processes=(GpuProcess(OTHER, GIB),), memory_used_bytes=20 * GIB)
    assert ailment(busy, OWNERS.__getitem__, is_shared=True) is None
    assert ailment(look(error="GPU is lost"), OWNERS.__getitem__, is_shared=True) == "GPU is lost"


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """At zero."""
        self.now_mono = 0.0

    def mono(self) -> float:
        """Return what was set."""
        return self.now_mono

    def now(self) -> datetime:
        """Not asked for."""
        return datetime(2026, 1, 1, tzinfo=UTC)


def failed(quarantine: Quarantine, *tasks: str) -> None:
    """Let tasks fail on the GPU, one after the other."""
    for task in tasks:
        quarantine.begin(["GPU-1"], task)
        quarantine.end(["GPU-1"], task, verdict=False)
        quarantine.end(["GPU-1"], task, None)  # it is given back


def test_three_tasks_that_fail_shut_a_gpu_for_a_while() -> None:
    """Two do not, one that fails three times does not, and a success between them does not."""
    clock = Hand()
    quarantine = Quarantine(clock, 60.0)
    failed(quarantine, "a", "a", "a", "b")
    assert quarantine.reason("GPU-1") is None
    quarantine.end(["GPU-1"], "c", verdict=True)
    failed(quarantine, "d", "e")
    assert quarantine.reason("GPU-1") is None
    failed(quarantine, "f")
    assert quarantine.reason("GPU-1") == "it is in quarantine for 60 s more: 3 tasks in a row failed on it"
    assert quarantine.reason("GPU-2") is None


def test_one_run_at_a_time_tries_a_gpu_that_was_shut() -> None:
    """It fails: shut for twice as long, up to a bound. It succeeds: as if nothing had been."""
    clock = Hand()
    quarantine = Quarantine(clock, 60.0)
    failed(quarantine, "a", "b", "c")
    lengths = []
    for number in range(7):
        began_mono = clock.now_mono
        while quarantine.reason("GPU-1") is not None:
            clock.now_mono += 1.0
        lengths.append(clock.now_mono - began_mono)
        assert quarantine.is_doubted("GPU-1")
        quarantine.begin(["GPU-1"], f"try-{number}")
        assert "try-" in str(quarantine.reason("GPU-1"))
        quarantine.end(["GPU-1"], f"try-{number}", verdict=False)
    assert lengths == [60, 120, 240, 480, 960, 960, 960]
    clock.now_mono += 960
    quarantine.begin(["GPU-1"], "good")
    quarantine.end(["GPU-1"], "good", verdict=True)
    assert not quarantine.is_doubted("GPU-1")
    failed(quarantine, "x", "y")
    assert quarantine.reason("GPU-1") is None


def test_a_trial_that_tells_nothing_makes_room_for_another() -> None:
    """Its claim was lost, or it was cancelled."""
    clock = Hand()
    quarantine = Quarantine(clock, 60.0)
    failed(quarantine, "a", "b", "c")
    clock.now_mono = 61.0
    quarantine.begin(["GPU-1"], "d")
    assert quarantine.reason("GPU-1") is not None
    quarantine.end(["GPU-1"], "d", None)
    assert quarantine.reason("GPU-1") is None
    assert quarantine.is_doubted("GPU-1")


def test_what_was_running_beside_neither_lengthens_a_quarantine_nor_hides_a_success() -> None:
    """Where several runs share a GPU."""
    clock = Hand()
    quarantine = Quarantine(clock, 60.0)
    failed(quarantine, "a", "b", "c", "d", "e")
    assert quarantine.reason("GPU-1") == "it is in quarantine for 60 s more: 5 tasks in a row failed on it"
    quarantine.end(["GPU-1"], "f", verdict=True)
    assert quarantine.reason("GPU-1") is None


def test_who_listens_is_told_until_when_a_gpu_is_shut() -> None:
    """And when it is not any more."""
    told: list[Mapping[str, datetime]] = []
    clock = Hand()
    quarantine = Quarantine(clock, 60.0, told.append)
    failed(quarantine, "a", "b", "c")
    quarantine.end(["GPU-1"], "d", verdict=True)
    assert told == [{"GPU-1": clock.now() + timedelta(seconds=60)}, {}]


def test_without_a_time_there_is_no_quarantine() -> None:
    """0 switches it off."""
    quarantine = Quarantine(Hand(), 0.0)
    failed(quarantine, *"abcdefgh")
    assert quarantine.reason("GPU-1") is None


def outcome(kind: ErrorKind | None, *, wall_s: float | None = 1.0, traceback: str | None = None) -> Outcome:
    """Return an outcome; None: a success."""
    error = None if kind is None else RunError(kind=kind, message="it", traceback=traceback)
    code = ResultCode.SUCCESS if kind is None else ResultCode.FAILED
    return Outcome(code=code, error=error, usage=Usage(wall_s=wall_s))


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (outcome(None), True),
        (outcome(ErrorKind.CRASHED), False),
        (outcome(ErrorKind.CRASHED, wall_s=None), None),  # no process could be started
        (outcome(ErrorKind.INTERNAL), None),
        (outcome(ErrorKind.INTERNAL, wall_s=None), None),  # its folder could not be made
        (outcome(ErrorKind.CRASHED, wall_s=31.0), None),
        (outcome(ErrorKind.HANDLER_ERROR, traceback="Traceback …"), False),
        (outcome(ErrorKind.HANDLER_ERROR), None),  # it failed on purpose
        (outcome(ErrorKind.INVALID_PARAMETERS), None),
        (outcome(ErrorKind.CANCELLED), None),
        (outcome(ErrorKind.DRAINED), None),
        (outcome(ErrorKind.OUT_OF_MEMORY), None),
        (outcome(ErrorKind.TIMEOUT), None),
    ],
)
def test_only_what_a_sick_gpu_makes_of_a_run_counts_against_it(ended: Outcome, verdict: bool | None) -> None:
    """A task's own fault is not its machine's."""
    assert verdict_of(ended) is verdict
