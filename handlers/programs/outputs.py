"""Which files a program made shall be kept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fnmatch import translate
from pathlib import Path, PurePosixPath

from worker import Context, Fail

__all__ = ["check_patterns", "find_outputs", "keep_outputs"]

MAX_OUTPUTS = 1000


def check_patterns(patterns: Sequence[str]) -> None:
    """Refuse patterns that could leave the run's folder or match no file, before anything is started.

    Raises:
        Fail: one is of that kind; it is named.
    """
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
            raise Fail(
                f"outputs: {pattern[:200]!r} must be a pattern below the run's folder, as renders/*.png"
            )
        if any("**" in part and part != "**" for part in parts):
            raise Fail(f"outputs: {pattern[:200]!r}: ** stands alone between slashes, as in renders/**/*.png")
        if parts[-1] == "**" or pattern.endswith(("/", "/.")):
            raise Fail(f"outputs: {pattern[:200]!r} means folders; name the files in them, as renders/**/*")
        try:
            os.fsencode(pattern)
            for part in parts:
                re.compile(translate(part))
        except (ValueError, re.error) as exc:
            raise Fail(f"outputs: {pattern[:200]!r} cannot be a pattern: {exc}") from exc


def keep_outputs(ctx: Context, folder: Path, patterns: Sequence[str]) -> list[str]:
    """Make the files of a folder that match artifacts, named by their places there; return the names."""
    found = find_outputs(folder, patterns)
    return [ctx.artifact(path, name=path.relative_to(folder).as_posix()) for path in found]


def find_outputs(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the regular files below the folder that match, each once, sorted.

    Raises:
        Fail: a pattern matches no file, or too many are matched.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matched = {path for path in folder.glob(pattern) if is_inside(path, folder)}
        if not matched:
            raise Fail(f"outputs: the program made no file that matches {pattern!r}")
        found |= matched
    if len(found) > MAX_OUTPUTS:
        raise Fail(f"outputs: {len(found)} files match, {MAX_OUTPUTS} are allowed; pack them into an archive")
    return sorted(found)


def is_inside(path: Path, folder: Path) -> bool:
    """Tell whether a path is a file of the folder; links that lead outside are not."""
    real = Path(os.path.realpath(path))
    return real.is_file() and real.is_relative_to(os.path.realpath(folder))
