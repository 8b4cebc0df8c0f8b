"""Frames over a stream socket: four bytes of length (big endian), then JSON.

The agent's side is an asyncio protocol, the child's side blocks. A frame larger than the bound, or
one that cannot be read, breaks the channel: what follows could not be trusted.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from worker.executor.frames import Down, Frame, Up

__all__ = ["MAX_FRAME_BYTES", "BlockingChannel", "ChannelError", "FrameReader", "encode_frame", "up_reader"]

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024  # parameters and results are far smaller; logs are cut
READ_BYTES: Final = 64 * 1024
LENGTH: Final = struct.Struct(">I")

T = TypeVar("T")


class ChannelError(Exception):
    """The channel is broken: a frame was too large or could not be read."""


def encode_frame(frame: Frame) -> bytes:
    """Return a frame as bytes.

    Raises:
        ChannelError: it is too large, or holds what JSON cannot.
    """
    try:
        body = msgspec.json.encode(frame)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ChannelError(f"{type(frame).__name__} cannot be written as JSON: {exc}") from exc
    if len(body) > MAX_FRAME_BYTES:
        raise ChannelError(f"{type(frame).__name__} has {len(body)} bytes, more than {MAX_FRAME_BYTES}")
    return LENGTH.pack(len(body)) + body


class FrameReader(Generic[T]):
    """Cut a stream of bytes into frames; holds at most one unfinished frame."""

    def __init__(self, decoder: msgspec.json.Decoder[T]) -> None:
        self._decoder = decoder
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterable[T]:
        """Give every frame that is whole now; those before one that is broken come first.

        Raises:
            ChannelError: a frame is too large or not readable.
        """
        if data and not self._bytes and len(data) == frame_bytes(data):  # as mostly
            return (self._decode(data[LENGTH.size :]),)
        return self._cut(data)

    def _cut(self, data: bytes) -> Iterator[T]:
        """Yield the frames that are whole now; what is left is held."""
        self._bytes += data
        while (end := frame_bytes(self._bytes)) and end <= len(self._bytes):
            body = bytes(self._bytes[LENGTH.size : end])
            del self._bytes[:end]
            yield self._decode(body)

    def _decode(self, body: bytes) -> T:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise ChannelError(f"a frame of {len(body)} bytes could not be read: {exc}") from exc


def frame_bytes(data: bytes | bytearray) -> int:
    """Return how long the first frame of a stream is, its length included; 0 where that is not there yet.

    Raises:
        ChannelError: it is too large.
    """
    if len(data) < LENGTH.size:
        return 0
    (size_bytes,) = LENGTH.unpack_from(data)
    if size_bytes > MAX_FRAME_BYTES:
        raise ChannelError(f"a frame of {size_bytes} bytes was announced; {MAX_FRAME_BYTES} are allowed")
    return LENGTH.size + int(size_bytes)


def up_reader() -> FrameReader[Up]:
    """Return a reader of what a child says."""
    return FrameReader(UP_DECODER)


class BlockingChannel:
    """The child's side. Any thread may send; one at a time receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader: FrameReader[Down] = FrameReader(DOWN_DECODER)
        self._frames: list[Down] = []
        self._sending = threading.Lock()

    def send(self, frame: Up) -> None:
        """Send a whole frame; blocks while the agent is behind.

        Raises:
            OSError: the agent is gone.
            ChannelError: the frame is too large.
        """
        encoded = encode_frame(frame)
        with self._sending:
            self._socket.sendall(encoded)

    def receive(self) -> Down | None:
        """Wait for the next frame; None when the agent closed the channel.

        Raises:
            OSError, ChannelError: the channel is broken.
        """
        while not self._frames:
            data = self._socket.recv(READ_BYTES)
            if not data:
                return None
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    @property
    def has_frame(self) -> bool:
        """Tell whether `receive` has one that came with another."""
        return bool(self._frames)

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._socket.fileno()


DOWN_DECODER: Final = msgspec.json.Decoder(Down)
UP_DECODER: Final = msgspec.json.Decoder(Up)
