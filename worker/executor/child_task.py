"""Watch one run in one child, from its assignment to what was seen of its end."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, TypeVar

import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.deadlines import RunLimits
from worker.executor.evidence import Evidence, StopReason
from worker.executor.executor import UsageEvent
from worker.executor.frames import (
    Assign,
    Ended,
    NotLoaded,
    Ready,
    TearDownFailed,
    ToldProgress,
    ToldUsage,
    Up,
)
from worker.executor.hearing import Hearing
from worker.executor.link import ChildLink
from worker.executor.output import OutputRules
from worker.executor.steering import Pilot, Steering
from worker.executor.visible import visible
from worker.executor.workdir_watch import WorkdirWatch
from worker.redaction import Redactor
from worker.usage.outside import Outside
from worker.usage.usage import Usage

__all__ = ["ChildTask", "RunMeter"]

USAGE_INTERVAL_S: Final = 1.0
METHOD_CHARS: Final = 40
REASON_CHARS: Final = 300
EOF_PATIENCE_S: Final = 1.0  # between a closed channel and the end of its process

log = structlog.get_logger(__name__)
N = TypeVar("N", int, float)


class RunMeter(Protocol):
    """Measures a run; see `worker.usage.meter.Meter`."""

    def sample(self) -> Usage:
        """Return what was consumed so far."""
        ...

    def take_outside(self, told: Outside) -> None:
        """Take what was consumed outside of the run's processes."""
        ...


class ChildTask:
    """One run in one child. `to_end` returns when there is a receipt or no process; see `Evidence`."""

    def __init__(
        self,
        link: ChildLink,
        assign: Assign,
        *,
        limits: RunLimits,
        steering: Steering,
        meter: RunMeter,
        clock: Clock,
        redactor: Redactor,
        output: str,
        rules: OutputRules,
        watch: WorkdirWatch | None = None,
    ) -> None:
        run_id = assign.assignment.run_id
        self._link = link
        self._assign = assign
        self._stop = steering.stop
        self._lease = steering.lease
        self._meter = meter
        self._clock = clock
        self._watch = watch
        self._pilot = Pilot(link, run_id, limits, steering.lease, clock)
        self.heard = Hearing(
            link, run_id, steering.bill, clock=clock, redactor=redactor, output=output, rules=rules
        )
        self._alarm = link.alarm
        self._alarm.clear()
        self._ended: Ended | None = None
        self._not_loaded: NotLoaded | None = None
        self._is_killed = False
        self._usage_mono = clock.mono() + USAGE_INTERVAL_S
        self._eof_mono: float | None = None

    @property
    def assignment(self) -> Assignment:
        """What is run."""
        return self._assign.assignment

    @property
    def told_bytes(self) -> int:
        """How much the result and the checkpoint are."""
        result_bytes = 0 if self._ended is None else memoryview(self._ended.value).nbytes
        return self.heard.checkpoint_bytes + result_bytes

    async def to_end(self) -> Evidence:
        """Run to the receipt, or to the end of the process."""
        self._link.listener = self
        self._lease.on_renewed = self._alarm.set
        watching = None if self._watch is None else asyncio.create_task(self._watch_workdir(self._watch))
        end_following = None
        try:
            if (ready := self._link.ready) is not None:
                self._pilot.limits.ready(ready.limits, self._clock.mono())
            self._link.begin()
            self._link.send(self._assign)
            end_following = self._stop.follow(self._pass_stop_on)
            if ready is not None:
                self.heard.tell_start()
            while not self._is_over():
                await self._go_on()
        finally:
            if end_following is not None:
                end_following()
            if watching is not None:
                watching.cancel()
        return self.evidence()

    def finish_output(self) -> None:
        """Take what the child printed at last; nothing is heard of it afterwards."""
        if self._link.exit is None:
            self._link.limits.relieve()
            self._link.drain_outputs()  # what was said came before the receipt, in one channel with it
        self.heard.finish()
        self._link.listener = None

    def evidence(self) -> Evidence:
        """Return what is seen now."""
        return Evidence(
            ended=self._ended,
            not_loaded=self._not_loaded,
            exit=self._link.exit,
            stop=self._pilot.reason,
            is_killed=self._is_killed,
            channel_error=self._link.channel_error,
            overrun=self._link.overrun,
            memory_bytes=self._pilot.limits.now.memory_bytes,
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
        self._pilot.steer(now)
        self._tell_usage(now)
        await self._alarm.wait(max(0.0, self._next_mono() - self._clock.mono()))

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
        return self._pilot.is_out_of_time(now)

    def _tell_usage(self, now: float) -> None:
        if now >= self._usage_mono:
            self._usage_mono = now + USAGE_INTERVAL_S
            self.heard.emit(UsageEvent(self._meter.sample()))
            self.heard.tell_checkpoint()

    def _next_mono(self) -> float:
        next_mono = min(self._usage_mono, self._pilot.next_mono())
        return next_mono if self._eof_mono is None else min(next_mono, self._eof_mono)

    def _pass_stop_on(self) -> None:
        """Pass on what the attempt asks for; the handler need not know more of it than people do."""
        self._pilot.ask(self._stop, self.heard.redactor.text(self._stop.message))
        self.heard.tell_checkpoint(is_urgent=True)
        self._alarm.set()

    async def _watch_workdir(self, watch: WorkdirWatch) -> None:
        """Stop the run when its folder holds too much."""
        try:
            text = await watch.exceeded()
        except Exception:  # a fault of ours is no fault of the run's
            log.exception("workdir.watch_failed", run_id=self.assignment.run_id)
            return
        self._pilot.overrun(StopReason(ErrorKind.HANDLER_ERROR, text))
        self._alarm.set()

    def on_frame(self, frame: Up) -> None:
        """Take what the child says."""
        now = self._clock.mono()
        match frame:
            case Ready():
                self._pilot.limits.ready(frame.limits, now)
                self._pilot.hold(now)  # before anything else is heard: this process may stand still next
                self.heard.emit(UsageEvent(self._meter.sample()))  # what the import cost, should it vanish
                self.heard.tell_start()
                self._alarm.set()
            case NotLoaded():
                self._not_loaded = frame
            case Ended():
                if frame.run_id == self.assignment.run_id:
                    self._ended = frame
                    self._alarm.mark()  # who reads the channel rings
            case ToldUsage():
                self._meter.take_outside(outside_of(frame, self.heard.redactor))
            case TearDownFailed():
                pass  # of a child that is let go, which has no run
            case _:
                if isinstance(frame, ToldProgress):
                    self._pilot.limits.progressed(now)
                self.heard.take(frame)

    def on_output(self, stream: str, data: bytes) -> None:
        """Take what the run printed."""
        self.heard.output.feed(stream, data)

    def on_change(self) -> None:
        """Look at the child again."""
        self._alarm.set()


def outside_of(told: ToldUsage, redactor: Redactor) -> Outside:
    """Return what was told as the bill has it: bounded words, and no number below 0."""
    return Outside(
        method=visible(redactor.text(told.method))[:METHOD_CHARS],
        cpu_user_s=from_zero(told.cpu_user_s),
        cpu_system_s=from_zero(told.cpu_system_s),
        ram_bytes=from_zero(told.ram_bytes),
        ram_peak_bytes=from_zero(told.ram_peak_bytes),
        pid=told.pid,
        reason=None if told.reason is None else visible(redactor.text(told.reason))[:REASON_CHARS],
        is_last=told.is_last,
    )


def from_zero(number: N | None) -> N | None:
    """Return a number that can be; None for one below 0."""
    return number if number is not None and number >= 0 else None
