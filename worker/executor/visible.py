"""Make text from strangers safe to show: nothing in it commands a terminal or turns the text around."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["visible"]

# Control characters but tab and line end; marks and overrides of direction; separators that count
# as line ends in some places; halves of surrogate pairs. JSON in PostgreSQL refuses U+0000, too.
COMMANDS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    r"""Return the text with such characters written out, as ``\x1b`` and ``\u202e``."""
    return text if text.isprintable() else COMMANDS.sub(written_out, text)


def written_out(found: re.Match[str]) -> str:
    """Return one character as Python writes it."""
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
