"""A folder as a store: that of the machine itself, or one that every machine sees."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from worker.storage.file import SpooledFile, safe_part
from worker.storage.store import FileGone, StoreError, StoreRefused, limit_s, not_stored

__all__ = ["FolderStore", "check_size", "copied", "disk_reason", "measured", "sync_folder"]

CHUNK_BYTES: Final = 1024 * 1024
REFUSALS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
    | {errno.ELOOP, errno.EINVAL}
)


class FolderStore:
    """Files at ``<folder>/<run id>/<name>``: whole or not at all, synced."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; it is made with the first file."""
        self._folder = folder.absolute()

    def url_of(self, run_id: str, name: str) -> str:
        """Return the file's URL; see `Store`."""
        return self._target(run_id, name).as_uri()

    async def store(self, run_id: str, file: SpooledFile, path: Path) -> None:
        """Store one file; see `Store`. On the spool's file system it is only given a second name."""
        target = self._target(run_id, file.name)
        try:
            async with asyncio.timeout(limit_s(file.size_bytes)):
                await asyncio.to_thread(place, path, target, file)
        except TimeoutError as exc:
            reason = f"it took longer than {limit_s(file.size_bytes):.0f} s"
            raise StoreError(not_stored(file, str(target), reason)) from exc
        except OSError as exc:
            kind = StoreRefused if exc.errno in REFUSALS else StoreError
            raise kind(not_stored(file, str(target), disk_reason(exc))) from exc

    async def aclose(self) -> None:
        """Have nothing to close."""

    def _target(self, run_id: str, name: str) -> Path:
        return self._folder / safe_part(run_id) / name


def place(source: Path, target: Path, file: SpooledFile) -> None:
    """Put a file at its place, atomically and durably."""
    check_size(file, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.part")
    part.unlink(missing_ok=True)
    try:
        if not linked(source, part):
            copy_whole(source, part, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)
    sync_folder(target.parent.parent)


def check_size(file: SpooledFile, path: Path) -> None:
    """Raise FileGone where the spool does not hold a file whole any more."""
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        raise FileGone(f"file {file.name} is not whole in the spool any more: {path}")


def linked(source: Path, part: Path) -> bool:
    """Give the file a second name; tell whether that works (it must be the same file system)."""
    try:
        part.hardlink_to(source)
    except OSError:
        return False
    return True


def copy_whole(source: Path, part: Path, file: SpooledFile) -> None:
    """Copy a file and see that it is what was spooled."""
    with source.open("rb") as from_, part.open("xb") as to:
        _, sha256 = copied(from_, to)
    if sha256 != file.sha256:
        raise FileGone(f"file {file.name} was changed in the spool: {source}")


def copied(source: BinaryIO | FileIO, target: BinaryIO) -> tuple[int, str]:
    """Copy a file, written through to the disk; return size and SHA-256."""
    size_bytes, digest = 0, hashlib.sha256()
    while chunk := source.read(CHUNK_BYTES):
        size_bytes += len(chunk)
        digest.update(chunk)
        target.write(chunk)
    target.flush()
    os.fsync(target.fileno())
    return size_bytes, digest.hexdigest()


def measured(source: FileIO) -> tuple[int, str]:
    """Read a file to its end, and sync it; return size and SHA-256."""
    digest = hashlib.file_digest(source, "sha256")
    size_bytes = source.tell()
    os.fsync(source.fileno())
    return size_bytes, digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_reason(exc: OSError) -> str:
    """Say why a disk refused, with the space that is left where a file is named."""
    where = Path(str(exc.filename)).parent if exc.filename else None
    reason = exc.strerror or repr(exc)
    if where is None or not where.exists():
        return reason
    return f"{reason} ({where} has {shutil.disk_usage(where).free} bytes free)"
