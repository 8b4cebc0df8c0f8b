"""The head of an answer and the beginning of its body as one write."""

from __future__ import annotations

import asyncio

__all__ = ["JoinedWrites"]


class JoinedWrites:
    """What an answer of uvicorn writes to: the transport, but for the first piece, which waits for the next.

    uvicorn writes the head by itself. Whoever waits for the answer is woken by that, often in place of this
    process, and reads twice. What comes without a next piece goes out when the loop comes round.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Begin an answer."""
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._is_joined = False  # what follows is written as it comes

    def write(self, data: bytes) -> None:
        """Write, or hold the first piece."""
        if self._is_joined:
            self._transport.write(data)
        elif self._held is None:
            self._held = data
            self._loop.call_soon(self._let_go)
        else:
            held, self._held, self._is_joined = self._held, None, True
            self._transport.write(held + data)

    def close(self) -> None:
        """Close the transport once what is held is out."""
        self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the transport is being closed."""
        return self._transport.is_closing()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)
