"""Bugs of leases and fencing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.bugs.change import Change
from worker.api.errors import ApiError
from worker.api.models import Run
from worker.executor.lease import Lease
from worker.reporting.reporter import Reporter


def no_freeze() -> Sequence[Change]:
    """Let a run go on after its lease."""
    return [(Lease, "freeze_mono", property(lambda self: float("inf")))]


def lease_from_the_answer() -> Sequence[Change]:
    """Count a lease from when the answer came."""
    real = Reporter._weigh

    def weigh(self: Reporter, run: Run, asked_mono: float) -> None:
        real(self, run, self._clock.mono())

    return [(Reporter, "_weigh", weigh)]


def no_fencing() -> Sequence[Change]:
    """Never believe that a run is lost."""
    return [(Reporter, "_lose", lambda self, *of: None)]


def believes_hearsay() -> Sequence[Change]:
    """Take what a proxy says for the word of the API."""
    return [(ApiError, "is_documented", property(lambda self: True))]
