"""Walk through a JSON text that is too long to be held, value by value."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncIterator
from typing import Final

__all__ = ["Scan"]

VALUE_CHARS_MAX: Final = 8 * 1024 * 1024  # one value that is longer than this ends the walk
WHITE: Final = re.compile(r"[ \t\r\n]*")
BETWEEN_ITEMS: Final = re.compile(r"[ \t\r\n,]*")
JSON: Final = json.JSONDecoder()


class Scan:
    """A place in a text that is still coming; only what was not walked through is kept.

    Every method raises ValueError where the text is not JSON or a value is too long, RecursionError where
    it is too deep, StopAsyncIteration where it ends too early.
    """

    def __init__(self, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Begin with `head`; `chunks` follow it, and are fetched when they are needed."""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._chunks = chunks
        self._text = self._decoder.decode(head)
        self._at = 0

    async def enter_list(self, key: str) -> None:
        """Go to the first item of the list that is the text, or that its object has under `key`."""
        if await self._sign() == "{":
            self._at += 1
            while json.loads(await self._value()) != key:
                await self._take(":")
                await self._value()
                await self._take(",")
            await self._take(":")
        await self._take("[")

    async def next_item(self) -> str | None:
        """Return the text of the list's next item, and go behind it; None at the end of the list."""
        return None if await self._sign(BETWEEN_ITEMS) == "]" else await self._value()

    async def _sign(self, skipped: re.Pattern[str] = WHITE) -> str:
        """Go to the next sign that is not to be skipped."""
        while True:
            if (found := skipped.match(self._text, self._at)) is not None:
                self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            await self._fetch(1)

    async def _take(self, sign: str) -> None:
        if await self._sign() != sign:
            raise ValueError(f"{sign} is missing")
        self._at += 1

    async def _value(self) -> str:
        """Return the text of the next value, and go behind it.

        One that is not whole yet is looked at again when twice as much has come: else a long one
        would be read again and again, and everything else would wait for it.
        """
        await self._sign()
        while True:
            try:
                _, end = JSON.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                await self._fetch(len(self._text) - self._at)
                continue
            if end < len(self._text) or self._text[end - 1] in '"]}':
                value, self._at = self._text[self._at : end], end
                return value
            await self._fetch(1)  # a number at the border may go on

    async def _fetch(self, chars: int) -> None:
        """Have so many more characters, or what there is."""
        parts = [self._text[self._at :]]
        room = VALUE_CHARS_MAX - len(parts[0])
        if room <= 0:
            raise ValueError("one value is too long")
        wanted = min(chars, room)
        while wanted > 0:
            try:
                parts.append(self._decoder.decode(await anext(self._chunks)))
            except StopAsyncIteration:
                if len(parts) == 1:
                    raise
                break
            wanted -= len(parts[-1])
        self._text, self._at = "".join(parts), 0
