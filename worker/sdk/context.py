"""What a handler is given beside its parameters: who it is, where it may write, how to tell and to ask."""

# pathlib costs 8 ms to import:
# ruff: noqa: PTH100, PTH110, PTH113, PTH119

from __future__ import annotations

import os
import time
from _thread import allocate_lock  # `threading` would cost 2 ms

from worker.sdk.artifact_names import ArtifactNames
from worker.sdk.errors import Cancelled
from worker.sdk.given_secrets import GivenSecrets
from worker.sdk.secret_folder import secret_folder
from worker.sdk.stop_signal import StopSignal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from worker.sdk.cache_grant import CacheGrant
    from worker.sdk.sink import Sink


__all__ = ["Context"]

PROGRESS_INTERVAL_S = 0.1  # values in between are kept, not sent; people do not read faster
LEVELS = ("debug", "info", "warning", "error")
MAX_SECRET_CHARS = 16 * 1024  # more is a file


class Context:
    """One run as its handler sees it.

    Attributes:
        run_id, task_id, job_id, type, title: who the run is.
        attempt: which attempt of the task this is, counted from 1.
        parameters: the task's parameters as they came, without ``requires`` and ``limits``.
        task: the task's further fields as the server gave them.
        resume: what an earlier attempt gave to `checkpoint`, or None.
        gpus: UUIDs of the GPUs that the run may use.
        memory_bytes: the most memory that the run may have, or None; held from outside.
        state: what the handler's `setup` returned in this process, or None.
        secrets: those that the handler asks for by name (`@handler(secrets=…)`), as they are now.
    """

    def __init__(
        self,
        *,
        run_id: str,
        task_id: str,
        type: str,  # noqa: A002 - the word of the wire
        workdir: Path | str,
        sink: Sink,
        job_id: str | None = None,
        title: str | None = None,
        attempt: int = 1,
        parameters: Mapping[str, Any] | None = None,
        task: Mapping[str, Any] | None = None,
        resume: Any = None,
        gpus: tuple[str, ...] = (),
        state: Any = None,
        stop: StopSignal | None = None,
        limit_mono: float | None = None,
        memory_bytes: int | None = None,
        mono: Callable[[], float] = time.monotonic,
        input_cache: CacheGrant | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Built by the child process, and by `worker.sdk.testing.make_context`."""
        self.run_id = run_id
        self.task_id = task_id
        self.job_id = job_id
        self.type = type
        self.title = title
        self.attempt = attempt
        self.parameters = dict(parameters or {})
        self.task = dict(task or {})
        self._workdir = workdir
        self.resume = resume
        self.gpus = gpus
        self.memory_bytes = memory_bytes
        self.state = state
        self._sink = sink
        self._stop = stop or StopSignal()
        self._limit_mono = limit_mono
        self._mono = mono
        self._input_cache = input_cache
        self.secrets = GivenSecrets(secrets or {})
        self._ratio = 0.0
        self._sent_mono = float("-inf")
        self._unsent: list[tuple[float, str | None]] = []  # one at most
        self._flushing = allocate_lock()
        self._names = ArtifactNames()

    @property
    def workdir(self) -> Path:
        """An empty folder of this run, and its current directory; removed afterwards."""
        workdir = self._workdir
        if isinstance(workdir, str):  # runs that do not ask are spared the making of a path
            from pathlib import Path  # noqa: PLC0415 - see above

            workdir = self._workdir = Path(workdir)
        return workdir

    def progress(self, ratio: float, message: str | None = None) -> None:
        """Tell how far the run is, from 0 to 1; cheap enough for an inner loop.

        Values outside are clamped, and progress never goes back. At most ten values a second are
        sent; the last one always is.
        """
        ratio = float(ratio)
        if ratio - ratio == 0:  # infinity and "not a number" say nothing
            self._ratio = max(self._ratio, min(ratio, 1.0))
        self._unsent[:] = [(self._ratio, message)]
        if self._mono() - self._sent_mono >= PROGRESS_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Send the last progress if it was held back; done by itself within a moment."""
        with self._flushing:
            if self._unsent:
                self._sent_mono = self._mono()
                self._sink.progress(*self._unsent.pop())

    def log(self, message: object, level: str = "info", **fields: Any) -> None:
        """Write one line to the run's log.

        Args:
            message: the line, made text by `str`.
            level: debug, info, warning or error; another one counts as info.
            **fields: values that belong to it, JSON-able.
        """
        self._sink.log(str(message), level if level in LEVELS else "info", fields)

    def artifact(
        self, path: str | os.PathLike[str], name: str | None = None, content_type: str | None = None
    ) -> str:
        """Hand over a file that the run made; it is stored after the handler's end.

        Args:
            path: an existing file, inside or outside of `workdir`; relative to the current directory.
            name: its name in the run's results, unique there, with ``/`` for folders; by default
                the file's own name.
            content_type: its media type; by default guessed from the name.

        Returns:
            The name.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no regular file, or the name is taken, reserved (``stdout``, ``stderr``) or
                not usable.
        """
        where = os.path.abspath(path)
        if not os.path.exists(where):
            raise FileNotFoundError(f"artifact {where} does not exist")
        if not os.path.isfile(where):
            raise ValueError(f"artifact {where} is no regular file; pack a folder into an archive first")
        name = self._names.take(os.path.basename(where) if name is None else name)
        self._sink.artifact(where, name, content_type)
        return name

    def secret(self, value: str) -> str:
        """Have a text taken out of everything that people will see of this run, from here on.

        Call it before anything prints the text. Parameters annotated `Secret` are known already.

        Returns:
            The text.

        Raises:
            TypeError: it is no text.
            ValueError: it is longer than 16 Ki characters.
        """
        if not isinstance(value, str):
            raise TypeError(f"a secret is a str, not a {type(value).__name__}")
        if len(value) > MAX_SECRET_CHARS:
            raise ValueError(f"a secret has at most {MAX_SECRET_CHARS} characters, not {len(value)}")
        self._sink.secret(value)
        return value

    def secret_folder(self) -> Path:
        """Return a folder for files with secrets in them, as programs want them, on the run's disk.

        It goes with the run, also where the folders of failed runs are kept for people to look at, and
        where the handler was killed. Only the worker's user may read it.
        """
        return secret_folder(self.workdir)

    def input(
        self,
        source: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        max_bytes: int = 16 * 1024**3,
        progress: tuple[float, float] | None = None,
    ) -> Path:
        """Return an input as a local file that can be read.

        A download goes on where it broke off, and is tried again while its problem passes. Where the
        agent keeps inputs (``--input-cache``), one that has not changed is not downloaded again. The
        file in `workdir` is the run's own.

        Args:
            source: a path or ``file://`` URL (used where it lies), an ``http(s)://`` URL (streamed
                into `workdir`), or ``s3://``, ``gs://``, ``az://`` (with the extra ``storage``).
            sha256: of the content, in hex; another content fails the run.
            max_bytes: refuse a download that is larger.
            progress: the part of the run's progress that the download is, as ``(0.0, 0.2)``; without
                it the download is told as a message, and the progress stays where it is.

        Raises:
            Fail: the input is missing, not readable, too large or another one; the message says which
                and why.
            Retry: the place it comes from has a problem that did not pass.
        """
        from worker.sdk.inputs import get_input  # noqa: PLC0415 - costs 40 ms, few handlers need it

        bounds = (max_bytes, sha256, self.check)
        told = (self.progress, lambda: self._ratio, progress)
        return get_input(os.fspath(source), self.workdir, bounds, told, self._input_cache)

    @property
    def cancelled(self) -> bool:
        """Tell whether the run is asked to stop: save what is needed and return or raise soon."""
        return self._stop.kind is not None

    @property
    def stop_reason(self) -> str | None:
        """Why the run is asked to stop: cancelled, drained, preempted, timeout, …; None if it is not."""
        return self._stop.kind

    @property
    def deadline(self) -> float | None:
        """Seconds that the run has: until it is killed if it is asked to stop, else until its time limit.

        None without a limit. At its time limit a run is asked to stop, and so gets a last few seconds.
        """
        told = self._stop.deadline_mono
        at = self._limit_mono if told is None else told
        return None if at is None else max(0.0, at - self._mono())

    def check(self) -> None:
        """Raise `Cancelled` if the run is asked to stop; call it in long loops.

        Raises:
            Cancelled: it is; the message says why.
        """
        if self._stop.kind is not None:
            raise Cancelled(f"{self._stop.kind}: {self._stop.message}")

    def checkpoint(self, value: Any) -> None:
        """Save a token from which a later attempt of the task goes on (`resume`); the last one counts.

        Secrets are taken out of it. The run's folder is not kept: what the next attempt needs is in the
        token, or where the token says. See docs/long-jobs.md for when it reaches the server.

        Args:
            value: anything that JSON can say, at most 256 KiB.
        """
        self._sink.checkpoint(value)

    def usage(
        self,
        *,
        method: str,
        cpu_user_s: float | None = None,
        cpu_system_s: float | None = None,
        ram_bytes: int | None = None,
        ram_peak_bytes: int | None = None,
        pid: int | None = None,
        reason: str | None = None,
        is_last: bool = False,
    ) -> None:
        """Tell for the bill what the run has consumed so far outside of its own processes, as in a container.

        Each telling replaces the one before. What is None is unknown, and so is then the run's whole figure.

        Args:
            method: how it was measured, in a word; it stands on the bill.
            cpu_user_s: CPU seconds in user mode, since the run began.
            cpu_system_s: those in the kernel.
            ram_bytes: anonymous and shared memory that is held now.
            ram_peak_bytes: the most that was held.
            pid: the first process there: what is below it is not counted with the run's own processes.
            reason: why figures are None.
            is_last: nothing is consumed there any more, and all of it was told.
        """
        figures = {"cpu_user_s": cpu_user_s, "cpu_system_s": cpu_system_s}
        figures |= {"ram_bytes": ram_bytes, "ram_peak_bytes": ram_peak_bytes}
        self._sink.usage({"method": method, "pid": pid, "reason": reason, "is_last": is_last, **figures})
