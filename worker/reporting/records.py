"""What the journal remembers, and its form on disk.

A segment is the magic, then records: length of the payload (u32), CRC-32 over length, version and
payload (u32), version (u8), payload (JSON); all little endian. JSON holds no byte below 0x20, so a
header can never be mistaken for payload, and reading finds its feet again behind a damaged record.
Zeroes at the end are room that is reserved but not yet used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from worker.storage.file import SpooledFile
from worker.usage.usage import Usage

__all__ = [
    "DELIVERED_MARK",
    "LATE_MARK",
    "MAGIC",
    "STORED_MARK",
    "BaseRecord",
    "Child",
    "ClosedRecord",
    "Entry",
    "EntryRecord",
    "Gap",
    "MarkRecord",
    "NewerForm",
    "Record",
    "UsageRecord",
    "encode",
    "read_records",
]

MAGIC: Final = b"MHJRNL\x00\x01"  # the last byte is the version of the segment's form
VERSION: Final = 1
HEADER: Final = struct.Struct("<IIB")
CHECKED: Final = struct.Struct("<IB")  # what the checksum is over beside the payload: length and version
DELIVERED_MARK: Final = "delivered"  # the server has the report; the entry waits for files
LATE_MARK: Final = "late reports"  # a live report that was not answered may arrive after the outcome
STORED_MARK: Final = "stored"  # all files of an entry are; "stored|…" stands for one of them
START: Final = bytes([VERSION]) + b"{"  # where version and payload meet; nowhere inside a payload


class NewerForm(ValueError):  # noqa: N818 - what it is
    """A segment has what only a newer millhand writes: whoever does not know it must not replace it."""


class Child(Struct, frozen=True):
    """Name a process beyond doubt: its pid may be given to another one later."""

    pid: int
    pid_start: int | None  # start time in clock ticks since boot (/proc/<pid>/stat, field 22)
    boot_id: str | None  # /proc/sys/kernel/random/boot_id


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run that this agent intends, executes, or has not delivered yet."""

    run_id: str
    task_id: str
    job_id: str | None = None
    task_type: str | None = None
    pod_id: str
    started_at: str  # as on the wire: UTC, milliseconds
    intent: dict[str, Any] = msgspec.field(default_factory=dict)  # body of the claiming POST
    pid: int | None = None
    pid_start: int | None = None
    boot_id: str | None = None
    usage: Usage | None = None  # the last checkpoint
    ended: dict[str, Any] | None = None  # the terminal PUT but for `results.files`, while they are stored
    terminal: dict[str, Any] | None = None  # body of the terminal PUT; None: not ended, or files to store
    requeue: bool = False  # a requeue follows the terminal report
    files: tuple[SpooledFile, ...] = ()  # in the spool; with `terminal`: told before they were stored
    marks: tuple[str, ...] = ()  # words about it, such as "fenced"

    @property
    def has_outcome(self) -> bool:
        """Tell whether it is known how the run ended."""
        return self.ended is not None or self.terminal is not None

    @property
    def waits_for_files(self) -> bool:
        """Tell whether files of the run are still to be stored."""
        return bool(self.files) and STORED_MARK not in self.marks

    @property
    def reports_ahead(self) -> int:
        """How many large records it may still bring: its end, and its report with the files."""
        if self.terminal is not None:
            return 0
        return 1 if self.ended is not None else 2


class EntryRecord(Struct, frozen=True, tag_field="k", tag="entry"):
    """The whole state of an entry; replaces what was known of it."""

    entry: Entry


class UsageRecord(Struct, frozen=True, tag_field="k", tag="usage", omit_defaults=True):
    """A checkpoint of a run's usage, of its child, or of both."""

    run_id: str
    usage: Usage | None = None
    child: Child | None = None


class MarkRecord(Struct, frozen=True, tag_field="k", tag="mark"):
    """A word about an entry."""

    run_id: str
    mark: str


class ClosedRecord(Struct, frozen=True, tag_field="k", tag="closed"):
    """The entry is done with."""

    run_id: str


class BaseRecord(Struct, frozen=True, tag_field="k", tag="base"):
    """Everything open at the start of this segment stands before this record.

    Older segments are then of no interest. A segment without it was never finished.
    """

    count: int


class Gap(Struct, frozen=True):
    """Bytes that are no record; `is_tail` where no record follows (a torn write looks so)."""

    offset: int
    length_bytes: int
    is_tail: bool


