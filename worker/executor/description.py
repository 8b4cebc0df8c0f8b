"""What a describing child says of handlers, as it goes over its stdout and into the cache."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Described", "Description"]


class Described(Struct, frozen=True, kw_only=True):
    """One handler."""

    type: str
    target: str  # "module:attribute"; or a module or "/path/file.py", where it is found by its type
    doc: str = ""
    parameters: dict[str, Any] | None = None  # JSON Schema
    options: dict[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()  # names of those that it asks for
    problem: str | None = None  # why it cannot run


class Description(Struct, frozen=True, kw_only=True):
    """The handlers of one module or file, or why they cannot be had."""

    handlers: tuple[Described, ...] = ()
    sources: dict[str, int] = field(default_factory=dict)  # its files: when each was changed (mtime, ns)
    error: str | None = None
    traceback: str | None = None
    missing: str | None = None  # the module at the top that was not found, where that is the error
    is_unavailable: bool = False  # the error is no fault: this machine lacks what the handlers need
