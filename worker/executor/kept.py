"""Folders of failed runs, kept for a person to look at: bounded by age, size and number."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from worker.clock import Clock
from worker.executor.assignment import Assignment
from worker.executor.clearing import Clearing, entries
from worker.executor.folder_size import FolderSize, Measurement
from worker.executor.outcome import RunError
from worker.executor.removal import Removal, move_folder, open_folder
from worker.sdk.secret_folder import SECRET_FOLDER
from worker.storage.file import safe_part

__all__ = ["Keeping", "KeptNote", "KeptWorkdirs", "read_notes", "surplus"]

NOTE_SUFFIX: Final = ".json"
ERROR_CHARS: Final = 1000
SECRETS_S: Final = 10.0  # a few small files
STEP_S: Final = 0.1  # one stretch of measuring in the thread
log = structlog.get_logger(__name__)


class Keeping(Struct, frozen=True, kw_only=True):
    """How much is kept."""

    age_s: float
    size_bytes: int
    count: int = 1000


class KeptNote(Struct, frozen=True, kw_only=True):
    """What is known of a kept folder; lies beside it as ``<run id>.json``."""

    run_id: str
    task_id: str
    type: str
    error: str
    at: datetime
    size_bytes: int

    @property
    def name(self) -> str:
        """The folder's name."""
        return safe_part(self.run_id)


class KeptWorkdirs:
    """The kept folders at ``<folder>/<run id>``."""

    def __init__(self, folder: Path, keeping: Keeping, clearing: Clearing, clock: Clock) -> None:
        """Remember where; nothing is touched before the first call."""
        self._folder = folder.absolute()
        self._keeping = keeping
        self._clearing = clearing
        self._clock = clock

    async def keep(self, workdir: Path, assignment: Assignment, error: RunError) -> Path | None:
        """Move a run's folder here; return where it is, None where it cannot be kept (said in the log)."""
        size = await measured(workdir)
        note = KeptNote(
            run_id=assignment.run_id,
            task_id=assignment.task_id,
            type=assignment.type,
            error=error.text()[:ERROR_CHARS],
            at=self._clock.now(),
            size_bytes=size.size_bytes,
        )
        if note.size_bytes > self._keeping.size_bytes:
            hint = "raise MILLHAND_KEEP_WORKDIRS_SIZE"
            log.warning(
                "workdir.too_large_to_keep", run_id=note.run_id, size_bytes=note.size_bytes, hint=hint
            )
            return None
        try:
            place = await asyncio.to_thread(self._take, workdir, note)
        except OSError as exc:
            log.warning("workdir.not_kept", run_id=note.run_id, error=str(exc))
            return None
        await self.prune()
        return place

    async def prune(self) -> None:
        """Remove what is too old or too much, the oldest first, and what has no note."""
        notes, stray = await asyncio.to_thread(read_notes, self._folder)
        for path in stray:
            await self._clearing.clear(path)
        for note in surplus(notes, self._keeping, self._clock.now()):
            await self._clearing.clear(self._folder / note.name)
            with contextlib.suppress(OSError):  # a note without a folder goes with the next pruning
                (self._folder / (note.name + NOTE_SUFFIX)).unlink()

    def _take(self, workdir: Path, note: KeptNote) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_secrets(workdir)
        place, path = self._folder / note.name, self._folder / (note.name + NOTE_SUFFIX)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(note)))
        try:
            move_folder(workdir, place)
        except OSError:
            path.unlink()
            raise
        return place


def remove_secrets(workdir: Path) -> None:
    """Remove the run's files with secrets; a folder that still has them is not kept.

    Raises:
        OSError: they cannot be removed, or not in time.
    """
    os.close(open_folder(workdir))  # it may be locked, which would look like a folder without secrets
    folder = workdir / SECRET_FOLDER
    removal = Removal(folder)
    is_over = removal.step(SECRETS_S)
    removal.close()
    if not is_over or os.path.lexists(folder):
        raise OSError(
            f"its secrets in {folder} could not be removed: {removal.reason or 'it takes too long'}"
        )


async def measured(folder: Path) -> FolderSize:
    """Return what a folder takes on the disk."""
    measurement = Measurement(folder)
    while (size := await asyncio.to_thread(measurement.step, STEP_S)) is None:
        pass
    return size


def read_notes(folder: Path) -> tuple[list[KeptNote], list[Path]]:
    """Return the notes of the kept folders, and what lies there without its other half."""
    found = entries(folder)
    notes, known = [], set[Path]()
    for path in found:
        if (note := read_note(path)) is not None and os.path.lexists(folder / note.name):
            notes.append(note)
            known |= {path, folder / note.name}
    return notes, [path for path in found if path not in known]


def read_note(path: Path) -> KeptNote | None:
    """Return a note; None of what is none."""
    if path.suffix != NOTE_SUFFIX:
        return None
    try:
        note = msgspec.json.decode(path.read_bytes(), type=KeptNote)
    except (OSError, msgspec.MsgspecError):
        return None
    return note if note.name + NOTE_SUFFIX == path.name else None


def surplus(notes: Iterable[KeptNote], keeping: Keeping, now: datetime) -> list[KeptNote]:
    """Return which folders must go, the oldest first."""
    left_bytes, left = keeping.size_bytes, keeping.count
    gone: list[KeptNote] = []
    for note in sorted(notes, key=lambda note: note.at, reverse=True):
        left_bytes -= note.size_bytes
        left -= 1
        if gone or left_bytes < 0 or left < 0 or now - note.at > timedelta(seconds=keeping.age_s):
            gone.append(note)
    return gone[::-1]
