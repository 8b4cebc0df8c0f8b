"""Store the files of a run where people can get them: a folder, or an object store by its URL."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

from worker.executor.frames import ToldArtifact
from worker.executor.outcome import Artifact

__all__ = ["ArtifactStore", "FolderStore", "ObjectStore", "StorageError", "open_artifacts"]

STORE_TIMEOUT_S: Final = 3600.0  # of one file: large ones on slow links take long, a dead one must end
CHUNK_BYTES: Final = 1024 * 1024
CONTENT_TYPES: Final = {  # what the systems' tables mostly lack
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".obj": "model/obj",
    ".ply": "model/ply",
    ".stl": "model/stl",
}


class StorageError(Exception):
    """A file could not be stored; the message says which and why."""


class ArtifactStore(Protocol):
    """Where the files of runs go."""

    async def store(self, run_id: str, told: ToldArtifact, workdir: Path) -> Artifact:
        """Store one file durably under the run and its name.

        Args:
            run_id: the run.
            told: what the handler said of the file.
            workdir: the run's folder; a file inside may be moved instead of copied.

        Raises:
            StorageError: it could not be stored.
        """
        ...


class FolderStore:
    """Files at ``<folder>/<run id>/<name>``: whole or not at all, synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def store(self, run_id: str, told: ToldArtifact, workdir: Path) -> Artifact:
        """Store one file; see `ArtifactStore`."""
        target = self._folder.absolute() / safe_part(run_id) / told.name
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                size_bytes, sha256 = await asyncio.to_thread(place_file, Path(told.path), target, workdir)
        except (OSError, TimeoutError) as exc:
            raise StorageError(
                f"artifact {told.name} could not be stored at {target}: {reason(exc)}"
            ) from exc
        return described(told, target.as_uri(), size_bytes, sha256)


class ObjectStore:
    """Objects at ``<url>/<run id>/<name>``, by obstore (extra ``storage``)."""

    def __init__(self, url: str) -> None:
        """Take a URL such as ``s3://bucket/prefix``; credentials are the machine's own."""
        self._url = url.rstrip("/")

    async def store(self, run_id: str, told: ToldArtifact, workdir: Path) -> Artifact:
        """Store one file; see `ArtifactStore`."""
        key = f"{safe_part(run_id)}/{told.name}"
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                size_bytes, sha256 = await asyncio.to_thread(measure_file, Path(told.path))
                await self._put(key, Path(told.path))
        except Exception as exc:
            raise StorageError(
                f"artifact {told.name} could not be stored at {self._url}/{key}: {reason(exc)}"
            ) from exc
        return described(told, f"{self._url}/{quote(key)}", size_bytes, sha256)

    async def _put(self, key: str, path: Path) -> None:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.store import from_url  # noqa: PLC0415 - an extra

        store: Any = from_url(self._url)
        await obstore.put_async(store, key, path)


def open_artifacts(place: str | Path) -> ArtifactStore:
    """Return the store for a folder, a ``file://`` URL, or the URL of an object store."""
    text = str(place)
    if text.startswith("file://"):
        return FolderStore(Path(unquote(urlsplit(text).path)))
    return ObjectStore(text) if "://" in text else FolderStore(Path(text))


def place_file(source: Path, target: Path, workdir: Path) -> tuple[int, str]:
    """Put a file at its place, atomically and durably; return size and SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        if is_ours_alone(source, workdir) and linked(source, part):
            measured = sync_and_measure(part)
        else:
            measured = copy(source, part)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)
    sync_folder(target.parent.parent)
    return measured


def is_ours_alone(source: Path, workdir: Path) -> bool:
    """Tell whether nobody changes the file later: it lies in the run's folder and has no other name."""
    return (
        not source.is_symlink()
        and source.resolve().is_relative_to(workdir.resolve())
        and (source.stat().st_nlink == 1)
    )


def linked(source: Path, part: Path) -> bool:
    """Give the file a second name; tell whether that works (it must be the same file system)."""
    try:
        part.hardlink_to(source)
    except OSError:
        return False
    return True


def sync_and_measure(path: Path) -> tuple[int, str]:
    """Write a file through to the disk; return size and SHA-256."""
    with path.open("rb") as file:
        measured = measure(file, None)
        os.fsync(file.fileno())
    return measured


def copy(source: Path, part: Path) -> tuple[int, str]:
    """Copy a file, written through to the disk; return size and SHA-256."""
    with source.open("rb") as file, part.open("xb") as out:
        measured = measure(file, out)
        out.flush()
        os.fsync(out.fileno())
    return measured


def measure(file: BinaryIO, out: BinaryIO | None) -> tuple[int, str]:
    """Read a file to its end, and write it on; return size and SHA-256."""
    size_bytes, digest = 0, hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        size_bytes += len(chunk)
        digest.update(chunk)
        if out is not None:
            out.write(chunk)
    return size_bytes, digest.hexdigest()


def measure_file(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        return measure(file, None)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def described(told: ToldArtifact, url: str, size_bytes: int, sha256: str) -> Artifact:
    """Return what stands in the run's results."""
    return Artifact(
        name=told.name,
        url=url,
        size_bytes=size_bytes,
        sha256=sha256,
        content_type=told.content_type or content_type_of(told.name),
    )


def content_type_of(name: str) -> str:
    """Guess a media type from a name."""
    known = CONTENT_TYPES.get(Path(name).suffix.lower())
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def safe_part(run_id: str) -> str:
    """Return the run's id as a folder's name; ids that are no names (of other servers) as a hash."""
    if len(run_id) <= 100 and run_id.replace("-", "").replace("_", "").isalnum() and run_id.isascii():
        return run_id
    return "run-" + hashlib.sha256(run_id.encode("utf-8", "replace")).hexdigest()[:32]


def reason(exc: BaseException) -> str:
    """Say why, with the free space where that may be it."""
    if isinstance(exc, TimeoutError):
        return f"it took longer than {STORE_TIMEOUT_S:g} s"
    if isinstance(exc, ModuleNotFoundError):
        return "it needs the extra `storage`: pip install 'millhand[storage]'"
    if isinstance(exc, OSError) and exc.filename and Path(str(exc.filename)).parent.exists():
        free_bytes = shutil.disk_usage(Path(str(exc.filename)).parent).free
        return f"{exc.strerror} ({free_bytes} bytes free)"
    return f"{type(exc).__name__}: {exc}"


async def store_all(
    store: ArtifactStore, run_id: str, told: Sequence[ToldArtifact], workdir: Path
) -> tuple[Artifact, ...]:
    """Store the files of a run one after another; the first that fails ends it (StorageError)."""
    return tuple([await store.store(run_id, one, workdir) for one in told])
