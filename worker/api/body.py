"""Read the bodies of answers: bounded, and long lists as a stream."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from worker.api.errors import TransportError

__all__ = ["decode", "read_bytes", "read_list"]

OBJECT_BYTES_MAX = 32 * 1024 * 1024  # more than any answer about one thing; protects memory
WHOLE_BYTES_MAX = 1024 * 1024  # a list up to this size is decoded at once, a longer one as a stream
ITEM_BYTES_MAX = 8 * 1024 * 1024  # one object of a list that is longer than this is not an object


async def read_bytes(chunks: AsyncIterator[bytes], limit: int = OBJECT_BYTES_MAX) -> bytes:
    """Read a whole body.

    Raises: TransportError where it is longer than `limit` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TransportError(f"the answer is longer than {limit} bytes")
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


async def read_list(chunks: AsyncIterator[bytes], key: str, enough: int) -> list[dict[str, Any]]:
    """Read the objects of ``{"key": […]}`` or of a bare list.

    A short body is decoded at once. Of a long one (a server that does not page) only the first
    `enough` objects are read, as a stream, so that memory stays flat.
    Raises: TransportError where the body is neither.
    """
    head: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > WHOLE_BYTES_MAX:
            return await stream_list(b"".join(head), chunks, enough)
    body = decode(b"".join(head))
    items = body.get(key) if isinstance(body, dict) else body
    if items is None and isinstance(body, dict) and "error" not in body:
        items = []  # an empty list may be left out
    if not isinstance(items, list):
        raise TransportError(f"the answer has no list of {key}")
    return [item for item in items if isinstance(item, dict)]


async def stream_list(head: bytes, chunks: AsyncIterator[bytes], enough: int) -> list[dict[str, Any]]:
    """Read the first objects of a long list, one by one, and leave the rest."""
    text = codecs.getincrementaldecoder("utf-8")()
    scan = json.JSONDecoder()
    items: list[dict[str, Any]] = []
    try:
        buffer = text.decode(head)
        at = buffer.index("[") + 1
        while len(items) < enough:
            at = skip(buffer, at)
            if at < len(buffer) and buffer[at] == "]":
                break
            try:
                item, at = scan.raw_decode(buffer, at)
            except json.JSONDecodeError:
                buffer, at = buffer[at:], 0
                if len(buffer) > ITEM_BYTES_MAX:
                    raise
                buffer += text.decode(await anext(chunks))
                continue
            if isinstance(item, dict):
                items.append(item)
    except (ValueError, RecursionError, StopAsyncIteration) as exc:
        raise TransportError("the list in the answer is cut or is not JSON") from exc
    return items


def skip(buffer: str, at: int) -> int:
    """Return the position after white space and commas."""
    while at < len(buffer) and buffer[at] in " \t\r\n,":
        at += 1
    return at
