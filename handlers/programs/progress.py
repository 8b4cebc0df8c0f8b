"""Read how far a program is from what it prints."""

from __future__ import annotations

import re
from collections.abc import Callable

from worker import Fail

__all__ = ["ProgressReader", "progress_reader"]

ProgressReader = Callable[[str], float | None]

PERCENT = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,6})?)\s?%")
COUNT = re.compile(r"(?<![\w./-])(\d{1,12})\s?/\s?(\d{1,12})(?![\w./-])")
MAX_PATTERN_CHARS = 500


def progress_reader(pattern: str | None) -> ProgressReader:
    """Return a function from a line to 0…1, or to None where the line says nothing of progress.

    Args:
        pattern: a regular expression, searched in each line: its one group holds percent, or its
            two groups hold "so many" and "of so many". None: ``NN%`` and ``N/M`` are understood.

    Raises:
        Fail: it is no regular expression, or has no or too many groups.
    """
    if pattern is None:
        return usual_progress
    compiled = compiled_pattern(pattern)
    return lambda line: ratio_of(compiled.search(line))


def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a task."""
    try:
        compiled = re.compile(pattern[:MAX_PATTERN_CHARS])
    except re.error as exc:
        raise Fail(f"progress {pattern!r} is no regular expression: {exc}") from exc
    if len(pattern) > MAX_PATTERN_CHARS or compiled.groups not in (1, 2):
        raise Fail(
            f"progress {pattern[:60]!r} needs one group (percent) or two (so many, of so many), "
            f"and at most {MAX_PATTERN_CHARS} characters"
        )
    return compiled


def usual_progress(line: str) -> float | None:
    """Understand ``NN%`` and ``N/M``; the last of its kind in a line counts."""
    for pattern in (PERCENT, COUNT):
        ratios = [ratio for match in pattern.finditer(line) if (ratio := ratio_of(match)) is not None]
        if ratios:
            return ratios[-1]
    return None


def ratio_of(match: re.Match[str] | None) -> float | None:
    """Return the ratio that the groups hold; None where they hold no sensible one."""
    if match is None:
        return None
    try:
        numbers = [float(group) for group in match.groups()]
    except (TypeError, ValueError):
        return None  # a group that did not take part, or that holds words
    done, total = (numbers[0], 100.0) if len(numbers) == 1 else numbers
    return done / total if 0 <= done <= total and 0 < total < float("inf") else None
