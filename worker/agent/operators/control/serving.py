"""Listen for orders in the state directory: one connection is one order, a line of JSON, and its answer.

It lives on the agent's event loop; what fails here is an answer with an error, and the work goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from worker.agent.operators.control.orders import Answer, Orders, Refused, read_order
from worker.agent.operators.control.peers import peer_of, refusal
from worker.agent.operators.control.place import listening_in, remove

__all__ = ["ANSWER_BYTES_MAX", "ORDER_BYTES_MAX", "taking_orders"]

ORDER_BYTES_MAX: Final = 4096
ANSWER_BYTES_MAX: Final = 4 << 20  # a status of thousands of runs and GPUs is smaller
CONNECTION_S: Final = 5.0  # who is slower is cut off
CONNECTIONS_MAX: Final = 8  # at once; further ones are closed at once
CLOSE_S: Final = 0.05  # for answers under way when the agent ends
log = structlog.get_logger()


@asynccontextmanager
async def taking_orders(folder: Path, orders: Orders) -> AsyncIterator[None]:
    """Carry out what comes, until the end of the block; then no socket is left.

    Where none can be made (a file system without them), the agent works without: it is logged.
    """
    try:
        listening = listening_in(folder)
    except OSError as exc:
        hint = "`millhand drain`, `pause --agent` and `status` do not reach this agent; signals do"
        log.warning("control.unavailable", folder=str(folder), error=str(exc), hint=hint)
        yield
        return
    door = Door(orders)
    server = await asyncio.start_unix_server(door.meet, sock=listening, limit=ORDER_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            remove(folder)
        await door.close()


class Door:
    """Whoever comes is let in or not, heard, and answered."""

    def __init__(self, orders: Orders) -> None:
        """Nobody is there yet."""
        self._orders = orders
        self._visits: set[asyncio.Task[None]] = set()
        self._sent_away: set[asyncio.Task[None]] = set()  # apart: no handler takes an operator's place
        self._refused = 0

    def meet(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Begin a visit; beyond the most, end it."""
        why = self._refusal(writer)
        visits = self._visits if why is None else self._sent_away
        if len(visits) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        visit = asyncio.create_task(self._visit(reader, writer, why), name="control")
        visits.add(visit)
        visit.add_done_callback(visits.discard)

    async def close(self) -> None:
        """Let answers that are under way go out, for a moment."""
        if visits := self._visits | self._sent_away:
            _, late = await asyncio.wait(visits, timeout=CLOSE_S)
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _visit(self, reader: StreamReader, writer: StreamWriter, why: str | None) -> None:
        try:
            async with asyncio.timeout(CONNECTION_S):
                line = await line_of(reader)  # also of who is refused: else the answer would not arrive
                answer = self._answer(line) if why is None else Answer(pid=os.getpid(), error=why)
                writer.write(encoded(answer))
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # it went, or is too slow
        except Exception as error:  # a fault of ours; the work goes on
            log.error("control.failed", exc_info=error)
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

    def _refusal(self, writer: StreamWriter) -> str | None:
        """Say why somebody is sent away. The log tells of 1, 2, 4, 8 … of them: no handler fills it."""
        peer = peer_of(writer.get_extra_info("socket"))
        if (why := refusal(peer, os.geteuid(), os.getpid())) is not None:
            self._refused += 1
            if self._refused.bit_count() == 1:
                log.warning("control.refused", pid=peer.pid, uid=peer.uid, why=why, so_far=self._refused)
        return why

    def _answer(self, line: bytes) -> Answer:
        try:
            return self._orders.obey(read_order(line))
        except Refused as exc:
            return Answer(pid=os.getpid(), error=str(exc))
        except Exception as error:  # whatever it is, the work goes on
            log.error("control.failed", exc_info=error)
            return Answer(pid=os.getpid(), error="the agent failed to do it; its log says why")


async def line_of(reader: StreamReader) -> bytes:
    """Return the line that somebody says; what is too long is cut, and then is no order."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError:
        return b""


def encoded(answer: Answer) -> bytes:
    """Return an answer as it is sent, never longer than who asks reads."""
    line = msgspec.json.encode(answer)
    if len(line) >= ANSWER_BYTES_MAX:
        line = msgspec.json.encode(Answer(pid=answer.pid, error="the answer is too large"))
    return line + b"\n"
