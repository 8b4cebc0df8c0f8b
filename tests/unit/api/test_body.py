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
        return await body.stream_list(await anext(stream), stream, enough)

    if content[:size].find(b"[") >= 0:
        assert asyncio.run(main()) == items[:enough]


def test_an_answer_beyond_the_bound_is_no_answer() -> None:
    """Memory is not the server's to fill."""

    async def main() -> bytes:
        return await body.read_bytes(chunks_of(b"x" * 100, 10), limit=50)

    with pytest.raises(TransportError, match="longer than 50"):
        asyncio.run(main())
