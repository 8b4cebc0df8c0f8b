"""For handler authors' unit tests: a context that keeps what the handler told, and a call as a run makes it.

::

    def test_render_tells_its_progress(tmp_path):
        ctx = make_context(tmp_path, parameters={"size": 64})
        assert render(ctx, size=64) == {"pixels": 4096}
        assert ctx.told.progress[-1] == (1.0, "done")

Real child processes and conformance: `worker.testing`. Fixtures of pytest: docs/testing-handlers.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.sdk.context import Context
from worker.sdk.fake_clock import FakeClock
from worker.sdk.stop_signal import StopSignal

__all__ = ["FakeClock", "Told", "ToldContext", "make_context"]


@dataclass
class Told:
    """Everything that a handler told its context, in order.

    Attributes:
        progress: ratio and message of each, also of those that come too fast for the wire.
        logs: level, message and fields of each line.
        artifacts: the path of each file that was handed over, by its name in the run's results.
        content_types: the media type that was given with each, by the same names; None where none was.
        checkpoints: each token that was saved.
        secrets: each text that must not be shown, parameters annotated `Secret` first.
        usage: what was told of consumption outside of the run's processes, each as it was told.
    """

    progress: list[tuple[float, str | None]] = field(default_factory=list)
    logs: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    content_types: dict[str, str | None] = field(default_factory=dict)
    checkpoints: list[Any] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)


class KeepingSink:
    """Keep every telling; see `Told`."""

    def __init__(self) -> None:
        self.told = Told()

    def progress(self, ratio: float, message: str | None) -> None:
        """Keep the progress."""
        self.told.progress.append((ratio, message))

    def log(self, message: str, level: str, fields: dict[str, Any]) -> None:
        """Keep the line."""
        self.told.logs.append((level, message, fields))

    def artifact(self, path: str, name: str, content_type: str | None) -> None:
        """Keep the file's path."""
        self.told.artifacts[name] = Path(path)
        self.told.content_types[name] = content_type

    def secret(self, value: str) -> None:
        """Keep the secret."""
        self.told.secrets.append(value)

    def checkpoint(self, value: Any) -> None:
        """Keep the token."""
        self.told.checkpoints.append(value)

    def usage(self, told: dict[str, Any]) -> None:
        """Keep what was consumed elsewhere."""
        self.told.usage.append(told)


class ToldContext(Context):
    """A context that keeps what it is told, and can be asked to stop. Made by `make_context`.

    It is a `Context` in everything else.

    Attributes:
        told: everything so far.
    """

    def __init__(
        self, sink: KeepingSink, stop: StopSignal, stop_at: float | None = None, **values: Any
    ) -> None:
        super().__init__(sink=sink, stop=stop, **values)
        self.told = sink.told
        self._signal = stop
        self._stop_at = stop_at

    def progress(self, ratio: float, message: str | None = None) -> None:
        """Keep every value, also those that come too fast for the wire."""
        super().progress(ratio, message)
        self.flush()
        if self._stop_at is not None and ratio >= self._stop_at:
            self.ask_to_stop()

    def ask_to_stop(
        self, kind: str = "cancelled", message: str = "asked by the test", within_s: float | None = None
    ) -> None:
        """Set `cancelled`, as a stop of the run would; `within_s` is what `deadline` then begins at."""
        self._signal.set(kind, message, None if within_s is None else self._mono() + within_s)


def make_context(
    workdir: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    type: str = "test",  # noqa: A002 - the word of the wire
    attempt: int = 1,
    resume: Any = None,
    gpus: tuple[str, ...] = (),
    task: Mapping[str, Any] | None = None,
    state: Any = None,
    stop_at: float | None = None,
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
    clock: FakeClock | None = None,
    secrets: Mapping[str, str] | None = None,
) -> ToldContext:
    """Return a context to call a handler with; `told` holds what it tells.

    Args:
        workdir: an existing folder, as pytest's ``tmp_path``. It is not made the current directory.
        parameters: what `Context.parameters` shall hold; it is not checked against a signature.
        type: the task type.
        attempt: which attempt it is, from 1.
        resume: what an earlier attempt saved.
        gpus: UUIDs of GPUs.
        task: the task's further fields.
        state: what the handler's `setup` would return.
        stop_at: ask to stop once the handler tells so much progress, from 0 to 1.
        timeout_s: the run's time limit, which `deadline` counts down to.
        memory_bytes: the run's limit of memory.
        clock: what `deadline` goes by; the machine's by default.
        secrets: what `Context.secrets` shall hold, by name.
    """
    mono: Callable[[], float] = time.monotonic if clock is None else clock.mono
    return ToldContext(
        KeepingSink(),
        StopSignal(),
        stop_at,
        run_id="run-of-test",
        task_id="task-of-test",
        type=type,
        workdir=workdir,
        attempt=attempt,
        parameters=parameters,
        task=task,
        resume=resume,
        gpus=gpus,
        state=state,
        limit_mono=None if timeout_s is None else mono() + timeout_s,
        memory_bytes=memory_bytes,
        mono=mono,
        secrets=secrets,
    )
