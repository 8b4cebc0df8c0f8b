"""Answers: JSON bytes with a status and headers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct
from starlette.types import Send

from server.http.exchange import Exchange
from server.http.failure import ApiError
from server.http.seen import REQUEST_ID_HEADER, Seen
from server.store.records import BriefAnswer, RunAnswer
from worker.api.wire import (
    BATCH_HEADER,
    BATCH_MOST,
    BRIEFLY,
    CLAIMS_HEADER,
    LEASE_HEADER,
    SCHEDULER_STATE_HEADER,
)

__all__ = ["ALWAYS", "Answer", "failure", "json_answer", "one_of_list", "run_shown", "wrapped"]

Headers = dict[str, str]

# Says that this server makes sure of one live run per task.
CLAIMS = (CLAIMS_HEADER.lower().encode(), b"unique")
# Says how many writes it takes in one request.
BATCH = (BATCH_HEADER.lower().encode(), str(BATCH_MOST).encode())

# On every answer: browsers shall not guess what it is, and nobody on the way shall keep it.
ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def _lines(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


LINES_OF_ALL: Final = _lines(CLAIMS, BATCH, *ALWAYS) + REQUEST_ID_HEADER + b": "
MOST_LINES_KNOWN: Final = 256  # of answers; nearly all of an agent have the same
LONGEST_KNOWN: Final = 256  # characters of all values; a client chooses some of them


class Answer(Struct, frozen=True):
    """What goes back to the client."""

    body: bytes
    status: int = 200
    headers: Headers = {}
    content_type: str = "application/json"

    async def send(self, send: Send) -> None:
        """Send it all."""
        headers = [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            CLAIMS,
            BATCH,
            *self._own(),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def send_whole(self, exchange: Exchange, seen: Seen) -> bool:
        """Send it at once, with the headers of every answer, and note that; False: send it as usual."""
        if "Connection" in self.headers:
            return False
        head = b"content-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n" % (
            self.content_type.encode(),
            len(self.body),
            self._own_lines() if self.headers else b"",
            LINES_OF_ALL,
            seen.request_id.encode(),
        )
        if not exchange.answer(self.status, head, self.body):
            return False
        seen.status, seen.sent_bytes = self.status, len(self.body)
        return True

    def _own_lines(self) -> bytes:
        if sum(map(len, self.headers.values())) > LONGEST_KNOWN:
            return _lines(*self._own())
        return _known_lines(tuple(self.headers.items()))

    def _own(self) -> list[tuple[bytes, bytes]]:
        return [_header(name, value) for name, value in self.headers.items()]


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1"), _printable(value)


@lru_cache(maxsize=MOST_LINES_KNOWN)
def _known_lines(headers: tuple[tuple[str, str], ...]) -> bytes:
    return _lines(*(_header(name, value) for name, value in headers))


def _printable(value: str) -> bytes:
    # A value that a client chose, as a job's state, must not end the header.
    if value.isascii() and value.isprintable():
        return value.encode()
    return "".join(c if c.isprintable() else "?" for c in value).encode("latin-1", "replace")


def json_answer(value: object, headers: Headers | None = None) -> Answer:
    """Answer with a value."""
    return Answer(msgspec.json.encode(value), headers=headers or {})


def one_of_list(value: object) -> Answer:
    """Answer with a list of one, as the reference shows a job."""
    return json_answer([value])


def wrapped(name: str, items: Iterable[bytes], headers: Headers | None = None) -> Answer:
    """Answer with a list under a name."""
    return Answer(b'{"' + name.encode() + b'":[' + b",".join(items) + b"]}", headers=headers or {})


def run_shown(answer: RunAnswer | BriefAnswer, lease_s: float) -> Answer:
    """Answer with a run, and say what is wanted of its job and how long it may be silent."""
    headers = {SCHEDULER_STATE_HEADER: answer.scheduler_state}
    if answer.is_leased and lease_s:
        headers[LEASE_HEADER] = f"{lease_s:g}"
    if isinstance(answer, BriefAnswer):
        headers["Preference-Applied"] = BRIEFLY
    return json_answer(answer.run, headers)


def failure(error: ApiError) -> Answer:
    """Answer with the documented error body."""
    body = msgspec.json.encode({"error": {"code": error.code, "message": error.message}})
    return Answer(body, error.status, error.headers)
