r"""The ways in which a character of a secret may be written, as regular expressions over bytes.

Plain; escaped as in JSON, up to three times (``\"``, ``\\\"``, ``\u0022``, ``\\u0022``); escaped as in
URLs, up to three times (``%22``, ``%2522``). Each character for itself, so that any mixture is found.

Every expression matches a bounded number of bytes, and backtracks little whatever it is run on:
the forms of a character begin with different bytes, and runs of backslashes are one unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = [
    "ESCAPES",
    "FORM_BYTES_MAX",
    "Unit",
    "form_of",
    "opening_of",
    "start_of",
    "units_of",
]

ESCAPES: Final = (b"\\", b"%")  # one of them is in every form but the plain one
FORM_BYTES_MAX: Final = 16 * 1024  # of 64 characters: up to 160 bytes each
SHORT_ESCAPES: Final = {"\t": b"t", "\b": b"b", "\f": b"f", '"': b'"', "'": b"'", "/": b"/"}
BACKSLASH: Final = rb"(?:\\|%(?:25){0,2}5[cC])"
CUT_ESCAPE: Final = (  # what a cut leaves of a character, in any of its forms
    rb"(?:%(?:25){0,2}[0-9a-fA-F]{2}){0,3}(?:" + BACKSLASH + rb"{1,8}u[dD][89abAB][0-9a-fA-F]{2})?"
    rb"(?:"
    + BACKSLASH
    + rb"{1,8}(?:u[0-9a-fA-F]{0,3})?)?(?:%(?:25){0,2}[0-9a-fA-F]?|[\xc2-\xf4][\x80-\xbf]{0,2})?"
)


class Unit(NamedTuple):
    """A character of a needle, or a run of backslashes; its forms as (first byte, the rest)."""

    size_chars: int
    forms: tuple[tuple[bytes, bytes], ...]

    @property
    def is_backslashes(self) -> bool:
        """Tell whether it is a run of backslashes."""
        return self.forms[0][0] == b"\\"

    @property
    def pattern(self) -> bytes:
        """Any of the forms."""
        return b"(?:" + b"|".join(re.escape(first) + rest for first, rest in self.forms) + b")"


def units_of(text: str, *, is_base64: bool = False) -> list[Unit]:
    """Return the units of a needle. Letters and digits of base64 are taken as they are."""
    units: list[Unit] = []
    for run in re.findall(r"\\+|[^\\]", text, re.DOTALL):
        is_after_backslash = bool(units) and units[-1].is_backslashes
        if run[0] == "\\":
            units.append(Unit(len(run), backslash_forms(len(run))))
        elif is_base64 and run.isalnum():
            units.append(Unit(1, plain_forms(run)))
        else:
            units.append(Unit(1, char_forms(run, is_after_backslash=is_after_backslash)))
    return units


def plain_forms(char: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the form of a character as it is."""
    raw = char.encode("utf-8", "surrogatepass")
    return ((raw[:1], re.escape(raw[1:])),)


def char_forms(char: str, *, is_after_backslash: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return every form of a character that is no backslash.

    Behind backslashes of the secret, that of an escape is already taken with them.
    """
    codes = (BACKSLASH + rb"{1,8}").join(b"u" + hex_digits(code) for code in utf16_codes(char))
    raw = char.encode("utf-8", "surrogatepass")
    percent = b"%".join(rb"(?:25){0,2}" + hex_digits(b"%02x" % byte) for byte in raw)
    tails = [codes, *([SHORT_ESCAPES[char]] if char in SHORT_ESCAPES else [])]
    tails += [b"%" + percent] if SHORT_ESCAPES.get(char) == raw else []
    escaped = BACKSLASH + b"{0,7}(?:" + b"|".join(tails) + b")"
    if char == "%":
        forms = [(b"%", rb"(?:25){0,3}"), (b"\\", escaped)]
    else:
        percent = b"(?:" + percent + rb"|(?:25){0,2}5[cC]" + escaped + b")"
        forms = [(raw[:1], re.escape(raw[1:])), (b"\\", escaped), (b"%", percent)]
    return (*((b"", tail) for tail in tails), *forms) if is_after_backslash else tuple(forms)


def backslash_forms(count: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return every form of so many backslashes in a row; their number is not held against a match."""
    more = rb"(?:u005[cC])?(?:" + BACKSLASH + rb"(?:u005[cC])?){0,%d}" % (8 * count - 1)
    return ((b"\\", more), (b"%", rb"(?:25){0,2}5[cC]" + more))


def utf16_codes(char: str) -> list[bytes]:
    """Return the code units of a character as JSON writes them: two for one beyond the basic plane."""
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return [units[at : at + 4].encode() for at in range(0, len(units), 4)]


def hex_digits(digits: bytes) -> bytes:
    """Return an expression for hexadecimal digits in either case."""
    both = ((bytes([digit]).lower(), bytes([digit]).upper()) for digit in digits)
    return b"".join(low if low == high else b"[" + low + high + b"]" for low, high in both)


def form_of(units: Sequence[Unit]) -> bytes:
    """Return an expression for every form of a needle."""
    return b"".join(unit.pattern for unit in units)


def opening_of(units: Sequence[Unit], min_chars: int) -> list[Unit]:
    """Return the first units, of so many characters at least."""
    opening: list[Unit] = []
    while sum(unit.size_chars for unit in opening) < min_chars:
        opening.append(units[len(opening)])
    return opening


def start_of(units: Sequence[Unit], min_chars: int) -> bytes:
    """Return an expression for a needle that is cut off by the end, behind so many characters at least."""
    opening = opening_of(units, min_chars)
    more = CUT_ESCAPE
    for unit in reversed(units[len(opening) :]):
        more = b"(?:" + unit.pattern + more + b"|" + CUT_ESCAPE + b")"
    return form_of(opening) + more + rb"\Z"
