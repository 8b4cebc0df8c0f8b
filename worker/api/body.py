"""Read the bodies of answers: bounded, and long lists as a stream."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final

import msgspec

from worker.api.errors import TransportError
from worker.api.scan import Scan

__all__ = ["Body", "decode", "items_of", "read_bytes", "read_list", "unpacked"]

OBJECT_BYTES_MAX = 32 * 1024 * 1024  # more than any answer about one thing; protects memory
WHOLE_BYTES_MAX = 1024 * 1024  # a list up to this size is decoded at once, a longer one as a stream
LIST_BYTES_MAX = 32 * 1024 * 1024  # of the objects that are kept of one list
PIECE_BYTES: Final = 64 * 1024  # unpacked at once: a packed byte may stand for a thousand
TOO_LONG: Final = "the answer is longer than {} bytes"
ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS  # told apart by their first bytes


Body = bytes | AsyncIterator[bytes]  # all of it, where it is here already


async def unpacked(chunks: AsyncIterable[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Give a body as it was before its `Content-Encoding`: gzip (the one that we ask for), deflate, or none.

    In small pieces, so that whoever reads it stops in time: a bomb is never unpacked as a whole.
    Raises: TransportError where it is packed otherwise (also twice), broken, or cut.
    """
    if encoding in ("", "identity"):
        async for chunk in chunks:
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise TransportError("the answer is packed in a way that nobody asked for")
    unpacker, is_begun = zlib.decompressobj(ZLIB_OR_GZIP), False
    try:
        async for chunk in chunks:
            is_begun, rest = True, chunk
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, PIECE_BYTES)
                rest = unpacker.unconsumed_tail
    except zlib.error as exc:
        raise TransportError("the answer is not packed as it says") from exc
    if is_begun and not unpacker.eof:
        raise TransportError("the packed answer is cut")


async def read_bytes(body: Body, limit: int = OBJECT_BYTES_MAX) -> bytes:
    """Read a whole body.

    Raises: TransportError where it is longer than `limit` bytes.
    """
    if isinstance(body, bytes):
        if len(body) > limit:
            raise TransportError(TOO_LONG.format(limit))
        return body
    parts: list[bytes] = []
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise TransportError(TOO_LONG.format(limit))
        parts.append(chunk)
    return b"".join(parts)


def decode(body: bytes) -> Any:
    """Decode JSON.

    Raises: TransportError where it is none: a proxy's page, a cut answer.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TransportError("the answer is not JSON: is the API URL right, or does a proxy answer?") from exc


async def read_list(
    body: Body, key: str, enough: int, *, is_part_enough: bool = False
) -> list[dict[str, Any]]:
    """Read the objects of ``{"key": […]}`` or of a bare list.

    A short body is decoded at once. Of a long one (a server that does not page) only the first
    `enough` objects are read, as a stream, so that memory stays flat. Where fewer of them fill the
    memory that a list may take, `is_part_enough` tells whether those are an answer.
    Raises: TransportError where the body is neither.
    """
    if isinstance(body, bytes):
        return items_of(decode(body), key)
    head: list[bytes] = []
    size = 0
    async for chunk in body:
        head.append(chunk)
        size += len(chunk)
        if size > WHOLE_BYTES_MAX:
            return await stream_list(b"".join(head), body, key, enough, is_part_enough=is_part_enough)
    return items_of(decode(b"".join(head)), key)


def items_of(answer: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects of a list that was decoded.

    Raises: TransportError where there is none.
    """
    items = answer.get(key) if isinstance(answer, dict) else answer
    if items is None and isinstance(answer, dict) and "error" not in answer:
        items = []  # an empty list may be left out
    if not isinstance(items, list):
        raise TransportError(f"the answer has no list of {key}")
    return [item for item in items if isinstance(item, dict)]


async def stream_list(
    head: bytes, chunks: AsyncIterator[bytes], key: str, enough: int, *, is_part_enough: bool = False
) -> list[dict[str, Any]]:
    """Read the first objects of a long list, one by one, and leave the rest."""
    items: list[dict[str, Any]] = []
    size = 0
    try:
        scan = Scan(head, chunks)
        await scan.enter_list(key)
        while len(items) < enough and (text := await scan.next_item()) is not None:
            size += len(text)
            if size > LIST_BYTES_MAX:
                if is_part_enough:
                    break
                raise TransportError(f"the list of {key} is longer than {LIST_BYTES_MAX} bytes")
            if isinstance(item := decode(text.encode()), dict):
                items.append(item)
    except (ValueError, RecursionError, StopAsyncIteration) as exc:
        raise TransportError("the list in the answer is cut or is not JSON") from exc
    return items
