"""Tell how far the download of an input is, as the run's progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

__all__ = ["InputTold"]

MAX_NAME_CHARS: Final = 60
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class InputTold:
    """Takes bytes as they come. Without a span a download moves no progress, and says a message."""

    def __init__(
        self,
        tell: Callable[[float, str | None], None],
        ratio: Callable[[], float],
        source: str,
        span: tuple[float, float] | None,
    ) -> None:
        """Raises: ValueError where the span is none."""
        if span is not None and not 0 <= span[0] <= span[1] <= 1:
            raise ValueError(f"progress is a part of the run, as (0.0, 0.2), not {span!r}")
        self._tell = tell
        self._ratio = ratio
        self._span = span
        self._name = name_of(source)

    def __call__(self, done: int, total: int | None) -> None:
        """Tell that so many bytes are there; -1: another run downloads it."""
        if done < 0:
            self._say(None, f"input {self._name}: another run downloads it")
        elif total is None:
            self._say(None, f"input {self._name}: {size(done)}")
        else:
            self._say(done / total if total else 1.0, f"input {self._name}: {size(done)} of {size(total)}")

    def end(self) -> None:
        """Tell that it is there."""
        if self._span is not None:
            self._say(1.0, f"input {self._name} is there")

    def _say(self, share: float | None, message: str) -> None:
        if self._span is None:
            self._tell(self._ratio(), message)
        else:
            low, high = self._span
            self._tell(low + (high - low) * (share or 0.0), message)


def name_of(source: str) -> str:
    """Return the last part of a path or URL, without what could be a secret."""
    _, is_url, path = source.partition("://")
    name = PurePosixPath(path.partition("?")[0].partition("#")[0] if is_url else source).name
    return name.rpartition("@")[2][:MAX_NAME_CHARS]


def size(count: int) -> str:
    """Return bytes as people read them."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"
