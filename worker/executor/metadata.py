"""The metadata of installed packages, as far as it is needed to find handlers.

importlib.metadata tells the same, and is asked where packages may be elsewhere than in folders on the path
(in a zip, or known to an importer of somebody's own). It takes 1.5 MiB of every agent for good, email and
zipfile among it, and an eighth of the CPU of its start.
https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final, NamedTuple, Protocol

__all__ = ["FolderPackage", "Package", "installed_packages", "section_of"]

INFOS: Final = (".dist-info", ".egg-info")  # the endings of folders; the second is setuptools' older form
ABOUT: Final = ("METADATA", "PKG-INFO")


class Package(Protocol):
    """An installed package; `importlib.metadata.Distribution` is one."""

    @property
    def name(self) -> str:
        """As its author spells it."""
        ...

    @property
    def version(self) -> str:
        """As its author gave it."""
        ...

    def read_text(self, filename: str) -> str | None:
        """Return a file of the metadata; None where there is none."""
        ...


class FolderPackage(NamedTuple):
    """A package whose metadata is a folder."""

    folder: Path

    @property
    def name(self) -> str:
        """As its author spells it."""
        return self._about("Name") or ""

    @property
    def version(self) -> str:
        """As its author gave it."""
        return self._about("Version") or ""

    def read_text(self, filename: str) -> str | None:
        """Return a file of the metadata; None where there is none that can be read.

        What is no UTF-8 in it is replaced: old packages have their authors' names so, which nobody asks for.
        """
        try:
            return (self.folder / filename).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def _about(self, field: str) -> str | None:
        for filename in ABOUT:
            for line in (self.read_text(filename) or "").splitlines():
                name, _, value = line.partition(":")
                if not line:
                    break  # the description follows
                if name.lower() == field.lower():
                    return value.strip()
        return None


def installed_packages(path: Iterable[str] | None = None) -> Iterable[Package]:
    """Return what is installed on `sys.path`, in its order; the same package may come more than once."""
    folders = sys.path if path is None else [*path]
    finders = [one for one in sys.meta_path if hasattr(one, "find_distributions")]
    if finders == [PathFinder] and not any(is_elsewhere(folder) for folder in folders):
        return packages_in(folders)
    from importlib.metadata import distributions  # noqa: PLC0415 - see above

    return distributions(path=[*folders])


def is_elsewhere(folder: str) -> bool:
    """Tell whether an entry of the path holds packages otherwise than as folders: a zip, an egg."""
    return folder.endswith(".egg") or os.path.isfile(folder)  # noqa: PTH113 - at each start, for each


def packages_in(folders: Iterable[str]) -> Iterator[Package]:
    """Yield the packages whose metadata stand in folders."""
    for folder in folders:
        try:
            names = sorted(os.listdir(folder or "."))  # noqa: PTH208 - names alone are wanted
        except OSError:
            continue
        yield from (FolderPackage(Path(folder, name)) for name in names if name.endswith(INFOS))


def section_of(text: str, wanted: str) -> Iterator[tuple[str, str]]:
    """Yield names and values of one section of an ``entry_points.txt``.

    Raises: ValueError where a line has no value.
    """
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == wanted and line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"{line!r} is no entry point")
            yield name.strip(), value.strip()
