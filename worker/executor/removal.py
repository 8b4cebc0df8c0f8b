"""Remove a folder that a stranger filled, in steps: whatever lies in it, and nothing outside of it.

Folders that are not empty are first moved up into the topmost one, so that any depth needs three open
files and no recursion. The kernel refuses to move or remove what something is mounted on, so that no
other file system is entered, a bound part of our own neither. Links are removed, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final
from uuid import uuid4

__all__ = ["Removal", "move_folder", "open_folder"]

PASSES_MAX: Final = 1000  # over the topmost folder; each one flattens the tree, so that a few do
LIMIT_S: Final = 3600.0  # of work on one folder: more needs only what somebody goes on to fill
WAITING_MAX: Final = (
    1000  # moved folders that are emptied before the scan goes on; more wait for the next one
)
FOLDER: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Removal:
    """The removal of one folder. `step` until it returns True; use it in one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; nothing is touched."""
        self.folder = folder
        self.reason: str | None = None  # why something is left; None while nothing is known to resist
        self._prefix = f".leaving-{uuid4().hex[:12]}-"
        self._moved = 0
        self._changes = 0
        self._waiting: list[str] = []
        self._spent_s = 0.0
        self._work = self._remove()

    def step(self, limit_s: float) -> bool:
        """Go on for about so long, one file at least; tell whether it is over: gone, or see `reason`."""
        begun_mono = time.monotonic()
        for _ in self._work:
            took_s = time.monotonic() - begun_mono
            if self._spent_s + took_s > LIMIT_S:
                self.reason = f"it was not empty after {LIMIT_S:g} s"
                self.close()
                return True
            if took_s >= limit_s:
                self._spent_s += took_s
                return False
        return True

    def close(self) -> None:
        """Close what is open; a removal that is not over stays undone. Twice does no harm."""
        with contextlib.suppress(ValueError):  # a thread hangs in a step: what it has open is the end's
            self._work.close()

    def _remove(self) -> Generator[None, None, None]:
        try:
            top = open_folder(self.folder)
        except FileNotFoundError:
            return
        except OSError as exc:
            self._remove_other(exc)
            return
        try:
            yield from self._empty_all(top)
        finally:
            os.close(top)

    def _remove_other(self, refusal: OSError) -> None:
        """Remove what stands in the folder's place, if it is none."""
        try:
            if not stat.S_ISDIR(self.folder.lstat().st_mode):
                self.folder.unlink()
                return
        except OSError as exc:
            refusal = exc
        self._note(self.folder.name, refusal)

    def _empty_all(self, top: int) -> Generator[None, None, None]:
        for _ in range(PASSES_MAX):
            before, self.reason = self._changes, None
            yield from self._empty_top(top)
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError as exc:
                self._note(self.folder.name, exc)
            if self._changes == before:
                return

    def _empty_top(self, top: int) -> Generator[None, None, None]:
        with contextlib.ExitStack() as stack:
            try:
                entries = stack.enter_context(os.scandir(top))
            except OSError as exc:
                self._note(self.folder.name, exc)
                return
            for entry in entries:
                if self._is_gone(entry, top):
                    yield
                    continue
                self._waiting.append(entry.name)
                while self._waiting:
                    yield from self._empty(self._waiting.pop(), top)

    def _empty(self, name: str, top: int) -> Generator[None, None, None]:
        """Empty a folder in the topmost one, what is not empty in it moved beside it, and remove it."""
        try:
            folder = open_folder(name, top)
        except OSError as exc:
            self._note(name, exc)
            return
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not self._is_gone(entry, folder):
                        self._move_up(entry.name, folder, top)
                    yield
        except OSError as exc:
            self._note(name, exc)
        finally:
            os.close(folder)
        self._try(os.rmdir, name, top)

    def _is_gone(self, entry: os.DirEntry[str], folder: int) -> bool:
        """Remove an entry; False for a folder that is not empty. What resists is noted."""
        if not is_folder(entry):
            self._try(os.unlink, entry.name, folder)
            return True
        try:
            os.rmdir(entry.name, dir_fd=folder)
        except OSError as exc:
            if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            self._note(entry.name, exc)
            return True
        self._changes += 1
        return True

    def _try(self, remove: Callable[..., None], name: str, folder: int) -> None:
        try:
            remove(name, dir_fd=folder)
            self._changes += 1
        except FileNotFoundError:
            self._changes += 1
        except OSError as exc:
            self._note(name, exc)

    def _move_up(self, name: str, folder: int, top: int) -> None:
        self._moved += 1
        moved = f"{self._prefix}{self._moved}"
        try:
            try:
                os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
            except PermissionError:  # to move a folder changes what it says of the one above
                os.close(open_folder(name, folder))
                os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
        except OSError as exc:
            self._note(name, exc)
            return
        self._changes += 1
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(moved)

    def _note(self, name: str, refusal: OSError) -> None:
        if self.reason is None:
            self.reason = f"{ascii(name)[1:-1][:200]}: {refusal.strerror}"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; a link to one is none."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def open_folder(name: str | Path, above: int | None = None) -> int:
    """Open a folder and make it ours to change; never by a link, nor what is mounted on it.

    Raises:
        OSError: it is none, or may not be opened.
    """
    found = os.open(name, os.O_PATH | FOLDER, dir_fd=above)
    try:
        if above is not None and mount_of(found) != mount_of(above):
            raise OSError(errno.EBUSY, "a file system is mounted there")
        if os.fstat(found).st_mode & (stat.S_IRWXU | stat.S_ISVTX) != stat.S_IRWXU:
            with contextlib.suppress(OSError):  # the opening tells
                take_over(f"/proc/self/fd/{found}")  # what is open, not what is named
        return os.open(".", os.O_RDONLY | FOLDER, dir_fd=found)
    finally:
        os.close(found)


def take_over(folder: str) -> None:
    """Make a folder ours to change: of another user too, where we may give ourselves what is not ours.

    Without CAP_FOWNER neither its mode can be changed, nor what is in it be removed if it is sticky.

    Raises:
        OSError: we may not.
    """
    try:
        os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - a descriptor by its name
    except PermissionError:
        os.chown(folder, os.geteuid(), -1)
        os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - the same


def mount_of(descriptor: int) -> bytes:
    """Return what tells mounts apart: two of one file system have one device (proc(5), fdinfo)."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:  # noqa: PTH123 - no path
            return next(line for line in file if line.startswith(b"mnt_id:"))
    except (OSError, StopIteration):
        return b"device %d" % os.fstat(descriptor).st_dev


def move_folder(folder: Path, target: Path) -> None:
    """Move a folder to another place of the same file system; the target must not be there.

    Raises:
        OSError: it cannot be moved, as where something is mounted on it.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        folder.rename(target)
    except PermissionError:  # a folder that nobody may write cannot be moved either
        os.close(open_folder(folder))
        folder.rename(target)
