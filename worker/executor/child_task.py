"""Watch one run in one child, from its assignment to what was seen of its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.deadlines import LIMIT_GRACE_S, RunLimits, StopPlan
from worker.executor.evidence import Evidence, StopReason
from worker.executor.executor import Event, EventSink, LogEvent, ProgressEvent, StopRequest, UsageEvent
from worker.executor.frames import (
    Assign,
    Ended,
    NotLoaded,
    Ready,
    Stop,
    ToldArtifact,
    ToldCheckpoint,
    ToldLog,
    ToldProgress,
    Up,
)
from worker.executor.link import ChildLink
from worker.executor.output import LineCutter, LogTail, RateLimit
from worker.usage.usage import Usage

__all__ = ["ChildTask", "RunMeter"]

USAGE_INTERVAL_S: Final = 1.0
INTERRUPT_AGAIN_S: Final = 0.5  # the child may have seen the signal before the frame that gives it sense
GUARD_MARGIN_S: Final = 3.0  # behind the agent's own deadline, for a machine that is busy
EOF_PATIENCE_S: Final = 1.0  # between a closed channel and the end of its process
GENTLE: Final = frozenset({ErrorKind.DRAINED, ErrorKind.PREEMPTED})  # time to finish is what the grace is for
MAX_ARTIFACTS: Final = 1000

log = structlog.get_logger(__name__)


class RunMeter(Protocol):
    """Measures a run; see `worker.usage.meter.Meter`."""

    def sample(self) -> Usage:
        """Return what was consumed so far."""
        ...


class ChildTask:
    """One run in one child. `to_end` returns when there is a receipt or no process; see `Evidence`."""

    def __init__(
        self,
        link: ChildLink,
        assign: Assign,
        *,
        limits: RunLimits,
        stop: StopRequest,
        on_event: EventSink,
        meter: RunMeter,
        clock: Clock,
        redact: Callable[[str], str],
    ) -> None:
        self._link = link
        self._assign = assign
        self._limits = limits
        self._stop = stop
        self._on_event = on_event
        self._meter = meter
        self._clock = clock
        self._redact = redact
        self._wake = asyncio.Event()
        self._plan: StopPlan | None = None
        self._is_limit_hit = False
        self._ended: Ended | None = None
        self._not_loaded: NotLoaded | None = None
        self._is_killed = False
        self._ratio = 0.0
        self._usage_mono = clock.mono() + USAGE_INTERVAL_S
        self._eof_mono: float | None = None
        self.artifacts: list[ToldArtifact] = []
        self.checkpoint: object = None
        self.tail = LogTail()
        limit = RateLimit(clock.mono)
        self._cutters = {
            stream: LineCutter(limit, lambda line, stream=stream: self._log(stream, line, "info"))  # type: ignore[misc]
            for stream in ("stdout", "stderr")
        }

    async def to_end(self) -> Evidence:
        """Run to the receipt, or to the end of the process."""
        self._link.listener = self
        watching = asyncio.create_task(self._watch_stop())
        try:
            if (ready := self._link.ready) is not None:
                self._limits.ready(ready.limits, self._clock.mono())
            self._link.send(self._assign)
            while not self._is_over():
                await self._go_on()
        finally:
            watching.cancel()
        return self.evidence()

    def finish_output(self) -> None:
        """Take what the child printed at last; nothing is heard of it afterwards."""
        if self._link.exit is None:
            self._link.guard(None, None)
            self._link.drain()
        for cutter in self._cutters.values():
            cutter.finish()
        self._link.listener = None

    def evidence(self) -> Evidence:
        """Return what is seen now."""
        return Evidence(
            ended=self._ended,
            not_loaded=self._not_loaded,
            exit=self._link.exit,
            stop=self._plan.reason if self._plan else None,
            is_killed=self._is_killed,
            channel_error=self._link.channel_error,
            overrun=self._link.overrun,
            memory_bytes=self._limits.now.memory_bytes,
        )

    def _is_over(self) -> bool:
        return self._ended is not None or self._link.exit is not None

    async def _go_on(self) -> None:
        """Do what is due, then wait for whatever comes first."""
        now = self._clock.mono()
        if self._must_kill(now):
            self._link.drain()  # a receipt that is there already is not made undone
            if self._ended is None:
                self._is_killed = not self._link.is_dead
                await self._link.end()
            return
        self._watch_limits(now)
        self._interrupt(now)
        self._guard(now)
        self._tell_usage(now)
        delay_s = max(0.0, self._next_mono() - self._clock.mono())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        self._wake.clear()

    def _must_kill(self, now: float) -> bool:
        """Tell whether the process is dead, broken, or out of time."""
        link = self._link
        if link.is_dead or link.channel_error is not None or link.overrun is not None:
            return True
        if link.is_closed_by_child:
            self._eof_mono = self._eof_mono or now + EOF_PATIENCE_S
            if now >= self._eof_mono:
                link.channel_error = "it closed the channel and lived on"
                return True
        return self._plan is not None and now >= self._plan.kill_mono

    def _watch_limits(self, now: float) -> None:
        if self._is_limit_hit or (reason := self._limits.hit(now)) is None:
            return
        self._is_limit_hit = True
        if self._plan is None:
            self._begin_stop(reason, LIMIT_GRACE_S, now)
        else:  # a long grace of another stop does not put the limit off
            self._plan.hasten(LIMIT_GRACE_S, now)
            self._send_stop(now)

    def _guard(self, now: float) -> None:
        """Have the minder hold the same limits, a little later: it kills if this loop does not."""
        at_mono = self._plan.kill_mono if self._plan else self._limits.next_mono() + LIMIT_GRACE_S
        left_s = at_mono - now + GUARD_MARGIN_S
        deadline_s = None if left_s == float("inf") else time.clock_gettime(time.CLOCK_BOOTTIME) + left_s
        self._link.guard(deadline_s, self._limits.now.memory_bytes)

    def _interrupt(self, now: float) -> None:
        if self._plan is not None and now >= self._plan.interrupt_mono:
            self._link.signal(signal.SIGTERM)
            self._plan.interrupt_mono = now + INTERRUPT_AGAIN_S

    def _tell_usage(self, now: float) -> None:
        if now >= self._usage_mono:
            self._usage_mono = now + USAGE_INTERVAL_S
            self._emit(UsageEvent(self._meter.sample()))

    def _next_mono(self) -> float:
        times = [self._usage_mono]
        if not self._is_limit_hit:
            times.append(self._limits.next_mono())
        if self._plan is not None:
            times += [self._plan.interrupt_mono, self._plan.kill_mono]
        return min(times if self._eof_mono is None else [*times, self._eof_mono])

    async def _watch_stop(self) -> None:
        """Pass on what the attempt asks for."""
        while True:
            await self._stop.changed()
            kind, grace_s, now = self._stop.kind, self._stop.grace_s, self._clock.mono()
            if kind is None or grace_s is None:
                continue
            if self._plan is None:
                self._begin_stop(StopReason(kind, self._stop.message), grace_s, now)
            else:
                self._plan.hasten(grace_s, now)
                self._send_stop(now)
            self._wake.set()

    def _begin_stop(self, reason: StopReason, grace_s: float, now: float) -> None:
        self._plan = StopPlan(reason, grace_s, now)
        self._send_stop(now)

    def _send_stop(self, now: float) -> None:
        assert self._plan is not None
        reason, grace_s = self._plan.reason, max(0.0, self._plan.kill_mono - now)
        run_id, is_urgent = self._assign.assignment.run_id, reason.kind not in GENTLE
        self._link.send(Stop(run_id, str(reason.kind), reason.message, grace_s, is_urgent))

    def on_frame(self, frame: Up) -> None:
        """Take what the child says."""
        now = self._clock.mono()
        match frame:
            case ToldProgress():
                self._limits.progressed(now)
                self._ratio = max(self._ratio, min(frame.ratio, 1.0))
                self._emit(ProgressEvent(self._ratio, frame.message))
            case ToldLog():
                self._log("log", frame.message, frame.level)
            case ToldArtifact():
                if len(self.artifacts) < MAX_ARTIFACTS:
                    self.artifacts.append(frame)
            case ToldCheckpoint():
                self.checkpoint = msgspec.json.decode(frame.value)
            case Ready():
                self._limits.ready(frame.limits, now)
                self._meter.sample()  # what the import cost, should the process vanish at once
                self._wake.set()
            case NotLoaded():
                self._not_loaded = frame
            case Ended() if frame.run_id == self._assign.assignment.run_id:
                self._ended = frame
                self._wake.set()

    def on_output(self, stream: str, data: bytes) -> None:
        """Take what the run printed."""
        self._cutters[stream].feed(data)

    def on_change(self) -> None:
        """Look at the child again."""
        self._wake.set()

    def _log(self, stream: str, line: str, level: str) -> None:
        line = self._redact(line)
        self.tail.add(line)
        self._emit(LogEvent(stream, line, level))

    def _emit(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # who listens must not decide how a run ends
            log.exception("run.listener_failed", run_id=self._assign.assignment.run_id)
