"""A request and its answer each as a whole: what a connection offers beside the messages of ASGI.

Most bodies have arrived with their heads, and most answers are small. As messages, each of them would cost a
task's turn and a walk over all headers. Whoever cannot go this way goes that of ASGI, which is always there.
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.types import Scope

__all__ = ["Exchange", "exchange_of", "offer", "withdraw"]

KEY: Final = "millhand.exchange"


class Exchange(Protocol):
    """One request on its connection."""

    @property
    def is_there(self) -> bool:
        """Tell whether the other side has not gone, as far as is known."""
        ...

    def take_body(self) -> bytes | None:
        """Return the body if all of it is there, once; None: receive it."""
        ...

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer; False, and nothing happens, where that must be sent as messages.

        Args:
            status: of HTTP.
            head: lines of headers, each with its end; those of the server come before them.
            body: what follows, all of it.
        """
        ...


def offer(scope: Scope, exchange: Exchange) -> None:
    """Let whoever answers a request have it as a whole."""
    scope[KEY] = exchange


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the request as a whole; None where its connection does not offer that."""
    found: Exchange | None = scope.get(KEY)
    return found


def withdraw(scope: Scope) -> None:
    """Let go of it once the request is over; it and its scope would wait for a collection else."""
    scope.pop(KEY, None)
