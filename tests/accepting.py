"""Servers of tests that stop accepting, and leave no connection between two owners."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["stop_accepting"]

ROUNDS: Final = 3  # of the loop: a connection that was accepted gets its transport, its protocol, its handler


async def stop_accepting(server: asyncio.Server) -> None:
    """Accept nobody more, let who was just accepted come as far as a handler, and close the server.

    A loop that ends before, or a server that is closed before (up to Python 3.12 it refuses the transport
    of what it accepted), leaves a socket that nobody closes: the garbage collection of a later test warns
    of it.
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    server.close()
