"""A request as endpoints see it: less than Starlette's, and made for one look at each part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope

__all__ = ["Headers", "Request", "ask"]

KEY: Final = "millhand.headers"
T = TypeVar("T")


class Headers:
    """Headers by their names, in any case of letters.

    Many requests of a connection may have the same: `once` keeps what was read out of them.
    """

    __slots__ = ("_first", "_kept", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        """Take them as ASGI has them, with names in small letters."""
        self._raw = raw
        self._first = dict(reversed(raw))  # where one comes twice, the first counts
        self._kept: dict[Any, Any] = {}

    def once(self, read: Callable[[Headers], T]) -> T:
        """Return what a function reads out of them, which is called for the first request alone."""
        if read in self._kept:
            kept: T = self._kept[read]
            return kept
        found = self._kept[read] = read(self)
        return found

    def __contains__(self, name: str) -> bool:
        """Tell whether there is such a header."""
        return name.lower().encode("latin-1") in self._first

    def get(self, name: str) -> str | None:
        """Return the first value of a header."""
        value = self._first.get(name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def getlist(self, name: str) -> list[str]:
        """Return every value of a header."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for given, value in self._raw if given == wanted]


class Request:
    """What came, and how to receive more of it."""

    __slots__ = ("headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Look at a request."""
        self.scope = scope
        self.receive = receive
        self.headers = scope.get(KEY) or Headers(scope["headers"])

    @property
    def path_params(self) -> dict[str, Any]:
        """Return what the path names."""
        found: dict[str, Any] = self.scope.get("path_params", {})
        return found


def ask(scope: Scope, headers: Headers) -> None:
    """Let a request have these headers, which those of other requests may be as well."""
    scope[KEY] = headers
