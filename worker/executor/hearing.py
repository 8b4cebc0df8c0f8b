"""What a run tells on its way, bounded: progress, lines, files, a checkpoint, secrets."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import structlog

from worker.clock import Clock
from worker.executor.executor import CheckpointEvent, Event, EventSink, LogEvent, ProgressEvent, StartedEvent
from worker.executor.frames import Told, ToldArtifact, ToldCheckpoint, ToldLog, ToldProgress, ToldSecret
from worker.executor.lines import RateLimit
from worker.executor.link import ChildLink
from worker.executor.output import OutputRules, RunOutput
from worker.executor.visible import visible
from worker.redaction import Redactor

__all__ = ["Hearing"]

MAX_ARTIFACTS: Final = 1000
CHECKPOINT_S: Final = 1.0  # between two that are told on the way …
CHECKPOINT_BYTES_A_S: Final = 32 * 1024  # … longer for large ones: secrets are taken out of each
WORTH_A_LOOK: Final = frozenset({"warning", "error"})  # of what handlers log; the agent's log is for agents

log = structlog.get_logger(__name__)


class Hearing:
    """Takes what one run tells and prints, and passes it on as events."""

    # Of a run that tells nothing, as most short ones:
    checkpoint: object = None
    checkpoint_bytes = 0
    _is_checkpoint_told = True  # there is none that is newer
    _checkpoint_mono = float("-inf")  # from when on the next one is told
    _ratio = 0.0
    _limit: RateLimit | None = None
    _dropped = 0

    def __init__(
        self,
        link: ChildLink,
        run_id: str,
        on_event: EventSink,
        *,
        clock: Clock,
        redactor: Redactor,
        output: str,
        rules: OutputRules,
    ) -> None:
        """Begin with nothing told; `output` is where files of what is printed may be made."""
        self.redactor = redactor.with_secrets(link.secrets) if link.secrets else redactor
        self.artifacts: list[ToldArtifact] = []
        self._clock = clock
        self._link = link
        self._run_id = run_id
        self._on_event = on_event
        self._tells_steps = rules.tells_steps
        self.output = RunOutput(output, self.redactor, mono=clock.mono, on_line=self._on_line, rules=rules)

    def take(self, frame: Told) -> None:
        """Take one telling."""
        match frame:
            case ToldProgress():
                self._ratio = max(self._ratio, min(frame.ratio, 1.0))
                message = None if frame.message is None else self._shown_in_time(frame.message)
                self.emit(ProgressEvent(self._ratio, message))
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
                self.checkpoint_bytes = memoryview(frame.value).nbytes
                self._is_checkpoint_told = False
                self.tell_checkpoint()

    def tell_start(self) -> None:
        """Tell an author who looks on that the run begins."""
        if self._tells_steps:
            self.emit(StartedEvent(self._link.pid))

    def tell_checkpoint(self, *, is_urgent: bool = False) -> None:
        """Pass on the newest checkpoint, if it was not and, unless it is urgent, the last one was long ago.

        The last one is in the outcome; these are for the case that there never is one. Called again
        and again, so that the newest does not wait for another.
        """
        now = self._clock.mono()
        if self._is_checkpoint_told or (now < self._checkpoint_mono and not is_urgent):
            return
        self._is_checkpoint_told = True
        self._checkpoint_mono = now + max(CHECKPOINT_S, self.checkpoint_bytes / CHECKPOINT_BYTES_A_S)
        self.emit(CheckpointEvent(self.redactor.value(self.checkpoint), self.checkpoint_bytes))

    def finish(self) -> None:
        """Take the end of what was printed."""
        self.output.finish()
        if self._dropped:
            self._log("log", f"… {self._dropped} lines were too many and dropped", "warning")

    def emit(self, event: Event) -> None:
        """Pass an event on; who listens must not decide how a run ends."""
        try:
            self._on_event(event)
        except Exception:
            log.exception("run.listener_failed", run_id=self._run_id)

    def _keep_secret(self, value: str) -> None:
        """Take a secret out of everything that is shown from here on, for as long as the child lives."""
        if not self._link.keep_secret(value):
            log.warning("run.secret_refused", run_id=self._run_id)
            return
        self.redactor = self.redactor.with_secrets([value])
        self.output.use(self.redactor)

    def _shown_in_time(self, text: str) -> str | None:
        """Return a text as people may see it; None where there are too many, which a child of ours drops."""
        # Twice as much as it may tell: the child's own seconds begin at other moments.
        limit = self._limit = self._limit or RateLimit(self._clock.mono, times=2)
        if limit.is_spent:
            self._dropped += 1
            return None
        start_s = time.thread_time()
        shown = visible(self.redactor.text(text))
        limit.spend(len(shown), busy_s=time.thread_time() - start_s)
        return shown

    def _on_line(self, stream: str, line: str) -> None:
        self._log(stream, visible(line), "info")

    def _log(self, stream: str, line: str, level: str) -> None:
        self.output.tail.add(line)
        write = log.info if stream == "log" and level in WORTH_A_LOOK else log.debug
        write("run.line", run_id=self._run_id, stream=stream, level_told=level, line=line)
        self.emit(LogEvent(stream, line, level))
