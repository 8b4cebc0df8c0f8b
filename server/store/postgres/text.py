"""Texts as PostgreSQL takes them: it has no character NUL."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from msgspec import Struct, structs

__all__ = ["without_nul"]

T = TypeVar("T")

SHOWN_INSTEAD: Final = "\ufffd"  # the replacement character


def without_nul(value: T) -> T:
    """Return a value, list or struct with every NUL replaced; no report is refused for one in its error."""
    return value if (clean := _clean(value)) is None else clean


def _clean(value: Any) -> Any:
    """Return the value without NUL, or None where it has none."""
    if isinstance(value, str):
        return value.replace("\0", SHOWN_INSTEAD) if "\0" in value else None
    if isinstance(value, Struct):
        changed = {
            name: clean
            for name in value.__struct_fields__
            if (clean := _clean(getattr(value, name))) is not None
        }
        return structs.replace(value, **changed) if changed else None
    if isinstance(value, list | tuple):
        return type(value)(without_nul(each) for each in value) if any(map(_has_nul, value)) else None
    if isinstance(value, dict):
        return (
            {without_nul(k): without_nul(v) for k, v in value.items()} if any(map(_has_nul, value)) else None
        )
    return None


def _has_nul(value: Any) -> bool:
    return _clean(value) is not None
