"""Reach a host: its addresses are tried beside each other (RFC 8305), and no socket is lost on the way.

asyncio has that race too (`happy_eyeballs_delay`), but where it is cancelled in the step in which an address
answers, nobody closes the socket: it stays open at both ends until garbage is collected.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["dial"]

EYEBALLS_S: Final = 0.25  # before the next address of a host is tried beside the first

Address = tuple[int, Any]  # its family, and what `socket.connect` takes


async def dial(host: str, port: int) -> socket.socket:
    """Return a connected socket that does not block; it is the caller's to close.

    Raises: OSError where no address could be had, UnicodeError where `host` cannot be a name.
    """
    addresses = await addresses_of(host, port)
    return await (reached(addresses[0]) if len(addresses) == 1 else first_reached(addresses))


async def addresses_of(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, of either family in turns; only a name is looked up, in a thread."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return in_turns((family, address) for family, _, _, _, address in found)


def in_turns(addresses: Iterable[Address]) -> list[Address]:
    """Order addresses so that the families take turns, the resolver's first choice first."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*families.values())
    return [address for turn in rounds for address in turn if address is not None]


async def reached(address: Address) -> socket.socket:
    """Connect to one address."""
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def first_reached(addresses: list[Address]) -> socket.socket:
    """Try each address once the one before it has failed or is slow; those that are late are closed."""
    left, faults = addresses[::-1], list[OSError]()
    trying = set[asyncio.Task[socket.socket]]()
    try:
        while left or trying:
            if left:
                trying.add(asyncio.ensure_future(reached(left.pop())))
            await asyncio.wait(
                trying, timeout=EYEBALLS_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in [one for one in trying if one.done()]:
                trying.remove(attempt)
                try:
                    return attempt.result()
                except OSError as fault:
                    faults.append(fault)
    finally:
        for attempt in trying:
            attempt.cancel()
            attempt.add_done_callback(closed)
    raise faults[0] if len({str(fault) for fault in faults}) == 1 else OSError("; ".join(map(str, faults)))


def closed(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what an attempt has reached after all."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
