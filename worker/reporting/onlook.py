"""Read a journal that an agent may be writing meanwhile; changes nothing, and takes no lock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from msgspec import Struct

from worker.reporting.records import Entry
from worker.reporting.segments import DAMAGED_SUFFIX, Segment, merge, number_of, replay

__all__ = ["Seen", "look"]

LOOKS_MAX: Final = 10
PAUSE_S: Final = 0.05  # a record that is being written is whole after far less


class Seen(Struct, frozen=True):
    """What a journal says."""

    entries: dict[str, Entry]
    damaged: tuple[str, ...] = ()  # segments of which something cannot be read: entries may be missing
    torn: tuple[str, ...] = ()  # whose last record is not whole: a crash came between
    set_aside: tuple[str, ...] = ()  # damaged segments of earlier lives, kept for a person

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing was left out."""
        return not self.damaged and not self.torn


def look(folder: Path) -> Seen:
    """Read what is open; a journal that is not there is empty.

    Looks again where a segment was replaced, or its last record not whole, while it was read.

    Raises:
        OSError: the folder or a file cannot be read, or segments come and go all the time.
    """
    for _ in range(LOOKS_MAX - 1):
        names = names_in(folder)
        segments = read_all(folder, names)
        is_same = segments is not None and segment_names(names) == segment_names(names_in(folder))
        if segments is not None and is_same and not any(is_torn(segment) for segment in segments):
            return seen(segments, names)
        time.sleep(PAUSE_S)
    names = names_in(folder)
    if (segments := read_all(folder, names)) is None:
        raise OSError(f"the journal in {folder} changes faster than it can be read; try again")
    return seen(segments, names)


def names_in(folder: Path) -> list[str]:
    """Return the names of a folder's files; none where there is no folder."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def segment_names(names: list[str]) -> list[str]:
    """Return the names of segments, in the order in which they were written."""
    return sorted((name for name in names if number_of(name) is not None), key=lambda n: number_of(n) or 0)


def read_all(folder: Path, names: list[str]) -> list[Segment] | None:
    """Read all segments; None where one was replaced before it could be."""
    try:
        return [replay(name, (folder / name).read_bytes()) for name in segment_names(names)]
    except FileNotFoundError:
        return None


def is_torn(segment: Segment) -> bool:
    """Tell whether a segment ends in something that is no record."""
    return any(gap.is_tail for gap in segment.gaps)


def seen(segments: list[Segment], names: list[str]) -> Seen:
    """Return what segments say together."""
    return Seen(
        entries=merge(segments),
        damaged=tuple(one.name for one in segments if any(not gap.is_tail for gap in one.gaps)),
        torn=tuple(one.name for one in segments if is_torn(one)),
        set_aside=tuple(name for name in names if name.endswith(DAMAGED_SUFFIX)),
    )
