"""The archive of a support bundle: written whole or not at all, and over nothing."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["archived", "write_new"]

MODE: Final = 0o600


def archived(folder: str, files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar.gz with files in one folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), MODE, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, for its owner only; durable on return.

    Raises:
        FileExistsError: there is one; it is left as it is.
        OSError: the disk refuses; nothing is left.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, MODE), "wb", buffering=0) as file:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
