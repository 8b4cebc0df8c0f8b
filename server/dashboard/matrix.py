"""All tasks of a job at a glance: a picture with a cell for each, told apart by colour and by shape.

A picture needs no script, 10⁵ cells take some ten kilobytes, and a browser tells where it was clicked.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Final

from msgspec import Struct

__all__ = ["MOST_CELLS", "NARROW", "WIDE", "Layout", "layout_of", "png"]

MOST_CELLS: Final = 250_000  # a higher picture than that nobody looks at
WIDE: Final = 1200  # pixels, on a screen
NARROW: Final = 348  # on a phone that is held upright
HEIGHTS: Final = {
    WIDE: 800,
    NARROW: 1000,
}  # at a glance: cells become smaller before a picture becomes higher
SIDES: Final = (12, 8, 4, 3, 2)  # pixels of a cell's side

# What the store says of a task, in one letter -> its shape on a grid of four by four.
SHAPES: Final = {
    "p": ("....", ".11.", ".11.", "...."),  # pending: a dot
    "r": ("22..", "222.", "222.", "22.."),  # running: a wedge
    "s": ("333.", "333.", "333.", "...."),  # succeeded: a square
    "f": ("4..4", ".44.", ".44.", "4..4"),  # failed: a cross
}
SMALL: Final[
    dict[int, dict[str, tuple[str, ...]]]
] = {  # side -> the same shapes, as well as they can be drawn there
    3: {
        "p": ("...", ".1.", "..."),
        "r": ("2..", "22.", "2.."),
        "s": ("33.", "33.", "..."),
        "f": ("4.4", ".4.", "4.4"),
    },
    2: {"p": ("1.", ".."), "r": ("2.", "22"), "s": ("33", "33"), "f": ("4.", ".4")},
}
# Of a picture that lies on a light or on a dark page: the first is clear.
PALETTE: Final = bytes.fromhex("000000 6e7781 0969da 1a7f37 cf222e")
CLEAR: Final = b"\x00\xff\xff\xff\xff"
LEVEL: Final = 3  # of compression: most lines are alike


class Layout(Struct, frozen=True):
    """How many cells stand side by side, and how large they are."""

    columns: int
    side: int  # pixels
    rows: int

    @property
    def width(self) -> int:
        """Pixels of the picture."""
        return self.columns * self.side

    @property
    def height(self) -> int:
        """Pixels of the picture."""
        return self.rows * self.side

    def index_at(self, x: int, y: int) -> int:
        """Return which cell lies at a place of the picture."""
        return max(0, y) // self.side * self.columns + min(max(0, x) // self.side, self.columns - 1)


def layout_of(count: int, width: int = WIDE) -> Layout:
    """Return how so many tasks are laid out: as large as all of them are seen at once."""
    shown = min(count, MOST_CELLS)
    layouts = [Layout(width // side, side, max(1, -(-shown // (width // side)))) for side in SIDES]
    return next((one for one in layouts if one.height <= HEIGHTS[width]), layouts[-1])


def png(states: str, width: int = WIDE) -> bytes:
    """Draw tasks, one letter each, in lines from left to right."""
    layout = layout_of(len(states), width)
    letters = states[:MOST_CELLS].encode().ljust(layout.columns * layout.rows)
    lines = [line_of(letters, layout.side, line) for line in range(layout.side)]
    pixels = b"".join(
        b"\0" + line[row * layout.width : (row + 1) * layout.width]
        for row in range(layout.rows)
        for line in lines
    )
    size = struct.pack(">IIBBBBB", layout.width, layout.height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", size),
        (b"PLTE", PALETTE),
        (b"tRNS", CLEAR),
        (b"IDAT", zlib.compress(pixels, LEVEL)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))


def line_of(letters: bytes, side: int, line: int) -> bytes:
    """Return one line of pixels of all cells, one after the other: column by column, each in one go."""
    pixels = bytearray(len(letters) * side)
    for column, table in enumerate(tables(side)[line]):
        pixels[column::side] = letters.translate(table)
    return bytes(pixels)


@cache
def tables(side: int) -> list[list[bytes]]:
    """Return for each line and column of a cell which letter has which colour there; of any other, none."""
    drawn = {letter: pixels_of(letter, side) for letter in SHAPES}
    return [
        [
            bytes(drawn[chr(code)][line][column] if chr(code) in drawn else 0 for code in range(256))
            for column in range(side)
        ]
        for line in range(side)
    ]


def pixels_of(letter: str, side: int) -> list[bytes]:
    """Return the lines of pixels of a shape; a large one has a gap beside it, so that cells stand apart."""
    shape = SMALL[side][letter] if side in SMALL else SHAPES[letter]
    inner = side if side <= len(shape) else side - side // 6

    def pixel(line: int, column: int) -> int:
        if line >= inner or column >= inner:
            return 0
        one = shape[line * len(shape) // inner][column * len(shape) // inner]
        return 0 if one == "." else int(one)

    return [bytes(pixel(line, column) for column in range(side)) for line in range(side)]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
