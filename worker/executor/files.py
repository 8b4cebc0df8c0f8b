"""The files of a run that has ended: taken out of its folder before that goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from worker.api.wire import ErrorKind, ResultCode
from worker.executor.ends import End
from worker.executor.frames import ToldArtifact
from worker.executor.outcome import RunError
from worker.executor.visible import visible
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.spool import FilesRefused, Spool, SpoolError

__all__ = ["handed_over", "take_files"]

log = structlog.get_logger(__name__)


def handed_over(told: Sequence[ToldArtifact]) -> tuple[MadeFile, ...]:
    """Return what a handler said of its files."""
    return tuple(MadeFile(path=Path(one.path), name=one.name, content_type=one.content_type) for one in told)


async def take_files(
    spool: Spool, end: End, made: Sequence[MadeFile], run_id: str, workdir: str
) -> tuple[tuple[SpooledFile, ...], End]:
    """Take a run's files into the spool; a success whose files cannot be kept is none.

    Where the handler's files cannot be taken, those of the agent (the output) still are; where those
    cannot, output is lost, not the run.
    """
    if not made:
        return (), end
    try:
        return await spool.take(run_id, made, Path(workdir)), end
    except SpoolError as exc:
        if end.error is None and not all(one.is_ours for one in made):
            is_refused = isinstance(exc, FilesRefused)
            kind = ErrorKind.HANDLER_ERROR if is_refused else ErrorKind.INTERNAL
            error = RunError(kind=kind, message=visible(str(exc)), retryable=not is_refused)
            end = End(ResultCode.FAILED, end.value, error)
        else:
            log.warning("files.not_kept", run_id=run_id, error=str(exc))
    ours = [one for one in made if one.is_ours]
    return await take_files(spool, end, ours, run_id, workdir) if len(ours) < len(made) else ((), end)
