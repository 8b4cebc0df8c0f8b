"""Where the token comes from: a value, or a file that is read again when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["FileToken", "FixedToken", "TokenSource"]

TOKEN_BYTES_MAX = 16 * 1024  # a file larger than this holds something else


class TokenSource(Protocol):
    """Give the token of the next request."""

    def current(self) -> str | None:
        """Return the token; None where there is none."""
        ...


class FixedToken:
    """A token that never changes."""

    def __init__(self, token: str | None) -> None:
        """Keep the token; surrounding white space is not part of it.

        Raises: ValueError where it cannot stand in a header.
        """
        if token and not is_sendable(token.strip()):
            raise ValueError("token: it holds a line break or a sign that is not ASCII; is it whole?")
        self._token = token.strip() or None if token else None

    def current(self) -> str | None:
        """Return the token."""
        return self._token


class FileToken:
    """A token in a file, re-read when the file changes; the last good one stays while it cannot be read.

    What could not stand in a header (a binary file, two lines) is no token.
    """

    def __init__(self, path: Path) -> None:
        """Keep the path; nothing is read before the first request."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token: str | None = None

    def current(self) -> str | None:
        """Return the token that the file holds now."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                with self._path.open(encoding="utf-8") as file:
                    token = file.read(TOKEN_BYTES_MAX).strip()
                self._token = token if token and is_sendable(token) else self._token
                self._seen = seen
        except (OSError, UnicodeDecodeError):
            return self._token
        return self._token


def is_sendable(token: str) -> bool:
    """Tell whether a token may stand in a header: one line of printable ASCII."""
    return token.isascii() and token.isprintable()
