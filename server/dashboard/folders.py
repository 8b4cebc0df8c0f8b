"""Folders whose files may be read: opened without following any link, and only what a run told of."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from server.dashboard.files import Stored

__all__ = ["Busy", "Folders", "NotReadable"]

CHUNK_BYTES: Final = 1024 * 1024
THREADS: Final = 8  # of their own: a file system that hangs holds up nothing else
READ_S: Final = 20.0  # for one chunk, or for opening; a file system that takes longer is away
LARGE_BYTES: Final = 64 * 1024 * 1024  # files from here on are read one at a time to be checked
MOST_KNOWN: Final = 10_000  # files that were found to be what they should; all are forgotten at this many
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # waits for no pipe

GONE: Final = "It is not there: it was removed, or is not stored yet."
REASONS: Final = {
    errno.ENOENT: GONE,
    errno.EACCES: "The server may not read it.",
    errno.EPERM: "The server may not read it.",
    errno.ENOTDIR: "A link or a file stands where its folder was.",
    errno.ELOOP: "It is a link, and links are not followed.",
    errno.ENXIO: "It is no regular file.",
}

AnswerT = TypeVar("AnswerT")


class Digest(Protocol):
    """A hash that takes bytes."""

    def update(self, data: bytes, /) -> None:
        """Take bytes."""


class NotReadable(Exception):  # noqa: N818 - says what it is
    """The file cannot be had; the message says why, without naming a path."""


class Busy(Exception):  # noqa: N818 - says what it is
    """It cannot be had now; the message says why."""


class Folders:
    """The folders, and threads that wait for their file systems."""

    def __init__(self, roots: Sequence[Path] = ()) -> None:
        """Take the folders; one need not be there yet."""
        self._roots = tuple(root.absolute() for root in roots)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._turn = asyncio.Lock()
        self._known: set[tuple[str, int, int, int, int, int]] = set()

    async def __aenter__(self) -> Self:
        """Have nothing to begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read no more; a thread that waits is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._roots)

    @contextlib.asynccontextmanager
    async def opened(self, stored: Stored) -> AsyncIterator[int]:
        """Give the descriptor of a file that is, to the byte, what its run told of.

        A report could name the folder of a run of another organisation. What it cannot tell is the SHA-256 of
        what lies there: so the whole file is read before the first byte of it is given away.

        Raises:
            NotReadable: it is not there, no regular file, behind a link, or another one.
            Busy: the file system does not answer.
        """
        descriptor = await self._open(stored.parts)
        try:
            await self._check(descriptor, stored)
            yield descriptor
        finally:
            os.close(descriptor)  # a thread that still reads has no use for what it reads

    async def chunks(self, descriptor: int, size_bytes: int) -> AsyncIterator[bytes]:
        """Give so many bytes of an open file in parts.

        Raises:
            NotReadable: there are fewer.
            Busy: the file system does not answer.
        """
        at = 0
        while at < size_bytes:
            chunk = await self._within(self._beside(chunk_of, descriptor, at, size_bytes))
            at += len(chunk)
            yield chunk

    async def _open(self, parts: Sequence[str]) -> int:
        opening = self._beside(open_below, self._roots, parts)
        try:
            return await self._within(asyncio.shield(opening))
        except (Busy, asyncio.CancelledError):
            opening.add_done_callback(close_late)
            raise

    async def _check(self, descriptor: int, stored: Stored) -> None:
        found = os.fstat(descriptor)
        if found.st_size != stored.size_bytes:
            raise NotReadable(f"It has {found.st_size:,} bytes, and its run told of {stored.size_bytes:,}.")
        times = (found.st_mtime_ns, found.st_ctime_ns)
        key = (stored.sha256, found.st_dev, found.st_ino, found.st_size, *times)
        if key in self._known:
            return
        async with self._turn if stored.size_bytes >= LARGE_BYTES else contextlib.nullcontext():
            if key not in self._known:
                await self._hash(descriptor, stored)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(key)

    async def _hash(self, descriptor: int, stored: Stored) -> None:
        digest = hashlib.sha256()
        at = 0
        while at < stored.size_bytes:
            at += await self._within(self._beside(hash_chunk, digest, descriptor, at, stored.size_bytes))
        if digest.hexdigest() != stored.sha256:
            raise NotReadable("It is another file than its run told of: the SHA-256 differs.")

    def _beside(self, work: Callable[..., AnswerT], *arguments: Any) -> asyncio.Future[AnswerT]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _within(self, work: asyncio.Future[AnswerT]) -> AnswerT:
        """Wait for work in a thread, for as long as it may take."""
        try:
            async with asyncio.timeout(READ_S):
                return await work
        except TimeoutError:
            raise Busy(f"The folder of the files did not answer within {READ_S:.0f} s.") from None
        except (OSError, ValueError) as exc:  # a name that the file system cannot have is a ValueError
            raise NotReadable(reason_of(exc)) from exc


def open_below(roots: Sequence[Path], parts: Sequence[str]) -> int:
    """Return the descriptor of a regular file in the first folder that has it.

    Each part is opened in the one before, and none of them may be a link: so nothing outside is reached, also
    where somebody changes the folders meanwhile.

    Raises:
        OSError: none has it; of several reasons, one that is not its absence.
    """
    failures = []
    for root in roots:
        try:
            return open_in(root, parts)
        except OSError as exc:
            failures.append(exc)
    failures.sort(key=lambda exc: exc.errno == errno.ENOENT)
    raise failures[0] if failures else FileNotFoundError(errno.ENOENT, GONE)


def open_in(root: Path, parts: Sequence[str]) -> int:
    """Return the descriptor of a regular file below a folder."""
    with contextlib.ExitStack() as stack:

        def enter(name: str | Path, flags: int, inside: int | None) -> int:
            descriptor = os.open(name, flags, dir_fd=inside)
            stack.callback(os.close, descriptor)
            return descriptor

        folder = enter(root, FOLDER & ~os.O_NOFOLLOW, None)  # the operator's own, which may be a link
        for part in parts[:-1]:
            folder = enter(part, FOLDER, folder)
        descriptor = enter(parts[-1], FILE, folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, REASONS[errno.ENXIO])
        return os.dup(descriptor)


def chunk_of(descriptor: int, at: int, end: int) -> bytes:
    """Return the next bytes of a file.

    Raises:
        OSError: it ends before it should, or cannot be read.
    """
    chunk = os.pread(descriptor, min(CHUNK_BYTES, end - at), at)
    if not chunk:
        raise OSError(errno.EIO, "it became shorter while it was read")
    return chunk


def hash_chunk(digest: Digest, descriptor: int, at: int, end: int) -> int:
    """Take the next bytes of a file into a hash, and return how many they were."""
    chunk = chunk_of(descriptor, at, end)
    digest.update(chunk)
    return len(chunk)


def close_late(opening: asyncio.Future[int]) -> None:
    """Close what was opened when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def reason_of(exc: OSError | ValueError) -> str:
    """Say why a file cannot be read."""
    if not isinstance(exc, OSError):
        return GONE
    return REASONS.get(exc.errno or 0) or f"It cannot be read: {exc.strerror}."
