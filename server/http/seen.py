"""What is known of a request while it is answered, for logs and metrics."""

from __future__ import annotations

import random
import re
from typing import Any, Final

from msgspec import Struct
from starlette.types import Scope

from server.store.records import Principal

__all__ = ["REQUEST_ID_HEADER", "Part", "Seen", "request_id_of", "seen_of"]

REQUEST_ID_HEADER: Final = b"x-request-id"
SANE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")  # nothing that a line of a log would take apart
ID_BITS: Final = 64
KEY: Final = "millhand.seen"


class Seen(Struct):
    """One request; whoever answers it writes down what it finds out."""

    request_id: str
    operation: str | None = None  # None: no path of the API
    is_write: bool = False
    is_held: bool = False  # it waited for a task
    is_claim: bool = False
    is_told: bool = True  # somebody writes down what it is about
    principal: Principal | None = None  # who asked, once that is known
    ids: dict[str, str] = {}  # what it is about, by the names of the wire
    status: int | None = None  # None: the client went away before an answer
    sent_bytes: int = 0
    is_part: bool = False  # it came in a request that carried several
    parts: list[Part] = []  # what it carried, where it carried several

    def put_into(self, scope: Scope) -> None:
        """Make it known to whoever answers."""
        scope[KEY] = self


class Part(Struct):
    """One of several writes that one request carried."""

    seen: Seen
    method: str
    number: int  # from 1
    took_s: float = 0.0


def seen_of(scope: Scope) -> Seen:
    """Return what is known of a request; what nobody looks at where nobody asked for it."""
    seen: Any = scope.get(KEY)
    return seen if isinstance(seen, Seen) else Seen(request_id="")


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the id that the client gave its request, if it is a sane one, else a new one."""
    for name, value in headers:
        if name == REQUEST_ID_HEADER and SANE_ID.fullmatch(value):
            return value.decode()
    # No secret, and not from the kernel: that gives way to other threads in the middle of a request.
    return f"{random.getrandbits(ID_BITS):016x}"
