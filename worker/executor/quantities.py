"""Read numbers, sizes and durations as tasks carry them, strictly, with a short reason; say them again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

__all__ = ["MAX_CHARS", "MAX_NUMBER", "cut", "read_number", "read_seconds", "read_size", "shown", "size_text"]

SAID_UNITS: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
NUMBER: Final = re.compile(r"\s*(-?\d{1,24}(?:\.\d{0,30})?)\s*", re.ASCII)
SIZE: Final = re.compile(r"\s*(-?\d{1,24}(?:\.\d{0,30})?)\s*([kmgtp]?)(i?b|i)?\s*", re.ASCII | re.IGNORECASE)
PART: Final = r"(\d{1,24}(?:\.\d{0,30})?)"
DURATION: Final = re.compile(
    rf"\s*(?=\S)(?:{PART}d)?(?:{PART}h)?(?:{PART}m)?(?:{PART}s)?\s*", re.ASCII | re.IGNORECASE
)
PARTS_S: Final = (86400, 3600, 60, 1)
MAX_CHARS: Final = 256  # of a text; longer ones are somebody's mistake
MAX_NUMBER: Final = 10**24  # more than any machine has; with a unit and two decimals exact enough as Decimal


def read_number(value: object) -> Decimal:
    """Read a number from 0, also as text; exact, so that 0.1 is no more than 0.1."""
    text = number_text(value)
    match = NUMBER.fullmatch(text) if text is not None else None
    if match is None:
        raise ValueError(f"must be a number, not {shown(value)}")
    return bounded(Decimal(match[1]), value)


def read_size(value: object) -> int:
    """Read bytes: a number, or text like 512M and 24GiB (binary) or 24GB (decimal), in any case."""
    text = number_text(value)
    match = SIZE.fullmatch(text) if text is not None else None
    if match is None:
        raise ValueError(f"must be bytes, or text like 512M, 24GiB or 24GB, not {shown(value)}")
    number, unit, suffix = Decimal(match[1]), match[2].lower(), (match[3] or "").lower()
    base = 1000 if suffix == "b" else 1024
    return int(bounded(number * base ** UNITS[unit], value))


def read_seconds(value: object) -> float:
    """Read a duration: seconds, or text like 90, 90s, 5m, 1h30m, 2d."""
    text = number_text(value)
    if text is not None and (match := NUMBER.fullmatch(text)) is not None:
        return float(bounded(Decimal(match[1]), value))
    match = DURATION.fullmatch(text) if text is not None else None
    if match is None:
        raise ValueError(f"must be seconds, or text like 90s, 5m or 1h30m, not {shown(value)}")
    return float(
        sum(Decimal(part) * unit for part, unit in zip(match.groups(), PARTS_S, strict=True) if part)
    )


def number_text(value: object) -> str | None:
    """Return a number as plain digits; text as it is; None for anything else (a truth value is no number)."""
    if isinstance(value, str):
        return value if len(value) <= MAX_CHARS else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if abs(value) >= MAX_NUMBER:  # however large: nothing has that much; infinity too
        return str(MAX_NUMBER - 1) if value > 0 else "-1"
    return str(value) if isinstance(value, int) else f"{Decimal(repr(value)):f}"


def bounded(number: Decimal, value: object) -> Decimal:
    """Return the number; raise ValueError where it is negative."""
    if number < 0:
        raise ValueError(f"must not be negative, but is {shown(value)}")
    return number


def shown(value: object) -> str:
    """Return a value as it may stand in a message: JSON-like and short."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MAX_NUMBER:
        return "a huge number"  # printing millions of digits takes quadratic time, or is refused
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return cut(repr(value[:MAX_CHARS]) if isinstance(value, str) else repr(value))


def cut(text: str, chars: int = 60) -> str:
    """Return the text, cut to a length with an ellipsis."""
    return text if len(text) <= chars else text[:chars] + "…"


def size_text(count_bytes: int) -> str:
    """Say a size as disks are sold: ``12.3 GB``."""
    for unit, name in SAID_UNITS:
        if count_bytes >= unit:
            return f"{count_bytes / unit:.3g} {name}"
    return f"{count_bytes} bytes"