Record = EntryRecord | UsageRecord | MarkRecord | ClosedRecord | BaseRecord

KINDS: Final = frozenset({"entry", "usage", "mark", "closed", "base"})


class Kind(Struct, frozen=True):
    """The part of a payload that says what it is."""

    k: str


ENCODER: Final = msgspec.json.Encoder()
DECODER: Final[msgspec.json.Decoder[Record]] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """Return a record as it stands on disk."""
    payload = ENCODER.encode(record)
    length = len(payload)
    crc = zlib.crc32(payload, zlib.crc32(CHECKED.pack(length, VERSION)))  # as `checksum`, for each write
    return HEADER.pack(length, crc, VERSION) + payload


def checksum(version: int, payload: bytes | memoryview) -> int:
    """Return the CRC-32 over length, version and payload."""
    return zlib.crc32(payload, zlib.crc32(CHECKED.pack(len(payload), version)))


def read_records(segment: bytes) -> Iterator[Record | Gap]:
    """Yield the records of a segment in order, and a gap wherever bytes make no sense.

    Raises: NewerForm where the bytes make sense, but to a newer version only.
    """
    end = len(segment.rstrip(b"\0"))  # a record ends in "}"
    if end == 0:
        return  # created, and nothing written: a crash came between
    check_form(segment)
    offset = len(MAGIC) if segment.startswith(MAGIC) else next_record(segment, 0, end)
    if offset != len(MAGIC):
        yield Gap(0, offset, is_tail=offset >= end)
    while offset < end:
        payload = payload_at(segment, offset, end)
        record = None if payload is None else decode(payload)
        if payload is None:
            check_version(segment, offset, end)
        if payload is None or record is None:
            behind = next_record(segment, offset + 1, end)
            yield Gap(offset, behind - offset, is_tail=behind >= end)
            offset = behind
        else:
            yield record
            offset += HEADER.size + len(payload)


def payload_at(segment: bytes, offset: int, end: int) -> memoryview | None:
    """Return the payload of the record that starts at an offset; None where none is whole."""
    start = offset + HEADER.size
    if start > end:
        return None
    length, crc, version = HEADER.unpack_from(segment, offset)
    if version != VERSION or start + length > end:
        return None
    payload = memoryview(segment)[start : start + length]
    return payload if checksum(version, payload) == crc else None


def check_form(segment: bytes) -> None:
    """See that a segment's form is not newer; one bit that fell over does not make it so.

    Raises: NewerForm
    """
    name, form = segment[: len(MAGIC) - 1], segment[len(MAGIC) - 1 : len(MAGIC)]
    if name == MAGIC[:-1] and form > MAGIC[-1:] and payload_at(segment, len(MAGIC), len(segment)) is None:
        raise NewerForm(f"its form is {form[0]}, and {MAGIC[-1]} is the newest that is known here")


def check_version(segment: bytes, offset: int, end: int) -> None:
    """See that what is no record of ours is none of a newer version either: whole, by its checksum.

    Raises: NewerForm
    """
    start = offset + HEADER.size
    if start > end:
        return
    length, crc, version = HEADER.unpack_from(segment, offset)
    if version > VERSION and start + length <= end:
        payload = memoryview(segment)[start : start + length]
        if checksum(version, payload) == crc:
            raise NewerForm(f"it has records of version {version}, and {VERSION} is the newest known here")


def next_record(segment: bytes, offset: int, end: int) -> int:
    """Return where the next whole record starts, at or behind an offset; `end` where there is none."""
    at = segment.find(START, offset + HEADER.size - 1, end)
    while at >= 0:
        start = at - HEADER.size + 1
        if payload_at(segment, start, end) is not None:
            return start
        at = segment.find(START, at + 1, end)
    return end


def decode(payload: memoryview) -> Record | None:
    """Read a payload whose checksum is right; None where it is none of ours.

    Raises: NewerForm where it is of a kind that is not known here.
    """
    try:
        return DECODER.decode(payload)
    except msgspec.MsgspecError:
        kind = kind_of(payload)
    if kind is not None and kind not in KINDS:
        raise NewerForm(f"it has records of the kind {kind!r}, which is not known here")
    return None


def kind_of(payload: memoryview) -> str | None:
    """Return what a payload says that it is; None where it says nothing."""
    try:
        return msgspec.json.decode(payload, type=Kind).k
    except msgspec.MsgspecError:
        return None
