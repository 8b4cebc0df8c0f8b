"""Servers of tests leave no socket to the garbage collection of a later test."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing

import pytest

from tests.contract.misbehaving import hang, misbehaving
from tests.foreign.server import ForeignServer, serve
from tests.foreign.switches import Switches

Serving = Callable[[], AbstractAsyncContextManager[int]]
LIMIT_S = 30.0


@asynccontextmanager
async def a_misbehaving_one() -> AsyncIterator[int]:
    """Give the port of one."""
    async with misbehaving(hang) as server:
        yield int(server.url.rpartition(":")[2])


@asynccontextmanager
async def a_foreign_one() -> AsyncIterator[int]:
    """Give the port of one, which runs on this loop."""
    listener, stop = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    port: int = listener.getsockname()[1]
    serving = asyncio.create_task(serve(ForeignServer(Switches(), port), listener, stop))
    await asyncio.sleep(0)
    yield port
    stop.set()
    await serving


@pytest.mark.parametrize("serving", [a_misbehaving_one, a_foreign_one])
@pytest.mark.parametrize("rounds", range(6))
def test_who_comes_at_the_end_of_a_server_leaves_no_socket(serving: Serving, rounds: int) -> None:
    """However far a connection has come in the loop's rounds when the server ends."""

    async def main(client: socket.socket) -> None:
        async with asyncio.timeout(LIMIT_S), serving() as port:
            client.connect(("127.0.0.1", port))
            for _ in range(rounds):
                await asyncio.sleep(0)

    gc.collect()
    with warnings.catch_warnings(record=True) as warned, closing(socket.socket()) as client:
        warnings.simplefilter("always")
        asyncio.run(main(client))
        gc.collect()
    assert [str(one.message) for one in warned] == []
