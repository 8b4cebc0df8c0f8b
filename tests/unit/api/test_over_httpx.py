"""Faults of httpx, wherever they come up, are ours: retries and the wake of a server go by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from worker.api.faults import Cut, Fault, NotConnected, NotHttp
from worker.api.over_httpx import HttpxAnswer, translated


class Broken(httpx.AsyncByteStream):
    """A body that breaks off."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{"
        raise httpx.ReadError("it broke off")


def test_a_body_that_breaks_off_is_a_fault_of_ours() -> None:
    """The head came by a proxy, and then no more."""

    async def scenario() -> None:
        answer = HttpxAnswer(httpx.Response(200, stream=Broken()), asyncio.get_running_loop().time() + 10.0)
        pieces = aiter(answer)
        assert await anext(pieces) == b"{"
        with pytest.raises(Cut, match="it broke off"):
            await anext(pieces)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (httpx.ConnectError("no"), NotConnected),
        (httpx.ConnectTimeout("late"), NotConnected),
        (httpx.RemoteProtocolError("what"), NotHttp),
        (httpx.PoolTimeout("none is free"), Fault),
        (httpx.StreamConsumed(), Fault),
    ],
)
def test_every_fault_has_a_kind(theirs: Exception, ours: type[Fault]) -> None:
    """What nobody thought of is a fault as well."""
    with pytest.raises(Fault) as caught, translated():
        raise theirs
    assert type(caught.value) is ours
