"""From secrets to the texts that are looked for: their lines, in pieces, and the same in base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["SECRET_CHARS_MIN", "Needle", "needles_of"]

SECRET_CHARS_MIN: Final = 6  # shorter ones would blank out ordinary words
PIECE_CHARS: Final = 64  # bounds how much text one match spans, and what a cut can leave of a secret
BREAKS: Final = re.compile(r"[\r\n]+|\\{4,}")  # runs of backslashes say little and are slow to search for
ARMOUR: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")  # of PEM files (RFC 7468): no secret


class Needle(NamedTuple):
    """One text to look for, of 6 to 64 characters."""

    text: str
    is_base64: bool = False


def needles_of(secrets: Iterable[str]) -> tuple[Needle, ...]:
    """Return what to look for, each once, in a fixed order.

    The lines of a secret count by themselves (the keys of PEM files come out with other line ends,
    or one line at a time), and a long line is looked for in pieces, of which any one is removed.
    """
    found: dict[Needle, None] = {}
    for secret in secrets:
        for line in lines_of(secret):
            found.update(dict.fromkeys(Needle(text) for text in spellings(line)))
            found.update(dict.fromkeys(in_base64(line)))
        found.update(dict.fromkeys(in_base64(secret.strip())))
    return tuple(found)


def lines_of(secret: str) -> list[str]:
    """Return the lines that are long enough to be told from ordinary words."""
    lines = (line.strip() for line in BREAKS.split(secret))
    return [line for line in lines if len(line) >= SECRET_CHARS_MIN and not ARMOUR.fullmatch(line)]


def spellings(line: str) -> Iterator[str]:
    """Yield the pieces of a line, and those of its form in a query string, where + is a space."""
    yield from pieces(line)
    if " " in line:
        yield from pieces(line.replace(" ", "+"))


def in_base64(text: str) -> Iterator[Needle]:
    """Yield the pieces of a text in base64 and base64url, at each place in its groups of three bytes.

    The digits at both edges carry bits of the neighbours; they are left aside.
    """
    raw = text.encode("utf-8", "surrogatepass")
    for offset in range(3 if len(text) >= SECRET_CHARS_MIN else 0):
        first, last = -(-8 * offset // 6), 8 * (offset + len(raw)) // 6
        digits = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        for form in {digits, digits.replace("+", "-").replace("/", "_")}:
            yield from (Needle(piece, is_base64=True) for piece in pieces(form))


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of about the same length."""
    count = -(-len(text) // PIECE_CHARS)
    size = -(-len(text) // count)
    yield from (text[at : at + size] for at in range(0, len(text), size))
