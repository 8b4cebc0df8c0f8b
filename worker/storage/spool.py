"""Where files of ended runs wait until they are stored: a folder below the agent's state.

A file's bytes and name are durable when `take` returns. It is kept until somebody removes the run's
folder, which is after the journal says that the files are stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from worker.sdk.artifact_names import artifact_name
from worker.storage.file import MadeFile, SpooledFile, content_type_of, safe_part
from worker.storage.folder import disk_reason, sync_folder
from worker.storage.taking import NotTaken, Rights, duplicates, take

__all__ = ["RESERVED_NAMES", "FilesRefused", "Spool", "SpoolError"]

RESERVED_NAMES: Final = frozenset({"stdout", "stderr"})  # of the files that the agent keeps of a run
log = structlog.get_logger(__name__)


class SpoolError(Exception):
    """The files of a run could not be taken into the spool; nothing of them is left there."""


class FilesRefused(SpoolError):  # noqa: N818 - what the spool did
    """The fault is the handler's: another attempt would hand over the same."""


class Spool:
    """Files by run at ``<folder>/<run id>/<number>``; bounded softly, see `is_full`."""

    def __init__(self, folder: Path, limit_bytes: int, rights: Rights | None = None) -> None:
        """Remember the folder; nothing is touched before the first call.

        Args:
            folder: where; best on the file system of the runs' folders, where files need no copy.
            limit_bytes: with so much in it, nothing new may be claimed.
            rights: which files of the machine a handler may not hand over.
        """
        self._folder = folder.absolute()
        self._limit_bytes = limit_bytes
        self._rights = rights or Rights()
        self._held_bytes: dict[str, int] = {}  # by the folder of the run

    @property
    def used_bytes(self) -> int:
        """How much is in it."""
        return sum(self._held_bytes.values())

    @property
    def is_full(self) -> bool:
        """Tell whether nothing may be claimed until some is stored; what runs is taken all the same."""
        return self.used_bytes >= self._limit_bytes

    def fullness(self) -> str:
        """Say how full it is, and what to do."""
        return (
            f"{self._folder} holds {self.used_bytes} bytes of files that are not stored yet, in"
            f" {len(self._held_bytes)} runs; {self._limit_bytes} are allowed: see why the store takes none,"
            " or raise MILLHAND_SPOOL"
        )

    def path_of(self, file: SpooledFile) -> Path:
        """Return where a file lies."""
        return self._folder / file.path

    async def take(self, run_id: str, made: Sequence[MadeFile], workdir: Path) -> tuple[SpooledFile, ...]:
        """Take the files of a run: moved where they lie in its folder, else copied. All or none.

        Raises:
            SpoolError: a file is not there, not to be taken, or the disk refuses.
        """
        if not made:
            return ()
        check_names(made)
        folder = self._folder / safe_part(run_id)
        try:
            files = await asyncio.to_thread(self._take_all, folder, made, workdir)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        self._held_bytes[folder.name] = sum(file.size_bytes for file in files)
        return files

    async def remove(self, run_id: str) -> None:
        """Remove the files of a run; none is fine."""
        folder = self._folder / safe_part(run_id)
        if self._held_bytes.pop(folder.name, None) is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def recover(self, known: Mapping[str, Collection[SpooledFile]], *, keeps_unknown: bool) -> None:
        """Count what an earlier life left, and remove what no entry of the journal names.

        Args:
            known: the files that are waited for, by run.
            keeps_unknown: leave the rest: the journal is damaged, and may have forgotten them.
        """
        folders = {safe_part(run_id) for run_id in known}
        self._held_bytes = await asyncio.to_thread(self._swept, folders, keeps_unknown)

    def _take_all(self, folder: Path, made: Sequence[MadeFile], workdir: Path) -> tuple[SpooledFile, ...]:
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
            named = Counter(os.path.realpath(one.path) for one in made)
            files = tuple(
                self._take_one(folder / str(at), one, workdir, named[os.path.realpath(one.path)] == 1)
                for at, one in enumerate(made)
            )
            sync_folder(folder)
            sync_folder(self._folder)
        except OSError as exc:
            raise SpoolError(f"the run's files could not be kept in {folder}: {disk_reason(exc)}") from exc
        return files

    def _take_one(self, target: Path, made: MadeFile, workdir: Path, may_move: bool) -> SpooledFile:
        try:
            size_bytes, sha256 = take(made, target, workdir, self._rights, may_move=may_move)
        except NotTaken as exc:
            raise FilesRefused(str(exc)) from exc
        except OSError as exc:
            with_place = OSError(exc.errno, exc.strerror, str(target))
            raise SpoolError(
                f"file {made.name} could not be kept until it is stored: {disk_reason(with_place)}"
            ) from exc
        return SpooledFile(
            name=made.name,
            path=f"{target.parent.name}/{target.name}",
            size_bytes=size_bytes,
            sha256=sha256,
            content_type=content_type_of(made.name, made.content_type),
        )

    def _swept(self, known: set[str], keeps_unknown: bool) -> dict[str, int]:
        held_bytes = {}
        for folder in list(self._folder.iterdir()) if self._folder.is_dir() else ():
            if folder.name not in known and not keeps_unknown:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if folder.name not in known:
                log.warning("spool.unknown", folder=str(folder), hint="the journal was damaged; look at it")
            held_bytes[folder.name] = size_of(folder)
        return held_bytes


def check_names(made: Sequence[MadeFile]) -> None:
    """See that names lead nowhere else; the child that said them is not trusted.

    Raises:
        FilesRefused: a name is none, reserved, or there twice.
    """
    for one in made:
        try:
            artifact_name(one.name)
        except ValueError as exc:
            raise FilesRefused(str(exc)) from exc
        if not one.is_ours and one.name.partition("/")[0] in RESERVED_NAMES:
            raise FilesRefused(f"file name {one.name!r} is reserved for the run's output")
    if twice := duplicates([one.name for one in made]):
        raise FilesRefused(f"file name {twice[0]!r} is there twice, or as a file and as a folder")


def size_of(folder: Path) -> int:
    """Return what the files of a folder have."""
    total_bytes = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            total_bytes += path.lstat().st_size
    return total_bytes
