"""The names of the files that a run hands over."""

from __future__ import annotations

import os

__all__ = ["MAX_ARTIFACTS", "ArtifactNames", "artifact_name"]

MAX_ARTIFACTS = 1000
RESERVED_NAMES = ("stdout", "stderr")  # of the files of what a run prints
MAX_NAME_BYTES = 255  # of one part of an artifact's name: the limit of Linux file systems
MAX_PATH_BYTES = 800  # of the whole: object stores take keys of 1,024 bytes, with their prefix and the run


class ArtifactNames:
    """The names that are taken in one run."""

    def __init__(self) -> None:
        """Start with none."""
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """Take a name for a file, and return it.

        Raises:
            ValueError: it is none, or no file of this name can lie beside those that were handed over.
        """
        name = artifact_name(name)
        self._check_free(name)
        if len(self._taken) >= MAX_ARTIFACTS:
            raise ValueError(f"a run has at most {MAX_ARTIFACTS} artifacts; pack many files into an archive")
        self._taken.add(name)
        return name

    def _check_free(self, name: str) -> None:
        if name.partition("/")[0] in RESERVED_NAMES:
            raise ValueError(
                f"artifact name {name!r} is reserved for what the run prints; pass another one as name="
            )
        if name in self._taken:
            raise ValueError(f"artifact name {name!r} is taken in this run; pass another one as name=")
        if any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in self._taken):
            raise ValueError(
                f"artifact name {name!r} makes a file a folder of another one; pass another one as name="
            )


def artifact_name(name: str) -> str:
    """Return the name, or raise ValueError where it could not be a relative path of plain parts."""
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") or len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts)
        or len(parts) > 32
        or len(os.fsencode(name)) > MAX_PATH_BYTES
        or not name.isprintable()
        or "\\" in name
    ):
        raise ValueError(
            f"{name[:300]!r} is no artifact name: parts joined by '/', none of them empty, '.' or '..',"
            f" {MAX_NAME_BYTES} bytes each at most and {MAX_PATH_BYTES} together"
        )
    return name
