"""Hold a run to its limits, its lease and to what the agent asks: tell it, interrupt it, say when to kill."""

from __future__ import annotations

import signal
import time
from typing import Final, NamedTuple

import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.deadlines import LIMIT_GRACE_S, RunLimits, StopPlan
from worker.executor.evidence import StopReason
from worker.executor.executor import StopRequest
from worker.executor.frames import Stop
from worker.executor.last_bill import LastBill
from worker.executor.lease import Lease
from worker.executor.link import ChildLink

__all__ = ["Pilot", "Steering"]

INTERRUPT_AGAIN_S: Final = 0.5  # the child may have seen the signal before the frame that gives it sense
GUARD_MARGIN_S: Final = 3.0  # behind the agent's own deadline, for a machine that is busy
GENTLE: Final = frozenset({ErrorKind.DRAINED, ErrorKind.PREEMPTED})  # time to finish is what the grace is for

log = structlog.get_logger(__name__)


class Steering(NamedTuple):
    """How the agent steers a run, and what hears of it."""

    stop: StopRequest
    bill: LastBill  # hears all events
    lease: Lease


class Pilot:
    """What a run is told and when; times come from its clock, the waiting is its task's."""

    def __init__(self, link: ChildLink, run_id: str, limits: RunLimits, lease: Lease, clock: Clock) -> None:
        """Begin with the limits of the import."""
        self.limits = limits
        self._link = link
        self._run_id = run_id
        self._lease = lease
        self._clock = clock
        self._plan: StopPlan | None = None
        self._is_limit_hit = False
        self._is_frozen = False

    @property
    def reason(self) -> StopReason | None:
        """Why the run was asked to stop: the first reason stays."""
        return self._plan.reason if self._plan else None

    def is_out_of_time(self, now: float) -> bool:
        """Tell whether the run must be killed now."""
        return self._plan is not None and now >= self._plan.kill_mono

    def steer(self, now: float) -> None:
        """Do what is due: tell of a limit, interrupt, have the minder hold the same limits."""
        self._watch_limits(now)
        self._interrupt(now)
        self.hold(now)
        self._watch_freezing(now)

    def next_mono(self) -> float:
        """Return when something is due again."""
        times = [] if self._is_limit_hit else [self.limits.next_mono()]
        if self._plan is not None:
            times += [self._plan.interrupt_mono, self._plan.kill_mono]
        return min(times, default=float("inf"))

    def ask(self, stop: StopRequest, shown: str) -> None:
        """Pass on what the attempt asks for; `shown` is its message as the handler may see it."""
        if stop.kind is not None and stop.grace_s is not None:
            self.stop(StopReason(stop.kind, shown), stop.grace_s)

    def stop(self, reason: StopReason, grace_s: float) -> None:
        """Have the run stop within a time; a later reason only makes it nearer."""
        now = self._clock.mono()
        if self._plan is None:
            self._plan = StopPlan(reason, grace_s, now)
        else:
            self._plan.hasten(grace_s, now)
        self._send(now)

    def overrun(self, reason: StopReason) -> None:
        """Stop a run that took more than it may, unless it is asked to stop already."""
        if self._plan is None:
            self.stop(reason, LIMIT_GRACE_S)

    def _watch_limits(self, now: float) -> None:
        if self._is_limit_hit or (reason := self.limits.hit(now)) is None:
            return
        self._is_limit_hit = True
        self.stop(reason, LIMIT_GRACE_S)  # a long grace of another stop does not put the limit off

    def _interrupt(self, now: float) -> None:
        if self._plan is not None and now >= self._plan.interrupt_mono:
            self._link.signal(signal.SIGTERM)
            self._plan.interrupt_mono = now + INTERRUPT_AGAIN_S

    def hold(self, now: float) -> None:
        """Have the minder hold the same limits, a little later: it kills if this loop does not."""
        at_mono = self._plan.kill_mono if self._plan else float("inf")
        if not self._is_limit_hit:  # a long grace of another stop does not put the limit off here either
            at_mono = min(at_mono, self.limits.next_mono() + LIMIT_GRACE_S)
        deadline_s = boot_s(at_mono - now + GUARD_MARGIN_S)
        freeze_s = boot_s(self._lease.freeze_mono - now)
        self._link.limits.hold(deadline_s, self.limits.now.memory_bytes, freeze_s)

    def _watch_freezing(self, now: float) -> None:
        """Tell when the run begins to stand still and when it goes on; standing is no want of progress."""
        if self._link.life.is_frozen or self._is_frozen:
            self.limits.progressed(now)
        if self._link.life.is_frozen == self._is_frozen:
            return
        self._is_frozen = self._link.life.is_frozen
        if self._is_frozen:
            hint = "the server does not answer; the run goes on when it does, if its task is still ours"
            log.warning("run.frozen", run_id=self._run_id, lease_s=self._lease.length_s, hint=hint)
        else:
            log.info("run.thawed", run_id=self._run_id)

    def _send(self, now: float) -> None:
        assert self._plan is not None
        reason, grace_s = self._plan.reason, max(0.0, self._plan.kill_mono - now)
        is_urgent = reason.kind not in GENTLE
        self._link.send(Stop(self._run_id, str(reason.kind), reason.message, grace_s, is_urgent))


def boot_s(left_s: float) -> float | None:
    """Return a moment by the minder's clock; None for never."""
    return None if left_s == float("inf") else time.clock_gettime(time.CLOCK_BOOTTIME) + left_s
