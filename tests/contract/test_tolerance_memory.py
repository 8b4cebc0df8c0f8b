"""Answers without measure: memory stays flat, in a process that does nothing but read them."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.contract.misbehaving import Act, answer, head, json_answer, misbehaving, send, stream

MIB = 1024**2
WHOLE_BYTES = 200 * MIB
GROWTH_BYTES = 64 * MIB
LIMIT_S = 120.0  # a bound for a hang, not a measure
ROOT = Path(__file__).parents[2]


def listed(key: str, item_bytes: int) -> Callable[[], Iterator[bytes]]:
    """Give a list of 200 MB, of objects of a size."""
    text = b"x" * (item_bytes - 40)
    piece = b",".join(
        b'{"id":"%08d","parameters":{"x":"%b"}}' % (at, text) for at in range(MIB // item_bytes)
    )

    def pieces() -> Iterator[bytes]:
        yield b'{"%b":[' % key.encode()
        for _ in range(WHOLE_BYTES // len(piece)):
            yield piece + b","
        yield b"{}]}"

    return pieces


def giant(start: bytes, filling: bytes = b"x") -> Callable[[], Iterator[bytes]]:
    """Give a beginning, and 200 MB that belong to its last value."""
    return lambda: iter([start, *[filling * (MIB // len(filling))] * (WHOLE_BYTES // MIB)])


@cache
def packed() -> bytes:
    """Return 200 MB of one string in a list, as gzip."""
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    return b"".join([*map(packer.compress, giant(b'[{"id":"')()), packer.flush()])


def pieces_of(form: Callable[[], Iterator[bytes]], status: int = 200) -> Callable[[], Act]:
    """Answer with these pieces, as fast as they are taken."""
    return lambda: stream(head(status, Transfer_Encoding="chunked"), form)


def whole_of(form: Callable[[], bytes], encoding: str) -> Callable[[], Act]:
    """Answer with a packed body."""
    return lambda: send(answer(form(), Content_Encoding=encoding))


CASES: dict[str, tuple[str, Callable[[], Act], str]] = {
    "pending tasks": ("poll", pieces_of(listed("tasks", 2000)), "100"),
    "fat pending tasks": ("poll", pieces_of(listed("tasks", MIB // 2)), "64"),
    "runs": ("list_runs", pieces_of(listed("runs", 1000)), "10000"),
    "fat runs": ("list_runs", pieces_of(listed("runs", 20_000)), "TransportError"),
    "one string in a list": ("list_runs", pieces_of(giant(b'{"runs":[{"id":"')), "TransportError"),
    "one string in a poll": ("poll", pieces_of(giant(b'[{"id":"')), "TransportError"),
    "nothing but space": ("poll", pieces_of(giant(b"[", b" ")), "TransportError"),
    "one object": ("get_run", pieces_of(giant(b'{"id":"')), "TransportError"),
    "a refusal": ("get_run", pieces_of(giant(b'{"error":"'), 500), "ServerError"),
    "a packed object": ("get_run", whole_of(packed, "gzip"), "TransportError"),
    "a packed list": ("poll", whole_of(packed, "gzip"), "TransportError"),
    "a list packed twice": (
        "poll",
        whole_of(lambda: gzip.compress(packed()), "gzip, gzip"),
        "TransportError",
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the measure is Linux's")
def test_no_answer_fills_the_memory() -> None:
    """200 MB in any form cost less than 64 MiB, beside what the process had: they are an error, or cut."""
    for name, (found, growth_bytes) in zip(CASES, asyncio.run(measured()), strict=True):
        assert found == CASES[name][2], name
        assert growth_bytes < GROWTH_BYTES, (name, growth_bytes / MIB)


async def measured() -> list[tuple[str, int]]:
    """Return what came of each case, and what all up to it have cost."""
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT_S):
        small = await stack.enter_async_context(misbehaving(send(json_answer({"tasks": []}))))
        arguments = ["poll", small.url]
        for call, act, _ in CASES.values():
            server = await stack.enter_async_context(misbehaving(act()))
            arguments += [call, server.url]
        reading = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.memory_of_answers", *arguments,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, _ = await reading.communicate()
        finally:
            if reading.returncode is None:
                reading.kill()
                await reading.wait()
    assert reading.returncode == 0
    return [(found, growth) for found, growth in map(json.loads, output.splitlines())]
