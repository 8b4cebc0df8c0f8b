"""A wire between an agent and the server that a test can cut and mend."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.accepting import stop_accepting

__all__ = ["Relay", "relay_to"]

CHUNK_BYTES = 64 * 1024


class Relay:
    """Pass TCP connections on, on a free port; while it is cut, connections die and none comes about."""

    def __init__(self, target_url: str) -> None:
        """Stand before a server; `relay_to` starts."""
        target = urlsplit(target_url)
        self._target = (target.hostname or "", target.port or 0)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.url = ""

    def cut(self) -> None:
        """Let nothing through any more, in either direction."""
        self._call(self._cut())

    def mend(self) -> None:
        """Let new connections through again."""
        self._is_cut = False

    async def open(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self.open(), self._loop).result(10)

    def stop(self) -> None:
        """Cut, and end the thread."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)  # type: ignore[arg-type]

    async def _cut(self) -> None:
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        await stop_accepting(self._server)
        await self._cut()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks)  # of connections, which are over

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers |= {writer, far_writer}
            if self._is_cut:  # meanwhile
                await self._cut()
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
            self._writers -= {far_writer}
        self._writers -= {writer}
        writer.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    """Give a relay that passes everything on."""
    relay = Relay(url)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
