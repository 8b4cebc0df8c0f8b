"""The line to the minder: packets out, as the socket takes them, and packets in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from worker.minder.wire import pack, receive, send

__all__ = ["MinderLine", "close_all", "copied"]

SEND_BUFFER_BYTES: Final = 1024 * 1024


class MinderLine:
    """Our end of the socket. Use it on the event loop's thread."""

    def __init__(
        self, sock: socket.socket, on_told: Callable[[dict[str, Any]], None], on_gone: Callable[[], None]
    ) -> None:
        """Begin to listen; `on_gone` is called once, when the minder has gone.

        Raises:
            OSError: nothing more can be watched; the socket is closed.
        """
        self._socket: socket.socket | None = sock
        self._on_told = on_told
        self._on_gone = on_gone
        self._unsent: list[tuple[bytes, tuple[int, ...]]] = []
        self._loop = asyncio.get_running_loop()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            self._loop.add_reader(sock, self._listen)
        except BaseException:
            sock.close()
            raise

    def order(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Send an order; what the socket does not take at once follows by itself. Closes the descriptors."""
        try:
            packet = pack(message)
        except OSError:
            close_all(descriptors)
            raise
        self._unsent.append((packet, descriptors))
        self._send()

    def close(self) -> None:
        """Hang up, which ends the minder and all below it."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        self._drop_unsent()

    def _listen(self) -> None:
        assert self._socket is not None
        try:
            came = receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            came = None
        if came is None:
            self.close()
            self._on_gone()
        else:
            self._on_told(came[0])

    def _send(self) -> None:
        if self._socket is None:
            self._drop_unsent()
            return
        try:
            while self._unsent:
                packet, descriptors = self._unsent[0]
                send(self._socket, packet, descriptors)
                close_all(descriptors)
                del self._unsent[0]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._send)
            return
        except OSError:  # it is gone, which reading tells
            self._drop_unsent()
        self._loop.remove_writer(self._socket)

    def _drop_unsent(self) -> None:
        for _, descriptors in self._unsent:
            close_all(descriptors)
        self._unsent.clear()


def copied(descriptors: Sequence[int]) -> tuple[int, ...]:
    """Return copies of descriptors, all or none."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))  # noqa: PERF401 - those before one that fails must be closed
    except OSError:
        close_all(copies)
        raise
    return tuple(copies)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that are ours."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
