"""Kinds of values on the command line that click does not have: durations, sizes, lists, pairs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

__all__ = [
    "BYTES", "DURATION", "FILE", "FOLDER", "MEMORY_LIMIT", "PAIR", "PARAMETER", "TIME_LIMIT", "WORDS",
    "Bytes", "Duration", "Pair", "Words",
]  # fmt: skip

DURATION_PARTS: Final = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
DURATION_UNITS_S: Final = (86400, 3600, 60, 1)
BYTES_UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Duration(click.ParamType[float]):
    """Seconds: ``90``, ``1.5``, ``90s``, ``5m``, ``1h30m``."""

    name = "duration"

    def __init__(self, *, is_limit: bool = False) -> None:
        """Say whether it is a limit, which cannot be 0: nothing could be done in no time."""
        self._is_limit = is_limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._checked(float(value), value, param, ctx)
        written = str(value).strip().lower()
        if re.fullmatch(r"-?\d+(\.\d+)?", written):
            return self._checked(float(written), value, param, ctx)
        match = DURATION_PARTS.fullmatch(written)
        if not written or match is None:
            self.fail(f"{value!r} is not a duration; write seconds (90), or like 90s, 5m, 1h30m", param, ctx)
        parts = zip(match.groups(), DURATION_UNITS_S, strict=True)
        return self._checked(sum(float(part) * unit for part, unit in parts if part), value, param, ctx)

    def _checked(
        self, seconds: float, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not 0 <= seconds < float("inf"):
            self.fail(f"{value!r} is not a duration: it must not be negative", param, ctx)
        if self._is_limit and seconds == 0:
            self.fail(f"{value!r} is no limit: it must be above 0; leave it out for none", param, ctx)
        return seconds


class Bytes(click.ParamType[int]):
    """Bytes: ``1048576``, ``512M``, ``4GiB`` (binary), ``4GB`` (decimal)."""

    name = "size"

    def __init__(self, *, is_limit: bool = False) -> None:
        """Say whether it is a limit, which cannot be 0."""
        self._is_limit = is_limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b|i)?", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write bytes, or like 512M, 4GiB, 4GB", param, ctx)
        number, unit, suffix = match.groups()
        base = 1000 if suffix == "b" else 1024
        size_bytes = int(float(number) * base ** BYTES_UNITS[unit])
        if self._is_limit and size_bytes == 0:
            self.fail(f"{value!r} is no limit: it must be above 0; leave it out for none", param, ctx)
        return size_bytes


class Words(click.ParamType[tuple[str, ...]]):
    """A list: separated by commas, or the option given several times."""

    name = "list"
    envvar_list_splitter = "\0"  # one value; the commas are split here, so that paths may hold spaces

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words."""
        if isinstance(value, str):
            return tuple(word for part in value.split(",") if (word := part.strip()))
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return tuple(value)
        return self.fail(f"{value!r} is not a list of words", param, ctx)


class Pair(click.ParamType[tuple[str, str]]):
    """``key=value``."""

    name = "key=value"
    envvar_list_splitter = ","

    def __init__(self, *, keeps_spaces: bool = False) -> None:
        """Say whether spaces around a value belong to it."""
        self._keeps_spaces = keeps_spaces

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return key and value; a key has no spaces around it."""
        if isinstance(value, tuple) and len(value) == 2:
            return value
        key, sign, rest = str(value).partition("=")
        if not sign or not key.strip():
            self.fail(f"{value!r} is not key=value", param, ctx)
        return key.strip(), rest if self._keeps_spaces else rest.strip()


DURATION: Final = Duration()
BYTES: Final = Bytes()
TIME_LIMIT: Final = Duration(is_limit=True)
MEMORY_LIMIT: Final = Bytes(is_limit=True)
WORDS: Final = Words()
PAIR: Final = Pair()
PARAMETER: Final = Pair(keeps_spaces=True)
FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)
