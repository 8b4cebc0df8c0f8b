"""The segments of the journal, and what follows from all that are there.

A segment starts with everything open at that time, closed by a base record; what happens later
is appended. So one segment is the whole truth, older ones are removed once a newer one is durable,
and the disk use is bounded by what is open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from worker.reporting.disk import JournalIO
from worker.reporting.records import (
    BaseRecord,
    ClosedRecord,
    Entry,
    EntryRecord,
    Gap,
    MarkRecord,
    NewerForm,
    Record,
    UsageRecord,
    read_records,
)

__all__ = [
    "DAMAGED_SUFFIX",
    "SUFFIX",
    "Change",
    "Recovered",
    "Segment",
    "apply",
    "merge",
    "number_of",
    "recover",
    "replay",
]

Change = EntryRecord | UsageRecord | MarkRecord | ClosedRecord

SUFFIX: Final = ".seg"
DAMAGED_SUFFIX: Final = ".damaged"

log = structlog.get_logger(__name__)


class Segment(Struct):
    """What one file said."""

    name: str
    entries: dict[str, Entry] = msgspec.field(default_factory=dict)
    has_base: bool = False
    gaps: list[Gap] = msgspec.field(default_factory=list)
    has_damaged_base: bool = False


class Recovered(Struct, frozen=True):
    """The open entries, and the files that they were read from."""

    entries: dict[str, Entry]
    names: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    next_number: int = 1


def apply(entries: dict[str, Entry], change: Change) -> None:
    """Change the open entries as a record says; what is about an unknown run is ignored."""
    if isinstance(change, EntryRecord):
        entries[change.entry.run_id] = change.entry
        return
    if (entry := entries.get(change.run_id)) is None:
        return
    if isinstance(change, ClosedRecord):
        del entries[change.run_id]
    elif isinstance(change, MarkRecord):
        if change.mark not in entry.marks:
            marks = (*entry.marks, change.mark)
            entries[change.run_id] = msgspec.structs.replace(entry, marks=marks)
    else:
        entries[change.run_id] = with_checkpoint(entry, change)


def with_checkpoint(entry: Entry, change: UsageRecord) -> Entry:
    """Return the entry with the usage or the child that a checkpoint brings."""
    if change.usage is not None:
        entry = msgspec.structs.replace(entry, usage=change.usage)
    if (child := change.child) is not None:
        entry = msgspec.structs.replace(
            entry, pid=child.pid, pid_start=child.pid_start, boot_id=child.boot_id
        )
    return entry


async def recover(io: JournalIO) -> Recovered:
    """Read all segments; changes nothing, so that an onlooker may call it beside a live agent.

    A torn tail is left out, a damaged record is skipped; both are logged as warnings.

    Raises:
        OSError: the folder or a file cannot be read.
        NewerForm: it is of a newer version.
    """
    names = await io.names()
    segments = []
    for name in sorted((n for n in names if number_of(n) is not None), key=lambda n: number_of(n) or 0):
        with contextlib.suppress(FileNotFoundError):  # a live agent has just replaced it
            segments.append(replay(name, await io.read(name)))
    numbers = [number_of(name, SUFFIX) or number_of(name, DAMAGED_SUFFIX) or 0 for name in names]
    return Recovered(
        entries=merge(segments),
        names=tuple(segment.name for segment in segments),
        damaged=tuple(segment.name for segment in segments if segment.gaps),
        next_number=max(numbers, default=0) + 1,
    )


def number_of(name: str, suffix: str = SUFFIX) -> int | None:
    """Return a segment's number; None for any other file."""
    stem = name.removesuffix(suffix)
    return int(stem) if stem != name and stem.isascii() and stem.isdigit() else None


def replay(name: str, content: bytes) -> Segment:
    """Read one segment.

    Raises: NewerForm where it is of a newer version; nothing may be changed then.
    """
    segment = Segment(name)
    for record in known_records(name, content):
        if isinstance(record, Gap):
            segment.gaps.append(record)
            log.warning(
                "journal.torn" if record.is_tail else "journal.damaged",
                segment=name,
                offset=record.offset,
                length_bytes=record.length_bytes,
            )
        elif isinstance(record, BaseRecord):
            segment.has_base = True
            segment.has_damaged_base = record.count != len(segment.entries)
        else:
            apply(segment.entries, record)
    return segment


def known_records(name: str, content: bytes) -> Iterator[Record | Gap]:
    """Yield the records of a segment.

    Raises: NewerForm, with what to do.
    """
    try:
        yield from read_records(content)
    except NewerForm as exc:
        raise NewerForm(
            f"the journal is of a newer millhand: {name}: {exc}. Nothing was changed. Install that version"
            " again, and let its agent deliver what is open (`millhand drain --wait`), then go back; or give"
            " this agent another state directory, and keep the old one"
        ) from exc


def merge(segments: Iterable[Segment]) -> dict[str, Entry]:
    """Return what is open, from segments in order.

    A whole base makes older segments void. An unfinished or damaged one adds what is unknown: an
    entry too many is looked up at the server, an entry too few is a lost result.
    """
    entries: dict[str, Entry] = {}
    for segment in segments:
        if segment.has_base and not segment.has_damaged_base:
            entries = dict(segment.entries)
        elif segment.has_base:
            entries |= segment.entries
        else:
            for run_id, entry in segment.entries.items():
                known = entries.get(run_id)
                if known is None or stage(known) < stage(entry):
                    entries[run_id] = entry
    return entries


def stage(entry: Entry) -> int:
    """Tell how far an entry is: an outcome once known is not taken back."""
    if entry.terminal is not None:
        return 2
    return 0 if entry.ended is None else 1
