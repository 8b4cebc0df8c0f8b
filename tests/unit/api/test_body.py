"""Reading answers: bounded, tolerant, and long lists as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.api import body
from worker.api.errors import TransportError


async def chunks_of(content: bytes, size: int) -> AsyncIterator[bytes]:
    """Give a body in pieces."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


def read(content: bytes, *, size: int = 65536, enough: int = 10) -> list[dict[str, Any]]:
    """Read a list of tasks."""
    return asyncio.run(body.read_list(chunks_of(content, size), "tasks", enough))


@pytest.mark.parametrize(
    "content", [b'{"tasks":[{"id":"1"}]}', b'[{"id":"1"}]', b' { "tasks" : [ {"id":"1"}, 7 ] }']
)
def test_a_list_may_come_wrapped_or_bare(content: bytes) -> None:
    """What is no object is left out."""
    assert read(content) == [{"id": "1"}]


@pytest.mark.parametrize(
    "content", [b"<html>", b"", b"{", b'{"tasks":7}', b'{"error":{}}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_list_is_no_answer(content: bytes) -> None:
    """A proxy's page with status 200, a cut body: nobody knows, ask again."""
    with pytest.raises(TransportError):
        read(content)


def test_of_a_huge_list_only_the_first_objects_are_read() -> None:
    """A server that does not page may send any length; what follows enough of it is not even fetched."""
    fetched = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal fetched
        yield b'{"tasks":['
        while True:
            fetched += 1
            yield json.dumps({"id": str(fetched), "parameters": {"text": "ü" * 10_000}}).encode() + b","

    async def main() -> list[dict[str, Any]]:
        return await body.read_list(endless(), "tasks", 30)

    items = asyncio.run(main())
    assert [item["id"] for item in items] == [str(at) for at in range(1, 31)]
    assert fetched < 300


def test_a_huge_list_that_is_cut_is_no_answer() -> None:
    """Objects that did come are not taken for all."""
    whole = json.dumps({"tasks": [{"id": "x" * 1000} for _ in range(2000)]}).encode()
    with pytest.raises(TransportError):
        read(whole[:-500], enough=5000)


@given(st.integers(1, 5000), st.integers(1, 12))
def test_a_stream_may_be_cut_anywhere(size: int, enough: int) -> None:
    """Chunk borders fall inside characters, numbers and objects."""
    items = [{"id": str(at), "n": at * 1.5, "text": 'é\\u20ac"' * 5} for at in range(10)]
    content = json.dumps({"tasks": items}, ensure_ascii=False).encode()

    async def main() -> list[dict[str, Any]]:
        stream = chunks_of(content, size)
        return await body.stream_list(await anext(stream), stream, "tasks", enough)

    if content[:size].find(b"[") >= 0:
        assert asyncio.run(main()) == items[:enough]


def test_an_answer_beyond_the_bound_is_no_answer() -> None:
    """Memory is not the server's to fill."""

    async def main() -> bytes:
        return await body.read_bytes(chunks_of(b"x" * 100, 10), limit=50)

    with pytest.raises(TransportError, match="longer than 50"):
        asyncio.run(main())


LONG = b'"' + b"x" * (2 * 1024 * 1024) + b'"'  # longer than what is decoded at once


@pytest.mark.parametrize(
    "content",
    [
        b'{"error":null,"types":["a",["b"]],"total":12345,"at":"[","tasks":[{"id":"1"}],"long":%b}' % LONG,
        b'{"long":%b,"tasks":[{"id":"1"}]}' % LONG,
        b'[%b,,{"id":"1"} , \n]' % LONG,
    ],
)
@pytest.mark.parametrize("size", [7001, 65536])
def test_the_list_of_a_long_answer_is_the_one_under_its_key(content: bytes, size: int) -> None:
    """Other lists before it are not taken for it, and values are not taken apart at a border."""
    assert read(content, size=size) == [{"id": "1"}]


@pytest.mark.parametrize(
    "content",
    [
        b'{"long":%b,"others":[{"id":"1"}]}' % LONG,
        b'{"long":%b "tasks":[{"id":"1"}]}' % LONG,
        b'{"tasks":null,"long":%b}' % LONG,
        b'[{"id":"1"},{"id":"\\ud800"},%b]' % LONG,
        b'[{"id":"1"},{"id":NaN},%b]' % LONG,
        b"7" * 2_000_000,
        b"[" * 2_000_000,
        b'["\xff%b]' % LONG,
    ],
)
def test_a_long_answer_is_read_as_strictly_as_a_short_one(content: bytes) -> None:
    """What the short one would not pass as JSON gets no further in a long one."""
    with pytest.raises(TransportError):
        read(content)


def test_a_long_value_is_not_read_again_with_every_piece_of_it() -> None:
    """Else everything else would wait for it: the agent has one loop."""
    from worker.api import scan

    tries = 0

    class Counted(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            nonlocal tries
            tries += 1
            return super().raw_decode(s, idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "JSON", Counted())  # nothing else sees how often it is read
        assert read(b'{"tasks":[{"id":"1","x":%b}]}' % LONG, size=1000) == [
            {"id": "1", "x": "x" * len(LONG[2:])}
        ]
    assert tries < 30


def test_a_list_that_would_fill_the_memory_is_no_answer_unless_part_of_it_is_enough() -> None:
    """A poll takes what fits; whoever wants all gets nothing, for part of a list decides nothing."""
    item = json.dumps({"id": "1", "text": "x" * 1_000_000}).encode()

    async def endless() -> AsyncIterator[bytes]:
        yield b"["
        while True:
            yield item + b","

    async def main(*, is_part_enough: bool) -> int:
        return len(await body.read_list(endless(), "tasks", 10_000, is_part_enough=is_part_enough))

    assert asyncio.run(main(is_part_enough=True)) == body.LIST_BYTES_MAX // len(item)
    with pytest.raises(TransportError, match="longer than"):
        asyncio.run(main(is_part_enough=False))
