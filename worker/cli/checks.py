"""What `millhand doctor` finds: one thing looked at, whether it is well, and what to do."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

__all__ = ["Check", "fail", "ok", "warn"]

State = Literal["ok", "warn", "fail"]


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    state: State
    said: str
    todo: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"check": self.name, "state": self.state, "message": self.said, "todo": self.todo or None}


def ok(name: str, said: str) -> Check:
    """Return a check of something that is well."""
    return Check(name, "ok", said)


def warn(name: str, said: str, todo: str) -> Check:
    """Return a check of something that works, but not as it should."""
    return Check(name, "warn", said, todo)


def fail(name: str, said: str, todo: str) -> Check:
    """Return a check of something that keeps the agent from its work."""
    return Check(name, "fail", said, todo)
