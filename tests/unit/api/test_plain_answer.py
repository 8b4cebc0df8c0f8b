"""Answers that are read without the parser: it would read them alike."""

from __future__ import annotations

from random import Random
from typing import Final

import httptools
import pytest

from worker.api.plain_answer import plain_answer

START: Final = b"HTTP/1.1 200 OK\r\n"
LENGTH: Final = b"content-length: 2\r\n"
USUAL: Final = (
    START + b"date: Mon, 30 Nov 2026 12:55:03 GMT\r\ncontent-type: application/json\r\ncontent-length: 10\r\n"
    b'x-request-id: 53a4eac125988607\r\nmillhand-lease: 90\r\n\r\n{"id":"a"}'
)
PLAIN: Final = [
    USUAL,
    START + LENGTH + b"\r\nok",
    START + b"content-length: 0\r\n\r\n",
    START + b"x-a: b c  d: e\r\n" + LENGTH + b"\r\n\r\n",
    START + LENGTH + b"x-request-id: 53a4eac125988607\r\n\r\nok",
]
SIGNS: Final = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"0", b"9", b"a", b"A", b"\xe9"]
ODD: Final = {
    "nothing": b"",
    "cut in the head": START + LENGTH,
    "cut in the body": START + LENGTH + b"\r\no",
    "more than one": (START + LENGTH + b"\r\nok") * 2,
    "no length": START + b"x-a: b\r\n\r\nok",
    "two lengths": START + LENGTH * 2 + b"\r\nok",
    "two lengths that differ": START + LENGTH + b"content-length: 3\r\n\r\nok",
    "a signed length": START + b"content-length: +2\r\n\r\nok",
    "chunks": START + LENGTH + b"transfer-encoding: chunked\r\n\r\nok",
    "the last one": START + LENGTH + b"connection: close\r\n\r\nok",
    "another protocol": START + LENGTH + b"upgrade: h2c\r\n\r\nok",
    "an older protocol": b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\nok",
    "another status": b"HTTP/1.1 201 Created\r\n" + LENGTH + b"\r\nok",
    "a status without a body": b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\nok",
    "folded": START + b"x-a: b\r\n c\r\n" + LENGTH + b"\r\nok",
    "a line feed alone": START + b"x-a: b\nconnection: close\r\n" + LENGTH + b"\r\nok",
    "a return alone": START + b"x-a: b\rconnection: close\r\n" + LENGTH + b"\r\nok",
    "a zero": START + b"x-a: b\0c\r\n" + LENGTH + b"\r\nok",
    "beyond ASCII": START + b"x-a: \xff\r\n" + LENGTH + b"\r\nok",
    "a blank before the colon": START + b"content-length : 2\r\n\r\nok",
    "blanks around a value": START + b"content-length:  2 \r\n\r\nok",
    "capitals": START + b"Content-Length: 2\r\n\r\nok",
    "no header": START + b"\r\nok",
    "an id that is none": START + LENGTH + b"x-request-id: 53a4\r\nx: 25988607\r\n\r\no",
    "a long head": START + b"x-a: " + b"b" * 10_000 + b"\r\n" + LENGTH + b"\r\nok",
}


class Parsed:
    """What the parser makes of an answer."""

    def __init__(self, data: bytes) -> None:
        """Read it."""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = self.keeps_alive = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)
        self.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep it."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Keep it."""
        self.body += body

    def on_message_complete(self) -> None:
        """Know that it is whole."""
        assert not self.is_whole
        self.is_whole, self.keeps_alive = True, self._parser.should_keep_alive()


def is_read_alike(data: bytes) -> bool:
    """Tell whether an answer is plain; fail where the parser reads it otherwise."""
    if (plain := plain_answer(data)) is None:
        return False
    parsed = Parsed(data)
    known = {name: value for name, value in parsed.headers.items() if name in plain[0]}
    assert (parsed.status, known, parsed.body) == (200, dict(plain[0]), plain[1])
    assert parsed.headers.keys() - known.keys() <= {"x-request-id"}
    assert parsed.is_whole
    assert parsed.keeps_alive
    return True


@pytest.mark.parametrize("data", PLAIN)
def test_a_plain_answer_is_read_as_the_parser_reads_it(data: bytes) -> None:
    """Headers, body, and that the connection may be used again."""
    assert is_read_alike(data)


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    """Good or bad, it knows better."""
    assert plain_answer(data) is None


def test_however_an_answer_is_spoiled_it_is_not_read_otherwise_than_by_the_parser() -> None:
    """Signs that mean something to HTTP take the place of others, or come between them."""
    random, seen = Random(1), 0
    for _ in range(20_000):
        data = random.choice(PLAIN)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(data) + 1)
            data = data[:at] + random.choice(SIGNS) + data[at + random.randint(0, 2) :]
        seen += is_read_alike(data)
    assert seen > 100


def test_the_id_of_a_request_makes_no_head_another() -> None:
    """So answers of one second with bodies of one length share their headers, read once."""
    first, second = plain_answer(USUAL), plain_answer(USUAL.replace(b"53a4eac1", b"00000000"))
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
