"""When a run must be told to stop, interrupted and killed. Pure: times come in, decisions go out."""

from __future__ import annotations

from typing import Final

from worker.api.wire import ErrorKind
from worker.executor.evidence import StopReason
from worker.executor.limits import NONE, Limits, effective_limits

__all__ = ["LIMIT_GRACE_S", "RunLimits", "StopPlan"]

LIMIT_GRACE_S: Final = 5.0  # what a handler that hit a limit has for its clean-up
LAST_PART_S: Final = 5.0  # of a long grace: what remains after the interrupt


class RunLimits:
    """The limits of one run: first that of its handler's import and setup, then its own."""

    def __init__(self, load_timeout_s: float, task: Limits, agent: Limits, now_mono: float) -> None:
        """Start with what is known before the handler is."""
        self._load_timeout_s = load_timeout_s
        self._task = task
        self._agent = agent
        self.now = effective_limits(task, NONE, agent)
        self.is_ready = False
        self._started_mono = now_mono
        self._progress_mono = now_mono

    def ready(self, handler: Limits, now_mono: float) -> None:
        """Take the handler's own limits; the time of its import does not count against them."""
        self.now = effective_limits(self._task, handler, self._agent)
        self.is_ready = True
        self._started_mono = self._progress_mono = now_mono

    def progressed(self, now_mono: float) -> None:
        """Take a sign of progress."""
        self._progress_mono = now_mono

    def hit(self, now_mono: float) -> StopReason | None:
        """Return the limit that was hit."""
        if not self.is_ready:
            if now_mono < self._started_mono + self._load_timeout_s:
                return None
            text = f"importing the handler and its setup took longer than {self._load_timeout_s:g} s"
            return StopReason(ErrorKind.TIMEOUT, text)
        limits = self.now
        if limits.timeout_s is not None and now_mono >= self._started_mono + limits.timeout_s:
            return StopReason(ErrorKind.TIMEOUT, f"the run took longer than {limits.timeout_s:g} s")
        if limits.no_progress_s is not None and now_mono >= self._progress_mono + limits.no_progress_s:
            text = f"the run told no progress for {limits.no_progress_s:g} s"
            return StopReason(ErrorKind.NO_PROGRESS, text)
        return None

    def next_mono(self) -> float:
        """Return when a limit is hit at the earliest; infinity where there is none."""
        if not self.is_ready:
            return self._started_mono + self._load_timeout_s
        limits, end_mono = self.now, float("inf")
        if limits.timeout_s is not None:
            end_mono = self._started_mono + limits.timeout_s
        if limits.no_progress_s is not None:
            end_mono = min(end_mono, self._progress_mono + limits.no_progress_s)
        return end_mono


class StopPlan:
    """What follows a stop: the handler is told, later interrupted (SIGTERM), at last killed."""

    def __init__(self, reason: StopReason, grace_s: float, now_mono: float) -> None:
        """Plan from the moment of the request."""
        self.reason = reason
        self.kill_mono = now_mono + grace_s
        self.interrupt_mono = now_mono + interrupt_after_s(grace_s)

    def hasten(self, grace_s: float, now_mono: float) -> None:
        """Take a nearer deadline; a later one changes nothing."""
        if now_mono + grace_s < self.kill_mono:
            self.kill_mono = now_mono + grace_s
            self.interrupt_mono = min(self.interrupt_mono, now_mono + interrupt_after_s(grace_s))


def interrupt_after_s(grace_s: float) -> float:
    """Return the part of a grace in which a handler may end by itself: half, of a long one nearly all."""
    return max(grace_s / 2, grace_s - LAST_PART_S)
