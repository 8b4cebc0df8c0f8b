"""Take one file out of a run's folder: without a copy where nobody else can reach it, else copied.

A handler names files by path, and the agent may be able to read more than the handler. So what is
opened is looked at by its descriptor: a regular file, not one that the agent keeps for itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from msgspec import Struct

from worker.storage.file import MadeFile
from worker.storage.folder import copied, measured

__all__ = ["NotTaken", "Rights", "take"]

KERNEL_FOLDERS: Final = (Path("/proc"), Path("/sys"), Path("/dev"))
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - files of users, in a folder of the kernel's


class NotTaken(Exception):  # noqa: N818 - what happened to the file
    """A file cannot be taken; the message says which and why."""


class Rights(Struct, frozen=True):
    """Which files a handler may hand over from outside of its folder."""

    private: tuple[Path, ...] = ()  # folders and files that the agent keeps for itself
    reader_uid: int | None = None  # the user that handlers run as, where it is another one

    def forbids(self, real: Path, found: os.stat_result) -> bool:
        """Tell whether a file outside is not the handler's, by its real path and by what it is."""
        if any(real.is_relative_to(kept) for kept in (*KERNEL_FOLDERS, *self.private)):
            return not real.is_relative_to(SHARED_MEMORY)
        is_readable = found.st_uid == self.reader_uid or bool(found.st_mode & stat.S_IROTH)
        return self.reader_uid is not None and not is_readable

    def keeps(self, found: os.stat_result) -> bool:
        """Tell whether a file is a kept one under another name."""
        return any(is_same(kept, found) for kept in self.private)


def is_same(kept: Path, found: os.stat_result) -> bool:
    """Tell whether a path names an open file."""
    with contextlib.suppress(OSError):
        return os.path.samestat(kept.stat(), found)
    return False


def take(
    made: MadeFile, target: Path, workdir: Path, rights: Rights, *, may_move: bool = True
) -> tuple[int, str]:
    """Bring a file to `target`, which must not exist; durable but for its name; return size and SHA-256.

    Where it may not be moved (it is handed over under another name too), it is copied.

    Raises:
        NotTaken: it is not there, no regular file, or not the handler's to hand over.
        OSError: the disk refuses.
    """
    with opened(made) as source:
        found = os.fstat(source.fileno())
        real = Path(f"/proc/self/fd/{source.fileno()}").readlink()
        is_inside = real.is_relative_to(workdir.resolve())
        if not stat.S_ISREG(found.st_mode):
            raise NotTaken(f"file {made.name} at {made.path} is no regular file")
        if not made.is_ours and (rights.keeps(found) or (not is_inside and rights.forbids(real, found))):
            raise NotTaken(f"file {made.name} at {made.path} is not the handler's to hand over")
        if may_move and (is_inside or made.is_ours) and is_moved(real, target, found):
            return measured(source)
        with target.open("xb") as out:
            return copied(source, out)


@contextlib.contextmanager
def opened(made: MadeFile) -> Iterator[FileIO]:
    """Open a file without waiting for the other end of a pipe."""
    try:
        descriptor = os.open(made.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as exc:
        raise NotTaken(f"file {made.name} at {made.path} cannot be read: {exc.strerror}") from exc
    with FileIO(descriptor, "rb") as source:
        yield source


def is_moved(real: Path, target: Path, found: os.stat_result) -> bool:
    """Rename a file that has no other name, if it lies on the same file system; tell whether it came.

    What came must be what was opened: somebody may have changed the name meanwhile.
    """
    if found.st_nlink != 1 or os.geteuid() not in (0, found.st_uid):
        return False
    try:
        real.rename(target)
    except OSError:
        return False
    if not os.path.samestat(target.lstat(), found):
        target.unlink()
        return False
    if found.st_uid != os.geteuid():  # of the user that handlers run as: it must not change any more
        os.chown(target, os.geteuid(), os.getegid())
    target.chmod(found.st_mode & 0o777 | 0o600)
    return True


def duplicates(names: Collection[str]) -> list[str]:
    """Return the names that cannot lie beside each other: the same twice, or a file that is a folder too."""
    seen = set(names)
    folders = {name.rsplit("/", depth)[0] for name in seen for depth in range(1, name.count("/") + 1)}
    twice = {name for name in seen if list(names).count(name) > 1} if len(seen) < len(names) else set()
    return sorted(twice | (seen & folders))
