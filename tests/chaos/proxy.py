"""A proxy that sees single requests, and does to them what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from msgspec import Struct

from tests.chaos.cells import SENDING, Fault
from tests.chaos.http1 import BAD_GATEWAY, Kind, Message, kind_of, read_message

__all__ = ["Director", "Exchange", "Proxy"]

ANSWER_S: Final = 60.0  # beyond every wait of the server
REORDER_S: Final = 2.0  # for another request to pass
LOOK_S: Final = 0.02
HEAD_BYTES: Final = 1 << 20


class Exchange(Struct):
    """One request and what is done to it."""

    agent: str
    life: int  # of the agent that sent it
    request: Message
    kind: Kind
    fault: Fault = Fault.NONE
    delay_s: float = 0.0  # of what is delayed or sent twice; how long a cut lasts
    on_answer: Fault = Fault.NONE
    is_refused: bool = False  # by the server: a race that was lost is no step of a run


class Director(Protocol):
    """Who decides."""

    def life_of(self, agent: str) -> int:
        """Return how often an agent was started; 0 while it is dead."""
        ...

    async def sent(self, exchange: Exchange) -> None:
        """Look at a request before the server gets it; sets the fault."""
        ...

    async def taken(self, exchange: Exchange, answer: Message) -> None:
        """Look at the answer before the agent gets it; sets the fault of the answer."""
        ...

    async def answered(self, exchange: Exchange) -> None:
        """Know that the answer was written to the agent's connection."""
        ...


class Proxy:
    """Stand between one agent and the server."""

    def __init__(self, agent: str, server_port: int, director: Director) -> None:
        """Listen only after `open`."""
        self._agent = agent
        self._server_port = server_port
        self._director = director
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_until_mono = 0.0
        self._passed = 0
        self.url = ""

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Cut everything, and listen no more."""
        self._server.close()
        self.cut(ANSWER_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, for_s: float) -> None:
        """Let all connections die, and none come about for a while."""
        self._cut_until_mono = time.monotonic() + for_s
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """End a cut."""
        self._cut_until_mono = 0.0

    @property
    def _is_cut(self) -> bool:
        return time.monotonic() < self._cut_until_mono

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while not self._is_cut and (request := await read_message(reader)) is not None:
                exchange = Exchange(
                    self._agent, self._director.life_of(self._agent), request, kind_of(request)
                )
                if not await self._pass_on(exchange, reader, writer):
                    break
        except (OSError, asyncio.CancelledError):
            pass  # the agent has gone, or the world ends; nobody awaits this
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass_on(
        self, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do to one request what is to be done; tell whether the connection goes on."""
        await self._director.sent(exchange)
        if self._is_lost(exchange):
            return False
        if exchange.fault is Fault.BAD_GATEWAY:
            return await self._answer(writer, BAD_GATEWAY)
        await self._hold(exchange)
        if (answer := await self._ask(exchange, reader)) is None:
            return False
        exchange.is_refused = int(answer.start.split(" ")[1]) >= 300
        await self._director.taken(exchange, answer)
        if exchange.on_answer is Fault.CUT:
            self.cut(exchange.delay_s)
        if exchange.on_answer is Fault.BAD_GATEWAY:
            return await self._answer(writer, BAD_GATEWAY)
        if exchange.on_answer is not Fault.NONE:
            return False
        await self._answer(writer, answer.whole)
        self._passed += 1
        await self._director.answered(exchange)
        return not answer.is_last and not exchange.request.is_last

    def _is_lost(self, exchange: Exchange) -> bool:
        """Tell whether the server never sees it. What a dead agent has sent may still arrive."""
        if exchange.fault is Fault.CUT:
            self.cut(exchange.delay_s)
        if self._is_cut or exchange.fault is Fault.DROP_REQUEST:
            return True
        is_orphan = exchange.life != self._director.life_of(self._agent)
        return is_orphan and exchange.fault not in SENDING

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes) -> bool:
        writer.write(answer)
        await writer.drain()
        return True

    async def _hold(self, exchange: Exchange) -> None:
        if exchange.fault is Fault.DELAY:
            await asyncio.sleep(exchange.delay_s)
        elif exchange.fault is Fault.DUPLICATE:
            self._start(self._again(exchange))
        elif exchange.fault is Fault.REORDER:
            passed, until_mono = self._passed, time.monotonic() + REORDER_S
            while self._passed == passed and time.monotonic() < until_mono:  # noqa: ASYNC110 - any of them
                await asyncio.sleep(LOOK_S)

    def _start(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, exchange: Exchange) -> None:
        await asyncio.sleep(exchange.delay_s)
        await self._exchange(exchange.request)

    async def _ask(self, exchange: Exchange, reader: asyncio.StreamReader) -> Message | None:
        """Give a request to the server; None where it has no answer, or who asked has gone."""
        asking = asyncio.create_task(self._exchange(exchange.request))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=LOOK_S)
                if reader.at_eof() and exchange.request.start.startswith("GET "):
                    return None
            return asking.result()
        finally:
            asking.cancel()

    async def _exchange(self, request: Message) -> Message | None:
        """Have one request answered, on a connection of its own."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._server_port, limit=HEAD_BYTES
                )
                try:
                    writer.write(request.whole)
                    await writer.drain()
                    return await read_message(reader)
                finally:
                    writer.transport.abort()
        return None
