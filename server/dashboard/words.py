"""How values look on a page. Unknown is a dash, never a zero."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from server.times import from_ms
from worker.api.wire import parse_instant
from worker.cli import human

__all__ = [
    "ago",
    "byte_hours",
    "clock_of",
    "clock_time",
    "money",
    "name_of",
    "number",
    "pretty",
    "seconds_between",
    "since",
]

MAX_SHOWN_CHARS: Final = 32 * 1024
LEAST: Final = 0.0001  # of a unit of money; what is less would look like nothing
SMALL: Final = 0.1  # of a unit of money; below it two digits would tell little


def ago(text: str | None, now: datetime) -> str:
    """Say how long ago an instant of the wire was."""
    return human.ago(parse_instant(text) if text else None, now)


def clock_time(text: str | None) -> str:
    """Return an instant of the wire to the second."""
    return human.instant(parse_instant(text) if text else None)


def clock_of(at_ms: int) -> str:
    """Return milliseconds since 1970 as an instant, to the second."""
    return human.instant(from_ms(at_ms))


def since(at_ms: int, now: datetime) -> str:
    """Say for how long something goes on that began so many milliseconds after 1970."""
    return human.rough(max(0.0, (now - from_ms(at_ms)).total_seconds()))


def byte_hours(byte_seconds: float | None) -> str:
    """Return memory over time as people pay for it: ``1.5 GiB·h``."""
    return human.DASH if byte_seconds is None else f"{human.size(byte_seconds / 3600)}·h"


def money(amount: float | None) -> str:
    """Return an amount; a small one has more digits."""
    if amount is None:
        return human.DASH
    if 0 < amount < LEAST:
        return f"< {LEAST}"
    return f"{amount:,.4f}" if 0 < amount < SMALL else f"{amount:,.2f}"


def seconds_between(start: str | None, end: str | None, now: datetime) -> float | None:
    """Return how long something took, or takes until now; None where it has not begun."""
    begun = parse_instant(start) if start else None
    if begun is None:
        return None
    ended = parse_instant(end) if end else now.astimezone(UTC)
    return None if ended is None else max(0.0, (ended - begun).total_seconds())


def number(value: float | None) -> str:
    """Return a count with thousands parted, or a measure with up to three digits behind the point."""
    if value is None:
        return human.DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def pretty(value: Any) -> str:
    """Return JSON for people, cut where it is longer than anybody reads."""
    plain = msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
    parts, left = [], MAX_SHOWN_CHARS
    try:
        for part in json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(plain):
            parts.append(part[:left])
            left -= len(part)
            if left <= 0:
                return "".join(parts) + "\n… (there is more; the API has all of it)"
    except RecursionError:
        return msgspec.json.encode(plain)[:MAX_SHOWN_CHARS].decode("utf-8", "replace")
    return "".join(parts)


def name_of(title: str | None, id_: str) -> str:
    """Return what a thing is called: its title, or its id where that shows nothing."""
    return title if title and title.strip() else id_
