"""Inputs that are kept on this machine between runs: by their content, and by who downloaded what.

::

    <folder>/content/<sha256>     what was downloaded
    <folder>/known/<name>         which content a URL had, by its ETag; the name says nothing
    <folder>/locks/<00 … ff>      held while one is downloaded, so that others wait for it

Every handler of this user can write all of it. So nothing in it is believed:

- What is used is copied into the run's folder, and checked on the way: a content that is not what its name
  says is removed, and downloaded again. So a run can change neither the cache nor what another run has.
- What a URL had is signed, with a key that handlers of one type have, and others do not (`CacheGrant`).

Locks are flock(2): they end with whoever holds them, and nobody waits for one for longer than `WAIT_S`.
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
from typing import IO, Final

import msgspec

from worker.sdk.cache_grant import CacheGrant
from worker.sdk.download import BLOCK_BYTES, Downloaded, rest

__all__ = ["InputCache", "Known", "is_digest"]

WAIT_S: Final = 3600.0  # for another run's download; then it is downloaded once more
STEP_S: Final = 0.2
STALE_S: Final = 3600.0  # since a part was written last: whoever wrote it is gone
MIN_FREE_BYTES: Final = 512 * 1024 * 1024  # less than this is left to others, not to a cache
MAX_KNOWN: Final = 20_000
MAX_NOTE_BYTES: Final = 16 * 1024
FICLONE: Final = 0x40049409  # ioctl_ficlone(2): blocks are shared until one is written
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
        with self._locked(slot, check, tell_wait):
            yield

    def known(self, url: str) -> Known | None:
        """Return which content a URL had; None where that is not known, or not by handlers of this type."""
        try:
            with opened(self._note(url)) as file:
                known = msgspec.json.decode(file.read(MAX_NOTE_BYTES), type=Known)
        except (OSError, msgspec.DecodeError, ValueError):
            return None
        if not hmac.compare_digest(known.seal, self._seal(url, known)) or not is_digest(known.sha256):
            return None
        return known if self.has(known.sha256) else None

    def has(self, sha256: str) -> bool:
        """Tell whether a content seems to be here; `copy` finds out whether it is what it should be."""
        return self._content(sha256).exists()

    def copy(self, sha256: str, part: Path, max_bytes: int) -> int | None:
        """Copy a content to a file; return its size. None where it is not here, or is not what it should be.

        Raises:
            OverflowError: it is larger than `max_bytes`; the text is its size.
        """
        content = self._content(sha256)
        try:
            with opened(content) as here, part.open("r+b") as there:
                size = os.fstat(here.fileno()).st_size
                if size > max_bytes:
                    raise OverflowError(str(size))
                digest = copied(here, there)
        except OSError:
            return None
        if digest != sha256:  # a disk's fault, or somebody's deed
            with contextlib.suppress(OSError):
                content.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(content)  # the last to go
        return size

    def keep(self, url: str, done: Downloaded, path: Path) -> None:
        """Keep what was downloaded, where it fits within the bounds."""
        with contextlib.suppress(OSError):
            if self._has_content(done, path) and (done.etag or done.modified):
                known = Known(done.sha256, done.size, done.etag, done.modified)
                note = msgspec.structs.replace(known, seal=self._seal(url, known))
                self._put(self._note(url), lambda file: void(file.write(msgspec.json.encode(note))))

    def _has_content(self, done: Downloaded, path: Path) -> bool:
        """Have a content here; tell whether it is."""
        content = self._content(done.sha256)
        with self._locked("room", lambda: None, lambda: None):
            if content.exists():
                os.utime(content)
                return True
            if done.size > self._max_bytes or not self._has_made_room(done.size):
                return False
            with path.open("rb") as here:
                self._put(content, lambda there: void(copied(here, there)))
        return True

    def _has_made_room(self, size: int) -> bool:
        """Remove what was used longest ago; tell whether there is room for so much more.

        Who reads what is removed has it open, and reads on.
        """
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
        return shutil.disk_usage(self._folder).free - size >= MIN_FREE_BYTES

    def _put(self, path: Path, write: Callable[[IO[bytes]], None]) -> None:
        """Write a file that is seen when it is whole."""
        part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            with part.open("x+b") as file:
                write(file)
            part.chmod(0o400)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, slot: str, check: Callable[[], None], tell_wait: Callable[[], None]) -> Iterator[None]:
        try:
            descriptor = os.open(
                self._folder / "locks" / slot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:  # without a lock it is downloaded twice at worst
            yield
            return
        try:
            wait_for(descriptor, check, tell_wait)
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a process that was forked meanwhile
            os.close(descriptor)

    def _content(self, sha256: str) -> Path:
        return self._folder / "content" / sha256

    def _note(self, url: str) -> Path:
        return self._folder / "known" / self._mac(b"name", url.encode())

    def _seal(self, url: str, known: Known) -> str:
        plain = msgspec.structs.replace(known, seal="")
        return self._mac(b"seal", msgspec.json.encode((url, plain)))

    def _mac(self, use: bytes, text: bytes) -> str:
        return hmac.new(self._key, use + b"\0" + text, hashlib.sha256).hexdigest()


def wait_for(descriptor: int, check: Callable[[], None], tell_wait: Callable[[], None]) -> None:
    """Lock a file; after a long time, or where locks cannot be had, go on without."""
    until = time.monotonic() + WAIT_S
    is_told = False
    while time.monotonic() < until:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                tell_wait()
                is_told = True
            rest(STEP_S, check)
        except OSError:
            return
        else:
            return


def opened(path: Path) -> IO[bytes]:
    """Open a regular file to read; anything else somebody put there is an error, and is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def copied(here: IO[bytes], there: IO[bytes]) -> str:
    """Copy a file, as shared blocks where the disk can do that; return the SHA-256 of the copy."""
    there.seek(0)
    there.truncate()
    digest = hashlib.sha256()
    try:
        fcntl.ioctl(there.fileno(), FICLONE, here.fileno())
    except OSError:
        while block := here.read(BLOCK_BYTES):
            there.write(block)
            digest.update(block)
        there.flush()
        return digest.hexdigest()
    while block := there.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def files_in(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a folder; parts that nobody writes any more are removed."""
    found = []
    for entry in os.scandir(folder):
        try:
            state = entry.stat(follow_symlinks=False)
            is_part = entry.name.startswith(".")
            if is_part and time.time() - state.st_mtime > STALE_S:
                os.unlink(entry.path)  # noqa: PTH108 - an entry has no path of pathlib
            elif not is_part and stat.S_ISREG(state.st_mode):
                found.append((Path(entry.path), state))
        except OSError:  # gone meanwhile, or somebody's folder
            continue
    return found


def is_digest(text: str) -> bool:
    """Tell whether a text is a SHA-256 as we write it; anything else could be a path."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def void(_value: object) -> None:
    """Forget a value."""
