"""Read JSON that others wrote: what has another shape than is looked for is not there."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["dict_of", "list_of", "number_of", "object_of", "text_of"]

MOST: Final = 2**62


def object_of(raw: msgspec.Raw | None) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    return {} if raw is None else dict_of(msgspec.json.decode(raw))


def dict_of(value: object) -> dict[str, Any]:
    """Return an object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str | None:
    """Return a text as it is, anything else as None."""
    return value if isinstance(value, str) else None


def number_of(value: object) -> float | None:
    """Return a number that people can be shown; anything else, and what is larger than any, is unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= MOST else None
