"""One answer of a metadata server, at its bounds."""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPException

import pytest

from worker.machine.metadata import MAX_BYTES, Answer, TooMuchError, received, written

HEAD = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\n"
LATER_S = 60.0


def received_of(sent: bytes, within_s: float = LATER_S, *, closes: bool = True) -> Answer:
    """Return what is made of these bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=send, args=(theirs, sent, closes))
        sender.start()
        try:
            return received(ours, time.monotonic() + within_s)
        finally:
            ours.close()
            sender.join()


def send(theirs: socket.socket, sent: bytes, closes: bool) -> None:
    """Send all of it, unless the other side has had enough."""
    try:
        theirs.sendall(sent)
        if closes:
            theirs.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_an_answer_may_have_all_of_the_bound_and_no_byte_more() -> None:
    """Head and body together."""
    body = b"x" * (MAX_BYTES - len(HEAD))
    assert received_of(HEAD + body) == Answer(200, body, "Google")
    with pytest.raises(TooMuchError):
        received_of(HEAD + body + b"x")


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


def test_an_answer_that_stops_in_the_middle_is_none() -> None:
    """Cut, or silent until the time is up."""
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"
    with pytest.raises(HTTPException):
        received_of(cut)
    with pytest.raises(TimeoutError):
        received_of(cut, within_s=0.05, closes=False)


def test_no_header_can_end_its_line() -> None:
    """What a server gave as a token cannot become a request of its own."""
    with pytest.raises(ValueError, match="would end it"):
        written("GET", "/", {"X": "a\r\nHost: elsewhere"})
