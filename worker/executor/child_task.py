"""Watch one run in one child, from its assignment to what was seen of its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from worker.api.wire import ErrorKind
from worker.clock import Clock
from worker.executor.assignment import Assignment
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
    ToldSecret,
    Up,
)
from worker.executor.lease import Lease
from worker.executor.lines import RateLimit
from worker.executor.link import ChildLink
from worker.executor.output import OutputRules, RunOutput
from worker.executor.visible import visible
from worker.executor.workdir_watch import WorkdirWatch
from worker.redaction import Redactor
from worker.usage.usage import Usage

__all__ = ["ChildTask", "RunMeter", "Steering"]

USAGE_INTERVAL_S: Final = 1.0
INTERRUPT_AGAIN_S: Final = 0.5  # the child may have seen the signal before the frame that gives it sense
GUARD_MARGIN_S: Final = 3.0  # behind the agent's own deadline, for a machine that is busy
EOF_PATIENCE_S: Final = 1.0  # between a closed channel and the end of its process
GENTLE: Final = frozenset({ErrorKind.DRAINED, ErrorKind.PREEMPTED})  # time to finish is what the grace is for
MAX_ARTIFACTS: Final = 1000
WORTH_A_LOOK: Final = frozenset(
    {"warning", "error"}
)  # of what handlers log; the agent's own log is for agents

log = structlog.get_logger(__name__)


class RunMeter(Protocol):
    """Measures a run; see `worker.usage.meter.Meter`."""

    def sample(self) -> Usage:
        """Return what was consumed so far."""
        ...


class Steering(NamedTuple):
    """How the agent steers a run, and what hears of it."""

    stop: StopRequest
    on_event: EventSink
    lease: Lease


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
        output: Path,
        rules: OutputRules,
        watch: WorkdirWatch | None = None,
    ) -> None:
        self._link = link
        self._assign = assign
        self._limits = limits
        self._stop = steering.stop
        self._on_event = steering.on_event
        self._lease = steering.lease
        self._is_frozen = False
        self._meter = meter
        self._clock = clock
        self._watch = watch
        self.redactor = redactor.with_secrets(link.secrets)
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
        self._checkpoint_bytes = 0
        self._told_limit = RateLimit(clock.mono, times=2)  # the child's own seconds begin at other moments
        self._told_dropped = 0
        self.output = RunOutput(output, self.redactor, mono=clock.mono, on_line=self._on_line, rules=rules)

    @property
    def assignment(self) -> Assignment:
        """What is run."""
        return self._assign.assignment

    @property
    def told_bytes(self) -> int:
        """How much the result and the checkpoint are."""
        return self._checkpoint_bytes + (0 if self._ended is None else memoryview(self._ended.value).nbytes)

    async def to_end(self) -> Evidence:
        """Run to the receipt, or to the end of the process."""
        self._link.listener = self
        self._lease.on_renewed = self._wake.set
        watching = [asyncio.create_task(self._watch_stop())]
        if self._watch is not None:
            watching.append(asyncio.create_task(self._watch_workdir(self._watch)))
        try:
            if (ready := self._link.ready) is not None:
                self._limits.ready(ready.limits, self._clock.mono())
            self._link.send(self._assign)
            while not self._is_over():
                await self._go_on()
        finally:
            for task in watching:
                task.cancel()
        return self.evidence()

    def finish_output(self) -> None:
        """Take what the child printed at last; nothing is heard of it afterwards."""
        if self._link.exit is None:
            self._link.guard(None, None)
            self._link.drain()
        self.output.finish()
        if self._told_dropped:
            self._log("log", f"… {self._told_dropped} lines were too many and dropped", "warning")
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
        self._watch_freezing(now)
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
        deadline_s = boot_s(at_mono - now + GUARD_MARGIN_S)
        freeze_s = boot_s(self._lease.freeze_mono - now)
        self._link.guard(deadline_s, self._limits.now.memory_bytes, freeze_s)

    def _watch_freezing(self, now: float) -> None:
        """Tell when the run begins to stand still and when it goes on; standing is no want of progress."""
        if self._link.life.is_frozen or self._is_frozen:
            self._limits.progressed(now)
        if self._link.life.is_frozen != self._is_frozen:
            self._is_frozen = self._link.life.is_frozen
            run_id = self._assign.assignment.run_id
            if self._is_frozen:
                hint = "the server does not answer; the run goes on when it does, if its task is still ours"
                log.warning("run.frozen", run_id=run_id, lease_s=self._lease.length_s, hint=hint)
            else:
                log.info("run.thawed", run_id=run_id)

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

    async def _watch_workdir(self, watch: WorkdirWatch) -> None:
        """Stop the run when its folder holds too much."""
        try:
            text = await watch.exceeded()
        except Exception:  # a fault of ours is no fault of the run's
            log.exception("workdir.watch_failed", run_id=self._assign.assignment.run_id)
            return
        if self._plan is None:
            self._begin_stop(StopReason(ErrorKind.HANDLER_ERROR, text), LIMIT_GRACE_S, self._clock.mono())
            self._wake.set()

    def _begin_stop(self, reason: StopReason, grace_s: float, now: float) -> None:
        self._plan = StopPlan(reason, grace_s, now)
        self._send_stop(now)

    def _send_stop(self, now: float) -> None:
        assert self._plan is not None
        reason, grace_s = self._plan.reason, max(0.0, self._plan.kill_mono - now)
        run_id, is_urgent = self._assign.assignment.run_id, reason.kind not in GENTLE
        message = self.redactor.text(reason.message)  # the handler need not know more than people do
        self._link.send(Stop(run_id, str(reason.kind), message, grace_s, is_urgent))

    def on_frame(self, frame: Up) -> None:
        """Take what the child says."""
        now = self._clock.mono()
        match frame:
            case ToldProgress():
                self._limits.progressed(now)
                self._ratio = max(self._ratio, min(frame.ratio, 1.0))
                message = None if frame.message is None else self._shown_in_time(frame.message)
                self._emit(ProgressEvent(self._ratio, message))
            case ToldLog():
                if (line := self._shown_in_time(frame.message)) is not None:
                    self._log("log", line, frame.level)
            case ToldSecret():
                self._keep_secret(frame.value)
            case ToldArtifact():
                if len(self.artifacts) < MAX_ARTIFACTS:
                    self.artifacts.append(frame)
            case ToldCheckpoint():
                self.checkpoint = msgspec.json.decode(frame.value)
                self._checkpoint_bytes = memoryview(frame.value).nbytes
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
        self.output.feed(stream, data)

    def on_change(self) -> None:
        """Look at the child again."""
        self._wake.set()

    def _keep_secret(self, value: str) -> None:
        """Take a secret out of everything that is shown from here on, for as long as the child lives."""
        if not self._link.keep_secret(value):
            log.warning("run.secret_refused", run_id=self._assign.assignment.run_id)
            return
        self.redactor = self.redactor.with_secrets([value])
        self.output.use(self.redactor)

    def _shown_in_time(self, text: str) -> str | None:
        """Return a text as people may see it; None where there are too many, which a child of ours drops."""
        if self._told_limit.is_spent:
            self._told_dropped += 1
            return None
        start_s = time.thread_time()
        shown = visible(self.redactor.text(text))
        self._told_limit.spend(len(shown), busy_s=time.thread_time() - start_s)
        return shown

    def _on_line(self, stream: str, line: str) -> None:
        self._log(stream, visible(line), "info")

    def _log(self, stream: str, line: str, level: str) -> None:
        self.output.tail.add(line)
        write = log.info if stream == "log" and level in WORTH_A_LOOK else log.debug
        write("run.line", run_id=self._assign.assignment.run_id, stream=stream, level_told=level, line=line)
        self._emit(LogEvent(stream, line, level))

    def _emit(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # who listens must not decide how a run ends
            log.exception("run.listener_failed", run_id=self._assign.assignment.run_id)


def boot_s(left_s: float) -> float | None:
    """Return a moment by the minder's clock; None for never."""
    return None if left_s == float("inf") else time.clock_gettime(time.CLOCK_BOOTTIME) + left_s
