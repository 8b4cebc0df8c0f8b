"""Cut the bytes that a program prints into lines, with a bound."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

__all__ = ["MAX_LINE_CHARS", "Line", "LineCutter"]

MAX_LINE_CHARS = 4096  # longer lines go out in pieces of this length
ENDS = re.compile(r"\r\n|\n|\r")

Line = tuple[str, bool]  # the text; whether the next line was meant to overwrite it (a progress bar)


class LineCutter:
    """Lines of one stream: ended by LF, CRLF or CR (as progress bars do); holds one unfinished line."""

    def __init__(self) -> None:
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield every line that is finished now."""
        text, start = self._text + self._decode(chunk), 0
        for end in ENDS.finditer(text):
            if end[0] == "\r" and end.end() == len(text):
                break  # the next chunk tells whether an LF follows
            yield from pieces(text[start : end.start()], end[0] == "\r")
            start = end.end()
        self._text = text[start:]
        while len(self._text) > MAX_LINE_CHARS + 1:  # one more may be a CR that waits for its LF
            yield self._text[:MAX_LINE_CHARS], False
            self._text = self._text[MAX_LINE_CHARS:]

    def end(self) -> Iterator[Line]:
        """Yield what is left when the stream has ended."""
        text, self._text = self._text + self._decode(b"", True), ""
        if text:
            yield from pieces(text.removesuffix("\r"), False)


def pieces(text: str, is_overwritten: bool) -> Iterator[Line]:
    """Yield a line, in pieces where it is too long."""
    for start in range(0, max(len(text), 1), MAX_LINE_CHARS):
        yield text[start : start + MAX_LINE_CHARS], is_overwritten
