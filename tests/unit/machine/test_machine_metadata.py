"""One answer of a metadata server, at its bounds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http.client import HTTPException

import pytest

from worker.machine.metadata import MAX_BYTES, Answer, NoHttpError, TooMuchError, received, written

HEAD = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def received_of(sent: bytes, within_s: float = 60.0, *, closes: bool = True) -> Answer:
    """Return what is made of these bytes."""

    async def main() -> Answer:
        reader = asyncio.StreamReader(limit=MAX_BYTES)
        reader.feed_data(sent)
        if closes:
            reader.feed_eof()
        async with asyncio.timeout(within_s):
            return await received(reader)

    return asyncio.run(main())


def test_an_answer_may_have_all_of_the_bound_and_no_byte_more() -> None:
    """Head and body together."""
    body = b"x" * (MAX_BYTES - len(HEAD))
    assert received_of(HEAD + body) == Answer(200, body, "Google")
    with pytest.raises(TooMuchError):
        received_of(HEAD + body + b"x")


@pytest.mark.parametrize("length", [str(MAX_BYTES), "9" * 4000])
def test_a_body_that_is_announced_too_large_is_not_read(length: str) -> None:
    """Nor one whose length nobody can mean."""
    with pytest.raises((TooMuchError, ValueError)):
        received_of(b"HTTP/1.1 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\n", closes=False)


def test_a_head_without_an_end_is_bounded_too() -> None:
    """Neither many interim answers nor many headers go on for ever."""
    with pytest.raises(TooMuchError):
        received_of(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000)
    with pytest.raises((TooMuchError, HTTPException)):
        received_of(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000)


def test_an_answer_whose_length_is_known_needs_no_end_of_the_connection() -> None:
    """A server that keeps the connection open does not cost the limit."""
    answer = received_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", closes=False)
    assert (answer.status, answer.body) == (200, b"ok")
    answer = received_of(CHUNKED + b"1\r\no\r\n1;a=b\r\nk\r\n0\r\n\r\n", closes=False)
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize("chunks", [b"x\r\n", b"2\r\no", b"1\r\nok\r\n", b"-1\r\n", b"", b"1\r\no\r\n"])
def test_chunks_that_are_none_are_no_answer(chunks: bytes) -> None:
    """Cut or garbled: nothing of them is believed."""
    with pytest.raises(NoHttpError):
        received_of(CHUNKED + chunks)


def test_chunks_are_bounded_together() -> None:
    """Many small ones are too much as well."""
    with pytest.raises(TooMuchError):
        received_of(CHUNKED + b"1\r\nx\r\n" * MAX_BYTES)
    with pytest.raises(TooMuchError):
        received_of(CHUNKED + b"fffff\r\n", closes=False)


def test_an_answer_that_stops_in_the_middle_is_none() -> None:
    """Cut, or silent until the time is up."""
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"
    with pytest.raises(NoHttpError):
        received_of(cut)
    with pytest.raises(TimeoutError):
        received_of(cut, within_s=0.05, closes=False)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\r\n\r\n", b"200 OK\r\n\r\n", b"HTTP/1.1 2 OK\r\n\r\n"])
def test_what_is_no_head_is_no_answer(sent: bytes) -> None:
    """Whatever speaks there."""
    with pytest.raises(NoHttpError):
        received_of(sent)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (b"Sat, 28 Nov 2026 10:00:00 GMT", datetime(2026, 11, 28, 10, tzinfo=UTC)),
        (b"Sat, 28 Nov 2026 12:00:00 +0200", datetime(2026, 11, 28, 10, tzinfo=UTC)),
        (b"soon", None),
        (b"Fri, 31 Dec 9999 23:00:00 -1400", None),  # no calendar has it
        (b"Sat, 28 Nov 2026 10:00:00 +99999999999999", None),
        (b"", None),
    ],
)
def test_when_an_answer_was_sent_is_told_by_its_server(date: bytes, expected: datetime | None) -> None:
    """By a clock that may not be the machine's own; a date that is none is not there."""
    answer = received_of(b"HTTP/1.1 404 No\r\nETag: ab\r\nDate: " + date + b"\r\n\r\n")
    assert (answer.date, answer.etag) == (expected, "ab")


def test_no_header_can_end_its_line() -> None:
    """What a server gave as a token cannot become a request of its own."""
    with pytest.raises(ValueError, match="would end it"):
        written("GET", "/", {"X": "a\r\nHost: elsewhere"})
