"""Bodies of runs with their fields as strings, as the reference types them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

__all__ = ["NOT_STRINGS", "stringly"]

# The fields of run bodies that the reference does not type as strings.
NOT_STRINGS = {"POST": frozenset({"progress", "reportProgress"}), "PUT": frozenset[str]()}


def stringly(body: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """Return a run body with every field as a string but for those in `kept`."""
    return {key: value if key in kept else text_of(value) for key, value in body.items() if value is not None}


def text_of(value: Any) -> str:
    """Return a value as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
