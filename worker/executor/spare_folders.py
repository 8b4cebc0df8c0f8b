"""Folders that runs left as they were made: a later run gets one, or it is removed a moment later."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Made", "SpareFolders"]


class Made(NamedTuple):
    """A folder as it was made for a run: who sees another one again sees one that somebody changed.

    Who sees the same must look into it. Kernels before 6.13 count time in steps of some milliseconds: what is
    changed within the first of them may show in nothing but in what is in the folder. Later ones tell most
    changes from a look before them; on a tmpfs not those of a link(2), an unlink(2) or an rmdir(2).
    """

    inode: int
    mode: int
    owner: int
    changed_ns: int

    @classmethod
    def seen(cls, path: str) -> Made:
        """Look at a folder.

        Raises:
            OSError: it is not there.
        """
        seen = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - before and after every run
        return cls(seen.st_ino, seen.st_mode, seen.st_uid, seen.st_ctime_ns)


class SpareFolders:
    """Folders that no run uses any more, the newest last.

    On ext4 it takes some 100 µs of CPU to make a folder and to remove it. Beside somebody who syncs the
    removal waits for milliseconds, and who makes the next one waits for it. To give a folder another name
    takes 10 µs, and waits for nothing.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._spares: dict[str, tuple[Made, float]] = {}
        self._unfit: list[str] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._spares) + len(self._unfit)

    def __contains__(self, path: str) -> bool:
        """Tell whether a folder is one of them."""
        return path in self._spares or path in self._unfit

    def put(self, path: str, made: Made, now_s: float) -> bool:
        """Take a folder if it is as it was made; tell whether it is."""
        try:
            if Made.seen(path) != made:
                return False
        except OSError:
            return False
        self._spares[path] = (made, now_s)
        return True

    def become(self, path: str) -> bool:
        """Have one of them be the folder `path`, empty and as it was made; tell whether that is there now."""
        if not self._spares:
            return False
        spare, (made, _) = self._spares.popitem()
        try:
            if Made.seen(spare) == made and is_empty(spare):
                os.rename(spare, path)  # noqa: PTH104 - before every run
                return True
        except OSError:  # something else has come to one of both places
            pass
        self._unfit.append(spare)
        return False

    def pop(self, until_s: float) -> list[str]:
        """Return what must be removed: those that were taken until then, and the unfit; they are left out."""
        gone, self._unfit = self._unfit, []
        for path, (_, since_s) in list(self._spares.items()):
            if since_s > until_s:
                break
            del self._spares[path]
            gone.append(path)
        return gone


def is_empty(folder: str) -> bool:
    """Tell whether nothing is in a folder.

    Raises:
        OSError: it is not there, or none.
    """
    with os.scandir(folder) as entries:
        return next(entries, None) is None
