"""Download one input into a file: whole or not at all, gone on with where it broke off, within bounds."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

from worker.sdk.errors import Fail, Retry
from worker.sdk.remote import NotModified, Opened, Passing, Source

__all__ = ["BLOCK_BYTES", "Bounds", "Downloaded", "download", "part_of", "reserved", "rest"]

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)  # between tries that brought nothing new; then the run fails for now
MAX_TRIES: Final = 50  # of one input, however much each brought
MAX_PAUSE_S: Final = 30.0  # of what a server asks for; a longer one is better spent without a slot
STEP_S: Final = 0.1  # a stop is seen in a pause within this time
ROOM_BYTES: Final = 64 * 1024 * 1024  # on the disk, beside the input
BLOCK_BYTES: Final = 1024 * 1024

Tell = Callable[[int, int | None], None]


class Bounds(NamedTuple):
    """What a download must keep to, and whom it tells."""

    max_bytes: int
    sha256: str | None  # that the content must have
    check: Callable[[], None]  # raises where the run is asked to stop
    tell: Tell  # bytes that are there, bytes of the whole
    needs_digest: bool = True  # hashing costs more than a fast network


class Downloaded(NamedTuple):
    """What is there now."""

    size: int
    sha256: str  # of nothing where no digest was needed
    etag: str | None
    modified: str | None


class Part(NamedTuple):
    """What has come of a download so far."""

    file: IO[bytes]
    digest: Any
    size: int
    etag: str | None
    total: int | None = None  # bytes of the whole, as the first answer said

    def begin(self) -> Part:
        """Forget it."""
        self.file.seek(0)
        self.file.truncate()
        return Part(self.file, hashlib.sha256(), 0, None)


def download(
    source: Source,
    path: Path,
    shown: str,
    bounds: Bounds,
    known: tuple[str | None, str | None] = (None, None),
) -> Downloaded:
    """Write an input to `path`, under that name only when it is whole and has its checksum.

    Args:
        source: where it comes from.
        path: a name that was reserved.
        shown: what it is called in messages.
        bounds: of size, time and content.
        known: ETag and time of what a cache has.

    Raises:
        NotModified: what the cache has is still so; nothing was written.
        Fail: it is missing, too large, or not what its checksum says.
        Retry: the place has a problem that did not pass, or the disk has no room.
    """
    hidden = part_of(path)
    try:
        with hidden.open("r+b") as file:
            done = tried(source, Part(file, hashlib.sha256(), 0, None), shown, bounds, known)
        if bounds.sha256 is not None and done.sha256 != bounds.sha256:
            raise Fail(
                f"input {shown} has the SHA-256 {done.sha256}, not {bounds.sha256}, which was asked for"
            )
        hidden.rename(path)
    except OSError as exc:
        free_bytes = shutil.disk_usage(path.parent).free
        raise Retry(f"input {shown} could not be written to {path} ({free_bytes} bytes free): {exc}") from exc
    return done


@contextmanager
def reserved(folder: Path, source: str) -> Iterator[Path]:
    """Give a path in the folder that nobody else has, named after the URL's last part.

    Nothing is seen there until it is whole; what is not is removed.

    Raises: Retry where the disk has no room.
    """
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(source).path)).name
    if name in ("", ".", "..") or not name.isprintable() or len(os.fsencode(name)) > 200:
        name = "input"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = reserve(folder, name)
    except OSError as exc:
        raise Retry(f"the run's folder {folder} cannot be written: {exc}") from exc
    try:
        yield path
    finally:
        part_of(path).unlink(missing_ok=True)


def reserve(folder: Path, name: str) -> Path:
    """Make the part of a file whose own name is free; two threads get two names."""
    for count in itertools.count():
        path = folder / (f"{count}-{name}" if count else name)
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                part_of(path).touch(exist_ok=False)
                return path
    raise AssertionError


def part_of(path: Path) -> Path:
    """Return where a file lies until it is whole."""
    return path.with_name(f".{path.name}.part")


def tried(
    source: Source, part: Part, shown: str, bounds: Bounds, known: tuple[str | None, str | None]
) -> Downloaded:
    """Try until it is whole, or it is of no use to go on."""
    failures = 0
    for _ in range(MAX_TRIES):
        before = part.size
        part, result = attempt(source, part, shown, bounds, known)
        if isinstance(result, Downloaded):
            return result
        failures = 1 if part.size > before else failures + 1
        if failures > len(PAUSES_S) or (result.after_s or 0.0) > MAX_PAUSE_S:
            raise Retry(f"input {shown}: {result}", after_s=result.after_s) from result
        pause_s = max(PAUSES_S[failures - 1] * random.uniform(0.75, 1.25), result.after_s or 0.0)
        rest(pause_s, bounds.check)
    raise Retry(f"input {shown}: it broke off {MAX_TRIES} times")


def attempt(
    source: Source, part: Part, shown: str, bounds: Bounds, known: tuple[str | None, str | None]
) -> tuple[Part, Downloaded | Passing]:
    """Make one request; return what there is then, and whether that is all, or why not."""
    if part.etag is None:
        part = part.begin()  # nobody can tell whether it is still the same: from the start
    try:
        with source.open(part.size, part.etag, known) as opened:
            if part.size == 0 and opened.etag is not None and opened.etag == known[0]:
                raise NotModified  # said by a place that was asked and sends it all the same
            if opened.start != part.size:
                part = part.begin()
            part = gone_on_with(part, opened)
            check_room(opened, part.size, Path(part.file.name), shown, bounds)
            for chunk in opened.chunks:
                bounds.check()
                if part.size + len(chunk) > bounds.max_bytes:
                    raise too_large(shown, bounds.max_bytes)
                part.file.write(chunk)
                if bounds.needs_digest:
                    part.digest.update(chunk)
                part = part._replace(size=part.size + len(chunk))
                bounds.tell(part.size, part.total)
            check_end(part, opened)
    except Passing as exc:
        return (part._replace(etag=None) if exc.is_other else part), exc
    part.file.flush()
    return part, Downloaded(part.size, part.digest.hexdigest(), opened.etag, opened.modified)


def gone_on_with(part: Part, opened: Opened) -> Part:
    """Return a part as what this answer goes on with.

    Raises: Passing where the answer is of another version: two halves of different files are no file.
    """
    if part.size and (
        opened.etag not in (None, part.etag)
        or (part.total is not None and opened.total not in (None, part.total))
    ):
        raise Passing("it changed while it was read", is_other=True)
    total = part.total if opened.total is None else opened.total
    return part._replace(etag=strong(opened.etag), total=total)


def check_end(part: Part, opened: Opened) -> None:
    """Raise Passing where less came than the whole has, or more than was promised."""
    if opened.start and opened.end is not None and part.size > opened.end:
        raise Passing(f"the server sent more than the {opened.end} bytes that it said", is_other=True)
    total = opened.end if part.total is None else part.total
    if total is not None and part.size < total:
        raise Passing(f"the download ended after {part.size} of {total} bytes")


def check_room(opened: Opened, there: int, path: Path, shown: str, bounds: Bounds) -> None:
    """Refuse what is too large, or does not fit onto the disk, before it comes."""
    if opened.total is None:
        return
    if opened.total > bounds.max_bytes:
        raise too_large(shown, bounds.max_bytes, opened.total)
    free_bytes = shutil.disk_usage(path.parent).free
    if opened.total - there + ROOM_BYTES > free_bytes:
        raise Retry(
            f"input {shown} has {opened.total} bytes, and {free_bytes} are free for {path.parent} here"
        )


def too_large(shown: str, max_bytes: int, total: int | None = None) -> Fail:
    """Return the error of an input beyond its bound."""
    said = "" if total is None else f": it has {total}"
    return Fail(f"input {shown} is larger than {max_bytes} bytes{said}")


def strong(etag: str | None) -> str | None:
    """Return an ETag by which a part can be gone on with (RFC 9110, 13.1.5); a weak one is none."""
    return None if etag is None or etag.startswith("W/") else etag


def rest(pause_s: float, check: Callable[[], None]) -> None:
    """Wait; a stop ends it."""
    until = time.monotonic() + pause_s
    while (left_s := until - time.monotonic()) > 0:
        check()
        time.sleep(min(left_s, STEP_S))
    check()
