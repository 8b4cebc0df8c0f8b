"""How values look to a person. Unknown is a dash, never a zero."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["DASH", "ago", "count", "duration", "energy", "instant", "percent", "shorten", "size", "text"]

DASH = "–"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(n_bytes: float | None) -> str:
    """Return bytes with a binary unit: ``512 B``, ``1.5 MiB``."""
    if n_bytes is None:
        return DASH
    value, unit = float(n_bytes), UNITS[0]
    for unit in UNITS:
        if round(abs(value), 1) < 1024 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def energy(joules: float | None) -> str:
    """Return joules, and from 36 kJ on the watt hours that people pay for: ``512 J``, ``1.25 kWh``."""
    if joules is None:
        return DASH
    if joules < 36_000:
        return f"{joules:.0f} J"
    watt_hours = joules / 3600
    return f"{watt_hours:.1f} Wh" if watt_hours < 1000 else f"{watt_hours / 1000:.2f} kWh"


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them: ``12 ms``, ``3.41 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds is None:
        return DASH
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 0.9995:
        return f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 59.995:
        return f"{sign}{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{sign}{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{sign}{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{sign}{whole // 86400} d {whole % 86400 // 3600:02d} h"


def rough(seconds: float | None) -> str:
    """Return a time that goes by while it is read: no parts of a second."""
    if seconds is None:
        return DASH
    return f"{seconds:.0f} s" if seconds < 60.0 else duration(round(seconds))


def percent(ratio: float | None) -> str:
    """Return 0…1 as whole percent; only what is complete is 100 %."""
    if ratio is None:
        return DASH
    return f"{100 if ratio >= 1 else min(int(ratio * 100), 99)} %"


def instant(at: datetime | None) -> str:
    """Return a time to the second, in UTC, as ISO 8601 writes it."""
    return DASH if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago a time was: ``3 min ago``; times to come are ``now``."""
    if at is None:
        return DASH
    seconds = (now - at).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return "now"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 task``, ``3 tasks``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def text(value: object) -> str:
    """Return anything as text; None as a dash."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def shorten(line: str, width: int) -> str:
    """Return the first line of a text, cut to a width with an ellipsis."""
    first, *rest = line.strip().splitlines() or [""]
    if rest or len(first) > width:
        return first[: max(width - 1, 0)].rstrip() + "…"
    return first
