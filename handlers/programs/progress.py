"""Read how far a program is from what it prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from handlers.programs.parameters import pattern_of
from worker import Fail

__all__ = ["ProgressReader", "progress_patterns", "progress_reader"]

ProgressReader = Callable[[str], float | None]

PERCENT = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,6})?)\s?%")
COUNT = re.compile(r"(?<![\w./-])(\d{1,12})\s?/\s?(\d{1,12})(?![\w./-])")
CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,9}):(\d{1,9}(?:\.\d{1,9})?)")  # 01:02:03.45, 02:03
MAX_PATTERNS: Final = 20
NAMES: Final = ("percent", "done", "total", "time", "duration")  # of groups


def progress_reader(patterns: str | Sequence[str] | None, total: float | None = None) -> ProgressReader:
    """Return a function from a line to 0…1, or to None where the line says nothing of progress.

    Args:
        patterns: regular expressions, searched in each line. Groups without names: one holds percent, two
            hold "so many" and "of so many". With names: ``percent``; ``done`` of ``total``; ``time`` of
            ``duration``, both as hh:mm:ss or seconds. What is known of total and duration stays known.
            None: ``NN%`` and ``N/M`` are understood.
        total: what is known of it before.

    Raises:
        Fail: one is no regular expression, or its groups say nothing.
    """
    try:
        compiled = progress_patterns(patterns)
    except ValueError as exc:
        raise Fail(f"progress {exc}") from exc
    return Measured(compiled, total).ratio if compiled else usual_progress


def progress_patterns(patterns: str | Sequence[str] | None) -> list[re.Pattern[str]]:
    """Compile patterns; raise ValueError where one cannot tell progress."""
    texts = [patterns] if isinstance(patterns, str) else list(patterns or [])
    if len(texts) > MAX_PATTERNS:
        raise ValueError(f"has {len(texts)} patterns; {MAX_PATTERNS} are allowed")
    compiled = [compiled_pattern(text) for text in texts]
    if compiled and not any(
        not one.groupindex or {"percent", "done", "time"} & set(one.groupindex) for one in compiled
    ):
        raise ValueError("has no pattern with a group percent, done or time")
    return compiled


def compiled_pattern(text: str) -> re.Pattern[str]:
    """Compile one pattern."""
    compiled = pattern_of(text)
    names = set(compiled.groupindex)
    if names and (names - set(NAMES) or compiled.groups != len(names)):
        raise ValueError(f"{text[:60]!r}: groups are named {', '.join(NAMES)}, and none is without a name")
    if not names and compiled.groups not in (1, 2):
        raise ValueError(
            f"{text[:60]!r} needs one group (percent) or two (so many, of so many), or groups with the names "
            f"{', '.join(NAMES)}"
        )
    return compiled


class Measured:
    """What is known of a program's progress: how much it is, from whichever line told it."""

    def __init__(self, patterns: Sequence[re.Pattern[str]], total: float | None) -> None:
        self._patterns = patterns
        self._total = total
        self._duration_s: float | None = None

    def ratio(self, line: str) -> float | None:
        """Return how far it is by a line; the last pattern that says something wins."""
        found: float | None = None
        for pattern in self._patterns:
            if match := pattern.search(line):
                ratio = self._named(match.groupdict()) if pattern.groupindex else ratio_of(match)
                found = found if ratio is None else ratio
        return found

    def _named(self, groups: dict[str, str | None]) -> float | None:
        """Return the ratio that named groups tell, and remember what they say of the whole."""
        if (total := number(groups.get("total"))) is not None:
            self._total = total
        if (duration_s := seconds(groups.get("duration"))) is not None:
            # Programs name each of their inputs; the longest is the work.
            self._duration_s = max(duration_s, self._duration_s or 0.0)
        if (percent := number(groups.get("percent"))) is not None:
            return part_of(percent, 100.0)
        if (done := number(groups.get("done"))) is not None:
            return part_of(done, self._total)
        time_s = seconds(groups.get("time"))
        return None if time_s is None else part_of(time_s, self._duration_s, is_clamped=True)


def usual_progress(line: str) -> float | None:
    """Understand ``NN%`` and ``N/M``; the last of its kind in a line counts."""
    for pattern in (PERCENT, COUNT):
        ratios = [ratio for match in pattern.finditer(line) if (ratio := ratio_of(match)) is not None]
        if ratios:
            return ratios[-1]
    return None


def ratio_of(match: re.Match[str]) -> float | None:
    """Return the ratio that groups without names hold; None where they hold no sensible one."""
    numbers = [number(group) for group in match.groups()]
    done, total = (numbers[0], 100.0) if len(numbers) == 1 else numbers
    return None if done is None else part_of(done, total)


def part_of(done: float, total: float | None, *, is_clamped: bool = False) -> float | None:
    """Return a ratio; None where it is none. The last frame may end behind the duration."""
    if total is None or not 0 < total < float("inf"):
        return None
    if is_clamped:
        done = min(done, total)
    return done / total if 0 <= done <= total else None


def number(text: str | None) -> float | None:
    """Return a number; None for a group that did not take part, or that holds words."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def seconds(text: str | None) -> float | None:
    """Return a time on the clock, or a number, as seconds."""
    match = CLOCK.fullmatch(text.strip()) if text is not None else None
    if match is None:
        return number(text)
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3])
