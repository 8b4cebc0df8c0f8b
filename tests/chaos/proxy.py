"""A proxy that sees single requests, and does to them what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final, Protocol

from msgspec import Struct

from tests.accepting import stop_accepting
from tests.chaos.cells import ARRIVING, SENDING, Fault
from tests.chaos.http1 import (
    BAD_GATEWAY,
    Kind,
    Message,
    answers_in,
    is_offer,
    kind_of,
    read_message,
    writes_in,
)

__all__ = ["Director", "Exchange", "Proxy"]

ANSWER_S: Final = 60.0  # beyond every wait of the server
REORDER_S: Final = 6.0  # for another request to pass: its sender gives up before, or was started again
AGAIN_S: Final = 0.2  # between tries of what is sent twice, while the server is dead
LOOK_S: Final = 0.02
HEAD_BYTES: Final = 1 << 20


class Exchange(Struct, eq=False):
    """One request and what is done to it."""

    agent: str
    life: int  # of the agent that sent it
    request: Message
    kind: Kind
    fault: Fault = Fault.NONE
    delay_s: float = 0.0  # of what is delayed or sent twice; how long a cut lasts
    on_answer: Fault = Fault.NONE
    is_refused: bool = False  # by the server: a race that was lost is no step of a run
    is_harmed: bool = False  # the fault was really done
    parts: list[Exchange] = []  # the writes that it carries, where it carries several

    @property
    def seen(self) -> list[Exchange]:
        """Return what the director looks at: what is done to one write is done to all that go with it."""
        return self.parts or [self]

    def obey(self) -> None:
        """Do to the whole what was set for one of its writes."""
        for part in self.parts:
            if part.fault is not Fault.NONE and self.fault is Fault.NONE:
                self.fault, self.delay_s = part.fault, part.delay_s
            if part.on_answer is not Fault.NONE and self.on_answer is Fault.NONE:
                self.on_answer, self.delay_s = part.on_answer, part.delay_s

    @property
    def run_id(self) -> str:
        """Return the run that a claim or a report is about, or the placeholder that is posted."""
        if self.kind in (Kind.CLAIM, Kind.REQUEUE):
            return str(self.request.json().get("id", ""))
        return self.request.start.split(" ")[1].partition("?")[0].rpartition("/")[2]


def exchange_of(agent: str, life: int, request: Message) -> Exchange:
    """Return the exchange of a request, with one for each write in it."""
    parts = [Exchange(agent, life, write, kind_of(write)) for write in writes_in(request)]
    return Exchange(agent, life, request, kind_of(request), parts=parts)


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

    def over(self, exchange: Exchange) -> None:
        """Know that nothing more comes of an exchange, and whether it was harmed."""
        ...


class Proxy:
    """Stand between one agent and the server."""

    def __init__(self, agent: str, server_port: int, director: Director) -> None:
        """Listen only after `open`."""
        self._agent = agent
        self._server_port = server_port
        self._director = director
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_until_mono = 0.0
        self._passed = 0
        self._held = 0
        self.batches = 0  # requests with several writes that were answered
        self.batches_harmed = 0
        self.offers = 0  # that were answered with a run
        self.url = ""

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Cut everything, and listen no more."""
        if self._server is not None:
            await stop_accepting(self._server)
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
    def is_calm(self) -> bool:
        """Tell whether nothing is held that may still arrive."""
        return not self._held

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
                exchange = exchange_of(self._agent, self._director.life_of(self._agent), request)
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
        try:
            for one in exchange.seen:
                await self._director.sent(one)
            exchange.obey()
            if self._is_lost(exchange):
                return False
            if exchange.fault is Fault.BAD_GATEWAY:
                exchange.is_harmed = True
                return await self._answer(writer, BAD_GATEWAY)
            with self._holding(exchange.fault in SENDING):
                await self._hold(exchange)
                answer = await self._ask(exchange, reader)
            return answer is not None and await self._bring_back(exchange, answer, reader, writer)
        finally:
            self.batches_harmed += bool(exchange.parts) and exchange.is_harmed
            for one in exchange.seen:
                one.is_harmed = exchange.is_harmed
                self._director.over(one)

    async def _bring_back(
        self, exchange: Exchange, answer: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Give the answer to the agent, or do to it what is to be done."""
        answers = answers_in(answer, len(exchange.parts)) if exchange.parts else [answer]
        for one, own in zip(exchange.seen, answers, strict=True):
            one.is_refused = int(own.start.split(" ")[1]) >= 300
            if is_offer(one.request):
                one.is_refused = "run" not in own.json()  # nothing came while it waited
                self.offers += not one.is_refused
            await self._director.taken(one, own)
        exchange.obey()
        if exchange.on_answer is not Fault.NONE or exchange.fault is Fault.DROP_ANSWER:
            exchange.is_harmed = True
            if exchange.on_answer is Fault.CUT:
                self.cut(exchange.delay_s)
            return exchange.on_answer is Fault.BAD_GATEWAY and await self._answer(writer, BAD_GATEWAY)
        await self._answer(writer, answer.whole)
        if reader.at_eof():  # nobody waits for it any more
            return False
        self._passed += 1
        self.batches += bool(exchange.parts)
        for one in exchange.seen:
            await self._director.answered(one)
        return not answer.is_last and not exchange.request.is_last

    def _is_lost(self, exchange: Exchange) -> bool:
        """Tell whether the server never sees it. What a dead agent has sent may still arrive."""
        if exchange.fault is Fault.CUT:
            self.cut(exchange.delay_s)
        exchange.is_harmed = exchange.fault in (Fault.CUT, Fault.DROP_REQUEST)
        if exchange.is_harmed or self._is_cut:
            return True
        is_orphan = exchange.life != self._director.life_of(self._agent)
        return is_orphan and exchange.fault not in ARRIVING

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes) -> bool:
        writer.write(answer)
        await writer.drain()
        return True

    @contextlib.contextmanager
    def _holding(self, is_held: bool) -> Iterator[None]:
        self._held += is_held
        try:
            yield
        finally:
            self._held -= is_held

    async def _hold(self, exchange: Exchange) -> None:
        if exchange.fault is Fault.DELAY:
            await asyncio.sleep(exchange.delay_s)
            exchange.is_harmed = True
        elif exchange.fault is Fault.DUPLICATE:
            self._start(self._again(exchange))
            exchange.is_harmed = True
        elif exchange.fault is Fault.REORDER:
            passed, until_mono = self._passed, time.monotonic() + REORDER_S
            while self._passed == passed and time.monotonic() < until_mono:  # noqa: ASYNC110 - any of them
                await asyncio.sleep(LOOK_S)
            exchange.is_harmed = self._passed != passed

    def _start(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, exchange: Exchange) -> None:
        """Send a request once more; it waits for a server that is dead."""
        with self._holding(True):
            await asyncio.sleep(exchange.delay_s)
            while await self._exchange(exchange.request) is None:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(AGAIN_S)

    async def _ask(self, exchange: Exchange, reader: asyncio.StreamReader) -> Message | None:
        """Give a request to the server; None where it has no answer, or who asked has gone."""
        asking = asyncio.create_task(self._exchange(exchange.request))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=LOOK_S)
                is_held = exchange.request.start.startswith("GET ") or is_offer(exchange.request)
                if reader.at_eof() and is_held and exchange.fault not in ARRIVING:
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
