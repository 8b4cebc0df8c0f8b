"""Which files a handler was made of, and whether one of them changed since."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Final

import worker

__all__ = ["handler_sources", "has_changed"]

MAX_FILES: Final = 64  # looked at before every run: three microseconds each
INSTALLED: Final = frozenset({"site-packages", "dist-packages"})  # changed by an installer, not by an author
NOT_THEIRS: Final = tuple(f"{Path(file).parent}{os.sep}" for file in (os.__file__, worker.__file__))


def handler_sources(path: str) -> dict[str, int]:
    """Return the file of a handler and the modules beside or below it that are loaded now, by change time.

    Libraries are left out, also those of an interpreter or a virtual environment below the handler's
    folder. A file that does not exist (a frozen or zipped module) is none.
    """
    folder = Path(path).parent
    own = [path] if folder.name in INSTALLED else [path, *sorted(files_below(folder))]
    changed = {one: mtime_ns for one in dict.fromkeys(own) if (mtime_ns := changed_ns(one)) is not None}
    return dict(list(changed.items())[:MAX_FILES])


def has_changed(sources: Mapping[str, int]) -> bool:
    """Tell whether one of the files was changed or removed; no more are looked at than a child may name."""
    for path, mtime_ns in islice(sources.items(), MAX_FILES):  # noqa: SIM110 - as `Redactor._has_plain`
        if changed_ns(path) != mtime_ns:
            return True
    return False


def files_below(folder: Path) -> list[str]:
    """Return the files of loaded modules in a folder, or below it."""
    files = [file for module in list(sys.modules.values()) if (file := file_of(module)) is not None]
    start = f"{folder}{os.sep}"
    return [
        file
        for file in files
        if file.startswith(start)
        and not file.startswith(NOT_THEIRS)
        and INSTALLED.isdisjoint(Path(file[len(start) :]).parts)
    ]


def file_of(module: ModuleType | None) -> str | None:
    """Return the source of a module; some put odd things into `sys.modules`."""
    try:
        file = getattr(module, "__file__", None)
    except Exception:  # noqa: BLE001 - lazy modules run code of their own here
        return None
    return file if isinstance(file, str) else None


def changed_ns(path: str) -> int | None:
    """Return when a file was changed; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - before every run
    except (OSError, ValueError):
        return None
