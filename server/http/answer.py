"""Answers: JSON bytes with a status and headers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from starlette.types import Send

from server.http.failure import ApiError
from server.store.records import RunAnswer
from worker.api.wire import CLAIMS_HEADER, LEASE_HEADER, SCHEDULER_STATE_HEADER

__all__ = ["Answer", "failure", "json_answer", "one_of_list", "run_shown", "wrapped"]

Headers = dict[str, str]

# Says that this server makes sure of one live run per task.
CLAIMS = (CLAIMS_HEADER.lower().encode(), b"unique")


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
            *((name.lower().encode("latin-1"), _printable(value)) for name, value in self.headers.items()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def _printable(value: str) -> bytes:
    # A value that a client chose, as a job's state, must not end the header.
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


def run_shown(answer: RunAnswer, lease_s: float) -> Answer:
    """Answer with a run, and say what is wanted of its job and how long it may be silent."""
    headers = {SCHEDULER_STATE_HEADER: answer.scheduler_state}
    if answer.is_leased and lease_s:
        headers[LEASE_HEADER] = f"{lease_s:g}"
    return json_answer(answer.run, headers)


def failure(error: ApiError) -> Answer:
    """Answer with the documented error body."""
    body = msgspec.json.encode({"error": {"code": error.code, "message": error.message}})
    return Answer(body, error.status, error.headers)
