"""Inputs that are kept on this machine between runs: by their content, and by who downloaded what.

::

    <folder>/content/<sha256>     what was downloaded
    <folder>/known/<name>         which content a URL had, by its ETag; the name says nothing
    <folder>/locks/<00 … ff>      held while one is downloaded, so that others wait for it

Every handler of this user can write all of it. So nothing in it is believed:

- What is used is copied into the run's folder, and checked on the way: a content that is not what its name
  says is removed, and downloaded again. So a run can change neither the cache nor what another run has.
- What a URL had is signed, with a key that handlers of one type have, and others do not (`CacheGrant`).

Locks are flock(2): they end with whoever holds them, and nobody waits for a download longer than `WAIT_S`,
or for room longer than `WAIT_ROOM_S`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from worker.sdk.cache_files import copied, files_in, opened, written
from worker.sdk.cache_grant import CacheGrant
from worker.sdk.download import Downloaded, rest

__all__ = ["InputCache", "Known", "is_digest"]

WAIT_S: Final = 3600.0  # for another run's download; then it is downloaded once more
WAIT_ROOM_S: Final = 1.0  # for who makes room, which takes no time; then an input is not kept
STEP_S: Final = 0.2
MIN_FREE_BYTES: Final = 512 * 1024 * 1024  # less than this is left to others, not to a cache
MAX_KNOWN: Final = 20_000
MAX_NOTE_BYTES: Final = 16 * 1024
FOLDERS: Final = ("content", "known", "locks")


class Known(msgspec.Struct, frozen=True):
    """Which content a URL had."""

    sha256: str
    size: int
    etag: str | None
    modified: str | None
    seal: str = ""  # over all of it and the URL


class InputCache:
    """The cache of one process. Whatever goes wrong with it costs a download, and never a run."""

    def __init__(self, grant: CacheGrant) -> None:
        self._folder = Path(grant.folder)
        self._key = bytes.fromhex(grant.key)
        self._max_bytes = grant.max_bytes
        for name in FOLDERS:
            with contextlib.suppress(OSError):
                (self._folder / name).mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def turn(self, name: str, check: Callable[[], None], tell_wait: Callable[[], None]) -> Iterator[None]:
        """Wait until nobody else downloads the same.

        Args:
            name: a checksum, or a URL.
            check: raises where the run is asked to stop.
            tell_wait: called once where somebody does.
        """
        slot = hashlib.sha256(name.encode()).hexdigest()[:2]
        with self._locked(slot, check, tell_wait, WAIT_S):
            yield

    def known(self, url: str) -> Known | None:
        """Return which content a URL had; None where that is not known, or not by handlers of this type."""
        try:
            with opened(self._note(url)) as file:
                known = msgspec.json.decode(file.read(MAX_NOTE_BYTES), type=Known)
            is_ours = hmac.compare_digest(known.seal.encode(), self._seal(url, known).encode())
        except (OSError, ValueError, TypeError, RecursionError):  # whatever somebody wrote there
            return None
        return known if is_ours and is_digest(known.sha256) and self.has(known.sha256) else None

    def has(self, sha256: str) -> bool:
        """Tell whether a content seems to be here; `copy` finds out whether it is what it should be."""
        return self._size_of(sha256) is not None

    def copy(self, sha256: str, part: Path, max_bytes: int, check: Callable[[], None]) -> int | None:
        """Copy a content to a file; return its size.

        Args:
            sha256: of the content.
            part: the file, which is there.
            max_bytes: what is larger is as good as not here: its size may be somebody's lie.
            check: raises where the run is asked to stop.

        Returns: None where it is not here, or is not what it should be.
        """
        content = self._content(sha256)
        try:
            with opened(content) as here, part.open("r+b") as there:
                size = os.fstat(here.fileno()).st_size
                if size > max_bytes:
                    return None
                digest = copied(here, there, size, check)
        except OSError:
            return None
        if digest != sha256:  # a disk's fault, or somebody's deed
            with contextlib.suppress(OSError):
                content.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(content)  # the last to go
        return size

    def keep(self, url: str, done: Downloaded, path: Path, check: Callable[[], None]) -> None:
        """Keep what was downloaded, where it fits within the bounds; `check` as in `copy`."""
        with contextlib.suppress(OSError):
            if self._has_content(done, path, check) and (done.etag or done.modified):
                known = Known(done.sha256, done.size, done.etag, done.modified)
                note = msgspec.structs.replace(known, seal=self._seal(url, known))
                with written(self._note(url), lambda file: file.write(msgspec.json.encode(note))) as part:
                    part.rename(self._note(url))

    def _has_content(self, done: Downloaded, path: Path, check: Callable[[], None]) -> bool:
        """Have a content here; tell whether it is. Nobody else waits for the copying."""
        content = self._content(done.sha256)
        if self._size_of(done.sha256) == done.size:
            os.utime(content)
            return True
        if done.size > self._max_bytes:
            return False
        content.unlink(missing_ok=True)  # no file of that size has this checksum
        if not self._has_made_room(done.size, done.size, check):
            return False
        with (
            path.open("rb") as here,
            written(content, lambda there: copied(here, there, done.size, check)) as part,
        ):
            return self._has_made_room(done.size, 0, check, lambda: part.rename(content))

    def _has_made_room(
        self, size: int, more: int, check: Callable[[], None], settle: Callable[[], object] = lambda: None
    ) -> bool:
        """Remove what was used longest ago; tell whether there is room.

        Who reads what is removed has it open, and reads on.

        Args:
            size: of what is to be kept.
            more: what of it is still to be written to the disk.
            check: raises where the run is asked to stop.
            settle: uses the room, before anybody else looks for some.
        """
        with self._locked("room", check, lambda: None, WAIT_ROOM_S) as is_ours:
            if not is_ours:
                return False
            held = sorted(
                (state.st_mtime, state.st_size, path) for path, state in files_in(self._folder / "content")
            )
            total = sum(size for _, size, _ in held)
            for _, freed, path in held:
                if total + size <= self._max_bytes:
                    break
                path.unlink(missing_ok=True)
                total -= freed
            notes = sorted((state.st_mtime, path) for path, state in files_in(self._folder / "known"))
            for _, note in notes[: max(0, len(notes) - MAX_KNOWN)]:
                note.unlink(missing_ok=True)
            if shutil.disk_usage(self._folder).free - more < MIN_FREE_BYTES:
                return False
            settle()
        return True

    @contextlib.contextmanager
    def _locked(
        self, slot: str, check: Callable[[], None], tell_wait: Callable[[], None], wait_s: float
    ) -> Iterator[bool]:
        """Hold a lock; False: somebody else held it all the time."""
        try:
            descriptor = os.open(
                self._folder / "locks" / slot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:  # without a lock it is downloaded twice at worst
            yield True
            return
        try:
            yield wait_for(descriptor, check, tell_wait, wait_s)
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a process that was forked meanwhile
            os.close(descriptor)

    def _size_of(self, sha256: str) -> int | None:
        """Return the size of a content; None where none is here."""
        try:
            state = self._content(sha256).lstat()
        except OSError:
            return None
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    def _content(self, sha256: str) -> Path:
        return self._folder / "content" / sha256

    def _note(self, url: str) -> Path:
        return self._folder / "known" / self._mac(b"name", url.encode())

    def _seal(self, url: str, known: Known) -> str:
        plain = msgspec.structs.replace(known, seal="")
        return self._mac(b"seal", msgspec.json.encode((url, plain)))

    def _mac(self, use: bytes, text: bytes) -> str:
        return hmac.new(self._key, use + b"\0" + text, hashlib.sha256).hexdigest()


def wait_for(
    descriptor: int, check: Callable[[], None], tell_wait: Callable[[], None], wait_s: float
) -> bool:
    """Lock a file; where locks cannot be had, go on without. Return False where it took too long."""
    until = time.monotonic() + wait_s
    is_told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            if not is_told:
                tell_wait()
                is_told = True
            rest(STEP_S, check)
        except OSError:
            return True
        else:
            return True


def is_digest(text: str) -> bool:
    """Tell whether a text is a SHA-256 as we write it; anything else could be a path."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
