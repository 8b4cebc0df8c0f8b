"""What a store is: where the files of runs go, and how it says no.

Errors:

    StoreError              not stored; a later try may fare better
    └── StoreRefused        the store says no (access, bucket, name): a person has to look
    FileGone                what the spool holds is not there, or not what it was: never to be stored
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from worker.storage.file import SpooledFile

__all__ = ["FileGone", "Store", "StoreError", "StoreRefused", "limit_s"]

LIMIT_BASE_S: Final = 60.0  # of one try; a dead connection must end
SLOWEST_BYTES_PER_S: Final = 256 * 1024  # what a link must carry for a large file to get through
REASON_MAX: Final = 300  # characters of what a store says


class StoreError(Exception):
    """A file was not stored, and may be later; the message says which, where and why."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the store asked for."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreRefused(StoreError):  # noqa: N818 - what the store did
    """The store says no, and will until somebody changes something."""


class FileGone(Exception):  # noqa: N818 - what happened to the file
    """A file of the spool is missing or was changed; the message says which."""


class Store(Protocol):
    """Where the files of runs go."""

    def url_of(self, run_id: str, name: str) -> str:
        """Return where a file of a run is, or will be: always the same, without credentials."""
        ...

    async def store(self, run_id: str, file: SpooledFile, path: Path) -> None:
        """Store a file durably, whole or not at all; doing it twice does it once.

        Args:
            run_id: the run.
            file: what it is.
            path: where it lies in the spool; it stays there, and never changes.

        Raises:
            StoreError: it is not stored.
            FileGone: what lies there is not the file.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


def limit_s(size_bytes: int) -> float:
    """Return how long one try to store a file may take."""
    return LIMIT_BASE_S + size_bytes / SLOWEST_BYTES_PER_S


def not_stored(file: SpooledFile, url: str, reason: str) -> str:
    """Return the message of a file that is not stored."""
    return f"file {file.name} could not be stored at {url}: {reason[:REASON_MAX]}"
