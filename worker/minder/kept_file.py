"""A small file of the kernel that is kept open, because it is read before and after each run."""

from __future__ import annotations

import errno
import os

from worker.minder.files import ONCE_BYTES, whole

__all__ = ["KeptFile"]

KEPT_MOST = 256  # of one process, which may mostly have 1,024 files open


class KeptFile:
    """A counter that is read before and after each run: open from its first reading on.

    To open and to close it takes twice as long as to read it. What is open is that group or process for
    good: where it is gone nothing is read any more, also where another one has come to its name.
    """

    __slots__ = ("_descriptor", "_flags", "_is_closed", "_path")

    kept = 0  # of all in this process; where there are too many, one is opened for each reading

    def __init__(self, path: str, flags: int = os.O_RDONLY) -> None:
        """Take where it is; nothing is opened yet."""
        self._path = path
        self._flags = flags
        self._descriptor: int | None = None
        self._is_closed = False

    def read(self) -> bytes | None:
        """Return what it says; None where it is not there, not ours, closed, or vanished."""
        descriptor = self._descriptor
        if descriptor is None:
            return self._read_first()
        try:
            data = os.pread(descriptor, ONCE_BYTES, 0)
            return data if len(data) < ONCE_BYTES else whole(descriptor)
        except OSError:
            return None

    def write(self, data: bytes) -> None:
        """Write to it.

        Raises:
            OSError: it is not there, not ours, closed, or the kernel refuses.
        """
        descriptor = self._descriptor
        try:
            if descriptor is None:
                descriptor = self._opened()
            os.write(descriptor, data)
        finally:
            self._let_go(descriptor)

    def close(self) -> None:
        """Read nothing any more. Twice does no harm."""
        self._is_closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            KeptFile.kept -= 1

    def _read_first(self) -> bytes | None:
        descriptor = None
        try:
            descriptor = self._opened()
            return whole(descriptor)
        except OSError:
            return None
        finally:
            self._let_go(descriptor)

    def _opened(self) -> int:
        if self._is_closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self._path)
        descriptor = os.open(self._path, self._flags | os.O_CLOEXEC)
        if KeptFile.kept < KEPT_MOST:
            KeptFile.kept += 1
            self._descriptor = descriptor
        return descriptor

    def _let_go(self, descriptor: int | None) -> None:
        if descriptor is not None and self._descriptor is None:
            os.close(descriptor)
