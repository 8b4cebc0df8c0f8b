"""Files of a cache of inputs, in folders that anybody may have written."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from worker.sdk.download import BLOCK_BYTES

__all__ = ["copied", "files_in", "opened", "written"]

STALE_S: Final = 3600.0  # since a part was written last: whoever wrote it is gone
FICLONE: Final = 0x40049409  # ioctl_ficlone(2): blocks are shared until one is written


def opened(path: Path) -> IO[bytes]:
    """Open a regular file to read; anything else somebody put there is an error, and is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


@contextlib.contextmanager
def written(path: Path, write: Callable[[IO[bytes]], object]) -> Iterator[Path]:
    """Give a part that was written, to be renamed to `path` when all is well; else it is removed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with part.open("x+b") as file:
            write(file)
        part.chmod(0o400)
        yield part
    finally:
        part.unlink(missing_ok=True)


def copied(here: IO[bytes], there: IO[bytes], size: int, check: Callable[[], None]) -> str:
    """Copy a file, as shared blocks where the disk can do that; return the SHA-256 of the copy.

    Raises: OSError where it is longer than `size`, which somebody has it grow to.
    """
    there.seek(0)
    there.truncate()
    digest, left = hashlib.sha256(), size
    try:
        fcntl.ioctl(there.fileno(), FICLONE, here.fileno())
        is_shared = True
    except OSError:
        is_shared = False
    while block := (there if is_shared else here).read(BLOCK_BYTES):
        check()
        if (left := left - len(block)) < 0:
            raise OSError("it grows while it is read")
        digest.update(block)
        if not is_shared:
            there.write(block)
    there.flush()
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
